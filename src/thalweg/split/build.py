"""The whole split: rules and blocks, part rasters with their buffer, the leak check, chips and statistics."""

import fnmatch
from pathlib import Path

import numpy as np
import pandas as pd

from thalweg.classes import IGNORE
from thalweg.errors import SplitError
from thalweg.manifest import write_json
from thalweg.manifest.chips import PARTS, read_parts, write_chips, write_stats
from thalweg.manifest.scene import Scene, read_scenes
from thalweg.params.classes import Classes
from thalweg.params.split import Split
from thalweg.split.assign import assign
from thalweg.split.blocks import BlockTable, Lattice, decode, encode, ranked
from thalweg.split.parts import check_leak, write_parts
from thalweg.split.tables import BAND_PX, Histogram, bands, chips_of, labels, part_counts

Scenes = dict[str, dict[str, Scene]]
"""Grid → scene name → scene."""


def build_split(scenes_root: Path, grids: tuple[str, ...], split: Split, classes: Classes, target: Path) -> None:
    """Writes `build/split/` for all grids: blocks.geojson, and per grid chips, part rasters and statistics.

    Args:
        scenes_root: Holds a folder per grid.
        grids: Which of them.
        split: What the params ask for.
        classes: The legend.
        target: The new folder.

    Raises:
        SplitError: Labels, blocks or classes do not suffice for the parts.
        LeakError: Test ground lies nearer to other parts than the buffer.
    """
    scenes = {grid: read_scenes(scenes_root / grid) for grid in sorted(grids)}
    ruled = _apply_rules(scenes, split)
    table = _assigned(scenes, ruled, split, classes)
    target.mkdir(parents=True)
    _write_blocks(table, classes, target / "blocks.geojson")
    for grid, members in scenes.items():
        write_parts(grid, members, ruled, table, split, target)
        leak_m = check_leak(grid, members, split, target)
        _write_tables(grid, members, split, classes, leak_m, target)


def _apply_rules(scenes: Scenes, split: Split) -> dict[str, str]:
    """Scene name → part, for the scenes that a rule assigns; the first rule that fits counts."""
    everything = [scene for members in scenes.values() for scene in members.values()]
    ruled: dict[str, str] = {}
    for number, rule in enumerate(split.rules):
        fits = [scene.name for scene in everything if _fits(scene, rule.scene, rule.mask)]
        if not fits:
            raise SplitError(
                f"split.rules.{number} ({rule.scene or rule.mask}) fits none of {len(everything)} scenes, "
                f"such as {everything[0].name}; correct the glob or remove the rule"
            )
        ruled = {**dict.fromkeys(fits, rule.part), **ruled}
    return ruled


def _fits(scene: Scene, name: str | None, mask: str | None) -> bool:
    if name is not None:
        return fnmatch.fnmatchcase(scene.name, name)
    return any(fnmatch.fnmatchcase(path, mask or "") for path in scene.record.masks)


def _assigned(scenes: Scenes, ruled: dict[str, str], split: Split, classes: Classes) -> BlockTable:
    """Labelled blocks of the scenes that no rule assigns, each with its part.

    A product in several grids counts once, in the coarsest, so that the order of grids and scenes plays no part.
    """
    free: dict[str, Scene] = {}
    for scene in sorted(
        (s for m in scenes.values() for s in m.values()), key=lambda s: (s.grid.shape_yx, s.record.grid)
    ):
        if scene.name not in ruled and scene.record.labelled:
            free.setdefault(scene.name, scene)
    lattice = Lattice(split.block_m)
    if not free:
        return BlockTable(lattice, np.zeros(0, np.int64), np.zeros((0, classes.count)), np.zeros(0, np.uint8))
    counted = [_block_areas(scene, lattice, classes.names) for _, scene in sorted(free.items())]
    codes, place = np.unique(np.concatenate([found for found, _ in counted]), return_inverse=True)
    area_m2 = np.zeros((len(codes), classes.count))
    np.add.at(area_m2, place, np.concatenate([area for _, area in counted]))
    area_m2 = area_m2.round(1)  # the sum's last digits depend on the scenes' order
    if not len(codes):
        return BlockTable(lattice, codes, area_m2, np.zeros(0, np.uint8))
    parts = assign(area_m2, split.fractions.model_dump(), split.seed, classes.names)
    return BlockTable(lattice, codes, area_m2, np.array([PARTS[part] for part in parts], np.uint8))


