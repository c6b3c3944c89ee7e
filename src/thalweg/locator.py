"""Where on the earth the scenes lie: a small map of the world, and their outlines beside each other."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from thalweg import raster
from thalweg.blockmap import say_place
from thalweg.grid import Grid
from thalweg.manifest.scene import SceneRecord

MAX_OUTLINES = 400
_MARGIN = 0.25
"""Of the extent, around the outlines."""


class Locator(NamedTuple):
    """Two drawings, in degrees with north up (y is minus latitude)."""

    place: str
    """The middle."""
    dot: tuple[float, float]
    view_box: str
    """Of the outlines; a degree of longitude is as long as it is there."""
    squeeze: float
    """Cosine of the middle latitude, by which the outlines' longitudes are to be scaled."""
    outlines: tuple[str, ...]
    """SVG paths, longitude already squeezed."""
    hidden: int


def locate(records: Sequence[SceneRecord]) -> Locator | None:
    """The scenes that lie somewhere; None where none does. Those that share a place are drawn once."""
    corners = [_corners(record) for record in records if record.georeferenced]
    if not corners:
        return None
    unique = [np.array(ring) for ring in sorted({tuple(map(tuple, ring.round(4).tolist())) for ring in corners})]
    every = np.concatenate(unique)
    (west, south), (east, north) = every.min(0).tolist(), every.max(0).tolist()
    lon, lat = float((west + east) / 2), float((south + north) / 2)
    squeeze = math.cos(math.radians(lat))
    width, height = (east - west) * squeeze, north - south
    edge = max(float(max(width, height)), 1e-3) * (1 + 2 * _MARGIN)
    box = f"{lon * squeeze - edge / 2:.4f} {-lat - edge / 2:.4f} {edge:.4f} {edge:.4f}"
    paths = ["M" + "L".join(f"{x * squeeze:.4f} {-y:.4f}" for x, y in ring) + "Z" for ring in unique[:MAX_OUTLINES]]
    hidden = max(len(unique) - MAX_OUTLINES, 0)
    return Locator(say_place(lon, lat), (lon, -lat), box, squeeze, tuple(paths), hidden)


def _corners(record: SceneRecord) -> np.ndarray:
    """(4, 2) longitude and latitude of a scene's corners."""
    height, width = record.shape_yx
    grid = Grid(record.crs, raster.transform_from(list(record.transform)), record.shape_yx)
    lon, lat = grid.lonlat(np.array([0, 0, height, height]), np.array([0, width, width, 0]))
    return np.stack([lon, lat], 1)
