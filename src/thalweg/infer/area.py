"""Which pixels of a scene are wanted: an area of interest, complete to its edge."""

from collections.abc import Callable
from typing import Any

import numpy as np
from rasterio.features import rasterize
from shapely import box
from shapely.geometry.base import BaseGeometry

from thalweg.errors import ParamsError
from thalweg.grid import Grid, Window

Area = np.ndarray | BaseGeometry
"""(H, W) bool on the scene's grid, or a geometry in its CRS, of which the pixels count whose centre is inside."""
Inside = Callable[[Window], np.ndarray]
"""Window inside the scene → (h, w) bool."""
_STRIP_PX = 256


def to_inside(area: Area | None, grid: Grid) -> Inside:
    """What asks whether pixels are wanted; all are where there is no area.

    Raises:
        ParamsError: The raster is not of the scene's shape.
    """
    if area is None:
        return _everywhere
    if isinstance(area, BaseGeometry):
        return _Drawn(area, grid)
    if area.shape != grid.shape_yx:
        raise ParamsError(
            f"the area of interest has {area.shape[0]} × {area.shape[1]} pixels, the scene {grid.shape_yx[0]} × "
            f"{grid.shape_yx[1]}; bring it onto the scene's grid"
        )
    return lambda window: np.asarray(area[window.rows, window.cols], bool)


def to_bytes(area: Area | None) -> bytes:
    """What tells one area from another."""
    if area is None:
        return b""
    return bytes(area.wkb) if isinstance(area, BaseGeometry) else np.packbits(np.asarray(area, bool)).tobytes()


def _everywhere(window: Window) -> np.ndarray:
    return np.ones((window.height, window.width), bool)


class _Drawn:
    """A geometry burnt once, strip by strip, in a bit per pixel: a pixel is the same whichever window asks."""

    def __init__(self, area: BaseGeometry, grid: Grid) -> None:
        height, width = grid.shape_yx
        strips = (Window(top, 0, _STRIP_PX, width).clip(grid.shape_yx) for top in range(0, height, _STRIP_PX))
        self._bits = np.concatenate([np.packbits(_burnt(area, grid.crop(strip)), axis=1) for strip in strips])

    def __call__(self, window: Window) -> np.ndarray:
        first, last = window.col // 8, -(-(window.col + window.width) // 8)
        bits = np.unpackbits(self._bits[window.rows, first:last], axis=1)
        return bits[:, window.col - 8 * first :][:, : window.width].astype(bool)


def _burnt(area: BaseGeometry, grid: Grid) -> np.ndarray:
    if not area.intersects(box(*grid.bounds)):
        return np.zeros(grid.shape_yx, np.uint8)
    burnt: Any = rasterize([area], out_shape=grid.shape_yx, transform=grid.transform, dtype="uint8")
    return np.asarray(burnt)
