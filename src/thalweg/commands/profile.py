"""`thalweg profile`: where the time of a member's training goes, without training it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thalweg.commands.said import Device

if TYPE_CHECKING:
    from thalweg.profiling.data import Bench

app = typer.Typer(no_args_is_help=True, help=__doc__)
_BUILD = Path("build")
_Member = Annotated[str, typer.Argument(help="Key under `models` in params.yaml.")]


@app.command()
def data(
    member: Annotated[str | None, typer.Option(help="Key under `models`; the first if not given.")] = None,
    loops: Annotated[int, typer.Option(min=1, help="Epochs of the loader.")] = 3,
    batches: Annotated[int | None, typer.Option(min=1, help="Batches of an epoch; all if not given.")] = None,
    show: Annotated[Path | None, typer.Option(help="PNG of the first batch to write.")] = None,
) -> None:
    """Times setting up a member's data and its loader's batches: min, mean and max, and chips per second."""
    from thalweg.profiling.data import draw_batch, run_loader  # noqa: PLC0415 - torch takes seconds

    bench = _bench(member)
    chips = run_loader(bench, loops, batches)
    _tell(bench)
    seconds = bench.watch.seconds("epoch of batches")
    typer.echo(f"{chips} chips in {seconds:.2f} s: {chips / max(seconds, 1e-9):.1f} chips/s, "
               f"{1e3 * seconds / chips:.2f} ms each")  # fmt: skip
    if show:
        draw_batch(bench, _colors(), show)
        typer.echo(f"wrote {show}: a chip per row, on disk and as the network sees it")


@app.command()
def model(
    member: _Member,
    steps: Annotated[int, typer.Option(min=1, help="Steps on one batch in memory.")] = 20,
    epochs: Annotated[int, typer.Option(min=0, help="Epochs with the loader, timed bare.")] = 1,
    device: Device = "auto",
) -> None:
    """Times steps of a network, split into forward, backward and optimiser, and whole epochs; and says its memory."""
    from thalweg.profiling.model import facts, run_epochs, run_steps  # noqa: PLC0415 - torch takes seconds

    bench = _bench(member)
    run_steps(bench, device, steps)
    _tell(bench)
    bench.watch.taken.clear()
    if epochs:
        chips = run_epochs(bench, device, epochs)
        seconds = bench.watch.seconds("epoch")
        _tell(bench)
        typer.echo(f"{chips} chips trained on in {seconds:.2f} s: {chips / max(seconds, 1e-9):.1f} chips/s")
    for name, value in facts(bench, device).items():
        typer.echo(f"{name:<40}{value:>14,.3f}".rstrip("0").rstrip("."))


def _bench(member: str | None) -> "Bench":
    from thalweg import params  # noqa: PLC0415
    from thalweg.params.classes import Classes  # noqa: PLC0415
    from thalweg.params.models import Member  # noqa: PLC0415
    from thalweg.params.train import Train  # noqa: PLC0415
    from thalweg.profiling.data import set_up  # noqa: PLC0415

    name = member or next(iter(params.load_items(Member)))
    return set_up(name, params.load(Member, name), params.load(Train), params.load(Classes), _BUILD)


def _colors() -> tuple[str, ...]:
    from thalweg import params  # noqa: PLC0415
    from thalweg.params.classes import Classes  # noqa: PLC0415

    return tuple(info.color for info in params.load(Classes).legend)


def _tell(bench: "Bench") -> None:
    for line in bench.watch.lines():
        typer.echo(line)
