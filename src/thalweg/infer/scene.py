"""Whole scenes, predicted by several members at once: reading, predicting and writing overlap, and a kill costs little.

One pass over the scene, row of windows by row of windows. A window is read once for all members that share its size,
and each of them predicts it once however many sweeps it belongs to. Only windows that hold a wanted pixel are read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
from rasterio.io import DatasetWriter

from thalweg import contract
from thalweg.infer.area import Area, Inside, to_inside
from thalweg.infer.canvas import Canvas
from thalweg.infer.lattice import How, Lattice
from thalweg.infer.memory import BAND_PX, CACHE_BYTES, Ground, Group, plan
from thalweg.infer.pipe import Behind, ahead
from thalweg.infer.predictor import Predicts
from thalweg.infer.reading import iter_batches, usable
from thalweg.infer.state import State, fingerprint, forget
from thalweg.infer.writing import Writer, write_held
from thalweg.manifest.scene import Scene
from thalweg.maps import create_probs

__all__ = ["How", "forget", "plan_scene", "predict_scene", "usable", "window_count"]

Tell = Callable[[float], None]
"""Told now and then which share of the work is done, 0…1."""


def predict_scene(group: Mapping[str, Predicts], scene: Scene, how: How, names: Sequence[str],
                  targets: Mapping[str, Path], *, area: Area | None = None, memory_gib: float,
                  state: Path | None = None, tell: Tell | None = None) -> None:  # fmt: skip
    """Predicts a scene into rasters of held probabilities; what is not measured, valid and wanted is nodata.

    Args:
        group: Members by name, all of the scene's grid.
        scene: To predict.
        how: How windows sweep it and are blended.
        names: Class names, the bands' descriptions.
        targets: New file of each member; its folder is made, and it appears when it is whole.
        area: What of the scene is wanted, complete to its edge; None: all of it.
        memory_gib: Budget beside models and interpreter; see `infer.memory`.
        state: Folder that outlives a kill: the next call with the same arguments goes on behind the last finished band,
            to the same bytes, and finds what is finished; `infer.state.forget` removes it. None: nothing is kept.
        tell: Shows progress.

    Raises:
        ContractError: The scene is not what a member was trained to read.
        BudgetError: Not even one window of one member fits the budget.
    """
    for member in group.values():
        contract.check(member.card, scene)
    job = SceneJob.of(scene, how, names, area, targets, state)
    parts = job.plan(group, memory_gib)
    for number, part in enumerate(parts):
        job.run({name: group[name] for name in part.members}, part, partial(_told, tell, number, len(parts)))


def plan_scene(group: Mapping[str, Predicts], scene: Scene, how: How, names: Sequence[str],
               memory_gib: float) -> tuple[Group, ...]:  # fmt: skip
    """What `predict_scene` would do at once, and how much memory that takes.

    Raises:
        BudgetError: Not even one window of one member fits the budget.
    """
    return SceneJob.of(scene, how, names, None, {}, None).plan(group, memory_gib)


def window_count(member: Predicts, scene: Scene, how: How) -> int:
    """Windows that a member predicts where all of a scene is measured, for an estimate of time."""
    lattice = Lattice.over(scene.grid.shape_yx, member.card.window_px, how)
    return sum(len(lattice.windows(top)) for top in lattice.tops)


@dataclass(frozen=True)
class SceneJob:
    """What stays the same while one scene is predicted."""

    scene: Scene
    how: How
    names: tuple[str, ...]
    area: Area | None
    targets: Mapping[str, Path]
    kept: Path | None
    inside: Inside

    @classmethod
    def of(cls, scene: Scene, how: How, names: Sequence[str], area: Area | None, targets: Mapping[str, Path],
           kept: Path | None) -> "SceneJob":  # fmt: skip
        """One whose area is ready to be asked."""
        return cls(scene, how, tuple(names), area, targets, kept, to_inside(area, scene.grid))

    def plan(self, group: Mapping[str, Predicts], memory_gib: float) -> tuple[Group, ...]:
        """Which members are predicted together."""
        image = self.scene.image
        ground = Ground(image.shape[1], len(self.names), image.shape[2] * image.dtype.itemsize)
        return plan(group, {name: self.lattice(member) for name, member in group.items()}, ground, memory_gib,
                    image.dtype)  # fmt: skip

    def lattice(self, member: Predicts) -> Lattice:
        """A member's windows."""
        return Lattice.over(self.scene.grid.shape_yx, member.card.window_px, self.how)

    def run(self, members: Mapping[str, Predicts], part: Group, tell: Tell) -> None:
        """Predicts what is not finished of some members, and gives their targets."""
        states = {name: self.state_of(name, member, part) for name, member in members.items()}
        done = {name for name, state in states.items() if state and state.finished}
        todo = {name: member for name, member in members.items() if name not in done}
        for target in (self.targets[name] for name in members):
            target.parent.mkdir(parents=True, exist_ok=True)
        if todo:
            self._predict_all(todo, part, {name: states[name] for name in todo}, tell)
        for name, state in states.items():
            if state and name in todo:
                state.finish(self.targets[name])
            elif state:
                state.give(self.targets[name])
        tell(1)

    def sweep(self, members: Mapping[str, Predicts], part: Group, writer: Writer, rows: tuple[int, int],
              tell: Tell | None = None) -> None:  # fmt: skip
        """Predicts some rows and hands them on, to the same values whichever rows are asked for.

        Args:
            members: To predict.
            part: In what batches.
            writer: Takes the rows, band by band.
            rows: First, a multiple of `BAND_PX`, and the one behind the last: such a multiple, or the scene's height.
            tell: Shows progress.
        """
        start, stop = rows
        lattices = {name: self.lattice(member) for name, member in members.items()}
        canvases = {name: Canvas(lattice, len(self.names), BAND_PX, start) for name, lattice in lattices.items()}
        read = iter_batches(self.scene, {each.window_px: each for each in lattices.values()}, part.batches,
                            self.inside, start, stop)  # fmt: skip
        with Behind(writer) as behind, closing(ahead(read)) as batches:
            for batch in batches:
                _hand_on(canvases, batch.top, behind)
                for name, member in members.items():
                    if lattices[name].window_px == batch.size_px:
                        for window, probs in zip(batch.windows, member.predict(batch.pixels), strict=True):
                            canvases[name].add(window, probs)
                if tell:
                    tell(batch.top / stop)
            _hand_on(canvases, stop, behind)

    def keep(self, load: Callable[[], Mapping[str, Predicts]], part: Group, states: Mapping[str, State],
             rows: tuple[int, int], tell: Tell | None = None) -> None:  # fmt: skip
        """Predicts some rows into states alone, behind the finished bands that they begin with.

        Args:
            load: Gives the members; not called where all is finished.
            part: In what batches.
            states: By member.
            rows: As for `sweep`.
            tell: Shows progress.
        """
        start, stop = rows
        while start < stop and all(state.has(start) for state in states.values()):
            start += BAND_PX
        if start < stop:
            self.sweep(load(), part, Writer(self.scene, self.inside, {}, states), (start, stop), tell)

    def join(self, state: State) -> None:
        """Makes a member's whole raster of its finished bands, where there is none yet."""
        if state.finished:
            return
        with state.new() as path, create_probs(path, self.scene.grid, self.names) as dataset:
            for top, held in state.bands(self.scene.grid.shape_yx[0], BAND_PX):
                write_held(dataset, top, held)

    def _predict_all(self, members: Mapping[str, Predicts], part: Group, states: Mapping[str, State | None],
                     tell: Tell) -> None:  # fmt: skip
        start = min(state.rows(BAND_PX) if state else 0 for state in states.values())
        with ExitStack() as stack:
            stack.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES))
            datasets = {name: stack.enter_context(self._created(name, states[name], start)) for name in members}
            writer = Writer(self.scene, self.inside, datasets, states)
            self.sweep(members, part, writer, (start, self.scene.grid.shape_yx[0]), tell)

    @contextmanager
    def _created(self, name: str, state: State | None, start: int) -> Iterator[DatasetWriter]:
        """A member's raster, with what is finished of it; it gets its name when it is whole."""
        target = self.targets[name]
        partial = target.with_name(f".{target.name}.part")
        try:
            with create_probs(partial, self.scene.grid, self.names) as dataset:
                for top, held in state.bands(start, BAND_PX) if state else ():
                    write_held(dataset, top, held)
                yield dataset
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def state_of(self, name: str, member: Predicts, part: Group) -> State | None:
        """Where what is finished of a member lies; None where nothing is kept."""
        if self.kept is None:
            return None
        batch = part.batches[self.lattice(member).window_px]
        return State(self.kept / f"{name}-{fingerprint(member, self.scene, self.how, self.area, batch)[:24]}")


def _hand_on(canvases: Mapping[str, Canvas], row: int, writer: "Behind[tuple[str, int, np.ndarray]]") -> None:
    for name, canvas in canvases.items():
        for top, band in canvas.finished(row):
            writer.put((name, top, band))


def _told(tell: Tell | None, number: int, count: int, share: float) -> None:
    if tell:
        tell((number + share) / count)
