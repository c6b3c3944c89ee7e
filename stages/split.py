"""Stage `split`."""

from functools import partial
from pathlib import Path

import rich.progress

from thalweg import params, stage
from thalweg.executor import open_executor
from thalweg.manifest.rounds import read_round
from thalweg.params.classes import Classes
from thalweg.params.grids import GridParams
from thalweg.params.round import Round
from thalweg.params.split import Split
from thalweg.split.build import build_split


def main() -> None:
    """Divides the ground of build/scenes into train, val and test blocks: build/split with chips and statistics."""
    grids = params.load_items(GridParams)
    earlier = read_round(Path(params.load(Round).input))
    with stage.outs("build/split") as [target], open_executor() as executor:
        build_split(
            Path("build/scenes"), tuple(grids), params.load(Split), params.load(Classes), target, earlier,
            partial(rich.progress.track, description="statistics of scenes"), executor,
        )  # fmt: skip


if __name__ == "__main__":
    stage.run(main)
