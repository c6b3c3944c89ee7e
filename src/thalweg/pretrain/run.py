"""Pre-trains one encoder and writes its weights, card and history."""

import importlib.metadata
import math
import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch

from thalweg import resume, trainer
from thalweg.dataset import augment
from thalweg.errors import DegradedDataWarning, TrainingError
from thalweg.manifest import write_record
from thalweg.manifest.card import Normalisation
from thalweg.manifest.encoder import SCHEMA, EncoderCard, EncoderFigures, write_encoder_card
from thalweg.manifest.provenance import git_commit
from thalweg.manifest.scene import scene_files
from thalweg.models import Network
from thalweg.params import NOTHING
from thalweg.params.encoders import EncoderParams
from thalweg.params.train import Train
from thalweg.pretrain import collapse, methods
from thalweg.pretrain.data import Data, loader, read_data
from thalweg.pretrain.encoder import build_encoder, save_encoder
from thalweg.pretrain.method import Method, Plan
from thalweg.pretrain.task import PretrainTask
from thalweg.pretrain.views import Light
from thalweg.resume import Keeper
from thalweg.watch import loggers
from thalweg.watch.record import Record, recorded
from thalweg.watch.timings import Timings

PACKAGES = ("lightly", "lightning", "numpy", "segmentation-models-pytorch", "thalweg", "timm", "torch")
CODE = (
    "dataset/*.py",
    "models/__init__.py",
    "pretrain/*.py",
    "pretrain/methods/__init__.py",
    "resume.py",
    "trainer.py",
)
"""What a pre-training follows from, beside its method's file."""
HISTORY = "history.csv"
_WATCH = ("feature_std", "rank", "alignment", "uniformity")
_ORDER = ("epoch", "loss", *_WATCH, "momentum", "lr")
_LOOKS_ON = {"loggers", "watch", "profiler", "workers"}
"""Params of a training that change nothing of its result."""


@dataclass(frozen=True)
class Places:
    """Where a pre-training reads and writes."""

    scenes: Path
    """`build/scenes/<grid>`."""
    split: Path
    """`build/split`."""
    encoder: Path
    """Out: folder of weights, card and history."""
    metrics: Path
    """Out: JSON of the watch's figures."""
    runs: Path
    """Logs, timings, hardware; outside the outs."""
    resume: Path
    """What a killed training leaves for the next."""


def pretrain_encoder(name: str, params: EncoderParams, train: Train, places: Places) -> None:
    """Pre-trains and writes one encoder; a killed training is picked up where it was.

    Args:
        name: The encoder's key in params.yaml.
        params: Its block.
        train: The machine.
        places: Inputs and outs.

    Raises:
        TrainingError: There is nothing to learn from, another process trains the encoder, training fails, or its
            features collapsed and params say that this is a failure.
        ParamsError: Method, options or encoder do not exist or do not fit.
    """
    with resume.held(places.resume / "encoders", name):
        sections = {"train": train, f"encoders.{name}": params}
        with recorded(places.runs / "encoders", name, sections) as record:
            data = read_data(name, params, places.scenes, places.split)
            task = build_task(name, params, data)
            record.add_model(task.method)
            state = places.resume / "encoders" / name / _fingerprint(params, train, places) / resume.STATE
            keeper = _fit(task, train, data, record, state)
            _write(task, keeper, data, places)
            record.add(epochs=len(keeper.history), steps_without_ground=task.skipped)
            shutil.rmtree(state.parent, ignore_errors=True)


def build_task(name: str, params: EncoderParams, data: Data) -> PretrainTask:
    """The task with fresh weights, which follow from the seed."""
    pl.seed_everything(params.seed, workers=True, verbose=False)
    method = build_method(params, len(data.channels), build_encoder)
    normalisation = Normalisation(mean=data.stats.mean, std=data.stats.std)
    network = Network(method, data.channels, normalisation)
    wavelengths = [math.nan if c.wavelength_nm is None else c.wavelength_nm for c in data.channels]
    std = torch.tensor(normalisation.std)
    light = Light(augment.Radiometry(network.bias, network.reflectance), torch.where(std > 0, std, 1.0),
                  torch.tensor(wavelengths))  # fmt: skip
    return PretrainTask(name, params, network, light)


def build_method(params: EncoderParams, channels: int, build: Any) -> Method:
    """The method around its encoder, made by `build`.

    Raises:
        ParamsError: One of them does not exist, takes no such options, or not the views or their sizes.
    """
    encoder = build(params.encoder, channels, params.depth)
    methods.check_sizes(encoder, params.crops)
    method = methods.build(params.method, encoder, params.options, Plan(channels, params.crops, params.max_epochs))
    methods.check_views(params, method)
    return method


