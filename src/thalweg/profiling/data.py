"""Setting up a member's data, and its loader's batches: how long each step takes, and what a batch looks like."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from thalweg import models
from thalweg.active.loader import Batches
from thalweg.errors import TrainingError
from thalweg.loading import Data, Judge, loaders, read_data
from thalweg.manifest.card import ModelCard
from thalweg.params.classes import Classes
from thalweg.params.models import Member
from thalweg.params.train import Train
from thalweg.profiling import Stopwatch
from thalweg.task import SegmentationTask
from thalweg.train import class_weights, draft_card
from thalweg.watch import canvas

SHOWN = 8
"""Chips of a batch that are drawn."""


@dataclass(frozen=True)
class Bench:
    """A member that is ready to train, and what its preparation took."""

    name: str
    member: Member
    data: Data
    card: ModelCard
    task: SegmentationTask
    batches: Batches
    watch: Stopwatch

    def batch(self) -> Any:
        """The first batch of the first epoch."""
        self.turn_to(0)
        return next(iter(self.batches))

    def turn_to(self, epoch: int) -> None:
        """Makes the loader follow the plan of an epoch."""
        if hasattr(self.batches.sampler, "set_epoch"):
            self.batches.sampler.set_epoch(epoch)


def set_up(name: str, member: Member, train: Train, classes: Classes, build: Path) -> Bench:
    """All that precedes the first step, step by step.

    Args:
        name: The member's.
        member: Its block.
        train: What members share.
        classes: The legend.
        build: Folder of `scenes/` and `split/`.

    Raises:
        TrainingError: The member waits for another, which only a training can ask.
    """
    watch = Stopwatch()
    if member.active is not None and member.active.judge == "after":
        raise TrainingError(
            f"models.{name} chooses its chips by {member.after}; profile it with active: null, then the "
            "training itself by train.profiler: simple"
        )
    with watch.timing("open scenes and chip table"):
        data = read_data(name, member, build / "scenes" / member.grid, build / "split")
        card = draft_card(name, member, classes, data)
    with watch.timing("build network"):
        torch.manual_seed(member.seed)
        network = models.network(card)
        task = SegmentationTask(name, member, network, classes.names, class_weights(name, member, data))
    with watch.timing("build loaders"):
        batches, _ = loaders(member, train, data, Judge(network, None, build))
    with watch.timing("first batch"):
        next(iter(batches))
    return Bench(name, member, data, card, task, batches, watch)


def run_loader(bench: Bench, loops: int, most: int | None) -> int:
    """Goes through epochs of the loader alone; chips that came.

    Args:
        bench: Whose stopwatch gets the steps `batch`, one per batch, and `epoch of batches`.
        loops: Epochs.
        most: Batches of an epoch, or None for all.
    """
    chips = 0
    for epoch in range(loops):
        bench.turn_to(epoch)
        with bench.watch.timing("epoch of batches"):
            came = iter(bench.batches)
            for _ in range(min(most or len(bench.batches), len(bench.batches))):
                with bench.watch.timing("batch"):
                    pixels, *_ = next(came)
                chips += len(pixels)
    return chips


def draw_batch(bench: Bench, colors: Sequence[str], path: Path) -> None:
    """The first batch as PNG, a chip per row: as it lies on disk, its target, and both as the network sees them."""
    pixels, target = bench.batch()[:2]
    with torch.no_grad():
        seen = bench.task.augmented((pixels, target), 0)
        plain = bench.task.network.normalise(pixels)
    channels = canvas.natural([channel.name for channel in bench.card.channels])
    columns = [
        canvas.pictures(plain[:SHOWN], channels), canvas.colored(np.asarray(target[:SHOWN]), colors),
        canvas.pictures(seen.inputs[:SHOWN], channels), canvas.colored(np.asarray(seen.target[:SHOWN]), colors),
    ]  # fmt: skip
    canvas.write_png(canvas.side_by_side(columns), path)
