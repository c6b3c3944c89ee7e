"""Hands a finished member to Weights & Biases as its users know it: artifacts of model and split, scores beside."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger

FOLDER = "artifacts"
"""In the run's folder: what artifacts hold, so that `wandb sync` finds it when outs have moved on."""


def hand_over(loggers: Sequence[Any], run: Path, member: str, files: Mapping[str, Mapping[str, Path]],
              scores: Mapping[str, Any]) -> None:  # fmt: skip
    """Logs artifacts and scores with every logger of Weights & Biases, and ends its run; nothing without one.

    Args:
        loggers: Of the training.
        run: Folder of this run's logs.
        member: Whose run it is; the artifact of type `model` has its name, that of another type `<member>-<type>`.
        files: Type of artifact → name in it → file.
        scores: Part → metric → value.
    """
    services = [logger for logger in loggers if isinstance(logger, WandbLogger)]
    for logger in services:
        import wandb  # noqa: PLC0415 - an extra

        for kind, parts in files.items():
            artifact = wandb.Artifact(member if kind == "model" else f"{member}-{kind}", kind, metadata=dict(scores))
            for name, path in parts.items():
                artifact.add_file(str(_copied(path, run / FOLDER / kind / name)), name, policy="immutable")
            logger.experiment.log_artifact(artifact)
        flat = {f"{part}/{name}": value for part, found in scores.items() for name, value in found.items()}
        logger.experiment.summary.update(flat)
        logger.experiment.finish()


def _copied(path: Path, place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, place)
    return place.absolute()
