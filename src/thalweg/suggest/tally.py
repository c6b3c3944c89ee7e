"""What is known of each block: summed over maps and scenes, stripe by stripe."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from thalweg import doubt
from thalweg.classes import IGNORE
from thalweg.grid import Window, iter_blocks
from thalweg.guard import Drawn, Guard
from thalweg.manifest.chips import PARTS
from thalweg.manifest.scene import Scene
from thalweg.mapfiles import MapFiles
from thalweg.pseudo.sure import read_probs, read_uncertainty
from thalweg.split.blocks import Lattice, encode, ranked

_BAND_PX = 1024
_STRAIGHT = np.pi / 4
"""Length of a boundary over that of its pixel edges, for boundaries of all directions (Cauchy–Crofton)."""


@dataclass(frozen=True)
class Tally:
    """Sums per block."""

    codes: np.ndarray
    """(n,) int64, sorted."""
    sums: np.ndarray
    """(n, columns)."""

    def at(self, codes: np.ndarray) -> np.ndarray:
        """(m, columns) sums of some blocks; zero of those that are not known."""
        place = np.minimum(np.searchsorted(self.codes, codes), max(len(self.codes) - 1, 0))
        if not len(self.codes):
            return np.zeros((len(codes), self.sums.shape[1]))
        return np.asarray(np.where((self.codes[place] == codes)[:, None], self.sums[place], 0.0))


MAPPED, FREE, DOUBT, EDGE, HELD = range(5)
"""Columns of a tally of maps: m² with a map; m² of them that may be drawn (no drawn label, clear of validation and test
ground); doubt × m² of these; metres of class boundary on them; m² on validation and test ground."""


def tally_maps(maps: Iterable[MapFiles], lattice: Lattice, guard: Guard, drawn: Drawn, by: str) -> Tally:
    """Of maps; overlapping ones count each.

    Args:
        maps: Finished maps.
        lattice: Of the blocks.
        guard: Ground that is held out.
        drawn: Ground that is drawn already.
        by: Which doubt: `entropy`, computed from probabilities, or a word of a band's name in uncertainty.tif.

    Raises:
        MapError: A map has no probabilities, or no such band.
    """

    def parts() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for files in maps:
            for window in files.iter_stripes():
                yield _map_part(files, window, lattice, guard, drawn, by)

    found = _summed(parts(), 5)
    there = found.sums[:, MAPPED] > 0
    return Tally(found.codes[there], found.sums[there])


def tally_scenes(
    scenes: Iterable[Scene], lattice: Lattice, parts_of: Callable[[Scene], np.ndarray]
) -> tuple[Tally, Tally]:
    """Pixels, sums and sums of squares of every channel: of valid ground without labels, and with ones that teach.

    Args:
        scenes: Of one grid.
        lattice: Of the blocks.
        parts_of: A scene's part raster.
    """
    free: list[tuple[np.ndarray, np.ndarray]] = []
    taught: list[tuple[np.ndarray, np.ndarray]] = []
    columns = 1
    for scene in scenes:
        columns = 1 + 2 * len(scene.record.channels)
        parts = parts_of(scene)
        for window in iter_blocks(scene.grid.shape_yx, _BAND_PX):
            codes = encode(*lattice.cells(scene.grid, window))
            at = (window.rows, window.cols)
            valid = scene.valid[at] > 0
            labelled = np.zeros(valid.shape, bool) if scene.mask is None else scene.mask[at] != IGNORE
            pixels = scene.image[at]
            for chosen, found in (
                (valid & ~labelled, free),
                (valid & labelled & (parts[at] == PARTS["train"]), taught),
            ):
                if chosen.any():
                    found.append(_merged(codes[chosen], _moments(pixels[chosen])))
    return _summed(iter(free), columns), _summed(iter(taught), columns)


def _map_part(files: MapFiles, window: Window, lattice: Lattice, guard: Guard, drawn: Drawn,
              by: str) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Codes (n,) and sums of a stripe."""
    grid = files.grid
    labels = files.read_labels(window)
    mapped = labels != IGNORE
    free = mapped & ~drawn.on(grid, window) & ~guard.near(grid, window)
    if by == "entropy":
        unsure = np.nan_to_num(doubt.entropy(np.nan_to_num(read_probs(files, window))))
    else:
        unsure = np.nan_to_num(read_uncertainty(files, by, window))
    area = np.broadcast_to(files.row_m2[window.rows][:, None], labels.shape)
    columns = [mapped * area, free * area, free * unsure * area, _edges(files, window, labels) * free,
               guard.on(grid, window) * area]  # fmt: skip
    codes = encode(*lattice.cells(grid, window))
    return _merged(codes.ravel(), (column.ravel() for column in columns))


def _edges(files: MapFiles, window: Window, labels: np.ndarray) -> np.ndarray:
    """(h, w) metres of boundary that each pixel has with its right and lower neighbour of another class."""
    height_m, width_m = files.grid.crop(window).pixel_m_yx
    below = Window(window.row, window.col, window.height + 1, window.width).clip(files.grid.shape_yx)
    whole = labels if below == window else files.read_labels(below)
    metres = np.zeros(labels.shape)
    metres[:, :-1] += height_m * _differs(labels[:, :-1], labels[:, 1:])
    rows = whole.shape[0] - 1
    metres[:rows] += width_m * _differs(whole[:-1], whole[1:])[: labels.shape[0]]
    return metres * _STRAIGHT


def _differs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray((one != other) & (one != IGNORE) & (other != IGNORE))


def _moments(values: np.ndarray) -> Iterator[np.ndarray]:
    """Ones, the columns of (n, C), and their squares; one at a time, since they are many."""
    yield np.ones(len(values))
    for power in (1, 2):
        for column in values.T:
            yield column.astype(np.float64) ** power


def _merged(codes: np.ndarray, columns: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    distinct, place = ranked(codes[None])
    total = np.stack([np.bincount(place[0], column, len(distinct)) for column in columns], 1)
    return distinct, total


def _summed(parts: Iterator[tuple[np.ndarray, np.ndarray]], columns: int) -> Tally:
    """One row per block, summed as the parts come."""
    codes, sums = np.zeros(0, np.int64), np.zeros((0, columns))
    for more_codes, more in parts:
        codes, sums = _merged(np.concatenate([codes, more_codes]), np.concatenate([sums, more]).T)
    return Tally(codes, sums)
