"""`thalweg embed`, `thalweg similar` and `thalweg project`: chips as vectors, their likes, and a drawing of all."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from thalweg.commands.bar import track
from thalweg.commands.said import Device
from thalweg.errors import FeatureError

_Table = Annotated[Path, typer.Option(help="GeoParquet that `thalweg embed` made.")]
_DEFAULT = Path("chips.parquet")


def embed(
    encoder: Annotated[str, typer.Argument(help="encoders/<name>, models/<member>, or timm:<name>.")],
    scenes: Annotated[Path, typer.Argument(help="Folder of scenes: build/scenes/<grid>.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="GeoParquet to write.")] = _DEFAULT,
    chip_px: Annotated[int, typer.Option(min=8, help="Edge of a chip.")] = 64,
    least_valid: Annotated[
        float, typer.Option(min=0, max=1, help="Chips with a smaller valid share are left out.")
    ] = 0.5,
    split: Annotated[Path, typer.Option(help="Whose statistics normalise for a fresh network.")] = Path("build/split"),
    plot: Annotated[Path | None, typer.Option(help="PNG of all chips in two dimensions to write, too.")] = None,
    device: Device = "auto",
) -> None:
    """Embeds the chips of a grid's scenes: GeoParquet with outline, date, label and vector, a row per chip and date."""
    from thalweg import params  # noqa: PLC0415
    from thalweg.embeddings.build import Wish  # noqa: PLC0415 - torch takes seconds; faults of arguments show first
    from thalweg.embeddings.build import embed as run  # noqa: PLC0415
    from thalweg.embeddings.draw import draw_projection  # noqa: PLC0415
    from thalweg.executor import open_executor  # noqa: PLC0415
    from thalweg.features.sources import TIMM, open_encoder  # noqa: PLC0415
    from thalweg.manifest.card import Normalisation  # noqa: PLC0415
    from thalweg.manifest.chips import read_stats  # noqa: PLC0415
    from thalweg.manifest.scene import read_scenes  # noqa: PLC0415
    from thalweg.params.classes import Classes  # noqa: PLC0415
    from thalweg.vectors import check_target, write_vectors  # noqa: PLC0415

    _check_parquet(out)
    check_target(out)
    found = list(read_scenes(scenes).values())
    stats = read_stats(split, scenes.name) if encoder.startswith(TIMM) else None
    normalisation = Normalisation(mean=stats.mean if stats else (), std=stats.std if stats else ())
    opener = partial(open_encoder, encoder, found[0].record.channels, normalisation, device)
    names = params.load(Classes).names if params.PARAMS_FILE.is_file() else ()
    wish = Wish(chip_px, least_valid, names)
    with open_executor(gpu=True) as executor:
        table = run(opener, found, scenes, wish, lambda each: track(each, "lots of scenes"), executor)
    write_vectors(out, {"chips": table})
    width, name = len(table["embedding"].iloc[0]), table.attrs["encoder"]
    typer.echo(f"wrote {out}: {len(table)} chips of {len(found)} scenes, {width} numbers each, by {name}")
    if plot:
        draw_projection(table, "label" if table["label"].notna().any() else "scene", plot)
        typer.echo(f"wrote {plot}")


def similar(
    lon: Annotated[float, typer.Argument(help="Degrees east; of a western place write `-- -61.5 -27.1`.")],
    lat: Annotated[float, typer.Argument(help="Degrees north.")],
    chips: _Table = _DEFAULT,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many.")] = 10,
    date: Annotated[str | None, typer.Option(help="Day of the chip that is asked for; the newest by default.")] = None,
    same_ground: Annotated[bool, typer.Option("--same-ground", help="Other days of the same ground, too.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Vector file of the answers to write.")] = None,
    show: Annotated[Path | None, typer.Option(help="PNG of the chip and its answers to write.")] = None,
) -> None:
    """Finds the chips that are most like the one at a place, by the angle between their vectors."""
    from thalweg.embeddings import read_table  # noqa: PLC0415 - these take seconds; faults of arguments show first
    from thalweg.embeddings.draw import draw_similar  # noqa: PLC0415
    from thalweg.embeddings.similar import chip_at  # noqa: PLC0415
    from thalweg.embeddings.similar import similar as run  # noqa: PLC0415
    from thalweg.vectors import check_target, write_vectors  # noqa: PLC0415

    if out:
        check_target(out)
    table = read_table(chips)
    number = chip_at(table, lon, lat, date)
    query, found = table.iloc[[number]], run(table, number, count, same_ground)
    asked = query.iloc[0]
    typer.echo(f"asked for: {asked['scene']} {asked['date'] or ''} row {asked['row']} col {asked['col']} "
               f"{asked['label'] or ''}".rstrip())  # fmt: skip
    for row, middle in zip(found.itertuples(), found.geometry.representative_point(), strict=True):
        where = "nowhere on the ground" if middle is None else f"{middle.x:.5f} {middle.y:.5f}"
        typer.echo(
            f"{row.rank:4d}  {row.similarity:6.3f}  {where}  {row.scene} {row.date or ''} {row.label or ''}".rstrip()
        )
    if out:
        write_vectors(out, {"similar": found.drop(columns="embedding")})
        typer.echo(f"wrote {out}")
    if show:
        draw_similar(query, found, show)
        typer.echo(f"wrote {show}")


def project(
    chips: _Table = _DEFAULT,
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG to write.")] = Path("chips.png"),
    by: Annotated[str, typer.Option(help="Colour of points: label, scene or date.")] = "label",
) -> None:
    """Draws the chips of a table by the first two principal components of their vectors."""
    from thalweg.embeddings import read_table  # noqa: PLC0415
    from thalweg.embeddings.draw import draw_projection  # noqa: PLC0415

    draw_projection(read_table(chips), by, out)
    typer.echo(f"wrote {out}")


def _check_parquet(out: Path) -> None:
    if out.suffix != ".parquet":
        raise FeatureError(
            f"{out} should end in .parquet, the one form that keeps vectors in a column; give such a name"
        )
