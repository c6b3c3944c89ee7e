"""What a member learns from, and in which batches: chips, filtered, drawn, and chosen from pools."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from thalweg import models
from thalweg.active.costs import NOBODY, Before, Plan, of_chip
from thalweg.active.irreducible import Irreducible
from thalweg.active.loader import ActiveLoader, Batches, PoolChips
from thalweg.active.scorer import Scorer
from thalweg.dataset.chips import ChipReader, Chips, stack
from thalweg.dataset.choose import alone, choose, other_side, weigh
from thalweg.dataset.sampler import EpochSampler, Shared, lattice
from thalweg.errors import DegradedDataWarning, SceneError, TrainingError
from thalweg.manifest.card import read_card
from thalweg.manifest.chips import Stats, read_chips, read_stats
from thalweg.manifest.costs import read_costs
from thalweg.models import Network
from thalweg.params.active import Active
from thalweg.params.models import Member
from thalweg.params.train import Train
from thalweg.world import ALONE, World


@dataclass(frozen=True)
class Data:
    """What a member learns from: scenes, the chip table of its grid, and statistics."""

    reader: ChipReader
    chips: pd.DataFrame
    stats: Stats

    def part(self, name: str) -> pd.DataFrame:
        """Rows of one part that hold labels."""
        return self.chips[(self.chips["part"] == name) & (self.chips["labelled_px"] > 0)].reset_index(drop=True)

    @property
    def shares(self) -> list[float]:
        """Of the classes in the labelled training pixels."""
        pixels = np.array(list(self.stats.class_px.values()), float)
        return list(pixels / pixels.sum())


def read_data(name: str, member: Member, scenes: Path, split: Path) -> Data:
    """Scenes, chips and statistics of the member's grid.

    Raises:
        TrainingError: No labelled pixel to train on, or none to choose the best epoch by.
        SceneError: Scenes of the grid differ in their channels.
    """
    grid = member.grid
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
    if data.part("val").empty and member.calibrate != "none":
        raise TrainingError(
            f"models.{name}: no pixel of part val on grid {grid} is labelled and valid, so nothing can be calibrated; "
            "give `split` a val part, or set calibrate: none"
        )
    absent = [key for key, pixels in data.stats.class_px.items() if not pixels]
    if absent:
        missing = f"models.{name}: part train on grid {grid} has no pixel of {', '.join(absent)}: it cannot be learnt"
        warnings.warn(missing, DegradedDataWarning, stacklevel=2)
    return data


@dataclass(frozen=True)
class Judge:
    """What active sampling judges by."""

    network: Network
    """The network as it learns."""
    after: Path | None
    """Folder of the member that `after` names."""
    cache: Path
    """Where losses of a holdout member are kept."""


def loaders(member: Member, train: Train, data: Data, judge: Judge,
            world: World = ALONE) -> tuple[Batches, DataLoader[Any] | None]:  # fmt: skip
    """The training loader, whose plan follows the epoch, and that of validation, each row once (None without rows).

    Of several processes each gets its share of every batch.
    """
    chips = Chips(data.reader, "train", *_counting(member, data))
    plain = _loader(chips, _sampler(member, data, 1), member.batch_size, train, world=world,
                    drop_last=member.chips_per_epoch >= member.batch_size)  # fmt: skip # batch norm fails on one chip
    training: Batches = plain
    if member.active is not None:
        training = _active(member, member.active, train, data, judge, plain)
    validation = lattice(data.part("val"))
    held = Chips(data.reader, "val")
    if not validation:
        return training, None
    return training, _loader(held, validation, member.batch_size, train, drop_last=False, world=world)


def undivided(training: Batches) -> Batches:
    """The same batches, whole in every process."""
    if isinstance(training, ActiveLoader) or not isinstance(training.batch_sampler, Shared):
        return training
    shared = training.batch_sampler
    return DataLoader(training.dataset, shared.batch_size, sampler=shared.sampler, collate_fn=training.collate_fn,
                      drop_last=True)  # fmt: skip


def plan(member: Member, training: Batches, data: Data, judge: Judge) -> Plan:
    """What an epoch of these batches costs."""
    window = lattice(data.part("train"))[0]
    size = member.chip_px
    pixels = torch.from_numpy(data.reader.pixels(window.scene, window.window._replace(height=size, width=size)))[None]
    chip = of_chip(judge.network, pixels)
    trained = min(len(training) * member.batch_size, member.chips_per_epoch)
    if not isinstance(training, ActiveLoader):
        return Plan(trained, 0, 0, chip, chip, NOBODY)
    scorer = training.scorer
    judging = chip if scorer.network is judge.network else of_chip(scorer.network, pixels)
    return Plan(trained, trained * scorer.active.pool * scorer.passes, scorer.active.warmup_epochs, chip, judging,
                training.before)  # fmt: skip


def _active(member: Member, active: Active, train: Train, data: Data, judge: Judge,
            plain: DataLoader[Any]) -> ActiveLoader:  # fmt: skip
    network = judge.network
    if active.judge == "after" and judge.after is not None:
        network = models.network(read_card(judge.after))
        models.load_weights(network, judge.after)
    scorer = Scorer(active, network, torch.tensor(data.shares), member.batch_size, judge.network)
    known = None
    if "irreducible" in scorer.needs and judge.after is not None:
        known = Irreducible(judge.after, data.reader, judge.cache / "irreducible")
        known.build(train.accelerator if train.accelerator in ("auto", "cpu", "cuda") else "auto")
    size = member.batch_size * active.every * active.pool
    count = min(len(plain) * member.batch_size, member.chips_per_epoch) * active.pool
    sampler = _sampler(member, data, active.pool, count)
    chips = PoolChips(data.reader, "train", known, *_counting(member, data))
    pool = _loader(chips, sampler, size, train, drop_last=False)
    return ActiveLoader(plain, pool, scorer, member.batch_size, member.seed, _before(active, known, judge.after))


def _before(active: Active, known: Irreducible | None, after: Path | None) -> Before:
    """What the judge has cost until now, where there is one beside the network itself."""
    if after is None or (known is None and active.judge == "self"):
        return NOBODY
    return Before(read_costs(after).flops, known.flops() if known else 0)


def _counting(member: Member, data: Data) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Windows whose labels are another member's, and those whose labels alone count."""
    rows, grids = data.part("train"), {name: scene.grid for name, scene in data.reader.scenes.items()}
    return other_side(rows, member.holdout), alone(rows, member, grids)


