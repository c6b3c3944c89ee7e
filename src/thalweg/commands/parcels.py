"""`thalweg parcels`: what a map says of fields, and how often it is right."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thalweg import params
from thalweg.commands.bar import busy
from thalweg.errors import ParcelError

if TYPE_CHECKING:
    from thalweg.mapfiles import MapFiles
    from thalweg.parcels.ground import Ground

_SCENES, _SPLIT = Path("build/scenes"), Path("build/split")


def parcels(
    source: Annotated[str, typer.Argument(metavar="MAP", help="A map's folder, its classes.tif, or an ensemble.")],
    parcels: Annotated[
        list[Path], typer.Option(help="Outlines, or rasters of parcel numbers (GeoTIFF, NetCDF); repeat for rasters.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write into.")],
    border_m: Annotated[float, typer.Option(min=0, help="Pixels nearer to their parcel's edge do not vote.")] = 10.0,
    regions: Annotated[Path | None, typer.Option(help="Areas that get scores of their own.")] = None,
    region_name: Annotated[str | None, typer.Option(help="Field of their names; default: name.")] = None,
    layer: Annotated[str | None, typer.Option(help="Of the outlines; default: the first.")] = None,
    id_field: Annotated[str | None, typer.Option("--id", help="Field that names a parcel; default: 1, 2, …")] = None,
    truth: Annotated[
        str | None, typer.Option(help="Field with a parcel's class; default: what most of its labelled pixels have.")
    ] = None,
    band: Annotated[str, typer.Option(help="Variable of NetCDF files.")] = "parcels/parcels",
    grid: Annotated[str | None, typer.Option(help="Whose masks are the truth; default: nearest in resolution.")] = None,
) -> None:
    """Majority vote and mean probability per parcel; scores of pixels and parcels, on test ground alone.

    Reads masks and parts from build/scenes and build/split. A parcel that reaches onto training or validation ground is
    not scored. Writes parcels.gpkg, and tables: parcels, scores, classes, confusion, patches, regions.
    """
    from thalweg.mapfiles import read_map  # noqa: PLC0415 - the other commands need not wait for it
    from thalweg.parcels import assess_parcels, write_assessed  # noqa: PLC0415
    from thalweg.parcels.sources import Regions, open_parcels  # noqa: PLC0415

    path = Path(source) if Path(source).exists() else Path("maps", source)
    files = read_map(path)
    if missing := [each for each in (*parcels, *([regions] if regions else [])) if not each.is_file()]:
        raise ParcelError(f"{missing[0]} is missing; give the path of a file")
    with busy("asking the map about each parcel"):
        fields = open_parcels(parcels, files.grid, layer, id_field, truth, band)
        areas = None if regions is None else Regions(regions, files.grid, region_name)
        ground = _ground(files, grid)
        found = assess_parcels(files, fields, ground, border_m, areas)
        write_assessed(found, out)
    typer.echo(f"wrote {out} with {len(found.parcels)} parcels, {int(found.parcels['label'].notna().sum())} on the map")
    if not found.scores:
        why = f"there is no {_SPLIT}" if ground is None else "no test ground under the map has a truth"
        typer.echo(f"nothing is scored: {why}")
        return
    for row in found.scores["scores"].itertuples():
        typer.echo(f"{row.level:16} {row.count:10d}  accuracy {row.accuracy:.3f}  macro F1 {row.macro_f1:.3f}")


def _ground(files: "MapFiles", name: str | None) -> "Ground | None":
    """Truth and parts of the grid whose pixels are most like the map's; None without a split."""
    from thalweg.guard import scenes_of  # noqa: PLC0415
    from thalweg.params.classes import Classes  # noqa: PLC0415
    from thalweg.parcels.ground import Ground  # noqa: PLC0415

    if not _SPLIT.is_dir():
        return None
    legend = params.load(Classes)
    if tuple(legend.names) != files.names:
        raise ParcelError(
            f"{files.classes} has the classes {', '.join(files.names)}, but params.yaml has {', '.join(legend.names)}; "
            "take the map of this project's params"
        )
    grids = {each: list(scenes.values()) for each, scenes in scenes_of(_SCENES, _SPLIT).items() if scenes}
    if name is not None and name not in grids:
        raise ParcelError(f"there is no grid '{name}' in {_SPLIT}, but {', '.join(grids)}; correct --grid")
    pixel_m = files.grid.pixel_m_yx[0]
    nearest = min(grids, key=lambda each: abs(grids[each][0].grid.pixel_m_yx[0] - pixel_m))
    return Ground(grids[name or nearest], _SPLIT, files.grid)
