"""Stage `yardstick@<name>`: gradient boosting, which every network has to beat."""

from pathlib import Path
from typing import Annotated

import typer

from thalweg import params, stage
from thalweg.params.classes import Classes
from thalweg.params.yardsticks import Yardstick


def main(name: Annotated[str, typer.Argument(help="Key under `yardsticks` in params.yaml.")]) -> None:
    """Grows trees on training pixels and their neighbourhoods, and examines them on the val and test parts.

    Reads build/scenes/<grid> and build/split/<grid>. Writes models/<name>/ (weights, card), build/heldout/<name>/ and
    metrics/<name>.json, as a member's training does.
    """
    chosen, classes = params.load(Yardstick, name), params.load(Classes)

    from thalweg.yardstick import Places, fit_yardstick  # noqa: PLC0415 - torch takes seconds; faults of params first

    with stage.outs(f"models/{name}", f"build/heldout/{name}", f"metrics/{name}.json") as [model, heldout, metrics]:
        places = Places(Path("build/scenes", chosen.grid), Path("build/split"), model, heldout, metrics)
        fit_yardstick(name, chosen, classes, places)


if __name__ == "__main__":
    stage.run(main)