def _sampler(member: Member, data: Data, pool: int, count: int | None = None) -> EpochSampler:
    shapes = {name: scene.record.shape_yx for name, scene in data.reader.scenes.items()}
    rows = choose(data.part("train"), member, {name: scene.grid for name, scene in data.reader.scenes.items()})
    return EpochSampler(rows, count or member.chips_per_epoch * pool, member.chip_px, shapes, member.seed,
                        weigh(rows, member), member.sampler)  # fmt: skip


def _loader(chips: Any, places: Any, size: int, train: Train, drop_last: bool,
            world: World = ALONE) -> DataLoader[Any]:  # fmt: skip
    # chips: a Dataset in all but name, since its room needs no torch
    batches: dict[str, Any] = {"batch_size": size, "sampler": places, "drop_last": drop_last}
    if world.size > 1:
        batches = {"batch_sampler": Shared(places, size, *world, whole=drop_last)}
    return DataLoader(
        chips, **batches, num_workers=train.workers, collate_fn=_collate,
        persistent_workers=train.workers > 0, pin_memory=torch.cuda.is_available())  # fmt: skip


def _collate(chips: Sequence[tuple[Any, ...]]) -> tuple[Tensor, ...]:
    pixels, target = stack([chip[:2] for chip in chips])
    further = [torch.tensor(values) for values in zip(*(chip[2:] for chip in chips), strict=True)]
    return torch.from_numpy(pixels), torch.from_numpy(target), *further
