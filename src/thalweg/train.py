"""Trains one member, examines it on held-out ground, and writes its model, metrics, history and held-out record."""

import gc
import importlib.metadata
import json
import math
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from thalweg import class_weights as formulas
from thalweg import contract, models, resume, shards, watch, weights, world
from thalweg.active.costs import Plan
from thalweg.active.ledger import COSTS, Ledger
from thalweg.dataset.sampler import lattice
from thalweg.errors import DegradedDataWarning, DeviceMemoryError, TrainingError
from thalweg.finish import Ground, finish
from thalweg.fit import Fitted, fit
from thalweg.loading import Data, Judge, loaders, plan, read_data
from thalweg.manifest import write_json
from thalweg.manifest.card import CARD, SCHEMA, WEIGHTS, ModelCard, Normalisation, write_card
from thalweg.manifest.costs import write_costs
from thalweg.manifest.encoder import read_encoder_card
from thalweg.manifest.heldout import write_heldout
from thalweg.manifest.provenance import git_commit
from thalweg.manifest.scene import scene_files, shared_preparation
from thalweg.params.classes import Classes
from thalweg.params.models import Member
from thalweg.params.train import Train
from thalweg.task import SegmentationTask
from thalweg.watch import artifacts, canvas
from thalweg.watch.record import Record, recorded, unrecorded
from thalweg.weights import pretrained

PACKAGES = ("lightning", "numpy", "thalweg", "torch", "torchgeo")
CODE = (
    "active/*.py",
    "active/scores/*.py",
    "class_weights.py",
    "dataset/*.py",
    "losses/*.py",
    "backbones/*.py",
    "weights/*.py",
    "models/__init__.py",
    "fit.py",
    "loading.py",
    "metrics.py",
    "optimise.py",
    "resume.py",
    "shards.py",
    "task.py",
    "train.py",
    "trainer.py",
    "world.py",
)
"""What a training follows from, beside its architecture's file."""
SHOWN = 4
"""Chips that are shown after every epoch."""
_LOOKS_ON = {"loggers", "watch", "profiler", "workers"}
"""Params of a training that change nothing of its result."""
_PROCESSES = {"devices", "num_nodes", "strategy"}
"""Params that a killed training may find changed, and go on."""


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
    after: Path | None = None
    """What the member comes after: a holdout member's folder, or an encoder's."""
    cache: Path = Path(".cache")
    """Of losses of a holdout member, computed once."""


def train_member(name: str, member: Member, train: Train, classes: Classes, places: Places) -> None:
    """Trains, examines and writes one member; a killed training is picked up where it was.

    Of several processes the first one alone examines and writes; the others end when training does.

    Args:
        name: The member's key in params.yaml.
        member: Its block.
        train: What members share.
        classes: The legend.
        places: Inputs and outs.

    Raises:
        TrainingError: There is nothing to learn from, another process trains the member, or training fails.
        ContractError: Held-out scenes are not what the training scenes are.
        SystemExit: 0 in a process that is not the first, when training is over.
    """
    here = world.read(train)
    world.check(name, member, here)
    shards.check(name, member, train)
    if not here.first:
        world.end_with_starter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DegradedDataWarning)  # the first one says it
            _attempt(name, member, train, classes, places)
        raise SystemExit(0)
    with resume.held(places.resume, name):
        try:
            _attempt(name, member, train, classes, places)
            return
        except DeviceMemoryError as error:
            smaller, said = _halved(member), str(error)
            if smaller is None or here.size > 1:  # the others do not know of it
                raise
        gc.collect()  # the error is gone, and with its frames the first attempt's network and batch
        torch.cuda.empty_cache()
        warnings.warn(f"{said}; trying again with {smaller.batch_size} × {smaller.accumulate} chips per step",
                      DegradedDataWarning, stacklevel=2)  # fmt: skip
        _attempt(name, smaller, train, classes, places)


