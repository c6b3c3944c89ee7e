"""Stage crossval: one member, trained and tested on every spatial fold, and on a random split to know its optimism."""

from pathlib import Path
from typing import Annotated

import typer

from thalweg import params, stage
from thalweg.machine import runs_root
from thalweg.params.classes import Classes
from thalweg.params.crossval import Crossval
from thalweg.params.models import Member
from thalweg.params.split import Split
from thalweg.params.train import Train


def main(member: Annotated[str, typer.Argument(help="Key under `crossval` in params.yaml.")]) -> None:
    """Cross-validates one member over spatial folds, and on a random split if asked for.

    Reads build/scenes/<grid>. Writes metrics/crossval/<member>.json: scores per fold, their mean and spread, those of
    all folds together, and what a random split would have made believe. A killed run goes on where it was when it is
    run again with the same params, data and code.
    """
    crossval, chosen = params.load(Crossval, member), params.load(Member, member)
    split, train, classes = params.load(Split), params.load(Train), params.load(Classes)

    from thalweg.crossval import Places, Settings, cross_validate  # noqa: PLC0415 - faults of params show before torch

    with stage.outs(f"metrics/crossval/{member}.json") as [metrics]:
        settings = Settings(chosen, crossval, split, train, classes)
        places = Places(Path("build/scenes"), metrics, runs_root().joinpath("crossval"), Path(".cache/crossval"))
        cross_validate(member, settings, places)


if __name__ == "__main__":
    stage.run(main)
