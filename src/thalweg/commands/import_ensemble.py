"""`thalweg import-ensemble`: torchbearer's ensemble file as a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from thalweg.errors import ParamsError


def import_ensemble(
    file: Annotated[Path, typer.Argument(help="torchbearer's configs/ensemble.yaml.")],
    base: Annotated[Path, typer.Option(help="Recipe that gives what is not said.")] = Path("recipes/chaco.yaml"),
    out: Annotated[Path, typer.Option(help="The recipe to write.")] = Path("recipes/ensemble.yaml"),
) -> None:
    """Turns torchbearer's ensemble, and the jobs behind its checkpoints, into a recipe; says what it could not map."""
    from thalweg import ensemble_jobs  # noqa: PLC0415 - the other commands need not wait for it

    if out.exists():
        raise ParamsError(f"{out} is there already; remove it, or give another name by --out")
    imported = ensemble_jobs.import_ensemble(file, base)
    out.write_text(imported.recipe, "utf-8")
    for note in imported.notes:
        typer.secho(f"not mapped: {note}", fg="yellow", err=True)
    typer.echo(f"wrote {out} with {', '.join(imported.members)}; look it over, then `make use RECIPE={out.stem}`")
