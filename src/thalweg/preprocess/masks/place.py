"""Codes onto a scene's grid by nearest: for each pixel the source pixel under its centre, exact to 1/500 of a pixel.

GDAL's warper errs by up to an eighth of a pixel by default, and knows no absence but a nodata value, which a mask does
not have. So positions are computed here and values are picked: in blocks, from no more of the source than lies under
them.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from pyproj import CRS, Transformer

from thalweg.grid import Grid, Window, iter_blocks

_STEP_PX = 64
"""Positions between nodes so far apart are interpolated, where that is exact enough."""
_EXACT_PX = 0.004
"""Largest error of interpolation between the outer of three nodes; between neighbours it is a quarter of that."""
_BLOCK_PX = 1024
_MOST_PX = 1 << 24
"""Source pixels read at once."""
_CIRCLE = 360.0
_WIDE_DEG = 90.0
"""A raster wider than this has bounds on a scene's grid that mean nothing."""
_ROUNDING_PX = 5e-7
"""Added to positions, so that what lies on the edge between two pixels in theory falls to one side of it in fact."""


def onto_grid(codes: np.ndarray, source: Grid, target: Grid, outside: int) -> np.ndarray:
    """Codes (H, W) on another grid by nearest, `outside` where the source does not reach."""
    if (source.crs_wkt, source.transform, source.shape_yx) == (target.crs_wkt, target.transform, target.shape_yx):
        return codes
    picked, inside = read_onto(lambda window: codes[None, window.rows, window.cols], source, target)
    result: np.ndarray = picked[0].astype(codes.dtype, copy=False)
    result[np.logical_not(inside, out=inside)] = outside
    return result


