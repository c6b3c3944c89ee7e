"""Palaeochannels: old river courses as meandering centrelines on the ground, and the distance of every cell to them.

A course runs along its own line with loops u = t − a·sin 2φ, v = b·sin φ, whose φ, a and b wander slowly: local in t,
so that any stretch is had without the ones before it.

Source: meander wavelength of some ten channel widths after Leopold and Wolman (1960),
doi:10.1130/0016-7606(1960)71[769:RM]2.0.CO;2; loops after Langbein and Leopold (1966), doi:10.3133/pp422H.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from thalweg.sample.noise import Floats, gradient, key_of, uniform

CELL_M = 20
"""Edge of a ground cell, metres."""
REACH_CELLS = 40
"""A course is felt up to this many cells away."""

_FLOW = (0.94, -0.342)
_SPACING_M = 3300.0
_STEP_M = 4.0
_SWING_M = 5200.0


@dataclass(frozen=True)
class Courses:
    """What the cells of one block know about the nearest course; distances beyond the reach are cut off there."""

    distance_m: Floats
    """To the centreline, metres."""
    half_width_m: Floats
    """Of the nearest course there, metres."""
    contrast: Floats
    """−1 (paler than its surroundings) to 1 (moister), of the nearest course there."""


def courses(seed_key: int, left: int, top: int, rows: int, cols: int) -> Courses:
    """Distance, width and contrast for `rows` × `cols` cells whose upper left one is (`top`, `left`).

    Cells are counted eastward and southward from the zone's origin. Where a large and a small course both come near,
    the one in whose bed a cell lies deeper counts.
    """
    large, small = (_nearest(seed_key, kind, left, top, rows, cols) for kind in (0, 1))
    deeper = small.half_width_m - small.distance_m > large.half_width_m - large.distance_m
    return Courses(
        np.where(deeper, small.distance_m, large.distance_m),
        np.where(deeper, small.half_width_m, large.half_width_m),
        np.where(deeper, small.contrast, large.contrast),
    )


def _nearest(seed_key: int, kind: int, left: int, top: int, rows: int, cols: int) -> Courses:
    reach = REACH_CELLS
    shape = (rows + 2 * reach, cols + 2 * reach)
    core = (slice(reach, reach + rows), slice(reach, reach + cols))
    far = np.full((rows, cols), float(reach * CELL_M))
    points = _points(seed_key, kind, left - reach, top - reach, shape[1], shape[0])
    if not points.size:
        return Courses(far, np.ones_like(far), np.zeros_like(far))
    marks = np.full(shape, -1, np.int64)
    col, row = np.floor(points[0]).astype(np.int64), np.floor(points[1]).astype(np.int64)
    marks[row, col] = np.arange(points.shape[1])
    near = distance_transform_edt(marks < 0, return_distances=False, return_indices=True)
    nearest = marks[near[0], near[1]][core]
    y, x = np.mgrid[core]
    distance = np.hypot(points[0][nearest] - x - 0.5, points[1][nearest] - y - 0.5) * CELL_M
    return Courses(np.minimum(distance, far), points[2][nearest], points[3][nearest])


def _points(seed_key: int, kind: int, left: int, top: int, cols: int, rows: int) -> Floats:
    """(4, N): column and row in the window, half width in metres and contrast of points along the courses of a kind."""
    corners_x = np.array([left, left + cols]) * CELL_M
    corners_y = -np.array([top, top + rows]) * CELL_M
    along = [x * _FLOW[0] + y * _FLOW[1] for x in corners_x for y in corners_y]
    across = [-x * _FLOW[1] + y * _FLOW[0] for x in corners_x for y in corners_y]
    first = int(np.floor((min(across) - _SWING_M) / _SPACING_M))
    last = int(np.ceil((max(across) + _SWING_M) / _SPACING_M))
    start = np.floor((min(along) - 1500) / _STEP_M)
    steps = np.arange(start, np.ceil((max(along) + 1500) / _STEP_M)) * _STEP_M
    found = [_course(seed_key, number, steps) for number in range(first, last + 1) if number % 2 == kind]
    easting, northing, half, contrast = np.concatenate(found, axis=1)
    col, row = easting / CELL_M - left, -northing / CELL_M - top
    inside = (col >= 0) & (col < cols) & (row >= 0) & (row < rows)
    return np.stack([col, row, half, contrast])[:, inside]


def _course(seed_key: int, number: int, t: Floats) -> Floats:
    """(4, N): easting, northing, half width and contrast along one course."""
    key = key_of(seed_key, "course", number)
    luck = uniform(key, np.arange(3))
    large = number % 2 == 0
    width = (420 if large else 170) * (0.8 + 0.45 * luck[0])
    loop = width * (8.5 if large else 9.5)

    def wander(salt: int, wavelength_m: float) -> Floats:
        return gradient(key + salt, t, np.full(1, 0.37 * wavelength_m), wavelength_m)

    phase = 2 * np.pi * (t / loop + luck[1]) + 1.9 * wander(1, 2.1 * loop)
    # loops are as wide as they are long: where the phase runs faster, both shrink
    reach = np.clip(2 * np.pi * _STEP_M / np.maximum(np.gradient(phase), 1e-6), 0.45 * loop, 1.7 * loop)
    swing = reach * np.clip(0.30 + 0.10 * wander(2, 1.9 * loop), 0.06, 0.45)
    overhang = swing * np.clip(0.24 + 0.08 * wander(3, 2.3 * loop), 0.08, 0.36)
    line = (number + 0.7 * (luck[2] - 0.5)) * _SPACING_M + 700 * wander(4, 21_000)
    along, across = t - overhang * np.sin(2 * phase), line + swing * np.sin(phase)
    half = width / 2 * np.clip(1 + 0.16 * wander(5, 1300), 0.65, 1.4)
    contrast = np.clip(2.0 * wander(6, 5200), -1, 1)
    easting = along * _FLOW[0] - across * _FLOW[1]
    northing = along * _FLOW[1] + across * _FLOW[0]
    return np.stack([easting, northing, half, contrast])
