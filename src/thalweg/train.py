"""Trains one member, examines it on held-out ground, and writes its model, metrics, history and held-out record."""

import importlib.metadata
import math
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from thalweg import class_weights as formulas
from thalweg import contract, models, resume, watch, weights
from thalweg.dataset.chips import ChipReader, Chips, stack
from thalweg.dataset.choose import choose, weigh
from thalweg.dataset.sampler import EpochSampler, lattice
from thalweg.errors import DegradedDataWarning, DeviceMemoryError, SceneError, TrainingError
from thalweg.examine import Panels, examine, summary
from thalweg.fit import Fitted, fit
from thalweg.infer import Predictor
from thalweg.manifest import write_json
from thalweg.manifest.card import SCHEMA, ModelCard, Normalisation, write_card
from thalweg.manifest.chips import Stats, read_chips, read_stats
from thalweg.manifest.heldout import write_heldout
from thalweg.manifest.provenance import git_commit
from thalweg.manifest.scene import scene_files
from thalweg.params.classes import Classes
from thalweg.params.models import Member
from thalweg.params.train import Train
from thalweg.task import SegmentationTask
from thalweg.watch.record import Record, recorded

PACKAGES = ("lightning", "numpy", "thalweg", "torch", "torchgeo")
CODE = (
    "class_weights.py",
    "dataset/*.py",
    "losses/*.py",
    "backbones/*.py",
    "weights/*.py",
    "models/__init__.py",
    "fit.py",
    "metrics.py",
    "optimise.py",
    "resume.py",
    "task.py",
    "train.py",
)
"""What a training follows from, beside its architecture's file."""
SHOWN = 4
"""Chips that are shown after every epoch."""
_NATURAL = ("B04", "B03", "B02")
_LOOKS_ON = {"loggers", "watch", "profiler", "workers"}
"""Params of a training that change nothing of its result."""


@dataclass(frozen=True)
class Places:
    """Where a training reads and writes."""

    scenes: Path
    """`build/scenes/<grid>`."""
    split: Path
    """`build/split`."""
    model: Path
    """Out: folder of weights and card."""
    heldout: Path
    """Out: folder of the held-out record."""
    history: Path
    """Out: CSV, one row per epoch."""
    metrics: Path
    """Out: JSON of scores per part."""
    runs: Path
    """Logs, timings, hardware; outside the outs, which stay bit-identical."""
    resume: Path
    """What a killed training leaves for the next."""


@dataclass(frozen=True)
class Data:
    """What a member learns from: scenes, the chip table of its grid, and statistics."""

    reader: ChipReader
    chips: pd.DataFrame
    stats: Stats

    def part(self, name: str) -> pd.DataFrame:
        """Rows of one part that hold labels."""
        return self.chips[(self.chips["part"] == name) & (self.chips["labelled_px"] > 0)].reset_index(drop=True)


def train_member(name: str, member: Member, train: Train, classes: Classes, places: Places) -> None:
    """Trains, examines and writes one member; a killed training is picked up where it was.

    Args:
        name: The member's key in params.yaml.
        member: Its block.
        train: What members share.
        classes: The legend.
        places: Inputs and outs.

    Raises:
        TrainingError: There is nothing to learn from, another process trains the member, or training fails.
        ContractError: Held-out scenes are not what the training scenes are.
    """
    with resume.held(places.resume, name):
        try:
            _attempt(name, member, train, classes, places)
        except DeviceMemoryError as error:
            smaller = _halved(member)
            if smaller is None:
                raise
            warnings.warn(f"{error}; trying again with {smaller.batch_size} × {smaller.accumulate} chips per step",
                          DegradedDataWarning, stacklevel=2)  # fmt: skip
            _attempt(name, smaller, train, classes, places)


def _attempt(name: str, member: Member, train: Train, classes: Classes, places: Places) -> None:
    sections = {"train": train, f"models.{name}": member, "classes": classes}
    with recorded(places.runs, name, sections) as record:
        data = read_data(name, member, places)
        card = draft_card(name, member, classes, data)
        check_scenes(card, data)
        task, fitted, state = _fit(name, member, train, classes, card, data, places, record)
        _write(card, task, fitted, data, places)
        record.add(epochs=len(fitted.keeper.history))
        shutil.rmtree(state.parent, ignore_errors=True)


def _fit(name: str, member: Member, train: Train, classes: Classes, card: ModelCard, data: Data, places: Places,
         record: Record) -> tuple[SegmentationTask, Fitted, Path]:  # fmt: skip
    """The trained task, and the state that its training would have been picked up from."""
    pl.seed_everything(member.seed, workers=True, verbose=False)
    network = models.network(card)
    weights.initialise(network.architecture, card.channels, card.normalisation)
    if member.prior_bias:
        models.set_prior_bias(network, _shares(data.stats))
    task = SegmentationTask(name, member, network, classes.names, class_weights(name, member, data),
                            _prior(name, data))  # fmt: skip
    record.add_model(network)
    record.add(batch_size=member.batch_size, accumulate=member.accumulate)
    state = places.resume / name / _fingerprint(member, train, classes, places) / resume.STATE
    watchers = watch.observers(train, record.folder, _shown(train, classes, data))
    fitted = fit(task, train, *loaders(member, train, data), record.folder, state, watchers)
    record.add(device=fitted.device, resumed_from_epoch=fitted.resumed_from, lr=fitted.lr)
    return task, fitted, state


