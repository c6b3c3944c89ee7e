"""Lightning's loggers by name: files in the run's folder, and services as extras, offline unless told otherwise."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import loggers as lightning
from lightning.pytorch.profilers import Profiler, SimpleProfiler

from thalweg.errors import TrainingError

PROJECT = "thalweg"
_EXTRAS = {"wandb": "wandb", "mlflow": "mlflow", "comet": "comet_ml"}
"""Logger → its module."""


def build(names: Iterable[str], run: Path, member: str, settings: Mapping[str, Any]) -> list[Any]:
    """The loggers of one run.

    Args:
        names: As in `train.loggers`.
        run: Folder of this run's logs.
        member: Whose run it is.
        settings: What services show beside the curves.

    Raises:
        TrainingError: A logger's package is not installed.
    """
    return [_one(name, run, member, settings) for name in names]


def profiler(name: str | None, run: Path) -> Profiler | None:
    """Lightning's own profiler, `fit-profile.txt` in the run's folder, where `train.profiler` is simple."""
    return SimpleProfiler(dirpath=run, filename="profile") if name == "simple" else None


def _one(name: str, run: Path, member: str, settings: Mapping[str, Any]) -> Any:
    if name == "csv":
        return lightning.CSVLogger(run.parent, "", run.name)
    if name == "tensorboard":
        return lightning.TensorBoardLogger(run.parent, "", run.name, default_hp_metric=False)
    try:
        service = _service(name, run, f"{member} {run.name}")
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"train.loggers names {name}, but {_EXTRAS[name]} is not installed ({' '.join(str(error).split())[:200]}); "
            f"run `.venv/bin/pip install {_EXTRAS[name].replace('_', '-')}`, or take {name} out"
        ) from error
    service.log_hyperparams(dict(settings))
    return service


def _service(name: str, run: Path, title: str) -> Any:
    run.mkdir(parents=True, exist_ok=True)
    if name == "wandb":
        import wandb  # noqa: PLC0415 - an extra

        wandb.finish()  # what a training in this process left open that failed: Lightning would go on in its run
        offline = os.environ.get("WANDB_MODE", "offline") != "online"
        return lightning.WandbLogger(title, save_dir=run, project=PROJECT, offline=offline)
    if name == "mlflow":
        # MLflow 3 warns of its folders of files; one SQLite file per run is read by `mlflow ui` all the same
        where = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{run.absolute() / 'mlflow.db'}")
        return lightning.MLFlowLogger(PROJECT, title, where, artifact_location=str(run / "mlflow"))
    return lightning.CometLogger(project=PROJECT, online="COMET_API_KEY" in os.environ, offline_directory=str(run))
