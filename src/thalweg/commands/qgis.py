"""`thalweg qgis`: what lies in the project, as a QGIS project."""

from pathlib import Path
from typing import Annotated

import typer

from thalweg import params
from thalweg.commands.bar import busy
from thalweg.params.classes import Classes


def qgis(
    out: Annotated[Path, typer.Option(help="Folder of the QGIS project; its paths are relative.")] = Path("qgis"),
) -> None:
    """Writes a QGIS project with all maps, blocks by part, chips, and scenes with their masks; open thalweg.qgs."""
    from thalweg.guard import BLOCKS, scenes_of  # noqa: PLC0415 - the other commands need not wait for it
    from thalweg.qgis_project import PROJECT, write_project  # noqa: PLC0415

    root = Path.cwd()
    split = root / "build" / "split"
    with busy("reading scenes and chips"):
        scenes = scenes_of(root / "build" / "scenes", split) if (split / BLOCKS).is_file() else {}
        count = write_project(root, scenes, params.load(Classes).legend, out)
    typer.echo(f"wrote {out / PROJECT} with {count} layers; run `qgis {out / PROJECT}`")