def _attempt(name: str, member: Member, train: Train, classes: Classes, places: Places) -> None:
    sections = {"train": train, f"models.{name}": member, "classes": classes}
    here = world.read(train)
    with recorded(places.runs, name, sections) if here.first else unrecorded() as record:
        data = read_data(name, member, places.scenes, places.split)
        card = started_from(draft_card(name, member, classes, data), _encoder(member, places))
        check_scenes(card, data)
        task, fitted, state, spent = _fit(name, member, train, classes, card, data, places, record)
        if not here.first:
            return
        _write(card, task, fitted, data, places)
        costs = spent.until(len(fitted.keeper.history))
        write_costs(costs, places.model)
        artifacts.hand_over(fitted.loggers, record.folder, name, _artifacts(member.grid, places),
                            json.loads(places.metrics.read_text("utf-8")))  # fmt: skip
        record.add(epochs=len(fitted.keeper.history), costs=costs.model_dump(exclude={"schema_version"}))
        shutil.rmtree(state.parent, ignore_errors=True)


def _fit(name: str, member: Member, train: Train, classes: Classes, card: ModelCard, data: Data, places: Places,
         record: Record) -> tuple[SegmentationTask, Fitted, Path, Plan]:  # fmt: skip
    """The trained task, the state that its training would have been picked up from, and what an epoch of it costs."""
    pl.seed_everything(member.seed, workers=True, verbose=False)
    network = models.network(card)
    started = weights.initialise(network.architecture, card.channels, card.normalisation)
    if started:
        record.add(start=asdict(started))
    if folder := _encoder(member, places):
        encoder = pretrained.put_encoder(network.architecture, member.options, folder, f"models.{name}")
        record.add(encoder={"name": encoder.encoder, "method": encoder.method, "collapsed": encoder.collapsed})
    if member.prior_bias:
        models.set_prior_bias(network, data.shares)
    task = SegmentationTask(name, member, network, classes.names, class_weights(name, member, data),
                            _prior(name, data))  # fmt: skip
    record.add_model(network)
    here = world.read(train)
    record.add(batch_size=member.batch_size, accumulate=member.accumulate, processes=here.size)
    state = places.resume / name / _fingerprint(member, train, classes, places) / resume.STATE
    watchers = watch.observers(train, record.folder, _shown(train, classes, data)) if here.first else []
    judge = Judge(network, places.after, places.cache)
    training, validation = loaders(member, train, data, judge, here)
    spent = plan(member, training, data, judge)
    fitted = fit(task, train, training, validation, record.folder, state, [*watchers, Ledger(spent)])
    record.add(device=fitted.device, resumed_from_epoch=fitted.resumed_from, lr=fitted.lr)
    return task, fitted, state, spent


def _artifacts(grid: str, places: Places) -> dict[str, dict[str, Path]]:
    """What a service that keeps artifacts gets: the model as it was written, and what it learnt from."""
    model = {path.name: path for path in sorted(places.model.iterdir())}
    split = {path.name: path for path in sorted((places.split / grid).iterdir()) if path.is_file()}
    return {"model": model | {"metrics.json": places.metrics, "history.csv": places.history}, "split": split}


def _encoder(member: Member, places: Places) -> Path | None:
    """Folder of the encoder that a member starts from."""
    return places.after if member.after.startswith("encoders/") else None


def _prior(name: str, data: Data) -> float | None:
    """Share of positives in ground of class 0 that the training scenes state, the same in all.

    Raises:
        TrainingError: They differ.
    """
    stated = {data.reader.scenes[scene].record.prior for scene in set(data.part("train")["scene"])}
    if len(stated) > 1:
        raise TrainingError(f"models.{name}: its scenes state the priors {stated}; run `dvc repro preprocess` again")
    return next(iter(stated), None)


def _shown(train: Train, classes: Classes, data: Data) -> watch.Shown:
    """What pictures of the training show: the rows of the chip table with the most classes, held out where possible."""
    part = "train" if data.part("val").empty else "val"
    rows = data.part(part)
    counts = rows[[f"px_{name}" for name in classes.names]].to_numpy()
    best = rows.iloc[np.argsort(-((counts > 0).sum(1) * 2.0 + rows["valid_fraction"]), kind="stable")[:SHOWN]]
    chips = [data.reader.read(*place, part) for place in lattice(best)] if "panels" in train.watch else []
    names = [channel.name for channel in next(iter(data.reader.scenes.values())).record.channels]
    return watch.Shown(chips, canvas.natural(names), tuple(info.color for info in classes.legend))


