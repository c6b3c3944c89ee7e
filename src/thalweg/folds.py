"""Spatial folds for cross-validation, and the naive random split that shows how much it flatters."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from thalweg.errors import DegradedDataWarning, SplitError
from thalweg.manifest.scene import Scene
from thalweg.params.classes import Classes
from thalweg.params.split import Split
from thalweg.split.assign import assign, strata
from thalweg.split.blocks import BlockTable
from thalweg.split.build import read_grids, write_split
from thalweg.split.earlier import check_first
from thalweg.split.pieces import Pieces, tiles
from thalweg.split.plan import Plan, dealt, free_scenes, official_parts
from thalweg.split.strata import shuffled
from thalweg.split.units import Scenes, units_by, units_of
from thalweg.split.whole import apply_rules

ALL = ("train", "val", "test")


def build_fold(scenes_root: Path, grids: tuple[str, ...], split: Split, classes: Classes, count: int, number: int,
               target: Path) -> None:  # fmt: skip
    """Writes a folder like `build/split/` in which one of `count` spatial folds is the test part.

    The next fold validates and the rest train; with two folds, validation is carved out of the other one in the share
    that it has beside training. What rules or official files leave unused stays so; all other scenes are dealt by
    `split.unit`. Buffer and leak check are the split's; where the params let no part yield, training does.

    Args:
        scenes_root: Holds a folder per grid.
        grids: Which of them are written (the member's is enough).
        split: What the params ask for.
        classes: The legend.
        count: Folds, at least 2.
        number: Which fold tests, from 0.
        target: The new folder.

    Raises:
        SplitError: Labels or blocks do not suffice for the folds.
    """
    scenes = read_grids(scenes_root, grids)
    check_first(scenes)
    ruled = _set_aside(scenes, split, classes)

    def deal(table: BlockTable) -> list[str]:
        return _parts(folds(table, split, classes, count), table, split, classes, count, number)

    units = units_of(free_scenes(scenes, ruled), split)
    plan = dealt(scenes, ruled, units, classes, deal, ALL)
    spatial = split.model_copy(update={"yields": "train" if split.yields == "none" else split.yields})
    write_split(scenes, replace(plan, complete=False), spatial, classes, "fail", target)


def folds(table: BlockTable, split: Split, classes: Classes, count: int) -> np.ndarray:
    """(units,) int: the fold of each labelled unit, stratified as the split's parts are.

    Raises:
        SplitError: There are fewer units than folds.
    """
    area_m2, columns = strata(table.area_m2, table.terrain, split.stratify, classes.names)
    shares = {str(number): 1 / count for number in range(count)}
    return np.array(assign(area_m2, shares, split.seed, columns)).astype(int)


def build_random(scenes_root: Path, grids: tuple[str, ...], split: Split, classes: Classes, count: int,
                 target: Path) -> None:  # fmt: skip
    """Writes a folder like `build/split/` with the field's random split: windows of `chip_px` dealt by chance.

    Test and validation get 1/`count` each, as of folds (of two: a quarter each), no buffer is kept, and the leak is
    stated in stats.json (`leak_m`) without a warning.

    Args:
        scenes_root: Holds a folder per grid.
        grids: Which of them are written (the member's is enough).
        split: Its seed and `chip_px`.
        classes: The legend.
        count: Folds that it is compared with, at least 2.
        target: The new folder.

    Raises:
        SplitError: There are fewer labelled windows than parts.
    """
    scenes = read_grids(scenes_root, grids)
    check_first(scenes)
    ruled = _set_aside(scenes, split, classes)
    free = free_scenes(scenes, ruled)

    def cut(scene: Scene, first: int) -> Pieces:
        return tiles(first, scene.grid.shape_yx, split.chip_px[scene.record.grid])

    def deal(table: BlockTable) -> list[str]:
        if len(table.codes) < len(ALL):
            raise SplitError(
                f"a random split finds {len(table.codes)} labelled window(s) for {len(ALL)} parts; lower split.chip_px"
            )
        share = 1 / count if count > 2 else 0.25
        rng = np.random.default_rng(split.seed)
        return [ALL[part] for part in shuffled(len(table.codes), (1 - 2 * share, share, share), rng)]

    plan: Plan = dealt(scenes, ruled, units_by(free, split, cut), classes, deal, ALL)
    naive = split.model_copy(update={"buffer_m": 0.0, "yields": "none"})
    write_split(scenes, replace(plan, complete=False), naive, classes, "state", target)


def _set_aside(scenes: Scenes, split: Split, classes: Classes) -> dict[str, str]:
    """Scenes that no part of the split uses.

    Rules and names that are those of other grids' scenes fit nothing here; the stage `split` has seen to the others.
    """
    if split.official is None:
        return {name: part for name, part in apply_rules(scenes, split, every=False).items() if part == "unused"}
    lenient = split.official.model_copy(update={"missing": "report"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegradedDataWarning)
        named = official_parts(scenes, split.model_copy(update={"official": lenient}), classes)
    return {name: "unused" for members in scenes.values() for name in members if name not in named}


def _parts(fold: np.ndarray, table: BlockTable, split: Split, classes: Classes, count: int, number: int) -> list[str]:
    if count > 2:
        return [{number: "test", (number + 1) % count: "val"}.get(each, "train") for each in fold.tolist()]
    rest = np.flatnonzero(fold != number)
    area_m2, columns = strata(table.area_m2, table.terrain, split.stratify, classes.names)
    shares = split.fractions
    share = shares.val / (shares.train + shares.val) if shares.val else 0.25
    inner = assign(area_m2[rest], {"train": 1 - share, "val": share}, split.seed, columns)
    parts = ["test"] * len(fold)
    for place, part in zip(rest.tolist(), inner, strict=True):
        parts[place] = part
    return parts
