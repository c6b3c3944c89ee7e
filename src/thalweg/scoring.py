"""How good rasters of probabilities are on held-out ground: thresholds on validation pixels, then scores on both parts.

Every competitor, the map and each of its members, is scored on the same pixels: labelled, valid, of the part, and
measured by all of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from thalweg import maps, metrics, raster, thresholds
from thalweg.classes import IGNORE
from thalweg.errors import EnsembleError
from thalweg.grid import Window, iter_blocks
from thalweg.manifest.chips import PARTS, read_chips, scene_parts
from thalweg.manifest.heldout import PartScores
from thalweg.manifest.scene import Scene
from thalweg.maps import BLOCK_PX, PROB_NODATA, PROB_SCALE, dequantise
from thalweg.params.ensembles import ThresholdRule

HELDOUT = ("val", "test")
_BINS = 256
_FLOOR = 1e-6

Cut = int | tuple[float, ...] | None
"""Least held value of class 1 that counts as class 1, or a threshold per class, or None for the most probable class."""
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
    window: Window
    """In the scene."""


@dataclass
class Tally:
    """Counts of one competitor on one part."""

    classes: int
    confusion: np.ndarray = field(init=False)
    scenes: dict[str, np.ndarray] = field(default_factory=dict)
    blocks: dict[int, np.ndarray] = field(default_factory=dict)
    reliability: np.ndarray = field(default_factory=lambda: np.zeros((3, metrics.ECE_BINS)))
    likelihood: np.ndarray = field(default_factory=lambda: np.zeros(3))
    """Pixels, and the sums of their NLL and Brier scores."""
    counts: np.ndarray = field(default_factory=lambda: np.zeros((2, _BINS), np.int64))
    """Binary tasks: pixels per true class and bin of the probability of class 1."""

    def __post_init__(self) -> None:
        self.confusion = np.zeros((self.classes, self.classes), np.int64)

    def add(self, window: HeldoutWindow, held: np.ndarray, cut: Cut) -> None:
        """Counts one window."""
        known = window.truth != IGNORE
        truth, kept = window.truth[known], held[:, known]
        matrices = _confusions(truth, to_labels(kept, cut), window.blocks[known], self.classes)
        for block, found in matrices.items():
            self.blocks[block] = self.blocks.get(block, np.zeros_like(found)) + found
        matrix = sum(matrices.values(), start=np.zeros_like(self.confusion))
        self.confusion += matrix
        self.scenes[window.scene] = self.scenes.get(window.scene, np.zeros_like(matrix)) + matrix
        probs = dequantise(kept)
        self.reliability += metrics.calibration(truth, probs)
        self.likelihood += _likelihood(truth, probs)
        if self.classes == 2:
            bins = np.minimum(kept[1].astype(np.int64) * _BINS // PROB_SCALE, _BINS - 1)
            for k in range(2):
                self.counts[k] += np.bincount(bins[truth == k], minlength=_BINS)

    def scores(self, names: Sequence[str]) -> dict[str, float]:
        """`metrics.scores`, how far probabilities are to be believed, and intervals by blocks."""
        found = metrics.scores(self.confusion, names) | self.belief()
        matrices = [matrix for block, matrix in sorted(self.blocks.items()) if block >= 0]
        return found | metrics.intervals(matrices, names, metrics.bounded(names)) | {"blocks": float(len(matrices))}

    def belief(self) -> dict[str, float]:
        """Calibration error, mean NLL (nats) and Brier score (0…2)."""
        pixels, nll, brier = self.likelihood.tolist()
        return {"ece": metrics.ece(self.reliability), "nll": nll / max(pixels, 1), "brier": brier / max(pixels, 1)}

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


def labelled_px(scenes: Sequence[Scene], split: Path, part: str) -> int:
    """Labelled, valid pixels of a part."""
    found = 0
    for scene in scenes:
        parts = scene_parts(split, scene)
        if scene.mask is None:
            continue
        for window in iter_blocks(scene.grid.shape_yx, BLOCK_PX):
            here = (parts[window.rows, window.cols] == PARTS[part]) & (scene.valid[window.rows, window.cols] != 0)
            found += int((here & (scene.mask[window.rows, window.cols] != IGNORE)).sum())
        for layer in (parts, scene.valid, scene.mask):
            raster.release(layer)
    return found


def to_labels(held: np.ndarray, cut: Cut) -> np.ndarray:
    """Class ids (h, w) uint8 of held probabilities (K, h, w), `IGNORE` where nothing was measured."""
    if not isinstance(cut, tuple):
        return maps.to_labels(held, cut)
    return np.where(held[0] == PROB_NODATA, np.uint8(IGNORE), thresholds.to_labels(dequantise(held), cut))


def choose_thresholds(windows: Iterator[HeldoutWindow], competitors: Sequence[str], names: Sequence[str],
                      rule: ThresholdRule) -> dict[str, Cut]:  # fmt: skip
    """Per competitor a threshold per class by a rule of `thresholds`, from validation pixels.

    One that lacks the scenes where a class is has no thresholds, and says the most probable class.

    Raises:
        EnsembleError: A class has no validation pixel at all.
    """
    counts = {name: np.zeros((len(names), 2, metrics.PROB_BINS), np.int64) for name in competitors}
    if rule.rule != "fixed":
        for window in windows:
            for name, held in window.held.items() if window.part == "val" else ():
                if name in counts:
                    counts[name] += thresholds.count(window.truth, dequantise(held))
    there = {name: count[:, 1].any(1) for name, count in counts.items()}
    anywhere = np.any(list(there.values()), axis=0)
    return {name: thresholds.choose(count, names, rule.rule, rule.value) if (there[name] == anywhere).all() else None
            for name, count in counts.items()}  # fmt: skip


def choose_cuts(windows: Iterator[HeldoutWindow], names: Sequence[str]) -> dict[str, int]:
    """Per competitor the held value of class 1 from which calling pixels class 1 gives the best validation IoU.

    Raises:
        EnsembleError: There is no validation pixel of class 1, so that nothing can be chosen.
    """
    counts = {name: np.zeros((2, PROB_NODATA), np.int64) for name in names}
    for window in windows:
        if window.part == "val":
            for name in counts.keys() & window.held.keys():
                held = window.held[name]
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


def tally(windows: Iterator[HeldoutWindow], cuts: Mapping[str, Cut], classes: int) -> dict[str, dict[str, Tally]]:
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
    if not held:
        return
    measured = np.all([layer[0] != PROB_NODATA for layer in held.values()], axis=0)
    for part in HELDOUT:
        truth = np.where((parts == PARTS[part]) & measured, labels, np.uint8(IGNORE))
        if (truth != IGNORE).any():
            yield HeldoutWindow(scene.name, part, truth, held, _blocks(cells[part], window), window)


def _confusions(truth: np.ndarray, labels: np.ndarray, blocks: np.ndarray, classes: int) -> dict[int, np.ndarray]:
    """Block → confusion matrix of its pixels; all (N,), those of blocks near each other in number."""
    first = int(blocks.min())
    pairs = ((blocks - first) * classes + truth) * classes + labels
    span = int(blocks.max()) - first + 1
    matrices = np.bincount(pairs, minlength=span * classes**2).reshape(span, classes, classes)
    return {first + int(number): matrices[number] for number in np.flatnonzero(matrices.any((1, 2)))}


def _likelihood(truth: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Pixels (N,), and the sums of their NLL (a probability below a millionth counts as one) and Brier scores."""
    probs = probs / np.maximum(probs.sum(0), np.float32(_FLOOR))
    given = probs[truth, np.arange(probs.shape[1])]
    nll = -np.log(np.maximum(given, np.float32(_FLOOR))).sum(dtype=np.float64)
    brier = ((probs**2).sum(0) - 2 * given + 1).sum(dtype=np.float64)
    return np.array([len(truth), nll, brier])


def _nested(matrix: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())