def _halved(member: Member) -> Member | None:
    """The member with half the batch and as many chips a step, or None where there is nothing to halve."""
    if member.batch_size < 2:
        return None
    half = member.batch_size // 2
    batches = math.ceil(member.batch_size * member.accumulate / half)
    return member.model_copy(update={"batch_size": half, "accumulate": batches})


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
    learnt = [data.reader.scenes[scene] for scene in sorted(set(data.part("train")["scene"]))]
    scenes = [scene.record for scene in learnt]
    pixel_m = [round(float(np.mean(data.reader.scenes[record.name].grid.pixel_m_yx)), 6) for record in scenes]
    return ModelCard(
        schema_version=SCHEMA, member=name, architecture=member.model, options=member.options,
        architecture_sha256=models.source_sha256(member.model), grid=member.grid,
        pixel_m=pixel_m[0], pixel_m_range=(min(pixel_m), max(pixel_m)), channels=scenes[0].channels,
        deciles=data.stats.deciles, shares=data.stats.shares,
        normalisation=Normalisation(mean=data.stats.mean, std=data.stats.std), classes=classes.legend,
        window_px=member.window_px, overlap=member.overlap, temperature=1.0, calibration=None,
        preparation=shared_preparation(learnt), metrics={}, epoch=0,
        git_commit=git_commit(),
        products=tuple(sorted({record.product for record in scenes})),
        packages={package: importlib.metadata.version(package) for package in PACKAGES})  # fmt: skip


def started_from(card: ModelCard, folder: Path | None) -> ModelCard:
    """The card of a member that starts from a pre-trained encoder: it takes the z-scores that the encoder learnt on.

    Raises:
        WeightsError: The encoder was pre-trained on other channels, or on values distributed otherwise.
    """
    if folder is None:
        return card
    encoder = read_encoder_card(folder)
    pretrained.check_channels(encoder, card.channels, card.normalisation, f"models.{card.member}")
    return card.model_copy(update={"normalisation": encoder.normalisation})


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
    ground = Ground(data.reader, data.chips, data.stats)
    done = finish(task.network, card, task.member.calibrate, ground, fitted.device, task.member.batch_size)
    headline = {key: done.scores["val"][key] for key in ("miou", "accuracy")} if "val" in done.scores else {}
    models.save_weights(task.network.architecture.state_dict(), places.model)
    write_card(done.card.model_copy(update={"metrics": headline, "epoch": epoch}), places.model)
    write_json(done.scores, places.metrics)
    write_heldout(done.heldout, places.heldout)
    done.panels.write(places.heldout / "panels.npz")
    _write_history(keeper.history, places.history)


def _write_history(rows: Sequence[dict[str, float]], path: Path) -> None:
    table = pd.DataFrame(rows)
    classes = sorted(name for name in table.columns if name.startswith("val_iou_"))
    order = ["epoch", "train_loss", "val_loss", "val_miou", "val_accuracy", *classes, "lr", *COSTS]
    path.parent.mkdir(parents=True, exist_ok=True)
    table.reindex(columns=[name for name in order if name in table.columns]).to_csv(
        path, index=False, float_format="%.6g"
    )


def _fingerprint(member: Member, train: Train, classes: Classes, places: Places) -> str:
    room = Path(__file__).parent
    code = [path for pattern in (*CODE, f"models/{member.model}.py") for path in room.glob(pattern)]
    split = places.split / member.grid
    records = [split / "chips.parquet", split / "stats.json", *scene_files(places.scenes)]
    records += [] if places.after is None else [places.after / CARD, places.after / WEIGHTS]
    machine = train.model_dump_json(exclude=_LOOKS_ON | _PROCESSES)
    texts = [member.model_dump_json(), machine, classes.model_dump_json()]
    return resume.fingerprint([*texts, torch.__version__], [*code, *records])