def _prior(name: str, data: Data) -> float | None:
    """Share of positives in ground of class 0 that the training scenes state, the same in all.

    Raises:
        TrainingError: They differ.
    """
    stated = {data.reader.scenes[scene].record.prior for scene in set(data.part("train")["scene"])}
    if len(stated) > 1:
        raise TrainingError(f"models.{name}: its scenes state the priors {stated}; run `dvc repro preprocess` again")
    return next(iter(stated), None)


def _shares(stats: Stats) -> list[float]:
    """Of the classes in the labelled training pixels."""
    pixels = np.array(list(stats.class_px.values()), float)
    return list(pixels / pixels.sum())


def _shown(train: Train, classes: Classes, data: Data) -> watch.Shown:
    """What pictures of the training show: the rows of the chip table with the most classes, held out where possible."""
    part = "train" if data.part("val").empty else "val"
    rows = data.part(part)
    counts = rows[[f"px_{name}" for name in classes.names]].to_numpy()
    best = rows.iloc[np.argsort(-((counts > 0).sum(1) * 2.0 + rows["valid_fraction"]), kind="stable")[:SHOWN]]
    chips = [data.reader.read(*place, part) for place in lattice(best)] if "panels" in train.watch else []
    names = [channel.name for channel in next(iter(data.reader.scenes.values())).record.channels]
    natural = [names.index(band) for band in _NATURAL if band in names]
    red, green, blue = natural if len(natural) == len(_NATURAL) else [min(k, len(names) - 1) for k in range(3)]
    return watch.Shown(chips, (red, green, blue), tuple(info.color for info in classes.legend))


def _halved(member: Member) -> Member | None:
    """The member with half the batch and as many chips a step, or None where there is nothing to halve."""
    if member.batch_size < 2:
        return None
    half = member.batch_size // 2
    batches = math.ceil(member.batch_size * member.accumulate / half)
    return member.model_copy(update={"batch_size": half, "accumulate": batches})


def read_data(name: str, member: Member, places: Places) -> Data:
    """Scenes, chips and statistics of the member's grid.

    Raises:
        TrainingError: No labelled pixel to train on, or none to choose the best epoch by.
        SceneError: Scenes of the grid differ in their channels.
    """
    scenes, split, grid = places.scenes, places.split, member.grid
    data = Data(ChipReader(scenes, split, grid), read_chips(split, grid), read_stats(split, grid))
    if len({scene.record.channels for scene in data.reader.scenes.values()}) > 1:
        raise SceneError(f"scenes in {scenes} differ in their channels; run `dvc repro preprocess`")
    if data.part("train").empty:
        raise TrainingError(
            f"models.{name}: no pixel of part train on grid {grid} is labelled and valid; "
            "bring masks that overlap the scenes (`masks`), or change `split`"
        )
    if data.part("val").empty and member.keep == "best":
        raise TrainingError(
            f"models.{name}: no pixel of part val on grid {grid} is labelled and valid, so no epoch can be called the "
            "best; give `split` a val part, or set keep: last"
        )
    absent = [key for key, pixels in data.stats.class_px.items() if not pixels]
    if absent:
        missing = f"models.{name}: part train on grid {grid} has no pixel of {', '.join(absent)}: it cannot be learnt"
        warnings.warn(missing, DegradedDataWarning, stacklevel=2)
    return data


def loaders(member: Member, train: Train, data: Data) -> tuple[DataLoader[Any], DataLoader[Any] | None]:
    """The training loader, whose plan follows the epoch, and that of validation, each row once (None without rows)."""
    shapes = {name: scene.record.shape_yx for name, scene in data.reader.scenes.items()}
    rows = choose(data.part("train"), member, {name: scene.grid for name, scene in data.reader.scenes.items()})
    sampler = EpochSampler(rows, member.chips_per_epoch, member.chip_px, shapes, member.seed,
                           weigh(rows, member), member.sampler)  # fmt: skip
    whole_batches = member.chips_per_epoch >= member.batch_size  # batch norm fails on a remainder of one chip
    validation = lattice(data.part("val"))
    return (
        _loader(data.reader, "train", sampler, member, train, drop_last=whole_batches),
        _loader(data.reader, "val", validation, member, train, drop_last=False) if validation else None,
    )


