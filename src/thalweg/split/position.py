"""Where every pixel of a window lies on the ground or in another raster, without projecting every pixel.

Coordinates are exact at the nodes of a coarse lattice and bilinear between them. With nodes `STEP_PX` apart the error
is about (STEP_PX × pixel)² tan(latitude) / (8 R): 0.06 m at 20 m and 0.6 m at 60 m at 60° N, far below a pixel.
"""

from functools import lru_cache

import numpy as np
from affine import Affine
from pyproj import CRS, Transformer

from thalweg.grid import Grid, Window

STEP_PX = 64
_WGS84_A_M = 6_378_137.0
_WGS84_E2 = 6.69437999014e-3


def lonlat(grid: Grid, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude (h, w) of the pixel centres of a window, degrees.

    The window may reach past the grid. Longitudes are continuous: they may pass 180 rather than jump.
    """
    rows, cols = _nodes(window.row, window.height), _nodes(window.col, window.width)
    lon, lat = grid.lonlat(*np.meshgrid(rows + 0.5, cols + 0.5, indexing="ij"))
    lon = lon[0, 0] + (lon - lon[0, 0] + 180) % 360 - 180
    return _spread(lon, rows, cols, window), _spread(lat, rows, cols, window)


def pixels_in(grid: Grid, window: Window, other: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Row and column (h, w) in `other`, fractional, of the pixel centres of a window; NaN or inf where undefined."""
    rows, cols = _nodes(window.row, window.height), _nodes(window.col, window.width)
    at_rows, at_cols = locate(grid, *np.meshgrid(rows + 0.5, cols + 0.5, indexing="ij"), other)
    return _spread(at_rows, rows, cols, window), _spread(at_cols, rows, cols, window)


def locate(grid: Grid, rows: np.ndarray, cols: np.ndarray, other: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Exact pixel positions in `other` of fractional pixel positions in `grid`; (0, 0) is the upper left corner."""
    xs, ys = _apply(grid.transform, cols, rows)
    if grid.crs_wkt != other.crs_wkt:
        xs, ys = _transformer(grid.crs_wkt, other.crs_wkt).transform(xs, ys)
    if other.crs.is_geographic:  # 181° is 179° west
        west, _, east, _ = other.bounds
        with np.errstate(invalid="ignore"):
            xs = (west + east) / 2 + (xs - (west + east) / 2 + 180) % 360 - 180
    at_cols, at_rows = _apply(~other.transform, xs, ys)
    return at_rows, at_cols


def ecef(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Earth-centred coordinates (..., 3) on the WGS84 ellipsoid, metres; chords are ground distances up to some km."""
    lam, phi = np.radians(lon), np.radians(lat)
    normal = _WGS84_A_M / np.sqrt(1 - _WGS84_E2 * np.sin(phi) ** 2)
    flat = normal * np.cos(phi)
    return np.stack([flat * np.cos(lam), flat * np.sin(lam), normal * (1 - _WGS84_E2) * np.sin(phi)], axis=-1)


def _apply(transform: Affine, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d, e, f = tuple(transform)[:6]
    return a * first + b * second + c, d * first + e * second + f


@lru_cache(maxsize=256)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(CRS.from_user_input(source), CRS.from_user_input(target), always_xy=True)


def _nodes(start: int, length: int) -> np.ndarray:
    """Multiples of the step that enclose the pixels: the same for every window, so a pixel's position is, too."""
    first, last = start // STEP_PX, -(-(start + length - 1) // STEP_PX)
    return np.arange(first, last + 1) * float(STEP_PX)


def _spread(values: np.ndarray, rows: np.ndarray, cols: np.ndarray, window: Window) -> np.ndarray:
    """Bilinear: (node rows, node columns) to (h, w), as two small matrix products."""
    down = _weights(rows, window.row, window.height)
    across = _weights(cols, window.col, window.width)
    with np.errstate(invalid="ignore"):
        spread: np.ndarray = down @ values @ across.T
    return spread


def _weights(nodes: np.ndarray, start: int, length: int) -> np.ndarray:
    """(length, nodes): each row has the one or two weights of linear interpolation."""
    at = np.arange(start, start + length, dtype=float)
    left = np.clip(np.searchsorted(nodes, at, side="right") - 1, 0, max(len(nodes) - 2, 0))
    weights = np.zeros((length, len(nodes)))
    if len(nodes) == 1:
        weights[:] = 1
        return weights
    share = (at - nodes[left]) / (nodes[left + 1] - nodes[left])
    weights[np.arange(length), left] = 1 - share
    weights[np.arange(length), left + 1] = share
    return weights
