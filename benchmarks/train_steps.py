"""Training steps per second: the pipeline against a bare PyTorch loop; and how long a stage takes to its first step.

The network, chips and optimiser of the sample recipe's `unet` at 64 and 128 px, batches of 16. *Pipeline* is
`thalweg.fit` as the stage calls it, with loader, memory-mapped scenes, loggers and watchers; what is timed are an
epoch's steps from before the first chip is read to after the last step, validation left out. *Bare* is a loop over the
same batches, normalised and in memory beforehand: forward, loss, backward, step. Both run in one process by turns, and
each turn counts by its fastest epoch. The ratio is the median over pairs of turns; the limit is for the pipeline with
the recipe's augmentation, which bare never does. On a CPU it is judged by CPU time, since others may use the machine
(with `workers: 0` nothing is waited for), else by wall time. Scenes and split are made once, into
.cache/bench/train_steps.
"""

import argparse
import contextlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from ruamel.yaml import YAML

from thalweg import models, optimise, params, sources, watch
from thalweg import train as training
from thalweg.fit import fit
from thalweg.loading import Judge
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
EPOCHS = 4
"""Of a turn; the first warms up and does not count."""
IMPORTS = "import torch, lightning.pytorch"


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
                 params.load(Masks, path=RECIPE), classes, HOME / "build/scenes" / grid_name,
                 HOME / "store")  # fmt: skip
    build_split(HOME / "build/scenes", (grid_name,), split, classes, HOME / "partial")
    (HOME / "partial").rename(HOME / "build/split")


class Clock(Callback):
    """The fastest epoch's steps."""

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
    data = training.read_data(MEMBER, case.member, case.places.scenes, case.places.split)
    pl.seed_everything(case.member.seed, verbose=False)
    network = models.network(training.draft_card(MEMBER, case.member, case.classes, data))
    return SegmentationTask(MEMBER, case.member, network, case.classes.names, None), data


def pipeline(case: Case) -> Seconds:
    """A turn of the pipeline: one training."""
    task, data = fresh(case)
    run = HOME / "runs"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    stopwatch = Clock()
    shown = watch.Shown([], (0, 1, 2), tuple(info.color for info in case.classes.legend))
    with contextlib.redirect_stderr(io.StringIO()):
        batches = training.loaders(case.member, case.train, data, Judge(task.network, None, HOME))
        fit(task, case.train, *batches, run, run / "state.ckpt",
            [*watch.observers(case.train, run, shown), stopwatch])  # fmt: skip
    return stopwatch.best


