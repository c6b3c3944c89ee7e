"""Where a window's pixels lie on a lattice of posts: true at nodes that lie fixed on the grid, linear between them."""

from functools import lru_cache

import numpy as np
from pyproj import CRS, Transformer

from thalweg.errors import RasterError
from thalweg.grid import Grid, Window

_NODE_M = 500.0


class Nodes:
    """Rows and columns of a window's pixel centres on a lattice, true at nodes that depend on the grid alone."""

    def __init__(self, grid: Grid, window: Window, lattice: Grid) -> None:
        self.window = window
        self.step = max(1, int(_NODE_M / max(grid.pixel_m_yx)))
        self.first_yx = (window.row // self.step, window.col // self.step)
        last_yx = ((window.row + window.height - 1) // self.step + 1, (window.col + window.width - 1) // self.step + 1)
        rows, cols = (np.arange(first, last + 1) * self.step + 0.5
                      for first, last in zip(self.first_yx, last_yx, strict=True))  # fmt: skip
        self.rows, self.cols = _on_lattice(grid, lattice, *np.meshgrid(rows, cols, indexing="ij"))

    @property
    def bounds(self) -> Window:
        """The posts between which the window's pixels lie."""
        top, left = int(np.floor(self.rows.min())), int(np.floor(self.cols.min()))
        return Window(top, left, int(np.floor(self.rows.max())) + 2 - top, int(np.floor(self.cols.max())) + 2 - left)

    def positions(self, chunk: slice) -> tuple[np.ndarray, np.ndarray]:
        """Fractional row and column, each (rows, w), of some rows of the window; whole numbers are posts."""
        row = np.arange(self.window.row, self.window.row + self.window.height)[chunk]
        col = np.arange(self.window.col, self.window.col + self.window.width)
        return self._between(self.rows, row, col), self._between(self.cols, row, col)

    def _between(self, nodes: np.ndarray, row: np.ndarray, col: np.ndarray) -> np.ndarray:
        at, part = row // self.step - self.first_yx[0], (row % self.step)[:, None] / self.step
        rows = nodes[at] * (1 - part) + nodes[at + 1] * part
        at, part = col // self.step - self.first_yx[1], (col % self.step) / self.step
        between: np.ndarray = rows[:, at] * (1 - part) + rows[:, at + 1] * part
        return between


def _on_lattice(grid: Grid, lattice: Grid, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d, e, f = grid.transform[:6]
    xs, ys = a * cols + b * rows + c, d * cols + e * rows + f
    xs, ys = _transformer(grid.crs_wkt, lattice.crs_wkt).transform(xs, ys)
    if lattice.crs.is_geographic:
        xs = xs + 360 * np.round((middle_lon(grid) - xs) / 360)
    if not (np.isfinite(xs).all() and np.isfinite(ys).all()):
        raise RasterError(
            f"ground in {grid.crs_wkt[:40]} has no place in the CRS of the height model ({lattice.crs_wkt[:40]}); "
            "deliver tiles in another CRS"
        )
    a, b, c, d, e, f = (~lattice.transform)[:6]
    return d * xs + e * ys + f - 0.5, a * xs + b * ys + c - 0.5


def middle_lon(grid: Grid) -> float:
    """Longitude of a grid's middle, degrees."""
    return float(grid.lonlat(np.array(grid.shape_yx[0] / 2), np.array(grid.shape_yx[1] / 2))[0])


@lru_cache(maxsize=16)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(CRS.from_user_input(source), CRS.from_user_input(target), always_xy=True)
