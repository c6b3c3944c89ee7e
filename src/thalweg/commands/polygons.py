"""`thalweg polygons`: a map's classes as polygons for a GIS."""

from pathlib import Path
from typing import Annotated

import typer

from thalweg.commands.bar import busy


def polygons(
    source: Annotated[Path, typer.Argument(metavar="MAP", help="A map's folder, or its classes.tif.")],
    out: Annotated[Path, typer.Option(help="Ends in .gpkg, .parquet (GeoParquet) or .geojson.")] = Path(
        "polygons.gpkg"
    ),
    classes: Annotated[list[str] | None, typer.Option("--class", help="Class to draw; repeat. Default: all.")] = None,
    min_area_m2: Annotated[float, typer.Option(min=0, help="Smaller patches go to their neighbours.")] = 0.0,
    max_hole_m2: Annotated[float, typer.Option(min=0, help="Smaller gaps in the map are filled.")] = 0.0,
    tolerance_m: Annotated[float, typer.Option(min=0, help="Simplify outlines; 0 keeps the pixels'.")] = 0.0,
) -> None:
    """Draws a map's classes as polygons that exclude each other, with area, mean probability and uncertainty."""
    from thalweg.mapfiles import read_map  # noqa: PLC0415 - the other commands need not wait for it
    from thalweg.polygons import LAYER, Rules, build_polygons  # noqa: PLC0415
    from thalweg.vectors import check_target, write_vectors  # noqa: PLC0415

    check_target(out)
    files = read_map(source)
    rules = Rules(tuple(classes or files.names), min_area_m2, max_hole_m2, tolerance_m)
    with busy(f"drawing polygons of {files.classes}"):
        table = build_polygons(files, rules)
        write_vectors(out, {LAYER: table})
    typer.echo(f"wrote {out} with {len(table)} polygons")
