"""Rings of corners, and the arcs between corners where outlines meet."""

from typing import NamedTuple

import numpy as np


class Rings(NamedTuple):
    """Rings one after the other, without their closing points."""

    row: np.ndarray
    """(N,) int32 of the lattice."""
    col: np.ndarray
    """(N,) int32."""
    fixed: np.ndarray
    """(N,) bool: three or more outlines meet here."""
    lengths: np.ndarray
    """(R,) corners of each ring."""
    patch: np.ndarray
    """(R,) patch of each ring."""


def pinned(rings: Rings) -> np.ndarray:
    """(N,) bool: the fixed corners, and of a ring without any its first in reading order, from either side."""
    starts = np.cumsum(rings.lengths) - rings.lengths
    without = ~np.logical_or.reduceat(rings.fixed, starts)
    fixed = rings.fixed.copy()
    fixed[starts[without]] = True
    return fixed


def numbered_arcs(lengths: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The arc that each corner lies on or begins (N,) int32, from a fixed corner up to the next; where arcs begin.

    Args:
        lengths: Corners of each ring.
        fixed: Corners, one or more of each ring.
    """
    arc = np.cumsum(fixed, dtype=np.int32) - np.int32(1)
    heads = np.flatnonzero(fixed)
    ends = np.cumsum(lengths)
    split = np.flatnonzero(~fixed[ends - lengths])  # rings that begin within their last arc
    starts = (ends - lengths)[split]
    count = heads[arc[starts] + 1] - starts
    leading = np.arange(count.sum()) + np.repeat(starts - (np.cumsum(count) - count), count)
    arc[leading] = np.repeat(arc[ends[split] - 1], count)
    return arc, heads


def least_corners(rings: Rings, arc: np.ndarray, heads: np.ndarray, before: np.ndarray,
                  after: np.ndarray) -> np.ndarray:  # fmt: skip
    """Per arc (int32), the corners that must stay between its ends: 2 of a loop, 1 where others join the same ends.

    Args:
        rings: Of all patches.
        arc: As `numbered_arcs` gives them.
        heads: The same.
        before: The corner before each.
        after: The corner after each.
    """
    tails = np.empty(len(heads), np.int64)
    closing = before[heads]  # each arc's last corner
    tails[arc[closing]] = closing
    pitch = int(rings.col.max()) + 1

    def code(corners: np.ndarray) -> np.ndarray:
        return np.asarray(rings.row[corners].astype(np.int64) * pitch + rings.col[corners])

    names, begin = np.unique(code(heads), return_inverse=True)
    end = begin[arc[after[tails]]]  # an arc ends where another begins
    turned = begin > end
    way = np.where(turned, code(tails), code(after[heads]))
    pair = np.where(turned, end, begin) * len(names) + np.where(turned, begin, end)
    order = np.argsort(pair)
    pair, way = pair[order], way[order]
    new = np.append(True, pair[1:] != pair[:-1])
    first = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    several = np.logical_or.reduceat(way != way[first][group], first)
    least = np.empty(len(heads), np.int32)
    least[order] = several[group]
    least[begin == end] = 2
    return least
