"""Outlines with fewer corners: neighbours keep the same border, and nothing crosses, touches anew or vanishes.

Corners go in rounds: of those that cut off too small a triangle, each that cuts off less than its two neighbours, and
whose triangle holds no other corner. Both sides of a border see the same corners, triangles and ties, so they lose the
same ones, without knowing of each other. All corners stay on the pixel lattice, so everything is exact. A round looks
only where the one before it changed something.

Source: Visvalingam and Whyatt 1993, Line Generalisation by Repeated Elimination of Points,
https://doi.org/10.1179/000870493786962263; that no corner may lie in the triangle: GEOS's CoverageSimplifier.
"""

import math
from collections.abc import Iterator

import numpy as np

from thalweg.polygons.presence import Presence, distinct, twice_area
from thalweg.polygons.rings import Rings, least_corners, numbered_arcs, pinned

_CHUNK = 1 << 20
"""Corners that are worked out at a time."""
_MOST = np.iinfo(np.int32).max


def simplify(rings: Rings, tolerance_px: float) -> Rings:
    """The same rings with fewer corners.

    Args:
        rings: Of all patches, so that every border but the outermost is there from both sides.
        tolerance_px: Square root of the area of the largest triangle that may be cut off, pixels; 0 keeps all.
    """
    if tolerance_px <= 0 or not len(rings.row):
        return rings
    state = _State(rings, 2 * tolerance_px**2)
    chosen = state.first()
    while len(chosen):
        chosen = state.step(chosen)
    starts = np.cumsum(rings.lengths) - rings.lengths
    lengths = np.add.reduceat(state.keep, starts, dtype=np.int64)
    row, col, fixed = (each[state.keep] for each in rings[:3])
    return Rings(row, col, fixed, lengths, rings.patch)


class _State:
    """Corners, each linked with those before and after it that are left, and what it costs to cut them off."""

    def __init__(self, rings: Rings, limit: float) -> None:
        self._row, self._col = rings.row, rings.col
        self._fixed = pinned(rings)
        self._never = min(math.ceil(limit), _MOST)  # of corners that are fixed or blocked, or cut off too much
        self.keep = np.ones(len(rings.row), bool)
        self._before, self._after = _linked(rings.lengths)
        self._arc, heads = numbered_arcs(rings.lengths, self._fixed)
        self._spare = np.bincount(self._arc, minlength=len(heads)).astype(np.int32) - 1
        self._spare -= least_corners(rings, self._arc, heads, self._before, self._after)
        self._wanting = np.zeros(len(heads), np.int32)
        self._presence = Presence(rings.row, rings.col, self.keep)
        self._cost = np.full(len(rings.row), self._never, np.int32)
        for start in range(0, len(self._row), _CHUNK):
            self._weigh(np.flatnonzero(~self._fixed[start : start + _CHUNK]) + start)

    def first(self) -> np.ndarray:
        """Corners that may go first."""
        whole = range(0, len(self._row), _CHUNK)
        return np.concatenate([
            self._lowest(np.arange(start, min(start + _CHUNK, len(self._row)), dtype=np.int32)) for start in whole
        ])  # fmt: skip

    def step(self, chosen: np.ndarray) -> np.ndarray:
        """One round: cuts off what may go; the corners that may go next."""
        now, later = self._spared(chosen)
        clear = np.concatenate([self._is_clear(some) for some in _chunks(now)])
        gone, blocked = now[clear], now[~clear]
        before, after = self._before[gone], self._after[gone]
        self._after[before], self._before[after] = after, before
        self.keep[gone] = False
        self._cost[gone] = self._cost[blocked] = self._never
        np.subtract.at(self._spare, self._arc[gone], 1)
        self._presence.forget(gone)
        changed = distinct(np.concatenate([before, after]))
        for some in _chunks(changed[~self._fixed[changed]]):
            self._weigh(some)  # unblocks too
        centres = np.concatenate([changed, blocked])
        around = np.concatenate([changed, self._before[centres], self._after[centres], later])
        around = distinct(around[self._cost[around] < self._never])
        return np.concatenate([self._lowest(some) for some in _chunks(around)])

    def _weigh(self, corners: np.ndarray) -> None:
        twice = twice_area(self._row, self._col, self._before[corners], corners, self._after[corners])
        self._cost[corners] = np.minimum(twice, self._never)

    def _lowest(self, corners: np.ndarray) -> np.ndarray:
        """Those that cost less than both neighbours, or as much and come first in reading order."""
        corners = corners[self._cost[corners] < self._never]
        for side in (self._before, self._after):
            corners = corners[self._cost[corners] <= self._cost[side[corners]]]
        for side in (self._before, self._after):
            other = side[corners]
            down = self._row[other] - self._row[corners]
            first = (down > 0) | ((down == 0) & (self._col[corners] < self._col[other]))
            corners = corners[first | (self._cost[corners] < self._cost[other])]
        return np.asarray(corners[self._spare[self._arc[corners]] > 0])

    def _spared(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those that may go now, and later: of an arc that would be left with too few corners, one alone goes."""
        arc = self._arc[chosen]
        np.add.at(self._wanting, arc, 1)
        tight = self._wanting[arc] > self._spare[arc]
        self._wanting[arc] = 0
        few = chosen[tight]
        arc = arc[tight]
        order = np.lexsort((self._col[few], self._row[few], self._cost[few], arc))
        few, arc = few[order], arc[order]
        firsts = np.append(True, arc[1:] != arc[:-1])[: len(few)]
        return np.concatenate([chosen[~tight], few[firsts]]), few[~firsts]

    def _is_clear(self, corners: np.ndarray) -> np.ndarray:
        return self._presence.is_clear(self._before[corners], corners, self._after[corners])


def _linked(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners before and after each in its ring."""
    ends = np.cumsum(lengths)
    starts = ends - lengths
    before, after = (np.arange(shift, ends[-1] + shift, dtype=np.int32) for shift in (-1, 1))
    before[starts], after[ends - 1] = ends - 1, starts
    return before, after


def _chunks(corners: np.ndarray) -> Iterator[np.ndarray]:
    """All of them, some at a time; once at least."""
    for start in range(0, max(len(corners), 1), _CHUNK):
        yield corners[start : start + _CHUNK]
