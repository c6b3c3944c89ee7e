"""Training steps per second: the pipeline against a bare PyTorch loop; and how long a stage takes to its first step.

The network, chips and optimiser of the sample recipe's `unet` at 64 and 128 px, batches of 16. *Pipeline* is
`thalweg.fit` as the stage calls it, with loader, memory-mapped scenes, the recipe's loggers and watchers; what is timed
are its epoch's steps from the first chip read to the last step, without validation. *Bare* is a loop over the same
batches, normalised and in memory beforehand: forward, loss, backward, step. Both run in one process and take turns; the
ratio is of the fastest epoch of each, in CPU time and in wall time. The limit holds with augmentation, which bare never
does, in at least one of the clocks: wall time is true on a machine at rest, CPU time on one that others use. Scenes and
split are made once, into .cache/bench/train_steps.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from ruamel.yaml import YAML

from thalweg import models, optimise, params, sources, watch
from thalweg import train as training
from thalweg.fit import fit
from thalweg.manifest.products import write_products
from thalweg.params.classes import Classes
from thalweg.params.fetch import Fetch
from thalweg.params.grids import GridParams
from thalweg.params.masks import Masks
from thalweg.params.models import Member
from thalweg.params.split import Split
from thalweg.params.train import Train
from thalweg.preprocess import build_scenes
from thalweg.split.build import build_split
from thalweg.task import SegmentationTask

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes/sample.yaml"
HOME = ROOT / ".cache/bench/train_steps"
MEMBER, LIMIT = "unet", 0.95


class Seconds(NamedTuple):
    """Of some steps."""

    wall: float
    cpu: float


class Case(NamedTuple):
    """What is trained, and with what."""

    member: Member
    train: Train
    classes: Classes
    places: training.Places


def clock() -> Seconds:
    """Now, with whatever a device has been asked for done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Seconds(time.perf_counter(), time.process_time())


def prepare() -> None:
    """Makes the scenes and the split of the sample recipe's grid, once."""
    if (HOME / "build/split").is_dir():
        return
    shutil.rmtree(HOME, ignore_errors=True)
    raw, grid_name = HOME / "build/raw", params.load(Member, MEMBER, RECIPE).grid
    raw.mkdir(parents=True)
    classes, split = params.load(Classes, path=RECIPE), params.load(Split, path=RECIPE)
    write_products(sources.fetch_products(params.load(Fetch, path=RECIPE), raw, HOME / "products"), raw)
    build_scenes(raw, raw / "masks", grid_name, params.load(GridParams, grid_name, RECIPE),
                 params.load(Masks, path=RECIPE), classes, HOME / "build/scenes" / grid_name, HOME / "store")  # fmt: skip
    build_split(HOME / "build/scenes", (grid_name,), split, classes, HOME / "partial")
    (HOME / "partial").rename(HOME / "build/split")


