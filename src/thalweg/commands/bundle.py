"""`thalweg bundle`: one zip that predicts elsewhere."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from thalweg.commands.bar import busy
from thalweg.errors import ArchiveError


def bundle(
    model: Annotated[Path, typer.Argument(help="models/<member> or ensembles/<name>.")],
    out: Annotated[Path | None, typer.Option(help="The zip to write. Default: <name>.zip.")] = None,
) -> None:
    """Puts a model, or an ensemble with its models, into one zip that `thalweg predict` takes anywhere."""
    if not model.is_dir():
        raise ArchiveError(f"{model} is no folder; give models/<member> or ensembles/<name>")
    with busy(f"packing {model}"), tempfile.TemporaryDirectory(prefix="thalweg.") as scratch:
        from thalweg.bundle import write_bundle  # noqa: PLC0415 - torch takes seconds
        from thalweg.predict.source import open_source  # noqa: PLC0415

        source = open_source(model, Path(scratch))
        target = out or Path(f"{source.name}.zip")
        made = write_bundle(source.name, source.members, source.ensemble, target)
    size = target.stat().st_size / 2**20
    typer.echo(f"wrote {target} ({size:.1f} MiB, {made.kind} {made.name}); elsewhere: `thalweg predict {target} IMAGE`")
