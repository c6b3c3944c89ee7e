"""Rows of an area as they are finished, for what scores predictions without writing them."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from thalweg.grid import Window
from thalweg.infer.canvas import Canvas
from thalweg.infer.lattice import How, Lattice
from thalweg.manifest.scene import NODATA

Predict = Callable[[np.ndarray], np.ndarray]
"""(B, h, w, C) stored values → (B, K, h, w) float32."""
Read = Callable[[Window], np.ndarray]
"""Window → (h, w, C) stored values, nodata past the raster's edge."""


def iter_rows(predict: Predict, read: Read, shape_yx: tuple[int, int], classes: int, window_px: int,
              overlap: float, batch_size: int, blend: str = "hann") -> Iterator[tuple[int, np.ndarray]]:  # fmt: skip
    """Predicts an area from its top to its bottom and yields each run of rows as soon as no window touches it.

    Windows without any measurement are not shown to the network: their share of the blend is the uniform
    distribution, and only pixels without a measurement get it.

    Args:
        predict: Windows to probabilities.
        read: Reads one window; it may reach past the edge.
        shape_yx: Rows and columns of the area.
        classes: Number of classes, K.
        window_px: Edge of a window.
        overlap: Share of a window that overlaps its neighbour, 0 ≤ overlap < 1.
        batch_size: Windows per call of `predict`; a batch is of one row of windows.
        blend: As in `How`.

    Yields:
        First row and (K, rows, W) float32 probabilities; runs follow each other without a gap.
    """
    lattice = Lattice.over(shape_yx, window_px, How((overlap,), blend))
    canvas = Canvas(lattice, classes, lattice.window_px)
    for top in lattice.tops:
        yield from canvas.finished(top)
        windows = iter(lattice.windows(top))
        while batch := list(itertools.islice(windows, batch_size)):
            for window, probs in zip(batch, _predict(predict, [read(each) for each in batch], classes), strict=True):
                canvas.add(window, probs)
    yield from canvas.finished(shape_yx[0])


def _predict(predict: Predict, windows: Sequence[np.ndarray], classes: int) -> np.ndarray:
    batch = np.stack(windows)
    measured = (batch != NODATA).any(axis=(1, 2, 3))
    if measured.all():
        return predict(batch)
    probs = np.full((len(batch), classes, *batch.shape[1:3]), 1 / classes, np.float32)
    if measured.any():
        probs[measured] = predict(batch[measured])
    return probs
