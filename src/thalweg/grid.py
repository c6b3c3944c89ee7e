"""Where pixels lie on the ground: CRS, affine transform, windows, and true ground metres.

Names carry axis order and unit: `shape_yx` is (rows, columns), `_m` metres on the ground, `_px` pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from affine import Affine
from pyproj import CRS, Geod, Transformer

_WGS84 = Geod(ellps="WGS84")
_LATTICE_TOLERANCE_PX = 0.01


class Window(NamedTuple):
    """A rectangle of pixels; may reach past the raster's edge where it is meant to be padded."""

    row: int
    col: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """Row slice."""
        return slice(self.row, self.row + self.height)

    @property
    def cols(self) -> slice:
        """Column slice."""
        return slice(self.col, self.col + self.width)

    def clip(self, shape_yx: tuple[int, int]) -> "Window":
        """The part of the window that lies inside a raster of `shape_yx`; height or width is 0 where nothing does."""
        row, col = max(self.row, 0), max(self.col, 0)
        bottom = min(self.row + self.height, shape_yx[0])
        right = min(self.col + self.width, shape_yx[1])
        return Window(row, col, max(bottom - row, 0), max(right - col, 0))


@dataclass(frozen=True)
class Grid:
    """The pixel grid of one raster: CRS, transform (pixel corner to CRS units) and shape."""

    crs_wkt: str
    """Coordinate reference system, anything that pyproj reads (`EPSG:32720` or WKT)."""
    transform: Affine
    """(column, row) of a pixel's upper left corner to CRS coordinates."""
    shape_yx: tuple[int, int]
    """Rows, columns."""

    @cached_property
    def crs(self) -> CRS:
        """The CRS as pyproj's object."""
        return CRS.from_user_input(self.crs_wkt)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in CRS units of the box around all four corners, however the raster is turned."""
        height, width = self.shape_yx
        corners = [self.transform @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def full(self) -> Window:
        """The window that covers the whole grid."""
        return Window(0, 0, *self.shape_yx)

    def crop(self, window: Window) -> "Grid":
        """The grid of a window; the window may reach past the edge."""
        moved = self.transform @ Affine.translation(window.col, window.row)
        return Grid(self.crs_wkt, moved, (window.height, window.width))

    def offset_px(self, other: "Grid") -> tuple[int, int] | None:
        """Row and column on this grid of another grid's upper left pixel; None unless both share one lattice."""
        if self.crs_wkt != other.crs_wkt and self.crs != other.crs:
            return None
        drift_px = np.subtract(self.transform[:6], other.transform[:6])[[0, 1, 3, 4]] / self.transform.a
        col, row = ~self.transform @ (other.transform @ (0, 0))
        off_px = max(abs(col - round(col)), abs(row - round(row)), np.abs(drift_px).max() * max(other.shape_yx))
        return (round(row), round(col)) if off_px < _LATTICE_TOLERANCE_PX else None

    def lonlat(self, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """WGS84 longitude and latitude, degrees, of fractional pixel positions (0, 0 is the upper left corner)."""
        a, b, c, d, e, f = self.transform[:6]
        rows, cols = np.asarray(rows, float), np.asarray(cols, float)
        xs, ys = a * cols + b * rows + c, d * cols + e * rows + f
        lon, lat = Transformer.from_crs(self.crs, 4326, always_xy=True).transform(xs, ys)
        return np.asarray(lon), np.asarray(lat)

    @cached_property
    def pixel_m_yx(self) -> tuple[float, float]:
        """Height and width of the middle pixel in true ground metres (in EPSG:3857, projected metres are not)."""
        row, col = self.shape_yx[0] / 2, self.shape_yx[1] / 2
        lon, lat = self.lonlat(np.array([row, row + 1, row]), np.array([col, col, col + 1]))
        _, _, height_m = _WGS84.inv(lon[0], lat[0], lon[1], lat[1])
        _, _, width_m = _WGS84.inv(lon[0], lat[0], lon[2], lat[2])
        return float(height_m), float(width_m)


def iter_windows(shape_yx: tuple[int, int], size_px: int, stride_px: int) -> Iterator[Window]:
    """Square windows that cover every pixel, in row-major order, all inside where the raster is large enough.

    The last row and column of windows are moved back to end at the edge; a raster smaller than a window gets one
    window that reaches past it, to be padded.
    """
    for row in _starts(shape_yx[0], size_px, stride_px):
        for col in _starts(shape_yx[1], size_px, stride_px):
            yield Window(row, col, size_px, size_px)


def iter_blocks(shape_yx: tuple[int, int], size_px: int) -> Iterator[Window]:
    """Windows that cover every pixel exactly once, in row-major order; the last of a row or column are smaller."""
    for row in range(0, shape_yx[0], size_px):
        for col in range(0, shape_yx[1], size_px):
            yield Window(row, col, size_px, size_px).clip(shape_yx)


def _starts(length_px: int, size_px: int, stride_px: int) -> list[int]:
    last = max(length_px - size_px, 0)
    return sorted({*range(0, last, stride_px), last})


class Pixels(Protocol):
    """What windows are cut from: an array (H, W) or (H, W, C), or anything that is indexed like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, columns, and channels where there are any."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels."""

    def __getitem__(self, key: Any, /) -> Any:
        """Rows and columns."""


def cut(plane: Pixels, window: Window, fill: float) -> np.ndarray:
    """A copy of a window of (H, W) or (H, W, C), filled with `fill` past the plane's edge."""
    inside = window.clip((plane.shape[0], plane.shape[1]))
    if inside == window:
        pixels: np.ndarray = plane[window.rows, window.cols]
        return pixels if pixels.flags.owndata else pixels.copy()
    filled = np.full((window.height, window.width, *plane.shape[2:]), fill, plane.dtype)
    row, col = inside.row - window.row, inside.col - window.col
    filled[row : row + inside.height, col : col + inside.width] = plane[inside.rows, inside.cols]
    return filled
