"""Stage train: one member of the ensemble-to-be, trained and examined on held-out ground."""

from pathlib import Path
from typing import Annotated

import typer

from thalweg import params, stage
from thalweg.machine import runs_root
from thalweg.params.classes import Classes
from thalweg.params.models import Member
from thalweg.params.train import Train


def main(member: Annotated[str, typer.Argument(help="Key under `models` in params.yaml.")]) -> None:
    """Trains one member on its grid's scenes and split, and examines it on the val and test parts.

    Reads build/scenes/<grid> and build/split/<grid>. Writes models/<member>/ (weights, card), build/heldout/<member>/
    (scores, pictures), build/history/<member>.csv and metrics/<member>.json; logs go to runs/<member>/<time>/. A killed
    training goes on where it was when it is run again with the same params, data and code.
    """
    chosen = params.load(Member, member)
    train, classes = params.load(Train), params.load(Classes)

    from thalweg.train import Places, train_member  # noqa: PLC0415 - torch takes seconds; faults of params show first

    outs = (f"models/{member}", f"build/heldout/{member}", f"build/history/{member}.csv", f"metrics/{member}.json")
    with stage.outs(*outs) as [model, heldout, history, metrics]:
        places = Places(
            scenes=Path("build/scenes", chosen.grid), split=Path("build/split"), model=model, heldout=heldout,
            history=history, metrics=metrics, runs=runs_root(), resume=Path(".cache/resume"),
            after=None if chosen.after == params.NOTHING else Path(chosen.after), cache=Path(".cache"))  # fmt: skip
        train_member(member, chosen, train, classes, places)


if __name__ == "__main__":
    stage.run(main)
