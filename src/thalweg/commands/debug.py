"""`thalweg debug`: a member's training cut short by a preset of recipes/presets, beside the pipeline."""

from pathlib import Path
from typing import Annotated

import typer

from thalweg import params
from thalweg.machine import runs_root


def debug(
    preset: Annotated[str, typer.Argument(help="File name in recipes/presets: overfit, few, anomaly, fast.")],
    member: Annotated[str, typer.Argument(help="Key under `models` in params.yaml.")],
) -> None:
    """Trains a member on a few chips to find a fault; touches no out and no metric, and DVC sees nothing of it."""
    from thalweg import trial  # noqa: PLC0415 - torch takes seconds; faults of arguments show first
    from thalweg.params.classes import Classes  # noqa: PLC0415
    from thalweg.params.models import Member  # noqa: PLC0415
    from thalweg.params.presets import FOLDER, read_preset  # noqa: PLC0415
    from thalweg.params.train import Train  # noqa: PLC0415

    chosen = read_preset(preset, Path.cwd())
    block, machine = params.load(Member, member), params.load(Train)
    block, machine = chosen.apply(member, block, machine, FOLDER / f"{preset}.yaml")
    typer.echo(f"{preset}: {chosen.about}")
    home = runs_root() / "debug" / preset
    done = trial.run(member, block, machine, params.load(Classes), chosen, Path("build"), home)
    typer.echo(
        f"training loss {done.losses[0]:.4g} in the first epoch, {done.losses[-1]:.4g} in the last of "
        f"{len(done.losses)}; all is in {done.folder.parent}"
    )