def class_weights(name: str, member: Member, data: Data) -> Tensor | None:
    """Weights of the classes by their training pixels; (K,) or None.

    Raises:
        ParamsError: A list of weights does not fit the classes.
    """
    pixels = np.array(list(data.stats.class_px.values()))
    if member.class_weights == "none":
        return None
    if member.class_weights == "inverse_sqrt":
        return torch.from_numpy(formulas.inverse_sqrt(pixels)).float()
    rows = data.part("train")
    among = np.array([rows.loc[rows[f"px_{key}"] > 0, "labelled_px"].sum() for key in data.stats.class_px])
    weights = formulas.weigh(member.class_weights, pixels, among, f"models.{name}.class_weights")
    return torch.from_numpy(weights).float()


def draft_card(name: str, member: Member, classes: Classes, data: Data) -> ModelCard:
    """The card as far as it is known before training."""
    scenes = [data.reader.scenes[scene].record for scene in sorted(set(data.part("train")["scene"]))]
    pixel_m = [round(float(np.mean(data.reader.scenes[record.name].grid.pixel_m_yx)), 6) for record in scenes]
    return ModelCard(
        schema_version=SCHEMA, member=name, architecture=member.model, options=member.options,
        architecture_sha256=models.source_sha256(member.model), grid=member.grid,
        pixel_m=pixel_m[0], pixel_m_range=(min(pixel_m), max(pixel_m)), channels=scenes[0].channels,
        deciles=data.stats.deciles, shares=data.stats.shares,
        normalisation=Normalisation(mean=data.stats.mean, std=data.stats.std), classes=classes.legend,
        window_px=member.window_px, overlap=member.overlap, temperature=1.0, calibration=None,
        preparation={}, metrics={}, epoch=0,
        git_commit=git_commit(),
        products=tuple(sorted({record.product for record in scenes})),
        packages={package: importlib.metadata.version(package) for package in PACKAGES})  # fmt: skip


def check_scenes(card: ModelCard, data: Data) -> None:
    """Before hours of training: the member can read every scene that it learns from or is examined on.

    Raises:
        ContractError: It cannot.
    """
    for name in sorted(set(data.chips["scene"]) & set(data.reader.scenes)):
        contract.check(card, data.reader.scenes[name])


def _write(card: ModelCard, task: SegmentationTask, fitted: Fitted, data: Data, places: Places) -> None:
    keeper = fitted.keeper
    epoch = len(keeper.history) - 1
    if task.member.keep == "best" and keeper.best is not None:
        epoch = keeper.best[0]
        task.network.architecture.load_state_dict(keeper.best_weights)
    else:
        task.network.architecture.load_state_dict(task.judged_weights())
    weights = task.network.architecture.state_dict()
    panels = Panels(data.reader, data.chips, data.stats)
    predictor = Predictor(task.network, card, fitted.device)
    heldout = examine(task.name, predictor, data.reader, data.chips, panels, task.member.batch_size)
    scores = summary(heldout)
    headline = {key: scores["val"][key] for key in ("miou", "accuracy")} if "val" in scores else {}
    models.save_weights(weights, places.model)
    write_card(card.model_copy(update={"metrics": headline, "epoch": epoch}), places.model)
    write_json(scores, places.metrics)
    write_heldout(heldout, places.heldout)
    panels.write(places.heldout / "panels.npz")
    _write_history(keeper.history, places.history)


def _write_history(rows: Sequence[dict[str, float]], path: Path) -> None:
    table = pd.DataFrame(rows)
    classes = sorted(name for name in table.columns if name.startswith("val_iou_"))
    order = ["epoch", "train_loss", "val_loss", "val_miou", "val_accuracy", *classes, "lr"]
    path.parent.mkdir(parents=True, exist_ok=True)
    table.reindex(columns=[name for name in order if name in table.columns]).to_csv(
        path, index=False, float_format="%.6g"
    )


def _loader(
    reader: ChipReader, part: str, places: Any, member: Member, train: Train, drop_last: bool
) -> DataLoader[Any]:
    chips: Any = Chips(reader, part)  # a Dataset in all but name: its room needs no torch
    return DataLoader(
        chips, member.batch_size, sampler=places, num_workers=train.workers, collate_fn=_collate, drop_last=drop_last,
        persistent_workers=train.workers > 0, pin_memory=torch.cuda.is_available())  # fmt: skip


def _collate(chips: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor]:
    pixels, target = stack(chips)
    return torch.from_numpy(pixels), torch.from_numpy(target)


def _fingerprint(member: Member, train: Train, classes: Classes, places: Places) -> str:
    room = Path(__file__).parent
    code = [path for pattern in (*CODE, f"models/{member.model}.py") for path in room.glob(pattern)]
    split = places.split / member.grid
    records = [split / "chips.parquet", split / "stats.json", *scene_files(places.scenes)]
    machine = train.model_dump_json(exclude=_LOOKS_ON)
    texts = [member.model_dump_json(), machine, classes.model_dump_json()]
    return resume.fingerprint([*texts, torch.__version__], [*code, *records])
