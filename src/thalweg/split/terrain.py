"""Elevations of the ground that is dealt: statistics per block, and the fifths by which parts may be balanced."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from thalweg.grid import Window
from thalweg.manifest.scene import NODATA, Scene

CHANNEL = "elevation"
BAND_PX = 256
FIFTHS = 5

Locate = Callable[[Scene, Window], np.ndarray]
"""(h, w) int64 code of what is dealt, per pixel of a window."""


@dataclass(frozen=True)
class Terrain:
    """Elevation per block over all measured pixels of its scenes, metres; NaN where nothing was measured."""

    mean_m: np.ndarray
    """(n,)."""
    std_m: np.ndarray
    """(n,) of the population."""
    low_m: np.ndarray
    """(n,) least."""
    high_m: np.ndarray
    """(n,) greatest."""


def channel_of(scene: Scene) -> int | None:
    """Index of the scene's elevation channel (of its first date, in a series); None where it has none."""
    for index, channel in enumerate(scene.record.channels):
        if channel.name == CHANNEL or channel.name.endswith(f"/{CHANNEL}"):
            return index
    return None


def heights(scene: Scene, window: Window, channel: int) -> np.ndarray:
    """(h, w) float64 metres; NaN where there is no measurement."""
    stored = np.asarray(scene.image[window.rows, window.cols, channel])
    meaning = scene.record.channels[channel]
    known = np.isfinite(stored) & (stored != NODATA)
    return np.where(known, stored.astype(np.float64) * meaning.scale + meaning.offset, np.nan)


def terrain_of(scenes: Iterable[Scene], codes: np.ndarray, locate: Locate) -> Terrain | None:
    """Statistics per code, or None where no scene has elevations; the order of scenes plays no part.

    Args:
        scenes: Each piece of ground once where that can be had; more often, it weighs more.
        codes: (n,) int64, sorted.
        locate: Code of each pixel.
    """
    sums = _Sums(codes)
    for scene in scenes:
        channel = channel_of(scene)
        if channel is not None:
            for row in range(0, scene.grid.shape_yx[0], BAND_PX):
                window = Window(row, 0, min(BAND_PX, scene.grid.shape_yx[0] - row), scene.grid.shape_yx[1])
                sums.add(locate(scene, window), heights(scene, window, channel))
    return sums.terrain() if sums.fed else None


def fifths(terrain: Terrain, area_m2: np.ndarray) -> np.ndarray:
    """(n,) 0…4: which fifth of the labelled ground, ordered by mean elevation, a block belongs to; 5 if unknown.

    Args:
        terrain: Of the blocks.
        area_m2: (n,) labelled ground.
    """
    known = np.flatnonzero(np.isfinite(terrain.mean_m))
    place = np.full(len(area_m2), FIFTHS)
    order = known[np.argsort(terrain.mean_m[known], kind="stable")]
    middle = np.cumsum(area_m2[order]) - area_m2[order] / 2
    total = area_m2[known].sum()
    place[order] = np.minimum(middle / max(total, 1e-9) * FIFTHS, FIFTHS - 1).astype(int)
    return place


class _Sums:
    """Count, sum, sum of squares, least and greatest per code, of whole centimetres, so that order plays no part."""

    def __init__(self, codes: np.ndarray) -> None:
        self.codes, self.fed = codes, False
        self._count = np.zeros(len(codes), np.int64)
        self._sum, self._squares = np.zeros(len(codes), np.int64), np.zeros(len(codes), np.int64)
        self._low, self._high = np.full(len(codes), np.inf), np.full(len(codes), -np.inf)

    def add(self, codes: np.ndarray, metres: np.ndarray) -> None:
        """Pixels by the code of their block; those of other blocks or without a height count nowhere."""
        self.fed = True
        if not len(self.codes):
            return
        at = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        used = (self.codes[at] == codes) & np.isfinite(metres)
        place, cm = at[used], np.rint(metres[used] * 100).astype(np.int64)
        np.add.at(self._count, place, 1)
        np.add.at(self._sum, place, cm)
        np.add.at(self._squares, place, cm * cm)
        np.minimum.at(self._low, place, cm)
        np.maximum.at(self._high, place, cm)

    def terrain(self) -> Terrain:
        """Of all that was added; NaN for blocks without a height."""
        empty = self._count == 0
        count = np.maximum(self._count, 1)
        mean = np.where(empty, np.nan, self._sum / count)
        variance = np.maximum(self._squares / count - mean**2, 0)
        low, high = (np.where(empty, np.nan, each) / 100 for each in (self._low, self._high))
        return Terrain(mean / 100, np.sqrt(variance) / 100, low, high)
