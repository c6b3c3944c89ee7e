"""Scenes predicted by an executor, in bands of rows: on other cores, machines or accelerators, to the same bytes.

Three kinds of units, each of which may run twice, here and there, and leaves on the disk what it has finished:
    plan    per scene: which members go together in what batches, and which rows are not yet finished;
    rows    per run of bands: predicted, each band kept whole or not at all; the windows above its first row are
            predicted once more, for what they add to it;
    join    per scene: bands to one raster.
Batches, kind of device and number of threads are those of the plan, whoever works by it, since the last bits of a
prediction may depend on them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from shapely.geometry.base import BaseGeometry

from thalweg import contract
from thalweg.infer.lattice import How
from thalweg.infer.memory import BAND_PX, Group
from thalweg.infer.predictor import Predictor
from thalweg.infer.scene import SceneJob
from thalweg.infer.state import State
from thalweg.manifest.card import CARD, WEIGHTS
from thalweg.manifest.scene import Scene

Rows = tuple[int, int]
_LEAST_ROWS, _WINDOWS = 1024, 4
"""Rows of a unit: so many, and so many windows high, so that at half overlap an eighth is predicted twice at most."""


@dataclass(frozen=True)
class Members:
    """What predicts."""

    models: Path
    names: tuple[str, ...]
    device: str
    views: int
    scales: tuple[float, ...]

    def load(self, names: Sequence[str], device: str) -> dict[str, Predictor]:
        """Some of them, on a device; kept for the units to come."""
        return {name: _loaded(self.models.absolute() / name, _stamp(self.models / name), device, self.views,
                              self.scales) for name in names}  # fmt: skip


@dataclass(frozen=True)
class Order:
    """One scene to be predicted."""

    members: Members
    scene: Scene
    """Travels as its folder, without pixels."""
    how: How
    names: tuple[str, ...]
    area: BaseGeometry | None
    memory_gib: float
    kept: Path
    """Folder for what is finished."""
    targets: Mapping[str, Path]
    threads: int

    @classmethod
    def of(cls, members: Members, scene: Scene, how: How, names: Sequence[str], area: BaseGeometry | None,
           memory_gib: float, kept: Path, targets: Mapping[str, Path]) -> "Order":  # fmt: skip
        """With as many threads as here."""
        return cls(members, scene, how, tuple(names), area, memory_gib, kept, targets, torch.get_num_threads())

    def job(self) -> SceneJob:
        """The same, with the scene opened."""
        return SceneJob.of(self.scene, self.how, self.names, self.area, self.targets, self.kept)


@dataclass(frozen=True)
class Plan:
    """Members of an order that are predicted together."""

    part: Group
    device: str
    folders: Mapping[str, Path]
    """Where what is finished of each lies."""
    todo: tuple[Rows, ...]

    def states(self) -> dict[str, State]:
        """What is finished of each."""
        return {name: State(folder) for name, folder in self.folders.items()}


def predict_scenes(orders: Sequence[Order], executor: Executor,
                   track: Callable[[Sequence[str]], Iterable[str]]) -> None:  # fmt: skip
    """Predicts scenes into their targets, as `predict_scene` does, to the same bytes.

    Args:
        orders: One per scene.
        executor: Runs units, in any order, some of them twice.
        track: Shows progress while it passes names of units on one by one.

    Raises:
        ContractError: A scene is not what a member was trained to read.
        BudgetError: Not even one window of one member fits the budget.
    """
    plans = [(order, plan) for order, found in zip(orders, executor.map(_plan, orders), strict=True) for plan in found]
    units = [(order, plan, rows) for order, plan in plans for rows in plan.todo]
    shown = track([f"{order.scene.name} {rows[0]}" for order, _, rows in units])
    for _ in zip(shown, executor.map(_predict, *zip(*units, strict=True)) if units else (), strict=True):
        pass
    joined = executor.map(_join, *zip(*plans, strict=True)) if plans else iter(())
    for (order, plan), _ in zip(plans, joined, strict=True):
        for name, state in plan.states().items():
            order.targets[name].parent.mkdir(parents=True, exist_ok=True)
            state.give(order.targets[name])
            state.tidy()


def _plan(order: Order) -> tuple[Plan, ...]:
    torch.set_num_threads(order.threads)
    job, members = order.job(), order.members.load(order.members.names, order.members.device)
    for member in members.values():
        contract.check(member.card, job.scene)
    return tuple(_planned(job, part, members) for part in job.plan(members, order.memory_gib))


def _planned(job: SceneJob, part: Group, members: Mapping[str, Predictor]) -> Plan:
    states = {name: state for name in part.members if (state := job.state_of(name, members[name], part))}
    height, size_px = job.scene.grid.shape_yx[0], max(part.batches)
    missing = [top for top in range(0, height, BAND_PX) if not all(state.has(top) for state in states.values())]
    most = -(-max(_LEAST_ROWS, _WINDOWS * size_px) // BAND_PX)
    todo = tuple((run[0], min(run[-1] + BAND_PX, height)) for run in _runs(missing, most))
    folders = {name: state.folder for name, state in states.items()}
    return Plan(part, next(iter(members.values())).device.type, folders, todo)


def _runs(tops: Sequence[int], most: int) -> Iterator[list[int]]:
    """Bands that follow each other, so many at most."""
    run: list[int] = []
    for top in tops:
        if run and (top != run[-1] + BAND_PX or len(run) == most):
            yield run
            run = []
        run.append(top)
    if run:
        yield run


def _predict(order: Order, plan: Plan, rows: Rows) -> None:
    """Behind what another has finished of these rows, if any did."""
    torch.set_num_threads(order.threads)
    order.job().keep(lambda: order.members.load(plan.part.members, plan.device), plan.part, plan.states(), rows)


def _join(order: Order, plan: Plan) -> None:
    job = order.job()
    for state in plan.states().values():
        job.join(state)


def _stamp(folder: Path) -> tuple[int, ...]:
    """What changes when a model is trained again."""
    found = [(folder / name).stat() for name in (CARD, WEIGHTS)]
    return tuple(number for file in found for number in (file.st_size, file.st_mtime_ns))


@lru_cache(maxsize=8)
def _loaded(folder: Path, _stamp: tuple[int, ...], device: str, views: int, scales: tuple[float, ...]) -> Predictor:
    return Predictor.load(folder, device, views, scales)
