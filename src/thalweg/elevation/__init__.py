"""Heights and slopes on a scene's grid from tiles of a height model: Copernicus GLO-30, SRTM, or one's own.

A tile is anything with a CRS that GDAL reads, `.hgt.zip` included. Heights are interpolated bilinearly between the
posts of the model, across the borders of tiles, whatever lattices these have (GLO-30's columns widen at 50° of
latitude). Where tiles overlap, the finer lattice counts before the coarser, and on one lattice the tile that is named
first. A missing tile and a void are NaN, not sea level; so is a pixel with less than half of its weight on measured
posts. Only the windows that are needed are read, and neighbouring windows meet exactly: positions are true at nodes
that lie fixed on the grid, some 500 m apart, and linear between them (off by some 5 mm in UTM at 45°).
"""

from pathlib import Path

import numpy as np
from pyproj import Geod

from thalweg.elevation.interpolate import interpolate
from thalweg.elevation.nodes import Nodes
from thalweg.elevation.tiles import Lattice, lattices, read_posts, tile_grid
from thalweg.grid import Grid, Window

__all__ = ["elevation_on", "slope_on", "tile_grid"]
_LEAST_WEIGHT = 0.5
_ROWS = 64
"""Rows that are interpolated together, which bounds the memory."""
_WGS84 = Geod(ellps="WGS84")


def elevation_on(tiles: tuple[Path, ...], grid: Grid, window: Window) -> np.ndarray:
    """Heights (h, w) float32, metres as the tiles have them, at the pixel centres of a window; NaN where none is known.

    Args:
        tiles: Rasters of one band of heights.
        grid: The scene's grid.
        window: On it; may reach past its edge.

    Raises:
        RasterError: A tile cannot be read, or has no CRS.
    """
    heights = np.zeros((window.height, window.width), np.float32)
    weights = np.zeros((window.height, window.width), np.float32)
    for lattice in lattices(tiles, grid):
        _add(heights, weights, lattice, grid, window)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weights >= _LEAST_WEIGHT, heights / weights, np.float32(np.nan))


def slope_on(tiles: tuple[Path, ...], grid: Grid, window: Window) -> np.ndarray:
    """Slope (h, w) float32, degrees from level, by Horn's formula over the 3 × 3 heights on this grid.

    Distances are true ground metres, row by row. NaN where any of the nine heights is unknown.
    Source: B. K. P. Horn (1981), Hill shading and the reflectance map, https://doi.org/10.1109/PROC.1981.11918.

    Raises:
        RasterError: A tile cannot be read, or has no CRS.
    """
    halo = Window(window.row - 1, window.col - 1, window.height + 2, window.width + 2)
    heights = elevation_on(tiles, grid, halo)
    height_m, width_m = _pixel_m(grid, np.arange(window.row, window.row + window.height))
    right, left = heights[:, 2:], heights[:, :-2]
    across = (right - left)[:-2] + 2 * (right - left)[1:-1] + (right - left)[2:]
    lower, upper = heights[2:], heights[:-2]
    along = (lower - upper)[:, :-2] + 2 * (lower - upper)[:, 1:-1] + (lower - upper)[:, 2:]
    # the middle height has no weight, but a slope around a hole is no measurement
    rise = np.hypot(across / (8 * width_m[:, None]), along / (8 * height_m[:, None])) + 0 * heights[1:-1, 1:-1]
    return np.asarray(np.degrees(np.arctan(rise)), np.float32)


def _add(heights: np.ndarray, weights: np.ndarray, lattice: Lattice, grid: Grid, window: Window) -> None:
    """Adds what a lattice knows of the weight that finer ones left open."""
    nodes = Nodes(grid, window, lattice.grid)
    inside, posts = read_posts(lattice, nodes.bounds)
    if posts is None:
        return
    for start in range(0, window.height, _ROWS):
        chunk = slice(start, start + _ROWS)
        value, weight = interpolate(posts, inside, *nodes.positions(chunk))
        taken = np.minimum(1 - weights[chunk], weight)
        heights[chunk] += taken * value
        weights[chunk] += taken


def _pixel_m(grid: Grid, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height and width of the pixels in the middle of some rows, ground metres: in degrees they differ by row."""
    middle = np.full(rows.shape, grid.shape_yx[1] / 2)
    west, east = grid.lonlat(rows + 0.5, middle - 0.5), grid.lonlat(rows + 0.5, middle + 0.5)
    north, south = grid.lonlat(rows, middle), grid.lonlat(rows + 1, middle)
    return np.asarray(_WGS84.inv(*north, *south)[2]), np.asarray(_WGS84.inv(*west, *east)[2])
