"""How good rasters of probabilities are on held-out ground: thresholds on validation pixels, then scores on both parts.

Every competitor, the map and each of its members, is scored on the same pixels: labelled, valid, of the part, and
measured by all of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from thalweg import metrics, raster
from thalweg.classes import IGNORE
from thalweg.errors import EnsembleError
from thalweg.grid import Window, iter_blocks
from thalweg.manifest.chips import PARTS, read_chips, scene_parts
from thalweg.manifest.heldout import PartScores
from thalweg.manifest.scene import Scene
from thalweg.maps import BLOCK_PX, PROB_NODATA, PROB_SCALE, dequantise, to_labels

HELDOUT = ("val", "test")
_BINS = 256

ReadHeld = Callable[[Scene, Window], np.ndarray | None]
"""Held probabilities (K, h, w) of a competitor on a window of a scene; None where it lacks the scene."""


@dataclass(frozen=True)
class HeldoutWindow:
    """What one window says about one part."""

    scene: str
    part: str
    truth: np.ndarray
    """(h, w) uint8, `IGNORE` outside of the part."""
    held: dict[str, np.ndarray]
    """Competitor → (K, h, w) held probabilities."""
    blocks: np.ndarray
    """(h, w) int64 number of the ground block that each pixel's chip lies in, −1 where no chip of the part is."""


