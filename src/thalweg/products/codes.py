"""Bands of codes (SCL, cloud masks) as they lie on another grid: each pixel takes the code under its centre."""

import math
from pathlib import Path

import numpy as np
from rasterio.enums import Resampling
from rasterio.warp import reproject

from thalweg import raster
from thalweg.grid import Grid, Window
from thalweg.products import Layer

_TOLERANCE_PX = 0.001
"""GDAL errs by up to 0.125 px by default."""


def read_codes(layer: Layer) -> np.ndarray:
    """A band of codes (H, W) on its own grid, block by block, so that a truncated file raises.

    Raises:
        RasterError: The file cannot be read to its end.
    """
    if layer.read is not None:
        return layer.read(layer.grid.full)
    return raster.read_band(Path(layer.path), layer.index)


class Codes:
    """Codes on another grid, handed out by windows."""

    def __init__(self, codes: np.ndarray, source: Grid, target: Grid, outside: int) -> None:
        """Takes codes (H, W) on `source`; `outside` is what they are where `source` does not reach."""
        self._outside = outside
        self._rows_cols = _under_centres(source, target)
        self._codes = codes
        if self._rows_cols is None:
            self._codes = _warped(codes, source, target, outside)

    def on(self, window: Window) -> np.ndarray:
        """Codes (h, w) of a window of the target, which lies inside of it."""
        if self._rows_cols is None:
            return self._codes[window.rows, window.cols]
        rows, cols = self._rows_cols[0][window.rows], self._rows_cols[1][window.cols]
        within = (rows >= 0) & (rows < self._codes.shape[0]), (cols >= 0) & (cols < self._codes.shape[1])
        found = _picked(_picked(self._codes, rows[within[0]], 0), cols[within[1]], 1)
        if within[0].all() and within[1].all():
            return found
        result = np.full((window.height, window.width), self._outside, self._codes.dtype)
        result[np.ix_(*within)] = found
        return result


def _picked(codes: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    """Rows or columns; no copy of those that follow each other."""
    if index.size and (np.diff(index) == 1).all():
        run = slice(int(index[0]), int(index[-1]) + 1)
        return codes[run] if axis == 0 else codes[:, run]
    return np.take(codes, index, axis)


def _under_centres(source: Grid, target: Grid) -> tuple[np.ndarray, np.ndarray] | None:
    """Row and column of the source under each row and column of centres; None where one CRS or grid is turned."""
    one, other = source.transform, target.transform
    same = source.crs_wkt == target.crs_wkt or source.crs == target.crs
    if not same or any(not math.isclose(turn, 0) for turn in (one.b, one.d, other.b, other.d)):
        return None
    rows = (other.f - one.f + (np.arange(target.shape_yx[0]) + 0.5) * other.e) / one.e
    cols = (other.c - one.c + (np.arange(target.shape_yx[1]) + 0.5) * other.a) / one.a
    return np.floor(rows).astype(np.intp), np.floor(cols).astype(np.intp)


def _warped(codes: np.ndarray, source: Grid, target: Grid, outside: int) -> np.ndarray:
    if codes.dtype == bool:  # which GDAL does not know
        warped: np.ndarray = _warped(codes.view(np.uint8), source, target, outside).view(bool)
        return warped
    result = np.full(target.shape_yx, outside, codes.dtype)
    reproject(codes, result, src_transform=source.transform, src_crs=source.crs_wkt, dst_transform=target.transform,
              dst_crs=target.crs_wkt, resampling=Resampling.nearest, init_dest_nodata=False,
              tolerance=_TOLERANCE_PX)  # fmt: skip
    return result
