"""Outlines of patches in pixel coordinates (x = column, y = row), exact and joined over stripes.

Corners of the pixel lattice are kept where an outline turns and where three or more outlines meet, and nowhere else:
so neighbours share the same points, and nothing tells where a stripe ended. An outline's corners come in pairs along
rows and along columns; these links, followed in compiled code, make the rings.

Source: for the pairing, O'Rourke 1988, Uniqueness of orthogonal connect-the-dots,
https://doi.org/10.1016/B978-0-444-70467-2.50013-X.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import shapely
from affine import Affine
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, depth_first_order

from thalweg.grid import Window
from thalweg.polygons.corners import EAST, NORTH, SOUTH, WEST, Corners, find_corners
from thalweg.polygons.rings import Rings
from thalweg.polygons.simplify import simplify

_BATCH = 2_000_000
"""Corners that are joined at a time; whole patches."""
_POLYGONS = 50_000
"""Polygons that are made at a time."""


class Outlines:
    """Collects patches stripe by stripe; memory goes with the corners."""

    def __init__(self, width: int) -> None:
        self._found: list[Corners] = []
        self._above = np.full((1, width), -1, np.int32)
        self._next_row = 0

    def add(self, window: Window, numbers: np.ndarray) -> None:
        """The next stripe.

        Args:
            window: Whole rows.
            numbers: (h, W) patch of each pixel, −1 where none is to be drawn.
        """
        patches = np.concatenate([self._above, numbers.astype(np.int32, copy=False)])
        self._found.append(find_corners(patches, window.row))
        self._above, self._next_row = patches[-1:].copy(), window.row + window.height

    def finish(self, transform: Affine, tolerance_px: float = 0) -> tuple[np.ndarray, np.ndarray]:
        """Patch numbers (N,), ascending, and their polygons (N,), a coverage: none overlap, shared edges are equal.

        Args:
            transform: From columns and rows to the polygons' coordinates.
            tolerance_px: As in `simplify`; 0 keeps the pixels' outlines.
        """
        self._found.append(find_corners(np.concatenate([self._above, np.full_like(self._above, -1)]), self._next_row))
        fields = [list(each) for each in zip(*self._found, strict=True)]
        self._found.clear()
        if not any(map(len, fields[0])):
            return np.zeros(0, np.int64), np.zeros(0, object)
        rings = simplify(_all_rings(_by_patch(fields)), tolerance_px)
        return _polygons(rings, transform)


def _by_patch(fields: list[list[np.ndarray]]) -> Corners:
    """Corners patch by patch, else as they come; takes the fields' parts away, so that none is held twice."""
    order = np.argsort(np.concatenate(fields[0]), kind="stable").astype(np.int32)
    sorted_fields = []
    for field in fields:
        whole = np.concatenate(field)
        field.clear()
        sorted_fields.append(whole[order])
    return Corners(*sorted_fields)


def _all_rings(corners: Corners) -> Rings:
    parts = [_rings(part) for part in _batches(corners)]
    del corners
    return Rings(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _batches(corners: Corners) -> Iterator[Corners]:
    """Whole patches, some `_BATCH` corners at a time."""
    begins = np.flatnonzero(np.append(True, corners.patch[1:] != corners.patch[:-1]))
    cuts = begins[np.searchsorted(begins, np.arange(_BATCH, len(corners.patch), _BATCH), "right") - 1].tolist()
    for ends in pairwise([*dict.fromkeys([0, *cuts]), len(corners.patch)]):
        yield corners.kept(slice(*ends))


def _rings(corners: Corners) -> Rings:
    order, lengths = _in_order(_followers(corners))
    starts = np.cumsum(lengths) - lengths
    return Rings(corners.row[order], corners.col[order], corners.node[order], lengths, corners.patch[order[starts]])


def _polygons(rings: Rings, transform: Affine) -> tuple[np.ndarray, np.ndarray]:
    """Patches and one polygon each: its outer ring comes first, as the first in reading order."""
    a, b, c, d, e, f = transform[:6]
    heads = np.flatnonzero(np.append(True, rings.patch[1:] != rings.patch[:-1])[: len(rings.patch)])
    ring_at = np.append(heads, len(rings.patch))
    corner_at = np.append(0, np.cumsum(rings.lengths))
    found = np.empty(len(heads), object)
    for start in range(0, len(heads), _POLYGONS):
        end = min(start + _POLYGONS, len(heads))
        first, last = ring_at[start], ring_at[end]
        corners = slice(corner_at[first], corner_at[last])
        cols, rows = rings.col[corners], rings.row[corners]
        points = np.stack([a * cols + b * rows + c, d * cols + e * rows + f], 1)
        ring = np.repeat(np.arange(last - first), rings.lengths[first:last])
        lines = np.asarray(shapely.linearrings(points, indices=ring))
        polygon = np.repeat(np.arange(end - start), np.diff(ring_at[start : end + 1]))
        found[start:end] = shapely.polygons(lines, indices=polygon)
    return rings.patch[heads].astype(np.int64), found


def _followers(corners: Corners) -> np.ndarray:
    """(N,) the corner that comes after each."""
    follower = np.empty(len(corners.patch), np.int64)
    for line, place, ahead, back in (
        (corners.row, corners.col, EAST, WEST),
        (corners.col, corners.row, SOUTH, NORTH),
    ):
        leaving = np.flatnonzero((corners.goes == ahead) | (corners.goes == back))
        coming = np.flatnonzero((corners.comes == ahead) | (corners.comes == back))
        which = np.concatenate([leaving, coming])
        forward = np.concatenate([corners.goes[leaving] == ahead, corners.comes[coming] == ahead])
        first = int(corners.patch[0])
        key = (corners.patch[which].astype(np.int64) - first) * (int(line.max()) + 1) + line[which]
        key = (key * (int(place.max()) + 1) + place[which]) * 2 + forward
        pairs = np.argsort(key).reshape(-1, 2)
        leads = pairs < len(leaving)  # one end of each link leaves, the other comes
        out, into = pairs[leads], pairs[~leads]
        follower[which[out]] = which[into]
    return follower


def _in_order(follower: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners ring by ring, each from its first; the rings' lengths."""
    count = len(follower)
    steps = np.arange(count + 1)
    graph = csr_array((np.ones(count, np.int8), follower, steps), shape=(count, count))
    _, ring = connected_components(graph, directed=True, connection="weak")
    _, firsts = np.unique(ring, return_index=True)
    rank = np.argsort(firsts)
    firsts = firsts[rank]
    before = np.empty(count, np.int64)
    before[follower] = np.arange(count)
    path = follower.copy()
    path[before[firsts]] = np.append(firsts[1:], firsts[-1])  # each ring's end leads to the next ring
    way = csr_array((np.ones(count, np.int8), path, steps), shape=(count, count))
    order = depth_first_order(way, firsts[0], directed=True, return_predecessors=False)
    return np.asarray(order, np.int64), np.bincount(ring)[rank]
