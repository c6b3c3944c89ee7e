"""The whole split: the plan, part rasters with their buffer, the leak check, chips and statistics."""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from thalweg.errors import SplitError
from thalweg.manifest.chips import scene_parts, write_chips, write_stats
from thalweg.manifest.rounds import RoundFolder
from thalweg.manifest.scene import read_scenes
from thalweg.params.classes import Classes
from thalweg.params.split import Split
from thalweg.split.count import counted, iter_units, together
from thalweg.split.earlier import check_labels, nearest_label
from thalweg.split.outlines import write_blocks
from thalweg.split.parts import Nearness, OnLeak, check_leak, write_parts
from thalweg.split.plan import Plan, make_plan
from thalweg.split.statistics import Statistics
from thalweg.split.tables import part_counts
from thalweg.split.units import Scenes

EachT = TypeVar("EachT")
Track = Callable[[list[Any]], Iterable[Any]]
"""Shows progress while it passes things on."""


def build_split(scenes_root: Path, grids: tuple[str, ...], split: Split, classes: Classes, target: Path,
                earlier: RoundFolder | None = None, track: Track = iter,
                executor: Executor | None = None) -> None:  # fmt: skip
    """Writes `build/split/` for all grids: blocks.geojson, and per grid chips, part rasters and statistics.

    Args:
        scenes_root: Holds a folder per grid.
        grids: Which of them.
        split: What the params ask for.
        classes: The legend.
        target: The new folder.
        earlier: What an earlier round of training hands over.
        track: Shows progress while it passes units on.
        executor: Counts elsewhere, several units at once; None: here, one by one.

    Raises:
        RoundError: The params would deal the ground otherwise than in the earlier round.
        SplitError: Labels, blocks or classes do not suffice for the parts.
        LeakError: Test ground lies nearer to other parts than the buffer.
    """
    scenes = read_grids(scenes_root, grids)
    plan = make_plan(scenes, split, classes, earlier)
    write_split(scenes, plan, split, classes, split.leak, target, track, executor)
    if earlier is not None:
        every = [scene for members in scenes.values() for scene in members.values()]
        parts = ((scene.name, scene.grid, scene_parts(target, scene)) for scene in every)
        check_labels(nearest_label(earlier.masks, parts, 2 * max(split.buffer_m, split.block_m)), split.buffer_m)


def read_grids(scenes_root: Path, grids: tuple[str, ...]) -> Scenes:
    """The scenes of some grids."""
    return {grid: read_scenes(scenes_root / grid) for grid in sorted(grids)}


def write_split(scenes: Scenes, plan: Plan, split: Split, classes: Classes, on_leak: OnLeak, target: Path,
                track: Track = iter, executor: Executor | None = None) -> None:  # fmt: skip
    """Writes a split folder for a plan.

    Args:
        scenes: By grid and name.
        plan: The parts before any yields.
        split: Buffer, yields and chip sizes.
        classes: The legend.
        on_leak: What a leak means.
        target: The new folder.
        track: Shows progress while it passes units on.
        executor: Counts elsewhere, several units at once; None: here, one by one.

    Raises:
        SplitError: A part comes out empty, or training lacks a class.
        LeakError: Test ground lies nearer to other parts than the buffer, and `on_leak` is `fail`.
    """
    target.mkdir(parents=True)
    write_blocks(plan.table, classes, target / "blocks.geojson")
    for grid, members in scenes.items():
        if grid not in split.chip_px:
            raise SplitError(f"split.chip_px has no size for the grid '{grid}'; add it in params.yaml")
        others = _elsewhere(plan.footprints, grid)
        write_parts(members.values(), plan.footprints[grid], plan.table, split, target, others)
    for grid, members in scenes.items():
        nearness = check_leak(grid, members.values(), split, on_leak, target, _elsewhere(scenes, grid))
        count = partial(counted, split.chip_px[grid], classes.names, target)
        units = list(iter_units(members.values(), split.chip_px[grid], plan.table, plan.footprints[grid]))
        found = map(count, units) if executor is None else executor.map(count, units)
        statistics, chips = together(zip(track(units), found, strict=True))
        _write_tables(grid, chips, statistics, plan, len(members), classes, nearness, target)


def _elsewhere(by_grid: dict[str, dict[str, EachT]], grid: str) -> list[EachT]:
    """What other grids have of scenes that this one lacks: an ensemble may learn on their ground and be tested here."""
    found = {name: each for members in by_grid.values() for name, each in members.items()}
    return [each for name, each in found.items() if name not in by_grid[grid]]


def _write_tables(grid: str, chips: pd.DataFrame, statistics: Statistics, plan: Plan, scenes: int, classes: Classes,
                  nearness: Nearness, target: Path) -> None:  # fmt: skip
    parts_px = part_counts(chips, classes.names)
    _check_parts(grid, parts_px, plan, scenes)
    hidden = float(chips.loc[chips["part"] == "train", "hidden_fraction"].mean())
    write_chips(chips, target, grid)
    write_stats(
        statistics.stats(parts_px["train"], parts_px, nearness.learnt_m, nearness.shown_m, hidden), target, grid
    )


def _check_parts(grid: str, parts_px: dict[str, dict[str, int]], plan: Plan, scenes: int) -> None:
    """Every part that the params ask for has labels, train and val always, and train has every class.

    Raises:
        SplitError: One has not.
    """
    for part in sorted(plan.wanted):
        if not sum(parts_px[part].values()):
            raise SplitError(
                f"grid '{grid}': part '{part}' has no labelled, valid pixel in {scenes} scene(s); see that masks "
                "overlap them, lower split.buffer_m, or change split.fractions, split.rules or split.official"
            )
    absent = [name for name, count in parts_px["train"].items() if not count]
    if absent and plan.complete:
        raise SplitError(
            f"grid '{grid}': class(es) {', '.join(absent)} have no valid training pixel; lower split.block_m, "
            "change split.seed, label more ground, or drop them from 'classes'"
        )