@dataclass
class Tally:
    """Counts of one competitor on one part."""

    classes: int
    confusion: np.ndarray = field(init=False)
    scenes: dict[str, np.ndarray] = field(default_factory=dict)
    blocks: dict[int, np.ndarray] = field(default_factory=dict)
    reliability: np.ndarray = field(default_factory=lambda: np.zeros((3, metrics.ECE_BINS)))
    counts: np.ndarray = field(default_factory=lambda: np.zeros((2, _BINS), np.int64))
    """Binary tasks: pixels per true class and bin of the probability of class 1."""

    def __post_init__(self) -> None:
        self.confusion = np.zeros((self.classes, self.classes), np.int64)

    def add(self, window: HeldoutWindow, held: np.ndarray, cut: int | None) -> None:
        """Counts one window."""
        labels = to_labels(held, cut)
        matrix = metrics.confusion(window.truth, labels, self.classes)
        for block in np.unique(window.blocks[window.truth != IGNORE]).tolist():
            truth = np.where(window.blocks == block, window.truth, np.uint8(IGNORE))
            found = metrics.confusion(truth, labels, self.classes)
            self.blocks[block] = self.blocks.get(block, np.zeros_like(matrix)) + found
        self.confusion += matrix
        self.scenes[window.scene] = self.scenes.get(window.scene, np.zeros_like(matrix)) + matrix
        self.reliability += metrics.calibration(window.truth, dequantise(held))
        if self.classes == 2:
            bins = np.minimum(held[1].astype(np.int64) * _BINS // PROB_SCALE, _BINS - 1)
            for k in range(2):
                self.counts[k] += np.bincount(bins[window.truth == k], minlength=_BINS)

    def scores(self, names: Sequence[str]) -> dict[str, float]:
        """`metrics.scores`, the calibration error, and intervals by blocks."""
        found = metrics.scores(self.confusion, names) | {"ece": metrics.ece(self.reliability)}
        matrices = [matrix for block, matrix in sorted(self.blocks.items()) if block >= 0]
        return found | metrics.intervals(matrices, names, metrics.bounded(names)) | {"blocks": float(len(matrices))}

    def record(self) -> PartScores:
        """The counts as the report reads them."""
        binary = self.classes == 2
        return PartScores(
            confusion=_nested(self.confusion),
            scenes={name: _nested(matrix) for name, matrix in sorted(self.scenes.items())},
            blocks={str(block): _nested(matrix) for block, matrix in sorted(self.blocks.items())},
            linear={},
            reliability=tuple(tuple(row) for row in self.reliability.tolist()),
            positives=tuple(self.counts[1].tolist()) if binary else (),
            negatives=tuple(self.counts[0].tolist()) if binary else (),
        )


def heldout_scenes(split: Path, grid: str) -> set[str]:
    """Names of the scenes that have validation or test chips."""
    chips = read_chips(split, grid)
    return set(chips.loc[chips["part"].isin(HELDOUT), "scene"])


def iter_heldout(scenes: Sequence[Scene], split: Path, readers: Mapping[str, ReadHeld]) -> Iterator[HeldoutWindow]:
    """Every window of every scene that has pixels of a held-out part.

    Args:
        scenes: On the ensemble's grid.
        split: `build/split`.
        readers: One per competitor.
    """
    tables = {grid: read_chips(split, grid) for grid in dict.fromkeys(scene.record.grid for scene in scenes)}
    for chips in tables.values():
        chips["number"] = pd.factorize(chips["block"], sort=True)[0]
    for scene in scenes:
        parts = scene_parts(split, scene)
        chips = tables[scene.record.grid]
        cells = {part: _cells(chips[(chips["scene"] == scene.name) & (chips["part"] == part)]) for part in HELDOUT}
        for window in iter_blocks(scene.grid.shape_yx, BLOCK_PX):
            yield from _of_window(scene, parts[window.rows, window.cols], window, readers, cells)
        for layer in (parts, scene.valid, scene.mask):
            if layer is not None:
                raster.release(layer)


def choose_cuts(windows: Iterator[HeldoutWindow], names: Sequence[str]) -> dict[str, int]:
    """Per competitor the held value of class 1 from which calling pixels class 1 gives the best validation IoU.

    Raises:
        EnsembleError: There is no validation pixel of class 1, so that nothing can be chosen.
    """
    counts = {name: np.zeros((2, PROB_NODATA), np.int64) for name in names}
    for window in windows:
        if window.part == "val":
            for name, held in window.held.items():
                for k in range(2):
                    counts[name][k] += np.bincount(held[1][window.truth == k], minlength=PROB_NODATA)
    if not any(count[1].any() for count in counts.values()):
        raise EnsembleError(
            "a threshold for the best IoU needs validation pixels of class 1, and the scenes have none; "
            "give 'val' a share in params.yaml's 'split', or set the ensemble's threshold to argmax"
        )
    return {name: best_cut(negatives, positives) for name, (negatives, positives) in counts.items()}


def best_cut(negatives: np.ndarray, positives: np.ndarray) -> int:
    """The held value with the best IoU of class 1 = tp / (positives + fp); of equals the one nearest to one half.

    Args:
        negatives: Pixels of class 0 per held value of class 1.
        positives: Pixels of class 1 likewise.
    """
    hits = positives[::-1].cumsum()[::-1]
    false_alarms = negatives[::-1].cumsum()[::-1]
    iou = hits / np.maximum(positives.sum() + false_alarms, 1)
    best = np.flatnonzero(iou == iou.max())
    return int(best[np.abs(best - PROB_SCALE // 2).argmin()])


def tally(
    windows: Iterator[HeldoutWindow], cuts: Mapping[str, int | None], classes: int
) -> dict[str, dict[str, Tally]]:
    """Counts per competitor and part; a part without pixels is not there."""
    tallies: dict[str, dict[str, Tally]] = {name: {} for name in cuts}
    for window in windows:
        for name, held in window.held.items():
            tallies[name].setdefault(window.part, Tally(classes)).add(window, held, cuts[name])
    return tallies


Cells = tuple[int, np.ndarray]
"""Edge of a chip, pixels, and (rows, columns) int64 block number per cell of the chip lattice, −1 without a chip."""


def _cells(chips: pd.DataFrame) -> Cells:
    if chips.empty:
        return 1, np.full((1, 1), -1)
    size = int(chips["size"].iloc[0])
    rows, cols = (chips[name].to_numpy() // size for name in ("row", "col"))
    cells = np.full((rows.max() + 1, cols.max() + 1), -1)
    cells[rows, cols] = chips["number"]
    return size, cells


def _blocks(cells: Cells, window: Window) -> np.ndarray:
    """(h, w) int64 block number of a window's pixels."""
    size, numbers = cells
    padded = np.pad(numbers, ((0, 1), (0, 1)), constant_values=-1)
    rows = np.minimum(np.arange(window.row, window.row + window.height) // size, numbers.shape[0])
    cols = np.minimum(np.arange(window.col, window.col + window.width) // size, numbers.shape[1])
    return np.asarray(padded[np.ix_(rows, cols)])


def _of_window(
    scene: Scene, parts: np.ndarray, window: Window, readers: Mapping[str, ReadHeld], cells: Mapping[str, Cells]
) -> Iterator[HeldoutWindow]:
    if scene.mask is None or not np.isin(parts, [PARTS[part] for part in HELDOUT]).any():
        return
    known = scene.valid[window.rows, window.cols] != 0
    labels = np.where(known, scene.mask[window.rows, window.cols], np.uint8(IGNORE))
    held = {name: layer for name, read in readers.items() if (layer := read(scene, window)) is not None}
    measured = np.all([layer[0] != PROB_NODATA for layer in held.values()], axis=0)
    for part in HELDOUT:
        truth = np.where((parts == PARTS[part]) & measured, labels, np.uint8(IGNORE))
        if (truth != IGNORE).any():
            yield HeldoutWindow(scene.name, part, truth, held, _blocks(cells[part], window))


def _nested(matrix: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())
