"""Which pixels lie well inside their parcel, by true ground metres."""

import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from thalweg.grid import Grid, Window

_ROUNDING_M = 1e-6


class Margin(NamedTuple):
    """Pixels around a window that decide on it."""

    rows: int
    cols: int

    def around(self, window: Window) -> Window:
        """The window with its margin."""
        row, col, height, width = window
        return Window(row - self.rows, col - self.cols, height + 2 * self.rows, width + 2 * self.cols)


def margin_px(grid: Grid, border_m: float) -> Margin:
    """What must be seen around a window: the smallest pixel of the grid is taken as half of its middle one."""
    if border_m <= 0:
        return Margin(0, 0)
    rows, cols = (math.ceil(2 * border_m / edge_m) + 1 for edge_m in grid.pixel_m_yx)
    return Margin(rows, cols)


def cut_out(plane: np.ndarray, margin: Margin, window: Window) -> np.ndarray:
    """A window of a plane that has its margin."""
    return plane[margin.rows : margin.rows + window.height, margin.cols : margin.cols + window.width]


def to_inner(numbers: np.ndarray, border_m: float, grid: Grid, window: Window) -> np.ndarray:
    """(h, w) bool: pixels whose centre is at least `border_m` from the edge of their parcel.

    Edges run between pixels of different numbers. On a lattice twice as fine, whose odd nodes are pixel centres, they
    are nodes; the point of an edge nearest to a centre always is one, so the distance is exact.

    Args:
        numbers: (h, w) of the parcels, with a margin of at least the border where that is known.
        border_m: True ground metres; 0 leaves every pixel in.
        grid: Of the window.
        window: Whose middle says how large pixels are.
    """
    if border_m <= 0:
        return np.ones(numbers.shape, bool)
    height, width = numbers.shape
    edges = np.zeros((2 * height + 1, 2 * width + 1), bool)
    rows, cols = np.nonzero(numbers[1:] != numbers[:-1])
    for step in range(3):
        edges[2 * rows + 2, 2 * cols + step] = True
    rows, cols = np.nonzero(numbers[:, 1:] != numbers[:, :-1])
    for step in range(3):
        edges[2 * rows + step, 2 * cols + 2] = True
    if not edges.any():
        return np.ones(numbers.shape, bool)
    half_m = [edge_m / 2 for edge_m in grid.crop(window).pixel_m_yx]
    away_m = ndimage.distance_transform_edt(~edges, sampling=half_m)[1::2, 1::2]
    return np.asarray(away_m >= border_m - _ROUNDING_M)
