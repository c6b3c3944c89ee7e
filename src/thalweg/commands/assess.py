"""`thalweg assess`: a sample of a map for interpretation in QGIS, and accuracy and area from the interpreted points."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thalweg.commands.bar import busy
from thalweg.errors import AssessError

if TYPE_CHECKING:
    from thalweg.assess.estimate import Assessment

app = typer.Typer(no_args_is_help=True, help=__doc__)


class Allocation(StrEnum):
    """How points are shared out."""

    proportional = "proportional"
    equal = "equal"
    optimal = "optimal"


_Out = Annotated[Path, typer.Option(help="GeoPackage to write.")]


@app.command()
def sample(
    source: Annotated[Path, typer.Argument(metavar="MAP", help="A map's folder, or its classes.tif.")],
    out: _Out = Path("assess.gpkg"),
    points: Annotated[int | None, typer.Option(min=2, help="Points in all; or give --target-se.")] = None,
    target_se: Annotated[float | None, typer.Option(help="Wanted standard error of the overall accuracy.")] = None,
    allocation: Annotated[Allocation, typer.Option(help="How points are shared out.")] = Allocation.proportional,
    least: Annotated[int, typer.Option(min=2, help="Points that even a rare class gets.")] = 50,
    expect: Annotated[list[str] | None, typer.Option(help="Expected user's accuracy, CLASS=0.8; repeat.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    show_class: Annotated[
        bool, typer.Option("--show-class", help="Tell the interpreter what the map says; it will sway them.")
    ] = False,
) -> None:
    """Draws a stratified random sample of a map's pixels, to be interpreted in QGIS: fill in 'reference'.

    The layer `points` does not say what the map says, and its order is random; `pixels` outlines what is to be judged.
    """
    from thalweg import qgis  # noqa: PLC0415
    from thalweg.assess import design  # noqa: PLC0415 - the other commands need not wait for it
    from thalweg.assess.estimate import DRAWN, PIXELS, POINTS, STRATA  # noqa: PLC0415
    from thalweg.mapfiles import read_map  # noqa: PLC0415
    from thalweg.vectors import check_target, write_vectors  # noqa: PLC0415

    _check_new(out)
    check_target(out)
    files = read_map(source)
    with busy(f"measuring the classes of {files.classes}"):
        strata = design.read_strata(files)
    users = _expected(expect or [], strata.names)
    if points is None:
        if target_se is None or users is None:
            raise AssessError("say how many points there should be: give --points, or --target-se and --expect")
        points = design.sample_size(strata, users, target_se)
    counts = design.allocate(strata, points, allocation.value, least, users)
    with busy("drawing points"):
        drawn = design.draw(files, strata, counts, seed)
    points_layer = drawn.drop(columns=["stratum"] if show_class else ["stratum", "map_class"])
    for field in ("note", "reference"):
        points_layer.insert(1 + show_class, field, None)
    styles = {POINTS: qgis.choice_form("reference", files.names, "#d7191c"), PIXELS: qgis.outlines("#d7191c")}
    write_vectors(out, {
        POINTS: points_layer, PIXELS: design.to_pixels(files, drawn), DRAWN: drawn.drop(columns="geometry"),
        STRATA: strata.table(files.names, counts), qgis.TABLE: qgis.styles(styles),
    })  # fmt: skip
    for name, area, count in zip(strata.names, strata.area_ha, counts, strict=True):
        typer.echo(f"{name:24} {area:14.1f} ha {count:6d} points")
    if users is not None:
        overall, each = design.expected_errors(strata, counts, users)
        said = ", ".join(f"{name} {error:.3f}" for name, error in zip(strata.names, each, strict=True))
        typer.echo(f"expected standard errors: overall {overall:.4f}; user's {said}")
    typer.echo(f"wrote {out}; write into 'reference' what is there, then `thalweg assess estimate {out}`")


@app.command()
def estimate(
    points: Annotated[Path, typer.Argument(help="The interpreted GeoPackage.")],
    out: Annotated[Path | None, typer.Option(help="JSON to write.")] = None,
) -> None:
    """Error matrix, accuracies and error-adjusted areas with 95 % intervals (Olofsson et al. 2014)."""
    from thalweg.assess.estimate import assess  # noqa: PLC0415
    from thalweg.manifest import write_record  # noqa: PLC0415

    with busy(f"reading {points}"):
        found = assess(points)
    for line in _iter_lines(found):
        typer.echo(line)
    if out:
        write_record(found, out)
        typer.echo(f"wrote {out}")


def _check_new(out: Path) -> None:
    if out.exists():
        raise AssessError(f"{out} is there already and may hold interpreted points; remove it, or give another --out")


def _expected(given: Sequence[str], names: Sequence[str]) -> list[float] | None:
    if not given:
        return None
    pairs = dict(each.partition("=")[::2] for each in given)
    if set(pairs) != set(names):
        raise AssessError(f"--expect names {', '.join(pairs)}, but the map has {', '.join(names)}; give one of each")
    try:
        users = [float(pairs[name]) for name in names]
    except ValueError as error:
        raise AssessError(f"--expect should be CLASS=0.8, got {' '.join(given)}; correct it") from error
    if not all(0 <= value <= 1 for value in users):
        raise AssessError(f"--expect should be from 0 to 1, got {' '.join(given)}; correct it")
    return users


def _iter_lines(found: "Assessment") -> Iterator[str]:
    names = list(found.classes)
    yield f"{found.points} points, rows map, columns reference, shares of area: {', '.join(names)}"
    for name, row in zip(names, found.shares, strict=True):
        yield f"{name:24} " + " ".join(f"{share:8.4f}" for share in row)
    yield f"overall accuracy {found.overall.value:.3f} ± {found.overall.margin:.3f}"
    for name, each in found.classes.items():
        users, producers = (
            f"{share.value:.3f} ± {share.margin:.3f}" if share else "–" for share in (each.users, each.producers)
        )
        yield (
            f"{name:24} user's {users}, producer's {producers}, mapped {each.mapped_ha:.1f} ha, "
            f"area {each.area.value:.1f} ± {each.area.margin:.1f} ha"
        )
