"""Outlines of patches in pixel coordinates (x = column, y = row), exact and joined over stripes.

Corners of the pixel lattice are kept where an outline turns and where three or more outlines meet, and nowhere else:
so neighbours share the same points, and nothing tells where a stripe ended.
"""

from collections import defaultdict

import numpy as np
import rasterio.features
import shapely
from affine import Affine

from thalweg.grid import Window


class Outlines:
    """Collects patches stripe by stripe."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._pieces: defaultdict[int, list[shapely.Polygon]] = defaultdict(list)
        self._nodes: list[np.ndarray] = []
        self._above = np.full(width, -1, np.int64)

    def add(self, window: Window, numbers: np.ndarray) -> None:
        """The next stripe.

        Args:
            window: Whole rows.
            numbers: (h, W) int64 patch of each pixel, −1 where none is to be drawn.
        """
        found, local = np.unique(numbers, return_inverse=True)
        shapes = rasterio.features.shapes(local.reshape(numbers.shape).astype(np.int32), mask=numbers >= 0,
                                          connectivity=4, transform=Affine.translation(0, window.row))  # fmt: skip
        for outline, value in shapes:
            rings = outline["coordinates"]
            self._pieces[int(found[int(value)])].append(shapely.Polygon(rings[0], rings[1:]))
        self._nodes.append(self._find_nodes(np.vstack([self._above, numbers]), window.row))
        self._above = numbers[-1].copy()

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Patch numbers (N,), ascending, and their polygons (N,), a coverage: none overlap, shared edges are equal."""
        self._nodes.append(self._find_nodes(np.vstack([self._above, np.full_like(self._above, -1)]), -1))
        numbers = np.array(sorted(self._pieces), np.int64)
        whole = np.array([_union(self._pieces.pop(number)) for number in numbers.tolist()], object)
        return numbers, self._cleaned(whole)

    def _find_nodes(self, numbers: np.ndarray, row: int) -> np.ndarray:
        """Codes of the lattice corners where three or more outlines meet, between each row and the next."""
        framed = np.pad(numbers, ((0, 0), (1, 1)), constant_values=-1)
        upper, lower = framed[:-1], framed[1:]
        edges = [upper[:, :-1] != upper[:, 1:], upper[:, 1:] != lower[:, 1:],
                 lower[:, 1:] != lower[:, :-1], lower[:, :-1] != upper[:, :-1]]  # fmt: skip
        rows, cols = np.nonzero(np.sum(edges, 0, dtype=np.int8) >= 3)
        return self._coded(rows + row, cols)

    def _coded(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        return np.asarray(rows * (self._width + 1) + cols, np.int64)

    def _cleaned(self, polygons: np.ndarray) -> np.ndarray:
        if not len(polygons):
            return polygons
        rings, of_polygon = shapely.get_rings(shapely.segmentize(polygons, 1.0), return_index=True)
        points, of_ring = shapely.get_coordinates(rings, return_index=True)
        corners = np.rint(points).astype(np.int64)
        last = np.append(of_ring[1:] != of_ring[:-1], True)
        corners, of_ring = corners[~last], of_ring[~last]  # the closing point of each ring
        begins = np.flatnonzero(np.append(True, of_ring[1:] != of_ring[:-1]))
        ends = np.append(begins[1:], len(of_ring)) - 1
        before, after = np.arange(len(of_ring)) - 1, np.arange(len(of_ring)) + 1
        before[begins], after[ends] = ends, begins
        came, goes = corners - corners[before], corners[after] - corners
        turns = came[:, 0] * goes[:, 1] != came[:, 1] * goes[:, 0]
        nodes = np.unique(np.concatenate(self._nodes))
        kept = turns | np.isin(self._coded(corners[:, 1], corners[:, 0]), nodes)
        rings = shapely.linearrings(corners[kept].astype(float), indices=of_ring[kept])
        return np.asarray(shapely.normalize(shapely.polygons(rings, indices=of_polygon)))


def simplify(polygons: np.ndarray, tolerance_px: float) -> np.ndarray:
    """A coverage with fewer points: shared borders stay shared, and nothing crosses or vanishes.

    Source: Visvalingam and Whyatt 1993, Line Generalisation by Repeated Elimination of Points, on the edges of a
    coverage (GEOS CoverageSimplifier).

    Args:
        polygons: (N,) as `Outlines.finish` gives them.
        tolerance_px: Square root of the area of the largest triangle that may be cut off, pixels.
    """
    if tolerance_px <= 0 or not len(polygons):
        return polygons
    return np.asarray(shapely.coverage_simplify(polygons, tolerance_px))


def _union(pieces: list[shapely.Polygon]) -> shapely.Geometry:
    if len(pieces) == 1 and pieces[0].is_valid:
        return pieces[0]
    return shapely.union_all([piece if piece.is_valid else shapely.make_valid(piece) for piece in pieces])