def bare(case: Case) -> Seconds:
    """A turn of a loop that does nothing but learn."""
    torch.use_deterministic_algorithms(False)  # as Lightning leaves it on
    task, data = fresh(case)
    device = torch.device("cuda" if case.train.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    network, loss = task.network.to(device).train(), task.loss.to(device)
    if case.train.channels_last:
        network.architecture.to(memory_format=torch.channels_last)
    loader, _ = training.loaders(case.member, case.train, data, Judge(network, None, HOME))
    with torch.no_grad():
        batches = [(network.normalise(pixels.to(device)), target.to(device)) for pixels, target in loader]
    mover = optimise.optimizer(case.member, network.parameters(), float(case.member.lr))
    half = case.train.precision == "bf16-mixed"

    def step(inputs: torch.Tensor, target: torch.Tensor) -> None:
        mover.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = network.architecture(inputs)
        loss(logits.float(), target).backward()
        mover.step()

    def epoch() -> None:
        for inputs, target in batches:
            step(inputs, target)

    epoch()
    best = timed(epoch)
    for _ in range(EPOCHS - 2):
        best = least(best, timed(epoch))
    return best


def timed(act: Callable[[], None]) -> Seconds:
    """Wall and CPU seconds."""
    began = clock()
    act()
    return since(began)


def compare(case: Case, pairs: int) -> list[tuple[Seconds, Seconds]]:
    """Pairs of turns, pipeline's and bare's, either first by turns."""
    found = []
    for number in range(pairs):
        turns: dict[Callable[[Case], Seconds], Seconds] = {}
        for turn in (pipeline, bare) if number % 2 == 0 else (bare, pipeline):
            turns[turn] = turn(case)
        found.append((turns[pipeline], turns[bare]))
    return found


def steps(given: argparse.Namespace) -> bool:
    """Prints the table of steps.

    Returns:
        Whether every case with augmentation keeps the limit.
    """
    print(f"{'chips':<7}{'augmentation':<14}{'pipeline':>10}{'bare':>8} steps/s{'CPU':>9} (least, most){'wall':>9}")
    kept = True
    for chip_px, count in ((64, given.steps), (128, max(given.steps // 3, 4))):
        for augmented in (False, True):
            found = compare(of_recipe(chip_px, count, augmented, given), given.pairs)
            ours, base = (min(pair[k].wall for pair in found) for k in (0, 1))
            wall = statistics.median(base.wall / ours.wall for ours, base in found)
            ratios = [base.cpu / ours.cpu for ours, base in found]
            cpu = statistics.median(ratios)
            print(
                f"{chip_px:<7}{'d4, gain' if augmented else 'off':<14}{count / ours:>10.2f}{count / base:>8.2f}"
                f"{cpu:>17.3f} ({min(ratios):.3f}, {max(ratios):.3f}){wall:>8.3f}",
                flush=True,
            )
            kept &= not augmented or (cpu if given.accelerator == "cpu" else wall) >= LIMIT
    print(f"limit {LIMIT} with augmentation: {'kept' if kept else 'MISSED'}")
    return kept


def of_recipe(chip_px: int, count: int, augmented: bool, given: argparse.Namespace) -> Case:
    """The sample recipe's member, for a few epochs of so many steps."""
    member = params.load(Member, MEMBER, RECIPE)
    changes = {
        "chip_px": chip_px,
        "chips_per_epoch": count * member.batch_size,
        "max_epochs": EPOCHS,
        "patience": EPOCHS,
    }
    member = member.model_copy(update=changes | ({} if augmented else {"augment": {}}))
    machine = {"accelerator": given.accelerator, "precision": given.precision}
    train = params.load(Train, path=RECIPE).model_copy(update=machine)
    places = training.Places(
        scenes=HOME / "build/scenes" / member.grid,
        split=HOME / "build/split",
        model=HOME / "out",
        heldout=HOME / "out",
        history=HOME / "out",
        metrics=HOME / "out",
        runs=HOME / "runs",
        resume=HOME / "resume",
    )
    return Case(member, train, params.load(Classes, path=RECIPE), places)


def first_step(repeats: int) -> None:
    """Prints how long `python -m stages.train` takes to the end of its first step, and torch and Lightning alone."""
    content = params.read_yaml(RECIPE)
    block = content["models"][MEMBER]
    block |= {"chips_per_epoch": block["batch_size"], "max_epochs": 1}  # the first step is the last
    with (HOME / "params.yaml").open("w") as stream:
        YAML().dump(content, stream)
    stage, imports = [], []
    for _ in range(repeats):
        for folder in ("runs", ".cache/resume"):
            shutil.rmtree(HOME / folder, ignore_errors=True)
        began = launched("-c", IMPORTS)
        imports.append(time.time() - began)
        began = launched("-m", "stages.train", MEMBER)
        (batches,) = (HOME / "runs").rglob("batches.csv")  # written after the epoch's validation
        (epochs,) = (HOME / "runs").rglob("epochs.csv")
        validation = float(epochs.read_text().splitlines()[1].split(",")[2])
        stage.append(batches.stat().st_mtime - began - validation)
    for name, found in ((f"python -m stages.train {MEMBER}, to the end of its first step", stage),
                        (f'python -c "{IMPORTS}"', imports)):  # fmt: skip
        print(f"{name}: least {min(found):.1f} s of {', '.join(f'{s:.1f}' for s in found)}")


def launched(*command: str) -> float:
    """When a Python process that has since ended was started.

    Raises:
        SystemExit: It failed.
    """
    began = time.time()
    paths = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    done = subprocess.run([sys.executable, *command], cwd=HOME, check=False, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": paths})  # fmt: skip
    if done.returncode:
        sys.exit(f"`python {' '.join(command)}` failed:\n{done.stderr}")
    return began


def main() -> None:
    """Measures and judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3, help="of turns; and starts of the stage")
    parser.add_argument("--steps", type=int, default=16, help="per epoch at 64 px; a third of it at 128 px")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--precision", default="32-true")
    given = parser.parse_args()
    prepare()
    kept = steps(given)
    first_step(given.pairs)
    sys.exit(not kept)


if __name__ == "__main__":
    main()
