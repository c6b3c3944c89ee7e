"""Which chips are worth a step: random, loss, rho_loss, margin and entropy on the crop world, with and without noise.

Every run trains the recipe's small U-Net (recipes/active.yaml) on the same number of chips, chosen from pools of four
times as many, through the project's own loaders, scorer and trainer; after every epoch the whole test part is scored.
No epoch and no rate is chosen by it: weights are those of the last epoch, and each score gets the same two rates, of
which the validation part of the noisy world chooses one with a seed of its own. The holdout member that rho_loss
compares with learns from three tenths of the training patches, which no compared run sees; *all* is chance that sees
them, too, at chance's rate. Seeds change weights, chips, and which patches are held out.

Runs are kept as they end, below `--home`, so that a killed comparison goes on. Ends with a table (`table.md`), the
record of all runs (`runs.json`) and a picture.
"""

import argparse
import contextlib
import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from benchmarks import crop_world, real_patch
from benchmarks.crop_world import World
from thalweg import metrics, models
from thalweg import train as training
from thalweg.active.costs import Plan
from thalweg.active.loader import ActiveLoader
from thalweg.classes import IGNORE
from thalweg.fit import fit
from thalweg.grid import Window
from thalweg.loading import Data, Judge, loaders, plan, read_data
from thalweg.manifest import write_json
from thalweg.manifest.costs import read_costs
from thalweg.params.models import Holdout, Member
from thalweg.task import SegmentationTask

SCORES = ("random", "loss", "rho_loss", "margin", "entropy")
ALL = "all"
RATES = (0.005, 0.015)
SEEDS = (0, 1, 2, 3, 4)
SEARCH_SEED, SEARCH_WORLD = 100, "noisy"
SMALL = {"chip_px": real_patch.CHIP_PX, "window_px": 32, "chips_per_epoch": 128, "batch_size": 16}
"""Of members on the real patch, which is 100 pixels wide."""


class Run(NamedTuple):
    """One training."""

    world: str
    score: str
    seed: int
    lr: float

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.world}-{self.score}-{self.seed}-{self.lr:g}"


class Watch(Callback):
    """After every epoch: costs, seconds of the steps, and scores of the whole val and test parts."""

    def __init__(self, spent: Plan, data: Data, classes: tuple[str, ...], chosen: "Chosen | None") -> None:
        self._spent, self._data, self._classes, self._chosen = spent, data, classes, chosen
        self.rows: list[dict[str, float]] = []
        self._wall = self._cpu = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Before the first chip of the epoch is read."""
        self._began = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """After its last step."""
        if batch_idx + 1 == trainer.num_training_batches:
            self._wall += time.perf_counter() - self._began[0]
            self._cpu += time.process_time() - self._began[1]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Notes the epoch."""
        costs = self._spent.until(trainer.current_epoch + 1)
        row = costs.model_dump(exclude={"schema_version"}) | {"flops": costs.flops, "wall_s": self._wall}
        row |= {"cpu_s": self._cpu} | (self._chosen.shares() if self._chosen else {})
        last = trainer.current_epoch + 1 == trainer.max_epochs
        for part in ("val", "test") if last else ("test",):
            found = examined(pl_module.network, self._data, part, self._classes)
            row |= {f"{part}_{key}": value for key, value in found.items() if key in ("miou", "accuracy")}
        self.rows.append(row)


class Chosen:
    """Looks over a loader's shoulder: how much of what it takes was declared wrongly, and of what it is offered."""

    def __init__(self, loader: ActiveLoader, wrong: dict[str, np.ndarray]) -> None:
        self._loader, self._wrong, self._choose = loader, wrong, loader.scorer.choose
        self._seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        loader.scorer.choose = self._noted  # type: ignore[method-assign]

    def shares(self) -> dict[str, float]:
        """Of labelled pixels of the epoch: `wrong_pool`, `wrong_chosen`; empty in the warm-up."""
        places = list(self._loader._pool.sampler)  # the epoch's own plan, drawn again
        seen, self._seen = self._seen, []
        if not seen:
            return {}
        wrong, labelled, kept = (np.concatenate(each) for each in zip(*self._placed(seen, places), strict=True))
        return {"wrong_pool": float(wrong.sum() / labelled.sum()),
                "wrong_chosen": float(wrong[kept].sum() / labelled[kept].sum())}  # fmt: skip

    def _placed(self, seen: list[Any], places: list[Any]) -> Iterator[tuple[np.ndarray, ...]]:
        first = 0
        for target, kept in seen:
            here = places[first : first + len(target)]
            first += len(target)
            known = target != IGNORE
            planes = [self._wrong[place.scene][place.window.rows, place.window.cols] for place in here]
            wrong = np.array([(plane & labels).sum() for plane, labels in zip(planes, known, strict=True)])
            yield wrong, known.sum((1, 2)), np.isin(np.arange(len(target)), kept)

    def _noted(self, pixels: Any, target: Any, *rest: Any) -> Any:
        kept = self._choose(pixels, target, *rest)
        self._seen.append((target.numpy().copy(), kept.numpy()))
        return kept