def _fit(task: PretrainTask, train: Train, data: Data, record: Record, state: Path) -> Keeper:
    if train.devices > 1:
        raise TrainingError(f"train.devices is {train.devices}, but one encoder trains on one device; set it to 1")
    params, batches = task.params, loader(task.params, train, data, task.method.seasons)
    keeper = Keeper(state, dict, "")
    on_terminal = sys.stderr.isatty()
    lines = [] if on_terminal else [trainer.EpochLines(("loss", "feature_std", "rank", "alignment", "lr"))]
    batch = f"batch_size {params.batch_size} × crops.wide_px {params.crops.wide_px}"
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # filling costs a tenth
    with trainer.quiet(), trainer.translated(f"encoders.{task.name}", batch, train):
        runner = pl.Trainer(
            **trainer.alone(), accelerator=train.accelerator,
            precision=trainer.precision(train), gradient_clip_val=params.clip_norm, max_epochs=params.max_epochs,
            callbacks=[Timings(record.folder), keeper, *lines],
            logger=loggers.build(train.loggers, record.folder, task.name, params.model_dump(mode="json")),
            profiler=loggers.profiler(train.profiler, record.folder), deterministic="warn", num_sanity_val_steps=0,
            use_distributed_sampler=False, enable_model_summary=False, enable_progress_bar=on_terminal,
            log_every_n_steps=len(batches))  # fmt: skip
        runner.fit(task, batches, ckpt_path=resume.found(state), weights_only=False)
    record.add(device=str(runner.strategy.root_device), resumed_from_epoch=keeper.resumed_from)
    return keeper


def _write(task: PretrainTask, keeper: Keeper, data: Data, places: Places) -> None:
    last = keeper.history[-1]
    watch: dict[str, float] = {key: last[key] for key in _WATCH if key in last}
    said = collapse.verdict(task.name, watch, task.params.collapse)
    if said and task.params.collapse.then == "fail":
        raise TrainingError(said)
    if said:
        warnings.warn(said, DegradedDataWarning, stacklevel=2)
    save_encoder(task.method.kept, places.encoder)
    write_encoder_card(_card(task, data, watch, said, len(keeper.history)), places.encoder)
    table = pd.DataFrame(keeper.history)
    columns = [key for key in _ORDER if key in table.columns]
    table.reindex(columns=columns).to_csv(places.encoder / HISTORY, index=False, float_format="%.6g")
    figures = EncoderFigures(
        encoder=task.name, method=task.params.method, loss=last["loss"], feature_std=watch["feature_std"],
        rank=watch["rank"], uniformity=watch["uniformity"], alignment=watch.get("alignment"), collapsed=said,
    )  # fmt: skip
    write_record(figures, places.metrics)


def _card(task: PretrainTask, data: Data, watch: dict[str, float], said: str | None, epochs: int) -> EncoderCard:
    params, sizes = task.params, data.pixels_m
    learnt = [data.sites.scenes[name].record for name in sorted({str(scene) for scene in data.chips["scene"]})]
    return EncoderCard(
        schema_version=SCHEMA, encoder=task.name, method=params.method, options=params.options,
        architecture=params.encoder, depth=params.depth, grid=params.grid, pixel_m=round(float(np.mean(sizes)), 6),
        pixel_m_range=(round(min(sizes), 6), round(max(sizes), 6)), channels=data.channels,
        normalisation=Normalisation(mean=data.stats.mean, std=data.stats.std), parts=params.parts,
        positives=params.positives, chips=len(data.chips), watch=watch, collapsed=said, epochs=epochs,
        git_commit=git_commit(), products=tuple(sorted({record.product for record in learnt})),
        packages={package: importlib.metadata.version(package) for package in PACKAGES})  # fmt: skip


def _fingerprint(params: EncoderParams, train: Train, places: Places) -> str:
    room = Path(__file__).parents[1]
    code = [path for pattern in (*CODE, f"pretrain/methods/{params.method}.py") for path in room.glob(pattern)]
    split = places.split / params.grid
    records = [split / "chips.parquet", split / "stats.json", *scene_files(places.scenes)]
    records += [path for path in [places.split / "blocks.geojson"] if path.is_file()]
    records += [] if params.sites == NOTHING else [Path(params.sites)]
    texts = [params.model_dump_json(), train.model_dump_json(exclude=_LOOKS_ON), torch.__version__]
    return resume.fingerprint(texts, [*code, *records])
