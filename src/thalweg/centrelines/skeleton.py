"""The skeleton of one class of a map, found window by window and the same as of the whole.

Thinning is local: a pixel's fate depends on its neighbours, iteration by iteration, and a body of width w is thin after
some w / 2 of them. A window that is read with a rim of twice the largest width and a little more therefore has the
skeleton of the whole inside of the rim.
"""

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt
from skimage.morphology import skeletonize

from thalweg import raster
from thalweg.errors import DegradedDataWarning
from thalweg.grid import Window, iter_blocks
from thalweg.mapfiles import MapFiles, read_scaled

_RIM_PX = 8
_EVEN = 5
_EQUAL_M = 1e-6


class Skeleton(NamedTuple):
    """Pixels of a skeleton in reading order; memory goes with its length."""

    rows: np.ndarray
    """(N,) int64."""
    cols: np.ndarray
    """(N,) int64."""
    width_m: np.ndarray
    """(N,) float64 width of the class there, metres on the ground."""
    prob: np.ndarray
    """(N,) float64 probability of the class, NaN where the map has none."""

    def kept(self, keep: np.ndarray) -> "Skeleton":
        """Some of the pixels."""
        return Skeleton(*(each[keep] for each in self))


def find_skeleton(files: MapFiles, label: int, max_width_m: float, block_px: int) -> Skeleton:
    """The skeleton of a class by Zhang and Suen's thinning; outside of the map there is nothing of the class.

    The width is twice the distance to the nearest pixel that is not of the class. Distances are between pixel centres,
    so that a pixel is taken off; but not where the skeleton runs beside the middle, as it must in a body that is an
    even number of pixels wide, which shows by five pixels or more of a 3 × 3 neighbourhood being as far inside.

    Source: Zhang and Suen 1984, A fast parallel algorithm for thinning digital patterns,
    https://doi.org/10.1145/357994.358023.

    Args:
        files: The map.
        label: The class.
        max_width_m: Largest width of what is to be a line. Where the class is wider, a warning is counted, and its
            lines there may depend on the windows.
        block_px: Edge of a window without its rim; no result depends on it.
    """
    pixel_m = files.grid.pixel_m_yx
    rim = 2 * math.ceil(max_width_m / min(pixel_m)) + _RIM_PX
    found, wide = [], 0
    for block in iter_blocks(files.grid.shape_yx, block_px):
        part = _of_block(files, label, block, rim)
        if part is not None:
            wide += int((part.width_m > max_width_m).sum())
            found.append(part)
    if wide:
        warnings.warn(
            f"class {files.names[label]} of {files.classes} is wider than {max_width_m:g} m at {wide} pixels of its "
            "centrelines, which may be off there; give a larger --max-width-m",
            DegradedDataWarning, stacklevel=2)  # fmt: skip
    if not found:
        return Skeleton(*(np.zeros(0, dtype) for dtype in (np.int64, np.int64, float, float)))
    whole = Skeleton(*(np.concatenate(each) for each in zip(*found, strict=True)))
    return whole.kept(np.lexsort((whole.cols, whole.rows)))


def _of_block(files: MapFiles, label: int, block: Window, rim: int) -> Skeleton | None:
    wide = Window(block.row - rim, block.col - rim, block.height + 2 * rim, block.width + 2 * rim)
    inside = wide.clip(files.grid.shape_yx)
    core = Window(block.row - inside.row, block.col - inside.col, block.height, block.width)
    there = raster.read_window(files.classes, inside)[0] == label
    if not there[core.rows, core.cols].any():
        return None
    thin: Any = skeletonize
    rows, cols = np.nonzero(thin(there)[core.rows, core.cols])
    pixel_m = files.grid.pixel_m_yx
    half_m = np.pad(_half_widths(there, inside, files), 1)
    around = np.stack(
        [half_m[rows + core.row + down, cols + core.col + right] for down in range(3) for right in range(3)]
    )
    beside = (around >= around[4] - _EQUAL_M).sum(0) >= _EVEN
    prob = np.full(len(rows), np.nan)
    if files.probs is not None and len(rows):
        prob = read_scaled(files.probs, block, (label + 1,))[0][rows, cols].astype(float)
    width_m = 2 * around[4] - np.where(beside, 0, math.sqrt(pixel_m[0] * pixel_m[1]))
    return Skeleton(rows.astype(np.int64) + block.row, cols.astype(np.int64) + block.col, width_m, prob)


def _half_widths(there: np.ndarray, inside: Window, files: MapFiles) -> np.ndarray:
    """Metres to the nearest pixel centre that is not of the class, those just outside of the map included."""
    height, width = files.grid.shape_yx
    ends = (
        (inside.row == 0, inside.row + inside.height == height),
        (inside.col == 0, inside.col + inside.width == width),
    )
    pads = [tuple(int(end) for end in pair) for pair in ends]
    framed = np.pad(there, pads)
    if framed.all():
        return np.full(there.shape, np.inf)
    distance = distance_transform_edt(framed, sampling=files.grid.pixel_m_yx)
    return np.asarray(distance[pads[0][0] :, pads[1][0] :][: there.shape[0], : there.shape[1]])
