"""Which corners lie in a triangle."""

import numpy as np


class Presence:
    """Corners that are left, by their place; nothing is sorted before a triangle needs it."""

    def __init__(self, row: np.ndarray, col: np.ndarray, keep: np.ndarray) -> None:
        """Takes the lattice rows and columns of all corners, and which are left, an array that changes."""
        self._row, self._col, self._keep = row, col, keep
        self._pitch = int(col.max()) + 1
        self._codes: np.ndarray | None = None
        self._left = np.zeros(0, bool)

    def is_clear(self, *corners: np.ndarray) -> np.ndarray:
        """Whether triangles hold no corner but their own three: base, tip, base.

        None lies on the two sides that are outlines. By Pick's theorem most triangles hold no lattice point at all.
        """
        rows, cols = (np.stack([each[at] for at in corners]).astype(np.int64) for each in (self._row, self._col))
        twice = twice_area(self._row, self._col, *corners)
        base = np.gcd(rows[2] - rows[0], cols[2] - cols[0])
        rim = base + np.gcd(rows[1] - rows[0], cols[1] - cols[0]) + np.gcd(rows[2] - rows[1], cols[2] - cols[1])
        clear = (twice == 0) | ((base == 1) & (twice - rim + 2 == 0))
        asked = np.flatnonzero(~clear)
        if len(asked):
            clear[asked] = self._count(rows[:, asked], cols[:, asked]) == len(rows)
        return np.asarray(clear)

    def forget(self, corners: np.ndarray) -> None:
        """Corners that are left no more."""
        if self._codes is None:
            return
        gone = distinct(self._coded(self._row[corners], self._col[corners]))
        self._left[np.searchsorted(self._codes, gone)] = False
        if np.count_nonzero(self._left) < len(self._left) * 3 // 4:
            self._codes = self._codes[self._left]
            self._left = np.ones(len(self._codes), bool)

    def _coded(self, row: np.ndarray, col: np.ndarray) -> np.ndarray:
        return np.asarray(row.astype(np.int64) * self._pitch + col)

    def _sorted(self) -> np.ndarray:
        if self._codes is None:
            self._codes = distinct(self._coded(self._row[self._keep], self._col[self._keep]))
            self._left = np.ones(len(self._codes), bool)
        return self._codes

    def _count(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Corners in closed triangles (3, T), line by line of the lattice."""
        triangle, line, left, right = _lines(rows, cols)
        codes = self._sorted()
        begin = np.searchsorted(codes, line * self._pitch + left, "left")
        found = np.maximum(np.searchsorted(codes, line * self._pitch + right, "right") - begin, 0)
        place = np.arange(found.sum()) + np.repeat(begin - (np.cumsum(found) - found), found)
        return np.bincount(np.repeat(triangle, found)[self._left[place]], minlength=rows.shape[1])


def distinct(values: np.ndarray) -> np.ndarray:
    """Each once, ascending: as `np.unique`, whose hashing takes many times as long where most values differ."""
    values = np.sort(values)
    return np.asarray(values[np.append(True, values[1:] != values[:-1])[: len(values)]])


def twice_area(row: np.ndarray, col: np.ndarray, one: np.ndarray, tip: np.ndarray, other: np.ndarray) -> np.ndarray:
    """int64, of triangles of corners."""
    top, left = row[one].astype(np.int64), col[one].astype(np.int64)
    across = (col[tip] - left) * (row[other] - top)
    return np.asarray(np.abs(across - (row[tip] - top) * (col[other] - left)))


def _lines(rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, ...]:
    """Lattice lines that triangles (3, T) meet: the triangle, the line, its first and last column in the triangle."""
    top, bottom = rows.min(0), rows.max(0)
    heights = bottom - top + 1
    triangle = np.repeat(np.arange(rows.shape[1]), heights)
    line = np.arange(len(triangle)) - np.repeat(np.cumsum(heights) - heights, heights) + top[triangle]
    left, right = np.full(len(line), np.iinfo(np.int64).max), np.full(len(line), -1)
    for one, other in ((0, 1), (1, 2), (2, 0)):
        flip = rows[one] > rows[other]
        upper, lower = (np.where(way, rows[other], rows[one])[triangle] for way in (flip, ~flip))
        start, end = (np.where(way, cols[other], cols[one])[triangle] for way in (flip, ~flip))
        there = (line >= upper) & (line <= lower)
        level = upper == lower
        run = (line - upper) * (end - start)
        depth = np.maximum(lower - upper, 1)
        at_left = np.where(level, np.minimum(start, end), start - (-run // depth))  # rounded up
        at_right = np.where(level, np.maximum(start, end), start + run // depth)
        left = np.where(there, np.minimum(left, at_left), left)
        right = np.where(there, np.maximum(right, at_right), right)
    return triangle, line, left, right
