"""The chip table: windows of the scenes with their parts, blocks and counts per class."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from thalweg.classes import IGNORE
from thalweg.errors import SplitError
from thalweg.grid import Window
from thalweg.manifest.chips import COLUMNS, HIDDEN, PARTS
from thalweg.manifest.scene import Scene
from thalweg.split.blocks import ranked

BAND_PX = 256
_LABELLED = [value for part, value in PARTS.items() if part != "unused"]
_PART_NAMES = {value: name for name, value in PARTS.items()}


def bands(shape_yx: tuple[int, int], height_px: int, rows: tuple[int, int] | None = None) -> Iterator[Window]:
    """Full-width windows from top to bottom, or from the first of some rows to the one behind the last."""
    start, stop = rows or (0, shape_yx[0])
    for row in range(start, stop, height_px):
        yield Window(row, 0, min(height_px, stop - row), shape_yx[1])


def labels(scene: Scene, window: Window, classes: tuple[str, ...]) -> np.ndarray:
    """(h, w) uint8 class ids of a window, 255 where unlabelled or not valid.

    Raises:
        SplitError: The mask holds an id that no class has.
    """
    if scene.mask is None:
        return np.full((window.height, window.width), IGNORE, np.uint8)
    found: np.ndarray = np.where(
        scene.valid[window.rows, window.cols] > 0, scene.mask[window.rows, window.cols], IGNORE
    )
    wrong = found[(found >= len(classes)) & (found != IGNORE)]
    if wrong.size:
        raise SplitError(
            f"{scene.folder / 'mask.tif'} holds the class id {wrong[0]}, but 'classes' ends at {len(classes) - 1}; "
            "correct masks.values, then run `dvc repro preprocess`"
        )
    return found


class Named(NamedTuple):
    """How the blocks of a scene are found and called."""

    locate: Callable[[Scene, Window], np.ndarray]
    """(h, w) int64 codes of a window's pixels."""
    name: Callable[[int], str]
    """Of a code."""


def chips_of(scene: Scene, parts: np.ndarray, size_px: int, blocks: Named, classes: tuple[str, ...],
             rows: tuple[int, int] | None = None) -> pd.DataFrame:  # fmt: skip
    """Windows of the scene's lattice, one row per part with labelled, valid pixels in it; columns of `COLUMNS`.

    Args:
        scene: Where they are cut.
        parts: (H, W) uint8, values of `PARTS`.
        size_px: Edge of a chip.
        blocks: How its blocks are found and called.
        classes: Their names.
        rows: First row, a multiple of `size_px`, and the one behind the last; None: all.
    """
    found: list[dict[str, object]] = []
    for window in bands(scene.grid.shape_yx, size_px, rows):
        found += _chip_row(scene, parts, window, size_px, blocks, classes)
    return pd.DataFrame(found, columns=[*COLUMNS, *(f"px_{name}" for name in classes)])


def _chip_row(scene: Scene, parts: np.ndarray, window: Window, size_px: int, blocks: Named,
              classes: tuple[str, ...]) -> Iterator[dict[str, object]]:  # fmt: skip
    truth = labels(scene, window, classes)
    part = parts[window.rows, window.cols]
    column = np.broadcast_to(np.arange(window.width) // size_px, truth.shape)
    columns = -(-window.width // size_px)
    used = (truth != IGNORE) & np.isin(part, _LABELLED)
    if not used.any():
        return
    codes, place = ranked(blocks.locate(scene, window))
    key = column[used].astype(np.int64) * len(PARTS) + part[used]
    per_class = _counts(key, truth[used], columns, len(classes))
    per_block = _counts(key, place[used], columns, len(codes))
    usable = np.bincount(column[scene.valid[window.rows, window.cols] > 0], minlength=columns)
    hidden = np.bincount(column[np.isin(part, HIDDEN)], minlength=columns)
    for number, value in zip(*np.nonzero(per_class.sum(2)), strict=True):
        inside = window.height * min(size_px, window.width - number * size_px)
        yield {
            "scene": scene.name,
            "row": window.row,
            "col": int(number) * size_px,
            "size": size_px,
            "block": blocks.name(int(codes[per_block[number, value].argmax()])),
            "part": _PART_NAMES[int(value)],
            "valid_fraction": float(usable[number] / inside),
            "hidden_fraction": float(hidden[number] / inside),
            "labelled_px": int(per_class[number, value].sum()),
            **{f"px_{name}": int(per_class[number, value, label]) for label, name in enumerate(classes)},
        }


def _counts(key: np.ndarray, of: np.ndarray, columns: int, kinds: int) -> np.ndarray:
    """(window, part, kind) counts."""
    flat = np.bincount(key * kinds + of, minlength=columns * len(PARTS) * kinds)
    return flat.reshape(columns, len(PARTS), kinds)


def part_counts(chips: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Part → class → labelled, valid pixels."""
    return {
        part: {name: int(chips.loc[chips["part"] == part, f"px_{name}"].sum()) for name in classes}
        for part in PARTS
        if part != "unused"
    }
