"""Stage `ensemble@<name>`: one georeferenced map of several members."""

from pathlib import Path
from typing import Annotated

import rich.progress
import typer

from thalweg import params, stage
from thalweg.executor import open_executor
from thalweg.params.classes import Classes
from thalweg.params.ensembles import Ensemble


def main(name: Annotated[str, typer.Argument(help="Key under `ensembles` in params.yaml.")]) -> None:
    """Maps an ensemble's scenes with all its members.

    In: models/, build/scenes, build/split. Out: maps/<name>/ (probabilities, classes and uncertainty as COGs, a QGIS
    style), ensembles/<name>/card.json, metrics/ensemble/<name>.json.
    """
    chosen, classes = params.load(Ensemble, name), params.load(Classes)

    from thalweg.ensemble import build_map  # noqa: PLC0415 - torch takes seconds; faults of params show first

    targets = (f"maps/{name}", f"ensembles/{name}", f"metrics/ensemble/{name}.json")
    with stage.outs(*targets) as [map_dir, card_dir, metrics_path], open_executor(gpu=True) as executor:
        build_map(
            name,
            chosen,
            classes,
            models=Path("models"),
            scenes_root=Path("build/scenes"),
            split=Path("build/split"),
            map_dir=map_dir,
            card_dir=card_dir,
            metrics_path=metrics_path,
            track=rich.progress.track,
            resume=Path(".cache/resume/ensemble"),
            place=Path(targets[0]),
            executor=executor,
        )


if __name__ == "__main__":
    stage.run(main)
