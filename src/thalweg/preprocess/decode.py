"""Digital numbers of one file, decoded from the top down, each block once, by one thread per file.

One thread is what makes a truncated JPEG 2000 file raise; several files are decoded at once instead.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from thalweg import raster
from thalweg.grid import Window
from thalweg.products import Layer

_LEAST_ROWS = 256
"""Rows that are at least read at once, where blocks are lower."""


class Reader:
    """Rows of the layers of one file, in memory as long as they are needed.

    `load` must go down the file; the other methods may then be called from any thread.
    """

    def __init__(self, layers: Sequence[Layer], cols: slice) -> None:
        """Reads some columns of layers that share one file and its grid, or of one layer that has its own `read`."""
        self.layers = {layer.index: layer for layer in layers}
        self.cols = cols
        self._height = layers[0].grid.shape_yx[0]
        self._first, self._stop = 0, 0
        self._planes = np.empty((0, 0, 0))
        self._there: dict[int, np.ndarray] = {}

    def load(self, top: int, bottom: int) -> None:
        """Decodes what is still missing of the rows from `top` up to `bottom`, and forgets those above `top`.

        Raises:
            RasterError: The file cannot be decoded to its end.
        """
        within = self._first <= top < self._stop
        if within and bottom <= self._stop:
            return
        start = self._stop if within else top - top % self.block_rows
        until = min(-(-bottom // self.block_rows) * self.block_rows, self._height)
        planes, there = self._decode(Window(start, self.cols.start, until - start, self.cols.stop - self.cols.start))
        if within:
            kept = slice(top - self._first, None)
            planes = np.concatenate([self._planes[:, kept], planes], axis=1)
            there = {index: np.concatenate([self._there[index][kept], rows]) for index, rows in there.items()}
            start = top
        self._planes, self._there, self._first, self._stop = planes, there, start, until

    def digital(self, layer: Layer, top: int, bottom: int) -> np.ndarray:
        """Digital numbers (h, w) of loaded rows."""
        number = list(self.layers).index(layer.index)
        return np.asarray(self._planes[number, top - self._first : bottom - self._first])

    def there(self, layer: Layer, top: int, bottom: int) -> np.ndarray | None:
        """Where a mask of the file says that there is something, (h, w) bool; None where it has none."""
        rows = self._there.get(layer.index)
        return None if rows is None else rows[top - self._first : bottom - self._first]

    @cached_property
    def block_rows(self) -> int:
        """Rows that are decoded together."""
        layer = next(iter(self.layers.values()))
        block = 1 if layer.read is not None else raster.block_rows(layer.path)
        return block * max(1, -(-_LEAST_ROWS // block))

    def _decode(self, window: Window) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        layers = list(self.layers.values())
        if layers[0].read is not None:
            return np.stack([layer.read(window) for layer in layers if layer.read is not None]), {}
        path = layers[0].path
        planes = raster.read_window(path, window, tuple(self.layers))
        masked = (layer.index for layer in layers if layer.masked)
        return planes, {index: raster.read_measured(path, window, index) for index in masked}
