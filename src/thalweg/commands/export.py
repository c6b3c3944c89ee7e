"""`thalweg export`: a trained model as ONNX or as a program of torch.export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thalweg.commands.bar import busy
from thalweg.errors import ExportError

if TYPE_CHECKING:
    from thalweg.export import Traced


def export(
    model: Annotated[Path, typer.Argument(help="models/<member>.")],
    onnx: Annotated[Path | None, typer.Option(help="ONNX file to write; `thalweg predict` runs it, too.")] = None,
    torch_export: Annotated[Path | None, typer.Option(help="Program of torch.export to write (.pt2).")] = None,
    chips: Annotated[
        Path | None, typer.Option(help="Scenes whose pixels check it. Default: build/scenes/<grid>.")
    ] = None,
) -> None:
    """Writes a model for other programs: stored pixels in, calibrated probabilities out; checked against torch."""
    with busy("loading torch"):
        from thalweg.export import TOLERANCE, check_installed, load, read_chips, trace, write_onnx, write_torch  # noqa: PLC0415 - takes seconds

    if onnx is None and torch_export is None:
        raise ExportError("say what to write: --onnx FILE.onnx or --torch-export FILE.pt2, or both")
    for path, suffix in ((onnx, ".onnx"), (torch_export, ".pt2")):
        _check_target(path, suffix)
    if onnx is not None:
        check_installed()
    with busy(f"tracing {model}"):
        deployed, card = load(model)
        pixels, where = read_chips(card, chips or Path("build/scenes") / card.grid, needed=chips is not None)
        traced = trace(deployed, card, pixels)
    if torch_export is not None:
        with busy(f"writing and checking {torch_export}"):
            difference = write_torch(deployed, traced, card, pixels, torch_export)
        _tell(torch_export, difference, traced, where, TOLERANCE)
    if onnx is not None:
        with busy(f"writing and checking {onnx}"):
            difference = write_onnx(deployed, traced, card, pixels, onnx)
        _tell(onnx, difference, traced, where, TOLERANCE)


def _check_target(path: Path | None, suffix: str) -> None:
    if path is not None and path.suffix != suffix:
        raise ExportError(f"{path} should end in {suffix}; give another name")
    if path is not None and not path.absolute().parent.is_dir():
        raise ExportError(f"{path.absolute().parent} is no folder; make it first, or give another path")


def _tell(path: Path, difference: float, traced: "Traced", where: str, limit: float) -> None:
    typer.echo(f"wrote {path}: {traced.words}")
    typer.echo(f"largest difference of a probability from torch's on {where}: {difference:.2g} (at most {limit:g})")
