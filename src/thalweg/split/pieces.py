"""A scene's pixels cut into rectangles: cells of a regular division, tiles of a fixed size, or the scene as one."""

import math
from dataclasses import dataclass

import numpy as np

from thalweg.grid import Window


@dataclass(frozen=True)
class Pieces:
    """Rectangles of pixels, numbered row by row."""

    first: int
    """Code of the first; no two scenes share codes unless they share their pixels and parts."""
    rows: tuple[int, ...]
    """Edges from 0 on, pixels; what lies beyond the last belongs to no piece."""
    cols: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of pieces."""
        return len(self.rows) - 1, len(self.cols) - 1

    @property
    def codes(self) -> np.ndarray:
        """(rows, columns) int64."""
        count = self.shape[0] * self.shape[1]
        return np.arange(self.first, self.first + count, dtype=np.int64).reshape(self.shape)

    def window(self, number: int) -> Window:
        """Where a piece lies; `number` counts from 0."""
        row, col = divmod(number, self.shape[1])
        top, left = self.rows[row], self.cols[col]
        return Window(top, left, self.rows[row + 1] - top, self.cols[col + 1] - left)

    def at(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Codes at pixel positions, fractional or whole; −1 outside or where a position is undefined."""
        return self.pick(self.codes, rows, cols, -1)

    def under(self, window: Window) -> np.ndarray:
        """(h, w) int64 codes of a window's pixels, which may lie outside."""
        return self.at(*pixel_centres(window))

    def pick(self, values: np.ndarray, rows: np.ndarray, cols: np.ndarray, outside: int) -> np.ndarray:
        """What lies at pixel positions, of one value per piece (rows, columns); positions are broadcast."""
        padded = np.full((values.shape[0] + 1, values.shape[1] + 1), outside, values.dtype)
        padded[:-1, :-1] = values
        picked: np.ndarray = padded[_place(rows, self.rows), _place(cols, self.cols)]
        return picked


def pixel_centres(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Rows (h, 1) and columns (1, w) of the centres of a window's pixels."""
    rows = np.arange(window.row, window.row + window.height) + 0.5
    cols = np.arange(window.col, window.col + window.width) + 0.5
    return rows[:, None], cols[None, :]


def scaled(pieces: Pieces, shape_yx: tuple[int, int], onto_yx: tuple[int, int]) -> Pieces:
    """The same rectangles of ground in pixels of another size; a pixel belongs to the piece its centre lies in."""
    if shape_yx == onto_yx:
        return pieces
    edges = ((pieces.rows, shape_yx[0], onto_yx[0]), (pieces.cols, shape_yx[1], onto_yx[1]))
    rows, cols = (tuple(_edge(edge * onto / length) for edge in of) for of, length, onto in edges)
    return Pieces(pieces.first, rows, cols)


def even(first: int, shape_yx: tuple[int, int], cells: int) -> Pieces:
    """`cells` by `cells` rectangles of equal size but for a pixel; the same ground whatever the resolution.

    A pixel belongs to the cell in which its centre lies.
    """
    rows, cols = (tuple(_edge(number * length / cells) for number in range(cells + 1)) for length in shape_yx)
    return Pieces(first, rows, cols)


def tiles(first: int, shape_yx: tuple[int, int], size_px: int) -> Pieces:
    """Squares of `size_px` from the upper left; those of the last row and column may be smaller."""
    rows, cols = ((*range(0, length, size_px), length) for length in shape_yx)
    return Pieces(first, rows, cols)


def _edge(at: float) -> int:
    """The first pixel whose centre lies at or beyond a position."""
    return max(math.ceil(at - 0.5), 0)


def _place(at: np.ndarray, edges: tuple[int, ...]) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        inside = (at >= edges[0]) & (at < edges[-1])
    return np.where(inside, np.searchsorted(np.array(edges), at, side="right") - 1, -1)
