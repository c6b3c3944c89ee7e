"""Stage `preprocess`: delivered products to analysis-ready scenes on one grid."""

from functools import partial
from pathlib import Path
from typing import Annotated

import rich.progress
import typer

from thalweg import params, stage
from thalweg.executor import open_executor
from thalweg.manifest.rounds import read_round
from thalweg.params.classes import Classes
from thalweg.params.grids import GridParams
from thalweg.params.masks import Masks
from thalweg.params.round import Round
from thalweg.preprocess import build_scenes


def main(grid: Annotated[str, typer.Argument(help="Key under `grids` in params.yaml.")]) -> None:
    """Reads build/raw and the masks, writes build/scenes/<grid>/<scene>/ with image, validity, mask and scene.json."""
    masks = params.load(Masks)
    earlier = read_round(Path(params.load(Round).input))
    with stage.outs(f"build/scenes/{grid}") as [staged], open_executor() as executor:
        build_scenes(
            raw=Path("build/raw"),
            masks_input=Path(masks.input),
            grid_name=grid,
            grid=params.load(GridParams, grid),
            masks=masks,
            classes=params.load(Classes),
            target=staged,
            store=Path(".cache/scenes"),
            earlier=earlier,
            track=partial(rich.progress.track, description=f"scenes on {grid}"),
            executor=executor,
        )


if __name__ == "__main__":
    stage.run(main)
