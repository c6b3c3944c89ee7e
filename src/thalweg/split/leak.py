"""The leak check: how near test ground comes to ground that trains or validates, measured from the part rasters alone.

It is measured twice: to pixels whose labels are learnt, and to all pixels that a window of training or validation may
show, wherever it is drawn (`ChipReader` blanks what is test or withheld). The check knows nothing of blocks, rules and
buffers. Outlines of the parts are taken from the rasters, placed on the
ellipsoid exactly, and compared over all scenes of a grid, so the same ground in two scenes, tiles or UTM zones counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from thalweg.grid import Grid
from thalweg.manifest.chips import PARTS
from thalweg.split.ground import sphere
from thalweg.split.position import ecef, locate

LEARNT = (PARTS["train"], PARTS["val"])
"""Parts whose labels are learnt or choose."""
SHOWN = (*LEARNT, PARTS["unused"])
"""What windows of such a scene may show beside them."""
TEST = (PARTS["test"],)


@dataclass(frozen=True)
class Leak:
    """The nearest pair of pixels of which one is test and the other trains or validates."""

    distance_m: float
    """Between pixel centres on the ground; 0 where the two show the same ground."""
    test_scene: str
    other_scene: str
    lon: float
    lat: float
    pixel_m: float
    """Edge of the larger pixel of the two."""


class Outline:
    """The edge pixels of some parts in one scene: where, how deep, and on the ground."""

    def __init__(self, grid: Grid, parts: np.ndarray, values: tuple[int, ...]) -> None:
        chosen = np.isin(parts, values)
        edge = chosen & ~ndimage.binary_erosion(chosen)
        self.grid = grid
        self.rows, self.cols = np.nonzero(edge)

    @cached_property
    def lonlat(self) -> tuple[np.ndarray, np.ndarray]:
        """Degrees, of the pixel centres."""
        return self.grid.lonlat(self.rows + 0.5, self.cols + 0.5)

    @cached_property
    def ground(self) -> np.ndarray:
        """(n, 3) earth-centred metres."""
        return ecef(*self.lonlat)

    @cached_property
    def tree(self) -> cKDTree:
        """Of the ground."""
        return cKDTree(self.ground)


class Placed:
    """One part raster with its name and grid."""

    def __init__(self, name: str, grid: Grid, parts: np.ndarray, home: bool = True) -> None:
        """Of two rasters that are not at `home` on the grid that is checked, nothing is said."""
        self.name, self.grid, self.parts, self.home = name, grid, parts, home
        self.centre, self.radius_m = sphere(grid)
        self.pixel_m = max(grid.pixel_m_yx)
        self.teaches = bool(np.isin(parts, LEARNT).any())
        self._outlines: dict[tuple[int, ...], Outline] = {}

    def outline(self, values: tuple[int, ...]) -> Outline:
        """Outline of the pixels of some values."""
        if values not in self._outlines:
            self._outlines[values] = Outline(self.grid, self.parts, values)
        return self._outlines[values]


def nearest_leak(placed: list[Placed], within_m: float, values: tuple[int, ...]) -> Leak | None:
    """The nearest pair over all scenes, or None where no two such pixels lie within the distance.

    The same ground is found where an outline of one raster enters the other more than a pixel deep on either side;
    shallower contact is what two rasters make of one border.

    Args:
        placed: All part rasters.
        within_m: How far to look.
        values: `LEARNT` or `SHOWN`, in scenes that train or validate.
    """
    best: Leak | None = None
    for one, other, least_m in _pairs(placed, within_m):
        limit_m = within_m if best is None else best.distance_m
        if least_m > limit_m:
            continue
        found = _overlap(one, other, values) or _gap(one, other, values, limit_m)
        if found is not None and (best is None or found.distance_m < best.distance_m):
            best = found
        if best is not None and best.distance_m == 0:
            break
    return best


def _pairs(placed: list[Placed], within_m: float) -> Iterator[tuple[Placed, Placed, float]]:
    """Rasters with test pixels, each with the rasters near it that train or validate and no more than their gap."""
    if not placed:
        return
    centres = np.array([place.centre for place in placed])
    radii = np.array([place.radius_m for place in placed])
    tree = cKDTree(centres)
    for place in placed:
        if not len(place.outline(TEST).rows):
            continue
        for index in sorted(tree.query_ball_point(place.centre, place.radius_m + within_m + float(radii.max()))):
            gap_m = np.linalg.norm(centres[index] - place.centre) - place.radius_m - radii[index]
            if gap_m <= within_m and placed[index].teaches and (place.home or placed[index].home):
                yield place, placed[index], float(gap_m)


def _gap(one: Placed, other: Placed, values: tuple[int, ...], limit_m: float) -> Leak | None:
    test = one.outline(TEST)
    distances, _ = other.outline(values).tree.query(test.ground, distance_upper_bound=limit_m)
    place = int(np.argmin(distances))
    if not np.isfinite(distances[place]):
        return None
    return _leak(one, other, float(distances[place]), test, place)


def _overlap(one: Placed, other: Placed, values: tuple[int, ...]) -> Leak | None:
    if one is other:
        return None
    for outline, home, away, home_values, away_values in (
        (one.outline(TEST), one, other, TEST, values),
        (other.outline(values), other, one, values, TEST),
    ):
        rows, cols = _within(outline, away.grid)
        hit = np.flatnonzero(rows >= 0)
        hit = hit[np.isin(away.parts[rows[hit], cols[hit]], away_values)]
        if not len(hit):
            continue
        deep = _deep(home.parts, outline.rows[hit], outline.cols[hit], home_values)
        deep |= _deep(away.parts, rows[hit], cols[hit], away_values)
        if deep.any():
            return _leak(one, other, 0.0, outline, int(hit[deep][0]))
    return None


def _within(outline: Outline, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Pixel of the other raster under each outline pixel's centre; −1 outside."""
    rows, cols = locate(outline.grid, outline.rows + 0.5, outline.cols + 0.5, grid)
    with np.errstate(invalid="ignore"):
        inside = (rows >= 0) & (rows < grid.shape_yx[0]) & (cols >= 0) & (cols < grid.shape_yx[1])
    return (np.where(inside, rows, -1).astype(np.int64), np.where(inside, cols, -1).astype(np.int64))


def _deep(parts: np.ndarray, rows: np.ndarray, cols: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
    """Whether all neighbours of these pixels are of the same parts; the raster's edge does not make a pixel shallow."""
    deep = np.ones(len(rows), bool)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            at_rows = np.clip(rows + down, 0, parts.shape[0] - 1)
            at_cols = np.clip(cols + right, 0, parts.shape[1] - 1)
            deep &= np.isin(parts[at_rows, at_cols], values)
    return deep


def _leak(one: Placed, other: Placed, distance_m: float, outline: Outline, place: int) -> Leak:
    lon, lat = outline.lonlat
    pixel_m = max(one.pixel_m, other.pixel_m)
    return Leak(distance_m, one.name, other.name, float(lon[place]), float(lat[place]), pixel_m)
