"""The windows of a scene that are worth predicting, read in batches."""

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from thalweg import raster
from thalweg.grid import Window, cut
from thalweg.infer.area import Inside
from thalweg.infer.lattice import Lattice
from thalweg.manifest.scene import NODATA, Scene


class Batch(NamedTuple):
    """Windows of one row of a lattice."""

    top: int
    """Their first row; all windows to come begin there or further down."""
    size_px: int
    windows: tuple[Window, ...]
    pixels: np.ndarray
    """(B, h, w, C) stored values."""


def iter_batches(scene: Scene, lattices: Mapping[int, Lattice], batches: Mapping[int, int], inside: Inside,
                 start: int, stop: int) -> Iterator[Batch]:  # fmt: skip
    """Reads, from the top of a scene to its bottom, the windows that hold a pixel that is measured, valid and wanted.

    Batches are of one row of windows, so that they are the same wherever one starts.

    Args:
        scene: To read.
        lattices: Edge of a window → the lattice.
        batches: Edge of a window → windows per batch.
        inside: What is wanted.
        start: Rows above are finished: windows that end above are not read.
        stop: Rows from here on are not asked for: windows that begin there are not read.
    """
    rows = sorted((top, size) for size, lattice in lattices.items() for top in lattice.tops
                  if top + size > start and top < stop)  # fmt: skip
    for top, size in rows if start < stop else ():
        found = _read(scene, lattices[size].windows(top), inside)
        while batch := list(itertools.islice(found, batches[size])):
            windows, pixels = zip(*batch, strict=True)
            yield Batch(top, size, windows, np.stack(pixels))
        release(scene)


def usable(scene: Scene, window: Window) -> np.ndarray:
    """(h, w) bool: where a scene is measured and valid."""
    image, valid = scene.image[window.rows, window.cols], scene.valid[window.rows, window.cols]
    return np.asarray((valid != 0) & (image != NODATA).any(-1))


def release(scene: Scene) -> None:
    """Lets go of the pages that were read; see `raster.release`."""
    raster.release(scene.image)
    raster.release(scene.valid)


def _read(scene: Scene, windows: list[Window], inside: Inside) -> Iterator[tuple[Window, np.ndarray]]:
    image, valid = raster.plain(scene.image), raster.plain(scene.valid)
    for window in windows:
        there = window.clip(scene.grid.shape_yx)
        wanted = inside(there) & (valid[there.rows, there.cols] != 0)
        if wanted.any():
            pixels = cut(image, window, NODATA)
            if (wanted & (pixels[: there.height, : there.width] != NODATA).any(-1)).any():
                yield window, pixels
