"""What choosing costs: seconds of an epoch with each score over those without, by turns within one run.

The crop world's clean patches and small U-Net (benchmarks/crop_world.py); the same number of chips is trained on in
every epoch, from pools of four times as many. Each turn is a short training by `thalweg.fit`; its fastest epoch counts.
Rounds go through all ways, every second one backwards; what is stated is the median over rounds of the ratio within a
round, by CPU time, since others may use the machine. Beside it stands what the counted operations predict. Limit:
rho_loss, whose irreducible losses are kept, costs no more than loss (a twentieth is let pass).
"""

import argparse
import contextlib
import io
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import lightning.pytorch as pl
import torch

from benchmarks import crop_world
from benchmarks.active_compare import judge_of
from benchmarks.crop_world import World
from benchmarks.train_steps import Clock, Seconds
from thalweg import models
from thalweg import train as training
from thalweg.active import scores
from thalweg.active.irreducible import Irreducible
from thalweg.dataset.chips import ChipReader
from thalweg.fit import fit
from thalweg.loading import Judge, loaders, plan, read_data
from thalweg.params.active import Active
from thalweg.params.models import Member
from thalweg.task import SegmentationTask

EPOCHS, PASSES, SEED = 3, 4, 0
SLACK = 1.05


class Turn(NamedTuple):
    """One short training."""

    seconds: Seconds
    predicted: float
    """Operations of an epoch over those of its steps alone."""


def ways() -> dict[str, dict[str, Any] | None]:
    """What is compared: nothing, every score, and ways to look at less."""
    found: dict[str, dict[str, Any] | None] = {"without": None}
    found |= {name: {"scores": {name: 1.0}} for name in scores.names()}
    found["loss, pools of 8 batches"] = {"scores": {"loss": 1.0}, "every": 8}
    found["loss, diversity"] = {"scores": {"loss": 1.0}, "diversity": 0.5}
    found["loss, bf16"] = {"scores": {"loss": 1.0}, "precision": "bf16"}
    found["loss of the judge"] = {"scores": {"loss": 1.0}, "judge": "after"}
    return found


def member(way: dict[str, Any] | None, chips: int) -> Member:
    """The member that learns so."""
    learning = crop_world.member("rho_loss", chips_per_epoch=chips, max_epochs=EPOCHS, patience=EPOCHS)
    values = cast(Active, learning.active).model_dump() | {"warmup_epochs": 0, "passes": PASSES}
    return learning.model_copy(update={"active": None if way is None else Active(**(values | way))})


def turn(world: World, way: dict[str, Any] | None, chips: int) -> Turn:
    """Trains for a few epochs."""
    learning = member(way, chips)
    data = read_data("bench", learning, world.scenes, world.split)
    pl.seed_everything(SEED, verbose=False)
    network = models.network(training.draft_card("bench", learning, world.classes, data))
    task = SegmentationTask("bench", learning, network, world.classes.names, None)
    judge = Judge(network, judge_of(world, SEED), world.home)
    loader, _ = loaders(learning, world.train, data, judge)
    spent = plan(learning, loader, data, judge)
    clock, run = Clock(), world.home / "scoring"
    shutil.rmtree(run, ignore_errors=True)
    with contextlib.redirect_stderr(io.StringIO()):
        fit(task, world.train, loader, None, run, run / "state.ckpt", [clock])
    costs = spent.until(1)
    return Turn(clock.best, (costs.flops_train + costs.flops_score) / costs.flops_train)


def compare(world: World, chosen: Sequence[str], rounds: int, chips: int) -> dict[str, list[Turn]]:
    """Turns of the chosen ways, round by round."""
    found: dict[str, list[Turn]] = {name: [] for name in chosen}
    for number in range(rounds):
        order = [(name, ways()[name]) for name in chosen]
        for name, way in order if number % 2 == 0 else order[::-1]:
            found[name].append(turn(world, way, chips))
    return found


def maps(world: World) -> float:
    """Seconds of CPU for the irreducible losses of all training ground, once."""
    folder, reader = judge_of(world, SEED), ChipReader(world.scenes, world.split, crop_world.GRID)
    cache = world.home / "scoring-maps"
    shutil.rmtree(cache, ignore_errors=True)
    began = time.process_time()
    Irreducible(folder, reader, cache).build("cpu")
    return time.process_time() - began


def main() -> None:
    """Measures and judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=crop_world.ROOT / ".cache/bench/active")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chips", type=int, default=256, help="trained on per epoch")
    parser.add_argument("--ways", nargs="+", default=list(ways()), help="without, loss and rho_loss among them")
    given = parser.parse_args()
    torch.set_num_threads(1)
    world = crop_world.prepare("clean", given.home)
    print(f"irreducible losses of all training ground, once: {maps(world):.1f} s")
    found = compare(world, given.ways, given.rounds, given.chips)
    plain = found["without"]
    print(f"{'score':<28}{'ms per chip':>12}{'CPU ratio':>11} (least, most){'wall':>8}{'operations':>12}")
    for name, turns in found.items():
        cpu = [own.seconds.cpu / base.seconds.cpu for own, base in zip(turns, plain, strict=True)]
        wall = statistics.median(own.seconds.wall / base.seconds.wall for own, base in zip(turns, plain, strict=True))
        each = min(own.seconds.cpu for own in turns) / given.chips * 1000
        print(f"{name:<28}{each:>12.2f}{statistics.median(cpu):>11.2f} ({min(cpu):.2f}, {max(cpu):.2f}){wall:>8.2f}"
              f"{turns[0].predicted:>12.2f}")  # fmt: skip
    pairs = zip(found["rho_loss"], found["loss"], strict=True)
    ratio = statistics.median(rho.seconds.cpu / loss.seconds.cpu for rho, loss in pairs)
    print(f"rho_loss over loss: {ratio:.3f}, limit {SLACK}: {'kept' if ratio <= SLACK else 'MISSED'}")
    sys.exit(ratio > SLACK)


if __name__ == "__main__":
    main()
