"""Shapes on a scene's pixels: which feature takes which."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np
import rasterio.features
import shapely

from thalweg.grid import Grid, Window
from thalweg.preprocess.masks.features import Features

_STRIPE_ROWS = 512


class Outlines:
    """The shapes of features on a scene's pixels.

    A polygon takes the pixels whose centre it covers, or with `all_touched` all that it touches; a line or point
    without a width has no other choice than the pixels that it touches.
    """

    def __init__(self, features: Features, target: Grid, all_touched: bool) -> None:
        self._shapes, self._feature = features.shapes, features.feature
        self._touched = (shapely.get_dimensions(self._shapes) < 2) | all_touched
        self._target = target
        self._box = self._rows_and_cols()
        height, width = target.shape_yx
        self._on = (
            (self._box[:, 2] >= 0) & (self._box[:, 3] >= 0) & (self._box[:, 0] <= height) & (self._box[:, 1] <= width)
        )

    @property
    def any(self) -> bool:
        """Whether any feature lies on the scene."""
        return bool(shapely.intersects(self._shapes[self._on], _outline(self._target)).any())

    def near(self, part: Window) -> np.ndarray:
        """Features whose box meets a window."""
        return np.unique(self._feature[self._meets(part)])

    def burn(self, part: Window, of: np.ndarray | None = None) -> np.ndarray:
        """Number of the last feature on each pixel of a window, from 1; 0 where there is none.

        Args:
            part: On the scene.
            of: Which features count, (features,) bool; all if None.
        """
        drawn = np.zeros((part.height, part.width), np.int32)
        chosen = self._meets(part) if of is None else self._meets(part) & of[self._feature]
        place = self._target.crop(part).transform
        for touched, numbers in groupby(np.flatnonzero(chosen), key=lambda number: bool(self._touched[number])):
            pairs = [(self._shapes[number], int(self._feature[number]) + 1) for number in numbers]
            rasterio.features.rasterize(pairs, out=drawn, transform=place, all_touched=touched)
        return drawn

    def without_a_pixel(self, seen: set[int]) -> int:
        """How many features on the scene take no pixel of it.

        Args:
            seen: Features that were seen on it. Others may have been overdrawn, so they are drawn again without these,
                until none comes to light.
        """
        inside = self._on & shapely.intersects(self._shapes, _outline(self._target))
        hidden = set(self._feature[inside].tolist()) - seen
        while hidden and (found := self._found(hidden)):
            hidden -= found
        return len(hidden)

    def _found(self, features: set[int]) -> set[int]:
        of = np.zeros(int(self._feature.max()) + 1, bool)
        of[list(features)] = True
        return {
            int(number) - 1 for part in stripes(self._target.shape_yx) for number in np.unique(self.burn(part, of))
        } - {-1}

    def _meets(self, part: Window) -> np.ndarray:
        top, left, bottom, right = self._box.T
        rows = (bottom >= part.row - 1) & (top <= part.row + part.height + 1)
        return np.asarray(self._on & rows & (right >= part.col - 1) & (left <= part.col + part.width + 1))

    def _rows_and_cols(self) -> np.ndarray:
        """Top, left, bottom, right of each shape in the scene's pixels, (n, 4)."""
        west, south, east, north = shapely.bounds(self._shapes).reshape(-1, 4).T
        corners = [
            ~self._target.transform @ corner for corner in ((west, north), (east, north), (west, south), (east, south))
        ]
        cols, rows = np.array([corner[0] for corner in corners]), np.array([corner[1] for corner in corners])
        return np.stack([rows.min(axis=0), cols.min(axis=0), rows.max(axis=0), cols.max(axis=0)], axis=1)


def stripes(shape_yx: tuple[int, int]) -> Iterator[Window]:
    """Windows of whole rows, from the top down, so that memory does not grow with a scene."""
    height, width = shape_yx
    return (Window(row, 0, min(_STRIPE_ROWS, height - row), width) for row in range(0, height, _STRIPE_ROWS))


def _outline(grid: Grid) -> shapely.Polygon:
    height, width = grid.shape_yx
    return shapely.Polygon([grid.transform @ corner for corner in ((0, 0), (width, 0), (width, height), (0, height))])
