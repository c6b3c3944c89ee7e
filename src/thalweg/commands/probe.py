"""`thalweg probe`: what an encoder's frozen features are worth on labelled pictures or on a project's chips."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thalweg.commands.bar import track
from thalweg.commands.said import Device
from thalweg.errors import FeatureError

if TYPE_CHECKING:
    from thalweg.probe.images import Wish

Encoder = Annotated[str, typer.Argument(help="encoders/<name>, models/<member>, or timm:<name> for a fresh network.")]


def probe(
    encoder: Encoder,
    data: Annotated[
        str, typer.Argument(help="Folder of pictures by class, MNIST's files, 'digits', or build/scenes/<grid>.")
    ],
    labels: Annotated[str, typer.Option(help="Percent of the training labels, one or more: 1,10,100.")] = "100",
    seeds: Annotated[int, typer.Option(min=1, help="How often, with other parts and label fractions.")] = 1,
    baselines: Annotated[bool, typer.Option(help="Also a network with fresh weights, and pixels alone.")] = True,
    out: Annotated[Path | None, typer.Option(help="JSON to write.")] = None,
    bands: Annotated[str | None, typer.Option(help="Of pictures, in the order of the files: B02,B03,…")] = None,
    fill: Annotated[bool, typer.Option("--fill", help="Show bands that pictures lack as not measured.")] = False,
    stats: Annotated[
        str, typer.Option(help="Pictures are normalised by their own statistics (data) or the encoder's (encoder).")
    ] = "data",
    size_px: Annotated[int | None, typer.Option(min=8, help="Edge that pictures are brought to.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Class whose pictures count as unlabelled; repeat.")] = None,
    finetune: Annotated[int, typer.Option(min=0, help="Epochs in which a copy of the encoder learns, too.")] = 0,
    split: Annotated[Path, typer.Option(help="Of scenes: the split to probe on.")] = Path("build/split"),
    pixels: Annotated[int, typer.Option(min=100, help="Of scenes: pixels that a probe learns from.")] = 20_000,
    device: Device = "auto",
) -> None:
    """Probes frozen features: nearest neighbours and a linear layer on pictures, a linear layer per pixel on scenes.

    Scores are of the test part; the ridge of the linear layer is chosen on the validation part.
    """
    from thalweg.machine import data_path  # noqa: PLC0415
    from thalweg.manifest import write_json  # noqa: PLC0415
    from thalweg.manifest.scene import scene_files  # noqa: PLC0415
    from thalweg.probe.images import Wish  # noqa: PLC0415 - torch takes seconds; faults of arguments show first
    from thalweg.probe.results import to_json, to_lines  # noqa: PLC0415

    wish = Wish(to_fractions(labels), tuple(range(seeds)), baselines, finetune)
    named = None if bands is None else [name.strip() for name in bands.split(",")]
    place = data_path(Path(data))
    if place.is_dir() and scene_files(place):
        if finetune or named or fill or ignore:
            raise FeatureError(
                "--finetune, --bands, --fill and --ignore are for pictures; an encoder is fine-tuned on scenes by "
                "models.<member>.after in params.yaml"
            )
        keys, facts, rows = _scenes(encoder, place, split, wish, pixels, device)
    else:
        if stats not in ("data", "encoder"):
            raise FeatureError(f"--stats should be data or encoder, got '{stats}'; correct it")
        given = (str(place) if place.exists() else data, named, ignore or [], size_px)
        keys, facts, rows = _pictures(encoder, given, wish, fill, stats, device)
    for line in to_lines(rows, keys):
        typer.echo(line)
    if out:
        write_json(to_json(facts, rows), out)
        typer.echo(f"wrote {out}")


def to_fractions(text: str) -> tuple[float, ...]:
    """Shares of `1,10,100` percent.

    Raises:
        FeatureError: One is no percentage above 0.
    """
    try:
        found = tuple(float(each) / 100 for each in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 < share <= 1 for share in found):
        raise FeatureError(f"--labels should be percentages above 0 such as 1,10,100, got '{text}'; correct it")
    return found


def _pictures(
    encoder: str, given: tuple[Any, ...], wish: "Wish", fill: bool, stats: str, device: str
) -> tuple[Any, ...]:
    from thalweg.features.sources import open_encoder  # noqa: PLC0415
    from thalweg.probe.images import KEYS, Inputs, probe_pictures, statistics  # noqa: PLC0415
    from thalweg.probe.pictures import open_pictures  # noqa: PLC0415

    pictures = open_pictures(*given)
    own = statistics(pictures, wish.seeds)
    opened = open_encoder(encoder, pictures.channels, own, device)
    normalisation = own
    if stats == "encoder":
        learnt = dict(
            zip(opened.bands, zip(opened.normalisation.mean, opened.normalisation.std, strict=True), strict=True)
        )
        pairs = [learnt.get(band, (0.0, 1.0)) for band in pictures.bands]
        normalisation = own.model_copy(update={"mean": tuple(m for m, _ in pairs), "std": tuple(s for _, s in pairs)})
    inputs = Inputs(pictures, opened.bands, normalisation, fill)
    rows = probe_pictures(opened, pictures, inputs, wish, lambda each: track(each, "pictures"))
    facts = {
        "encoder": opened.name, "weights_sha256": opened.weights, "data": given[0], "classes": pictures.names,
        "pictures": len(pictures.labels), "size_px": pictures.size_px, "bands": opened.bands, "stats": stats,
    }  # fmt: skip
    return KEYS, facts, rows


def _scenes(encoder: str, scenes: Path, split: Path, wish: "Wish", pixels: int, device: str) -> tuple[Any, ...]:
    from thalweg.features.sources import open_encoder  # noqa: PLC0415
    from thalweg.manifest.card import Normalisation  # noqa: PLC0415
    from thalweg.manifest.chips import read_stats  # noqa: PLC0415
    from thalweg.probe.segmentation import Ground, probe_ground  # noqa: PLC0415

    ground = Ground.open(scenes, split)
    stats = read_stats(split, scenes.name)
    opened = open_encoder(encoder, ground.record.channels, Normalisation(mean=stats.mean, std=stats.std), device)
    rows = probe_ground(opened, ground, wish.fractions, wish.seeds, pixels, wish.baselines)
    facts = {
        "encoder": opened.name, "weights_sha256": opened.weights, "data": str(scenes), "classes": ground.names,
        "pixels": pixels, "bands": opened.bands,
    }  # fmt: skip
    return ("miou", *(f"iou_{name}" for name in ground.names)), facts, rows
