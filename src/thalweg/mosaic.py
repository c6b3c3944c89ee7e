"""Scenes onto one map: the map's grid, and their probabilities averaged where they overlap, window by window."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.warp import transform_bounds

from thalweg import raster
from thalweg.errors import EnsembleError
from thalweg.grid import Grid, Window, iter_blocks
from thalweg.maps import BLOCK_PX, PROB_NODATA

MAX_MAP_PX = 4_000_000_000
"""A full Sentinel-2 tile at 10 m has 120 million pixels; above this the scenes hardly belong on one map."""
_ROUNDING_PX = 0.01
_FINER = 0.9
"""Pixels smaller than this share of the map's are averaged, so that all of them count; others are interpolated."""


class Onto(Protocol):
    """A map's grid as params.yaml gives it."""

    @property
    def crs(self) -> str:
        """Anything that PROJ reads, in metres."""

    @property
    def resolution_m(self) -> float:
        """Edge of a pixel."""


def footprint(lattice: Grid, grid: Grid) -> Window:
    """The window of a lattice that a grid covers; it may reach past the lattice's own grid on any side."""
    west, south, east, north = transform_bounds(grid.crs_wkt, lattice.crs_wkt, *grid.bounds, densify_pts=21)
    corners = [~lattice.transform @ (x, y) for x in (west, east) for y in (south, north)]
    cols, rows = zip(*corners, strict=True)
    top, left = math.floor(min(rows) + _ROUNDING_PX), math.floor(min(cols) + _ROUNDING_PX)
    bottom, right = math.ceil(max(rows) - _ROUNDING_PX), math.ceil(max(cols) - _ROUNDING_PX)
    return Window(top, left, bottom - top, right - left)


def map_grid(grids: Sequence[Grid], onto: Onto | None = None) -> Grid:
    """The grid that covers all scenes.

    Args:
        grids: The scenes'.
        onto: CRS and pixel size, the pixels' corners at whole multiples of it, so that maps of several regions fit each
            other; None: the CRS and the pixel lattice of the first scene.

    Raises:
        EnsembleError: The CRS is none in metres, or the scenes lie so far apart that one map is not sensible.
    """
    lattice = grids[0] if onto is None else _lattice(onto)
    windows = [footprint(lattice, grid) for grid in grids]
    top, left = min(window.row for window in windows), min(window.col for window in windows)
    height = max(window.row + window.height for window in windows) - top
    width = max(window.col + window.width for window in windows) - left
    if height * width > MAX_MAP_PX:
        raise EnsembleError(
            f"a map of all {len(grids)} scenes would have {height} × {width} pixels, more than {MAX_MAP_PX:.0e}; "
            "narrow 'scenes' in params.yaml, or make one ensemble per area"
        )
    return lattice.crop(Window(top, left, height, width))


def iter_mosaic(grid: Grid, scenes: Sequence[tuple[Grid, Path]]) -> Iterator[tuple[Window, np.ndarray]]:
    """The windows of a map that any scene measured, with the mean of the scenes' held values (N, h, w).

    Args:
        grid: The map's.
        scenes: Grid and raster of held values of each scene, nodata in all bands alike.
    """
    footprints = [(footprint(grid, scene), path) for scene, path in scenes]
    pixel_m = grid.pixel_m_yx[0]
    kinds = {path: "average" if scene.pixel_m_yx[0] < _FINER * pixel_m else "bilinear" for scene, path in scenes}
    for window in iter_blocks(grid.shape_yx, BLOCK_PX):
        here = [path for area, path in footprints if _meet(window, area)]
        mean = _mean_held([raster.read_onto(path, grid, window, kinds[path]) for path in here])
        if mean is not None:
            yield window, mean


def _lattice(onto: Onto) -> Grid:
    """One pixel at the origin."""
    try:
        crs = CRS.from_user_input(onto.crs)
    except CRSError as error:
        raise EnsembleError(
            f"onto.crs in params.yaml is {onto.crs!r}, which PROJ cannot read; give e.g. EPSG:32633"
        ) from error
    if not crs.is_projected or {axis.unit_name for axis in crs.axis_info} != {"metre"}:
        raise EnsembleError(
            f"onto.crs in params.yaml is {onto.crs} ({crs.name}), whose unit is not the metre as resolution_m has it; "
            "give a projected CRS in metres, e.g. EPSG:32633"
        )
    return Grid(onto.crs, Affine(onto.resolution_m, 0, 0, 0, -onto.resolution_m, 0), (1, 1))


def _mean_held(layers: Sequence[np.ndarray]) -> np.ndarray | None:
    """Sums of held values are whole and below 2²⁴ for up to 256 scenes, so a lone scene passes unchanged."""
    measured = [layer[0] != PROB_NODATA for layer in layers]
    if not any(seen.any() for seen in measured):
        return None
    total = np.zeros(layers[0].shape, np.float32)
    for layer, seen in zip(layers, measured, strict=True):
        total += np.where(seen, layer, 0)
    count = np.sum(measured, axis=0, dtype=np.float32)
    mean = np.rint(total / np.maximum(count, 1)).astype(np.uint16)
    mean[:, count == 0] = PROB_NODATA
    return mean


def _meet(window: Window, area: Window) -> bool:
    apart_y = area.row >= window.row + window.height or window.row >= area.row + area.height
    apart_x = area.col >= window.col + window.width or window.col >= area.col + area.width
    return not (apart_y or apart_x)
