"""The ground around a scene in the CRS of a layer of vectors, and features cut to it before they are projected.

A map projection is sound near the scene only: a border of the continent, or the edge of a world map, has no place on a
UTM grid, and would take the whole feature with it. So what lies far from the scene is cut off first. Longitudes may be
counted on any turn of the circle (−175° is 185°).
"""

from dataclasses import dataclass

import numpy as np
import shapely
from pyproj import CRS, Transformer

from thalweg.grid import Grid, Window

_CIRCLE = 360.0
_SPARE = 0.01
"""Share of a box's size by which it is widened, since its edges are known at some points only."""
Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Box:
    """Where features that matter to a scene lie in a layer's coordinates."""

    bounds: Bounds
    """West, south, east, north."""
    shift: float
    """Degrees to add to longitudes in it, so that they are counted as the scene's are."""


def boxes_around(grid: Grid, buffer_m: float, crs_wkt: str, bounds: Bounds) -> tuple[Box, ...] | None:
    """The boxes of a layer in which features of a scene may lie; None where they may lie anywhere.

    Args:
        grid: The scene's.
        buffer_m: Ground metres by which features are widened.
        crs_wkt: The layer's CRS.
        bounds: Of all its features.
    """
    margin = int(np.ceil(1.05 * buffer_m / min(grid.pixel_m_yx))) + 2
    height, width = grid.shape_yx
    around = grid.crop(Window(-margin, -margin, height + 2 * margin, width + 2 * margin))
    west, south, east, north = Transformer.from_crs(grid.crs, crs_wkt, always_xy=True).transform_bounds(*around.bounds)
    if not np.isfinite([west, south, east, north]).all():
        return None
    degrees = CRS.from_user_input(crs_wkt).is_geographic
    if degrees and west > east:  # across the antimeridian
        east += _CIRCLE
    wide, high = _SPARE * (east - west), _SPARE * (north - south)
    west, south, east, north = west - wide, south - high, east + wide, north + high
    turns = (-1, 0, 1) if degrees else (0,)
    boxes = [Box((west + turn * _CIRCLE, south, east + turn * _CIRCLE, north), -turn * _CIRCLE) for turn in turns]
    return tuple(box for box in boxes if box.bounds[0] <= bounds[2] and box.bounds[2] >= bounds[0])


def cut(shapes: np.ndarray, boxes: tuple[Box, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What of valid shapes lies in any of the boxes, and the number of the shape that each piece is of, in order."""
    pieces, numbers = [], []
    for box in boxes:
        frame = shapely.box(*box.bounds)
        near = np.flatnonzero(shapely.intersects(shapes, frame))
        here = shapes[near]
        across = ~shapely.covered_by(here, frame)
        here[across] = shapely.intersection(here[across], frame)
        pieces.append(_shifted(here, box.shift))
        numbers.append(near)
    number = np.concatenate([np.zeros(0, np.intp), *numbers])
    order = np.argsort(number, kind="stable")
    return np.concatenate([np.zeros(0, object), *pieces])[order], number[order]


def _shifted(shapes: np.ndarray, degrees: float) -> np.ndarray:
    return np.asarray(shapely.transform(shapes, lambda xy: np.add(xy, (degrees, 0)))) if degrees else shapes
