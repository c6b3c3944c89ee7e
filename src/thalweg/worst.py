"""Where a map errs most: held-out chips by their wrong pixels, as pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from thalweg import figures, pictures, raster
from thalweg.classes import IGNORE, ClassInfo
from thalweg.grid import Window, cut
from thalweg.manifest.chips import PARTS, read_chips, scene_parts
from thalweg.manifest.scene import Scene
from thalweg.pictures import Picture

SHOWN = 6
MAX_READ = 2000
"""Chips that are looked at, evenly spread over the chip table."""


class WorstChip(NamedTuple):
    """A chip of the held-out part."""

    scene: str
    window: Window
    wrong_px: int
    known_px: int
    """Labelled, valid, of the part, and on the map."""
    pictures: tuple[Picture, ...]
    """Image, mask, map, error."""


class Worst(NamedTuple):
    """Of one map."""

    part: str
    chips: tuple[WorstChip, ...]
    looked_at: int
    of: int
    """Chips of the part, of which `looked_at` were."""


def find_worst(classes: Path, scenes: Sequence[Scene], split: Path, legend: Sequence[ClassInfo]) -> Worst | None:
    """The chips with the most wrong pixels, the worst first; None where no held-out chip lies on the map.

    Args:
        classes: The map's classes.tif.
        scenes: Those on the map, of the map's grid definition.
        split: `build/split`.
        legend: Names and colours.

    Raises:
        SplitError: A chip table is missing.
        RasterError: The map cannot be read.
    """
    named = {scene.name: scene for scene in scenes if scene.mask is not None}
    tables = [read_chips(split, grid) for grid in sorted({scene.record.grid for scene in named.values()})]
    if not tables:
        return None
    chips = pd.concat(tables, ignore_index=True)
    chips = chips[chips["scene"].isin(named)]
    part = "test" if (chips["part"] == "test").any() else "val"
    rows = chips[chips["part"] == part]
    looked = rows.iloc[np.unique(np.linspace(0, max(len(rows) - 1, 0), min(len(rows), MAX_READ)).astype(int))]
    found = []
    for name, row, col, size in zip(looked["scene"], looked["row"], looked["col"], looked["size"], strict=True):
        scene, window = named[name], Window(int(row), int(col), int(size), int(size))
        truth, labels = _truth(scene, window, split, part), _labels(classes, scene, window)
        known = (truth != IGNORE) & (labels != IGNORE)
        if known.any():
            found.append((int((known & (truth != labels)).sum()), int(known.sum()), scene, window))
    found.sort(key=lambda each: (-each[0], each[2].name, each[3]))
    worst = tuple(WorstChip(scene.name, window, wrong, known, _draw(scene, window, classes, split, part, legend))
                  for wrong, known, scene, window in found[:SHOWN] if wrong)  # fmt: skip
    return Worst(part, worst, len(looked), len(rows)) if found else None


def _truth(scene: Scene, window: Window, split: Path, part: str) -> np.ndarray:
    if scene.mask is None:
        return np.full((window.height, window.width), IGNORE, np.uint8)
    ours = cut(scene_parts(split, scene), window, 0) == PARTS[part]
    usable = cut(scene.valid, window, 0) != 0
    return np.where(ours & usable, cut(scene.mask, window, IGNORE), np.uint8(IGNORE))


def _labels(classes: Path, scene: Scene, window: Window) -> np.ndarray:
    labels: np.ndarray = raster.read_onto(classes, scene.grid, window, "nearest")[0]
    return labels


def _draw(scene: Scene, window: Window, classes: Path, split: Path, part: str,
          legend: Sequence[ClassInfo]) -> tuple[Picture, ...]:  # fmt: skip
    truth, labels = _truth(scene, window, split, part), _labels(classes, scene, window)
    where = f"{scene.name}, row {window.row}, column {window.col}"
    mask = np.where(labels == IGNORE, np.uint8(IGNORE), truth)
    drawn = (("Mask", pictures.classes_png(truth, legend)), ("Map", pictures.classes_png(labels, legend)),
             ("Error", pictures.plain_png(figures.paint_errors(mask, labels))))  # fmt: skip
    image = pictures.chip_webp(scene, window)
    return (Picture(pictures.to_uri("webp", image), window.width, window.height, f"Image of {where}"),
            *(Picture(pictures.to_uri("png", content), window.width, window.height, f"{what} of {where}")
              for what, content in drawn))  # fmt: skip