def examined(network: torch.nn.Module, data: Data, part: str, classes: tuple[str, ...]) -> dict[str, float]:
    """Scores of a part, each of its patches seen whole."""
    before = {module: module.training for module in network.modules()}
    network.eval()
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    for name in sorted(set(data.part(part)["scene"])):
        shape = data.reader.scenes[name].grid.shape_yx
        whole = Window(0, 0, *(-(-edge // 8) * 8 for edge in shape))  # networks halve it
        pixels, target = data.reader.read(name, whole, part)
        with torch.no_grad():
            labels = network(torch.from_numpy(pixels)[None]).argmax(1)[0].to(torch.uint8).numpy()
        matrix += metrics.confusion(target, labels, len(classes))
    for module, mode in before.items():
        module.training = mode
    return metrics.scores(matrix, classes)


def member_of(run: Run) -> Member:
    """The compared member."""
    learning = crop_world.member("random" if run.score == ALL else run.score, seed=run.seed, lr=run.lr)
    changes = {"holdout": None if run.score == ALL else _side(learning, run.seed)}
    return learning.model_copy(update=changes | (SMALL if run.world == real_patch.NAME else {}))


def _side(member: Member, seed: int) -> Holdout:
    return cast(Holdout, member.holdout).model_copy(update={"seed": seed})


def judge_of(world: World, seed: int) -> Path:
    """The folder of the seed's holdout member, trained once by the stage's own function."""
    home = world.home / f"judge-{seed}"
    if (home / "model").is_dir():
        return home / "model"
    held = crop_world.member("judge", seed=seed)
    small = SMALL if world.home.name == real_patch.NAME else {}
    held = held.model_copy(update={"holdout": _side(held, seed)} | small)
    places = training.Places(scenes=world.scenes, split=world.split, model=home / "partial", heldout=home / "heldout",
                             history=home / "history.csv", metrics=home / "metrics.json", runs=home / "runs",
                             resume=home / "resume")  # fmt: skip
    began = time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):
        training.train_member("judge", held, world.train, world.classes, places)
    write_json({"wall_s": time.perf_counter() - began}, home / "seconds.json")
    (home / "partial").rename(home / "model")
    return home / "model"


def trained(run: Run, world: World) -> dict[str, Any]:
    """Trains and examines one; what it scored and cost, epoch by epoch."""
    member, name = member_of(run), run.score
    after = judge_of(world, run.seed) if run.score == "rho_loss" else None
    data = read_data(name, member, world.scenes, world.split)
    pl.seed_everything(member.seed, workers=True, verbose=False)
    network = models.network(training.draft_card(name, member, world.classes, data))
    task = SegmentationTask(name, member, network, world.classes.names, training.class_weights(name, member, data))
    judge = Judge(network, after, world.home)
    began = time.perf_counter()
    loader = cast(ActiveLoader, loaders(member, world.train, data, judge)[0])
    before_s = time.perf_counter() - began  # of loss maps, where they are not kept yet
    chosen = Chosen(loader, crop_world.wrongly_declared(world))
    watch = Watch(plan(member, loader, data, judge), data, world.classes.names, chosen)
    where = world.home / "runs" / run.name
    shutil.rmtree(where, ignore_errors=True)  # a killed run's state, whose epochs nobody noted
    with contextlib.redirect_stderr(io.StringIO()):
        fit(task, world.train, loader, None, where, where / "state.ckpt", [watch])
    shutil.rmtree(where)
    facts: dict[str, Any] = run._asdict() | {"before_s": before_s, "epochs": watch.rows}
    if after is not None:
        facts |= {"judge_s": json.loads((after.parent / "seconds.json").read_text())["wall_s"],
                  "judge_flops": read_costs(after).flops,
                  "judge": json.loads((after.parent / "metrics.json").read_text())["test"]["miou"]}  # fmt: skip
    return facts


def kept(run: Run, root: Path) -> dict[str, Any]:
    """A run's record, from its file if it has ended already."""
    path = root / "runs" / f"{run.name}.json"
    if not path.is_file():
        began = time.perf_counter()
        found = trained(run, world_of(run.world, root))
        write_json(found, path)
        last = found["epochs"][-1]
        print(f"{run.name}: test mIoU {last['test_miou']:.3f}, OA {last['test_accuracy']:.3f}, "
              f"{time.perf_counter() - began:.0f} s", flush=True)  # fmt: skip
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def world_of(name: str, root: Path) -> World:
    """The world of that name, made if need be."""
    return real_patch.prepare(root) if name == real_patch.NAME else crop_world.prepare(name, root)


def rate_of(world: str, score: str, root: Path) -> float:
    """The rate whose last epoch scores best on the validation part, by a seed that is compared nowhere."""
    tried = {lr: kept(Run(world, score, SEARCH_SEED, lr), root)["epochs"][-1]["val_miou"] for lr in RATES}
    return max(tried, key=lambda lr: tried[lr])


def main() -> None:
    """Runs what is missing, then draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=crop_world.ROOT / ".cache/bench/active")
    parser.add_argument("--worlds", nargs="+", default=list(crop_world.WORLDS))
    parser.add_argument("--scores", nargs="+", default=[*SCORES, ALL])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--picture", type=Path, default=crop_world.ROOT / "docs/images/active.png")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for world in given.worlds:
        searched = SEARCH_WORLD if world in crop_world.WORLDS else world
        rates = {score: rate_of(searched, score, given.home) for score in given.scores if score != ALL}
        rates[ALL] = rate_of(searched, "random", given.home)
        for seed in given.seeds:
            found += [kept(Run(world, score, seed, rates[score]), given.home) for score in given.scores]
    write_json(found, given.home / "runs.json")
    from benchmarks.active_figure import draw, table  # noqa: PLC0415 - needs no torch

    (given.home / "table.md").write_text(table(found), "utf-8")
    print(table(found))
    draw(found, given.picture)


if __name__ == "__main__":
    main()