def read_onto(
    read: Callable[[Window], np.ndarray], source: Grid, target: Grid
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Values of a source under the pixels of a grid.

    Args:
        read: Values (B, h, w) of a window that lies on the source.
        source: Its grid.
        target: The wanted grid, or a part of it.

    Returns:
        Values (B, H, W), 0 where the source does not reach; and where it does, (H, W) bool.
    """
    values: np.ndarray | None = None
    inside = np.zeros(target.shape_yx, bool)
    for block in iter_blocks(target.shape_yx, _BLOCK_PX):
        for window, picked, there in _pick(read, source, target, block):
            if values is None:
                values = np.zeros((picked.shape[0], *target.shape_yx), picked.dtype)
            values[:, window.rows, window.cols] = picked
            inside[window.rows, window.cols] = there
    if values is None:
        values = np.zeros((1, *target.shape_yx), np.uint8)
    return values, inside


def _pick(
    read: Callable[[Window], np.ndarray], source: Grid, target: Grid, block: Window
) -> list[tuple[Window, np.ndarray, np.ndarray]]:
    """Values of a block of the target and where there are any; in quarters where much of the source lies under it."""
    rows, cols = source_index(target.crop(block), source)
    there = (rows >= 0) & (rows < source.shape_yx[0]) & (cols >= 0) & (cols < source.shape_yx[1])
    if not there.any():
        return []
    every = bool(there.all())
    used = (rows, cols) if every else tuple(np.broadcast_to(axis, there.shape)[there] for axis in (rows, cols))
    top, left = (int(axis.min()) for axis in used)
    height, width = (int(axis.max()) + 1 - first for axis, first in zip(used, (top, left), strict=True))
    if height * width > _MOST_PX and max(block.height, block.width) > 1:
        return [part for quarter in _quarters(block) for part in _pick(read, source, target, quarter)]
    values = read(Window(top, left, height, width))
    if every:
        return [(block, _gathered(values, rows - top, cols - left), there)]
    picked = _gathered(values, np.where(there, rows - top, 0), np.where(there, cols - left, 0))
    return [(block, np.where(there, picked, np.zeros((), values.dtype)), there)]


def _gathered(values: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Values (B, H, W) at the rows and columns of a source (B, h, w)."""
    if rows.shape[1] == 1 and cols.shape[0] == 1:  # the grids are parallel
        return np.asarray(values[:, rows[:, 0]][:, :, cols[0]])
    return np.asarray(np.take(values.reshape(len(values), -1), rows * values.shape[2] + cols, axis=1))


def _quarters(block: Window) -> list[Window]:
    high, wide = -(-block.height // 2), -(-block.width // 2)
    corners = [(row, col) for row in (0, high) for col in (0, wide)]
    parts = [
        Window(block.row + row, block.col + col, min(high, block.height - row), min(wide, block.width - col))
        for row, col in corners
    ]
    return [part for part in parts if part.height > 0 and part.width > 0]


def source_index(target: Grid, source: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the source pixel under each pixel centre of a grid.

    Returns:
        Two arrays of whole numbers that broadcast to (H, W); they may lie outside the source, and are −1 where the
        ground has no place in the source's CRS.
    """
    rows, cols = source_px(target, source)
    return _whole(rows), _whole(cols)


def source_px(target: Grid, source: Grid) -> tuple[np.ndarray, np.ndarray]:
    """As `source_index`, but in fractions of pixels from the source's upper left corner, NaN where it has no place."""
    height, width = target.shape_yx
    row, col = np.arange(height) + 0.5, np.arange(width) + 0.5
    if target.crs_wkt == source.crs_wkt or target.crs == source.crs:
        a, b, c, d, e, f = (~source.transform @ target.transform)[:6]
        down, right = row[:, None], col[None]
        if b or d:
            return d * right + e * down + f, a * right + b * down + c
        cols = a * right + c
        if source.crs.is_geographic:
            around_px = _CIRCLE / source.transform.a
            cols = cols + around_px * np.round((source.shape_yx[1] / 2 - cols) / around_px)
        return e * down + f, cols
    step = _STEP_PX
    while step > 1:
        nodes = _nodes(height, step), _nodes(width, step)
        exact = _transformed(target, source, *nodes)
        if max(_misfit(plane) for plane in exact) < _EXACT_PX:
            down, right = (_weights(px, axis) for px, axis in zip((row, col), nodes, strict=True))
            rows, cols = (down @ plane @ right.T for plane in exact)
            return rows, cols
        step //= 2
    return _transformed(target, source, row, col)


def _transformed(target: Grid, source: Grid, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Source positions of every pair of some rows and columns of the target, by PROJ."""
    place = target.transform @ tuple(np.meshgrid(col, row))
    xs, ys = _transformer(target.crs_wkt, source.crs_wkt).transform(*place)
    xs, ys = (np.where(np.isfinite(axis), axis, np.nan) for axis in (xs, ys))
    if source.crs.is_geographic:
        middle = (source.bounds[0] + source.bounds[2]) / 2
        xs = xs + _CIRCLE * np.round((middle - xs) / _CIRCLE)  # 179.9° may lie in a mask that ends at −179.9°
    cols, rows = ~source.transform @ (xs, ys)
    return rows, cols


def _nodes(size: int, step: int) -> np.ndarray:
    """Positions half a step apart from 0 to the end or beyond, whole steps of them."""
    return np.arange(2 * -(-size // step) + 1) * (step / 2)


@lru_cache(maxsize=32)
def _transformer(target: str, source: str) -> Transformer:
    return Transformer.from_crs(target, source, always_xy=True)


def _misfit(plane: np.ndarray) -> float:
    """How far positions at every second node lie from the mean of their neighbours along a row or column.

    Not from that of four: a conformal map is harmonic, so that its errors along the two axes cancel there.
    """
    down = np.abs(plane[1::2, ::2] - (plane[:-1:2, ::2] + plane[2::2, ::2]) / 2).max()
    right = np.abs(plane[::2, 1::2] - (plane[::2, :-1:2] + plane[::2, 2::2]) / 2).max()
    worst = max(float(down), float(right))
    return worst if np.isfinite(worst) else np.inf


def _weights(px: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Weights (pixels, nodes) of linear interpolation between equidistant nodes."""
    return np.asarray(np.maximum(0, 1 - np.abs(px[:, None] - nodes) / (nodes[1] - nodes[0])))


def _whole(position: np.ndarray) -> np.ndarray:
    position = np.floor(position + _ROUNDING_PX)
    position[np.isnan(position)] = -1
    return position.astype(np.int64)


def lonlat_bounds(grid: Grid) -> tuple[float, float, float, float]:
    """West, south, east, north of a grid in degrees, as `lonlat_of` says."""
    return lonlat_of(grid.bounds, grid.crs)


def lonlat_of(bounds: tuple[float, float, float, float], crs: CRS) -> tuple[float, float, float, float]:
    """Bounds in degrees; the whole circle where they cross the antimeridian or count longitudes beyond it."""
    west, south, east, north = Transformer.from_crs(crs, 4326, always_xy=True).transform_bounds(*bounds)
    if not np.isfinite([west, south, east, north]).all():  # of the whole earth
        return -_CIRCLE / 2, -90.0, _CIRCLE / 2, 90.0
    once = -_CIRCLE / 2 <= west <= east <= _CIRCLE / 2
    return (west, south, east, north) if once else (-_CIRCLE / 2, south, _CIRCLE / 2, north)


def may_meet(source: Grid, target: Grid) -> bool:
    """Whether two grids share more than half a pixel of the target: their bounds do, or nothing can be said."""
    if source.crs_wkt == target.crs_wkt:
        bounds = source.bounds
    else:
        first, _, last, _ = lonlat_bounds(source)
        across = Transformer.from_crs(source.crs, target.crs, always_xy=True)
        bounds = across.transform_bounds(*source.bounds)
        if last - first > _WIDE_DEG or not np.isfinite(bounds).all():
            return True
    west, south, east, north = target.bounds
    least = min(np.hypot(*target.transform[:4:3]), np.hypot(*target.transform[1:5:3])) / 2
    turns = (-_CIRCLE, 0.0, _CIRCLE) if target.crs.is_geographic else (0.0,)
    wide = max(min(bounds[2] + turn, east) - max(bounds[0] + turn, west) for turn in turns)
    across_antimeridian = target.crs.is_geographic and bounds[0] > bounds[2]
    return bool((wide > least or across_antimeridian) and min(bounds[3], north) - max(bounds[1], south) > least)
