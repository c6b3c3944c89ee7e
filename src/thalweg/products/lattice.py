"""The scene's grid where the bands of a product lie on pixels of several sizes."""

import math

import numpy as np
from affine import Affine

from thalweg.errors import ProductError
from thalweg.grid import Grid
from thalweg.products import words

_TOLERANCE_PX = 1e-3


def scene_grid(product: str, grids: dict[str, Grid], resolution_m: int | None) -> Grid:
    """The grid of the scene: that of the first band at the wanted resolution.

    Where no band has it: pixels of that size from the first band's upper left corner, as many as cover it.

    Args:
        product: Its name, for messages.
        grids: Band → where its pixels lie, the first band first.
        resolution_m: Pixel size in units of the CRS; None takes the first band's grid.

    Raises:
        ProductError: The pixels are degrees, or turned against the axes, so that no such grid can be laid.
    """
    name, first = next(iter(grids.items()))
    if resolution_m is None:
        return first
    for grid in grids.values():
        if all(abs(edge - resolution_m) <= _TOLERANCE_PX * resolution_m for edge in _edges(grid)):
            return grid
    if first.crs.is_geographic or not _upright(first):
        raise ProductError(
            f"{product}: band {name} ({words(first)}) lies in degrees or turned against its axes, where the grid's "
            f"{resolution_m} is no pixel size; set its resolution_m to null to take plain rasters as they are"
        )
    a, _, left, _, e, top = first.transform[:6]
    rows, cols = (
        math.ceil(length * abs(edge) / resolution_m - _TOLERANCE_PX)
        for length, edge in zip(first.shape_yx, (e, a), strict=True)
    )
    pixel = Affine(math.copysign(resolution_m, a), 0, left, 0, math.copysign(resolution_m, e), top)
    return Grid(first.crs_wkt, pixel, (rows, cols))


def check_extents(product: str, grids: dict[str, Grid]) -> None:
    """All bands of a product cover the same ground, to less than a pixel of the coarser one on each side.

    Raises:
        ProductError: Two do not.
    """
    first, grid = next(iter(grids.items()))
    for name, other in grids.items():
        if snapped(other, grid) is grid:
            continue
        same_crs = other.crs_wkt == grid.crs_wkt or other.crs == grid.crs
        least = max(*_edges(grid), *_edges(other)) * (1 - _TOLERANCE_PX)
        apart = np.abs(np.subtract(other.bounds, grid.bounds)).max()
        if not (same_crs and _upright(grid) and _upright(other)) or apart >= least:
            raise ProductError(
                f"{product}: band {name} ({words(other)}) lies on another grid than {first} ({words(grid)}), and not "
                "on the same ground at another resolution; bring all bands of a product onto one grid, or drop the "
                "band from params.yaml"
            )


def snapped(grid: Grid, onto: Grid) -> Grid:
    """`onto` itself where a grid differs from it by less than a thousandth of a pixel, so that nothing is resampled."""
    same = grid.shape_yx == onto.shape_yx and (grid.crs_wkt == onto.crs_wkt or grid.crs == onto.crs)
    drift = _TOLERANCE_PX * max(abs(onto.transform.a), abs(onto.transform.b))
    return onto if same and grid.transform.almost_equals(onto.transform, drift) else grid


def _edges(grid: Grid) -> tuple[float, float]:
    return abs(grid.transform.a), abs(grid.transform.e)


def _upright(grid: Grid) -> bool:
    return grid.transform.b == 0 and grid.transform.d == 0