def _block_areas(scene: Scene, lattice: Lattice, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Labelled blocks of a scene, sorted, and their ground per class, square metres."""
    codes: list[np.ndarray] = [np.zeros(0, np.int64)]
    areas: list[np.ndarray] = [np.zeros((0, len(classes)))]
    for window in bands(scene.grid.shape_yx, BAND_PX):
        truth = labels(scene, window, classes)
        used = truth != IGNORE
        if used.any():
            found, place = ranked(encode(*lattice.cells(scene.grid, window)))
            counts = np.bincount(place[used] * len(classes) + truth[used], minlength=len(found) * len(classes))
            codes.append(found)
            areas.append(counts.reshape(len(found), -1) * float(np.prod(scene.grid.crop(window).pixel_m_yx)))
    distinct, place = np.unique(np.concatenate(codes), return_inverse=True)
    area_m2 = np.zeros((len(distinct), len(classes)))
    np.add.at(area_m2, place, np.concatenate(areas))
    labelled = area_m2.sum(1) > 0
    return distinct[labelled], area_m2[labelled]


def _write_blocks(table: BlockTable, classes: Classes, path: Path) -> None:
    """GeoJSON in longitude and latitude; `ha_<class>` is labelled, valid ground in hectares, summed over scenes."""
    names = {value: name for name, value in PARTS.items()}
    features = []
    for row, col, part, area in zip(*decode(table.codes), table.parts, table.area_m2, strict=True):
        west, south, east, north = table.lattice.box(int(row), int(col))
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        hectares = {f"ha_{name}": round(float(area[label]) / 1e4, 4) for label, name in enumerate(classes.names)}
        features.append({
            "type": "Feature",
            "properties": {"row": int(row), "col": int(col), "part": names[int(part)], **hectares},
            "geometry": {"type": "Polygon", "coordinates": [[[round(lon, 9), round(lat, 9)] for lon, lat in ring]]},
        })  # fmt: skip
    write_json({"type": "FeatureCollection", "features": features}, path)


def _write_tables(grid: str, scenes: dict[str, Scene], split: Split, classes: Classes, leak_m: float | None,
                  target: Path) -> None:  # fmt: skip
    if grid not in split.chip_px:
        raise SplitError(f"split.chip_px has no size for the grid '{grid}'; add it in params.yaml")
    lattice, histogram, tables = Lattice(split.block_m), Histogram(), []
    for name, scene in scenes.items():
        parts = read_parts(target, grid, name)
        histogram.feed(scene, parts)
        tables.append(chips_of(scene, parts, split.chip_px[grid], lattice, classes.names))
    chips = pd.concat([table for table in tables if len(table)] or tables[:1])
    parts_px = part_counts(chips, classes.names)
    _check_parts(grid, parts_px, split, len(scenes))
    write_chips(chips, target, grid)
    write_stats(histogram.stats(parts_px["train"], parts_px, leak_m), target, grid)


def _check_parts(grid: str, parts_px: dict[str, dict[str, int]], split: Split, scenes: int) -> None:
    """Every part that the params ask for has labels, train and val always, and train has every class.

    Raises:
        SplitError: One has not.
    """
    wanted = {"train", "val", *(part for part, share in split.fractions.model_dump().items() if share > 0),
              *(rule.part for rule in split.rules)} - {"unused"}  # fmt: skip
    for part in sorted(wanted):
        if not sum(parts_px[part].values()):
            raise SplitError(
                f"grid '{grid}': part '{part}' has no labelled, valid pixel in {scenes} scene(s); see that masks "
                "overlap them, lower split.buffer_m, or change split.fractions and split.rules"
            )
    absent = [name for name, count in parts_px["train"].items() if not count]
    if absent:
        raise SplitError(
            f"grid '{grid}': class(es) {', '.join(absent)} have no valid training pixel; lower split.block_m, "
            "change split.seed, label more ground, or drop them from 'classes'"
        )