class Clock(Callback):
    """Notes when an epoch's steps began and ended; the first epoch warms up and does not count."""

    def __init__(self) -> None:
        self.best = Seconds(float("inf"), float("inf"))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Before the first chip is read."""
        self._began = clock()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """After the last step."""
        if trainer.current_epoch and batch_idx + 1 == trainer.num_training_batches:
            self.best = least(self.best, since(self._began))


def least(one: Seconds, other: Seconds) -> Seconds:
    """The faster by either clock."""
    return Seconds(min(one.wall, other.wall), min(one.cpu, other.cpu))


def since(began: Seconds) -> Seconds:
    """Wall and CPU time that have passed."""
    now = clock()
    return Seconds(now.wall - began.wall, now.cpu - began.cpu)


def fresh(case: Case) -> tuple[SegmentationTask, training.Data]:
    """A task as a training starts with it."""
    data = training.read_data(MEMBER, case.member, case.places)
    pl.seed_everything(case.member.seed, verbose=False)
    network = models.network(training.draft_card(MEMBER, case.member, case.classes, data))
    return SegmentationTask(MEMBER, case.member, network, case.classes.names, None), data


def pipeline(case: Case) -> Seconds:
    """The fastest epoch of a training of three."""
    task, data = fresh(case)
    run = HOME / "runs"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    stopwatch = Clock()
    shown = training._shown(case.train, case.classes, data)
    fit(task, case.train, *training.loaders(case.member, case.train, data), run, run / "state.ckpt",
        [*watch.observers(case.train, run, shown), stopwatch])  # fmt: skip
    return stopwatch.best


def bare(case: Case) -> Seconds:
    """The fastest of two epochs of a loop that does nothing else, after one to warm up."""
    torch.use_deterministic_algorithms(False)
    task, data = fresh(case)
    device = torch.device("cuda" if case.train.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    network, loss = task.network.to(device).train(), task.loss.to(device)
    if case.train.channels_last:
        network.architecture.to(memory_format=torch.channels_last)
    loader, _ = training.loaders(case.member, case.train, data)
    with torch.no_grad():
        batches = [(network.normalise(pixels.to(device)), target.to(device)) for pixels, target in loader]
    mover = optimise.optimizer(case.member, network.parameters(), float(case.member.lr))
    half = case.train.precision == "bf16-mixed"

    def epoch() -> None:
        for inputs, target in batches:
            mover.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                logits = network.architecture(inputs)
            loss(logits.float(), target).backward()
            mover.step()

    epoch()
    return least(timed(epoch), timed(epoch))


def timed(act: Callable[[], None]) -> Seconds:
    """Wall and CPU seconds."""
    began = clock()
    act()
    return since(began)


def compare(case: Case, repeats: int) -> tuple[Seconds, Seconds]:
    """The fastest epoch of the pipeline and of the bare loop, taking turns."""
    best = [Seconds(float("inf"), float("inf"))] * 2
    for number in range(repeats):
        for k in (0, 1) if number % 2 == 0 else (1, 0):
            best[k] = least(best[k], (pipeline, bare)[k](case))
    return best[0], best[1]


def steps(given: argparse.Namespace) -> bool:
    """Prints the table of steps.

    Returns:
        Whether every case with augmentation keeps the limit.
    """
    print(f"{'chips':<8}{'augmentation':<14}{'pipeline steps/s':>18}{'bare steps/s':>14}{'ratio, wall':>13}{'CPU':>7}")
    kept = True
    for chip_px, count in ((64, given.steps), (128, max(given.steps // 3, 4))):
        for augmented in (False, True):
            case = of_recipe(chip_px, count, augmented, given)
            ours, base = compare(case, given.repeats)
            wall, cpu = base.wall / ours.wall, base.cpu / ours.cpu
            said = "d4, gain" if augmented else "off"
            print(f"{chip_px:<8}{said:<14}{count / ours.wall:>18.2f}{count / base.wall:>14.2f}{wall:>13.3f}{cpu:>7.3f}",
                  flush=True)  # fmt: skip
            kept &= not augmented or max(wall, cpu) >= LIMIT
    print(f"limit {LIMIT}, with augmentation: {'kept' if kept else 'MISSED'}")
    return kept


def of_recipe(chip_px: int, count: int, augmented: bool, given: argparse.Namespace) -> Case:
    """The sample recipe's member, for three epochs of so many steps."""
    member = params.load(Member, MEMBER, RECIPE)
    changes = {"chip_px": chip_px, "chips_per_epoch": count * member.batch_size, "max_epochs": 3}
    member = member.model_copy(update=changes | ({} if augmented else {"augment": {}}))
    machine = {"accelerator": given.accelerator, "precision": given.precision}
    train = params.load(Train, path=RECIPE).model_copy(update=machine)
    places = training.Places(
        scenes=HOME / "build/scenes" / member.grid, split=HOME / "build/split", model=HOME / "out", heldout=HOME / "out",
        history=HOME / "out", metrics=HOME / "out", runs=HOME / "runs", resume=HOME / "resume")  # fmt: skip
    return Case(member, train, params.load(Classes, path=RECIPE), replace(places))


def first_step(repeats: int) -> None:
    """Prints how long `python -m stages.train` takes to the end of its first step, of so many runs."""
    content = params.read_yaml(RECIPE)
    block = content["models"][MEMBER]
    block |= {"chips_per_epoch": block["batch_size"], "max_epochs": 1}  # the first step is the last
    with (HOME / "params.yaml").open("w") as stream:
        YAML().dump(content, stream)
    found = []
    for _ in range(repeats):
        for folder in ("runs", ".cache/resume"):
            shutil.rmtree(HOME / folder, ignore_errors=True)
        began = time.time()
        subprocess.run([sys.executable, "-m", "stages.train", MEMBER], cwd=HOME, check=True, capture_output=True,
                       env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))})  # fmt: skip
        (batches,) = (HOME / "runs").rglob("batches.csv")
        (epochs,) = (HOME / "runs").rglob("epochs.csv")
        validation = float(epochs.read_text().splitlines()[1].split(",")[2])
        found.append(batches.stat().st_mtime - began - validation)
    print(f"python -m stages.train {MEMBER}, to the end of the first step: {', '.join(f'{s:.1f}' for s in found)} s")


def main() -> None:
    """Measures and judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24, help="per epoch at 64 px; a third of it at 128 px")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--precision", default="32-true")
    given = parser.parse_args()
    prepare()
    kept = steps(given)
    first_step(given.repeats)
    sys.exit(not kept)


if __name__ == "__main__":
    main()
