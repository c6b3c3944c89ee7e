"""Finished bands of probabilities onto disk, as held values."""

from collections.abc import Iterator, Mapping

import numpy as np
from rasterio.io import DatasetWriter

from thalweg import raster
from thalweg.grid import Window
from thalweg.infer.area import Inside
from thalweg.infer.reading import release, usable
from thalweg.infer.state import State
from thalweg.manifest.scene import Scene
from thalweg.maps import PROB_NODATA, quantise

_CHUNK_PX = 1024
"""Columns that are worked on at a time; whole tiles."""


class Writer:
    """Writes bands of several members of one scene, in order."""

    def __init__(self, scene: Scene, inside: Inside, datasets: Mapping[str, DatasetWriter],
                 states: Mapping[str, State | None]) -> None:  # fmt: skip
        """Takes where members' bands go: a raster, a state that outlives a kill, or both.

        Args:
            scene: Theirs.
            inside: What of it is wanted.
            datasets: Rasters by member.
            states: By member; None: nothing is kept.
        """
        self._scene = scene
        self._inside = inside
        self._datasets = datasets
        self._states = states
        self._wanted: dict[Window, np.ndarray] = {}

    def __call__(self, band: tuple[str, int, np.ndarray]) -> None:
        """Takes a member's name, the band's first row, and its probabilities (K, rows, W)."""
        name, top, probs = band
        held = np.full(probs.shape, PROB_NODATA, np.uint16)
        for window in _chunks(top, probs.shape[1:]):
            wanted = self._is_wanted(window)
            if wanted.any():
                held[:, :, window.cols] = quantise(probs[:, :, window.cols], wanted)
        release(self._scene)
        if state := self._states[name]:
            state.keep(top, held)
        if name in self._datasets:
            write_held(self._datasets[name], top, held)

    def _is_wanted(self, window: Window) -> np.ndarray:
        """Asked of the scene once for all members, whose bands come one after another."""
        if window not in self._wanted:
            self._wanted = {seen: mask for seen, mask in self._wanted.items() if seen.row == window.row}
            self._wanted[window] = self._inside(window) & usable(self._scene, window)
        return self._wanted[window]


def write_held(dataset: DatasetWriter, top: int, held: np.ndarray) -> None:
    """Writes held values (K, rows, W) from a row on, but for chunks without any."""
    for window in _chunks(top, held.shape[1:]):
        part = held[:, :, window.cols]
        if (part[0] != PROB_NODATA).any():
            dataset.write(part, window=raster.to_rio(window))


def _chunks(top: int, shape_yx: tuple[int, ...]) -> Iterator[Window]:
    height, width = shape_yx
    for left in range(0, width, _CHUNK_PX):
        yield Window(top, left, height, min(_CHUNK_PX, width - left))
