"""Stage `pretrain@<encoder>`: an encoder that learns from images without labels."""

from pathlib import Path
from typing import Annotated

import typer

from thalweg import params, stage
from thalweg.machine import runs_root
from thalweg.params.encoders import EncoderParams
from thalweg.params.train import Train


def main(encoder: Annotated[str, typer.Argument(help="Key under `encoders` in params.yaml.")]) -> None:
    """Pre-trains an encoder on training ground of its grid's scenes, with or without labels.

    Reads build/scenes/<grid> and build/split. Writes encoders/<encoder>/ (weights, card, history) and
    metrics/encoders/<encoder>.json; logs go to runs/encoders/<encoder>/<time>/. A killed training goes on where it was
    when it is run again with the same params, data and code.
    """
    chosen, train = params.load(EncoderParams, encoder), params.load(Train)

    from thalweg.pretrain.run import Places, pretrain_encoder  # noqa: PLC0415 - torch takes seconds; faults first

    with stage.outs(f"encoders/{encoder}", f"metrics/encoders/{encoder}.json") as [folder, metrics]:
        places = Places(
            scenes=Path("build/scenes", chosen.grid), split=Path("build/split"), encoder=folder, metrics=metrics,
            runs=runs_root(), resume=Path(".cache/resume"))  # fmt: skip
        pretrain_encoder(encoder, chosen, train, places)


if __name__ == "__main__":
    stage.run(main)
