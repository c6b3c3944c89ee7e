"""`thalweg lines`: centrelines of a class of a map."""

from pathlib import Path
from typing import Annotated

import typer

from thalweg.commands.bar import busy


def lines(
    source: Annotated[Path, typer.Argument(metavar="MAP", help="A map's folder, or its classes.tif.")],
    name: Annotated[str, typer.Option("--class", help="The class, e.g. palaeochannel.")],
    max_width_m: Annotated[float, typer.Option(min=0, help="Largest width of what is a line.")],
    out: Annotated[Path, typer.Option(help="Ends in .gpkg, .parquet (GeoParquet) or .geojson.")] = Path("lines.gpkg"),
    spur_widths: Annotated[float, typer.Option(min=0, help="Dead ends shorter than so many widths go.")] = 2.0,
    min_length_m: Annotated[float, typer.Option(min=0, help="Connected lines shorter together go.")] = 0.0,
    tolerance_m: Annotated[float | None, typer.Option(min=0, help="Of smoothing. Default: a pixel.")] = None,
) -> None:
    """Draws the centrelines of a class with their length, mean width and mean probability."""
    from thalweg.centrelines import LAYER, LineRules, build_lines  # noqa: PLC0415 - other commands need not wait
    from thalweg.mapfiles import read_map  # noqa: PLC0415
    from thalweg.vectors import check_target, write_vectors  # noqa: PLC0415

    check_target(out)
    files = read_map(source)
    with busy(f"drawing lines of {name}"):
        table = build_lines(files, LineRules(name, max_width_m, spur_widths, min_length_m, tolerance_m))
        write_vectors(out, {LAYER: table})
    typer.echo(f"wrote {out} with {len(table)} lines of {table['length_m'].sum() / 1000:.2f} km in all")
