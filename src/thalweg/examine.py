"""The final examination of a member: its held-out areas, stitched at native resolution by the map's own engine."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thalweg import contract, doubt, infer, linear, metrics, thresholds
from thalweg.classes import IGNORE
from thalweg.dataset.chips import ChipReader, Place
from thalweg.dataset.sampler import lattice
from thalweg.grid import Window
from thalweg.manifest.chips import PARTS, Stats
from thalweg.manifest.heldout import Heldout, PartScores
from thalweg.manifest.scene import NODATA

HELD_OUT = ("val", "test")
PANELS = 6


class Tally:
    """Counts of one part, from which every score follows."""

    def __init__(self, classes: int) -> None:
        self.scenes: dict[str, np.ndarray] = {}
        self.blocks: dict[str, np.ndarray] = {}
        self.linear: list[linear.Counts] = [linear.NOTHING] * (classes - 1)
        self.reliability = np.zeros((3, metrics.ECE_BINS))
        self.histogram = np.zeros((2, metrics.PROB_BINS), np.int64)
        self.ranked = np.zeros((classes, 2, metrics.PROB_BINS), np.int64)
        self._classes = classes

    def add_shapes(self, truth: np.ndarray, labels: np.ndarray) -> None:
        """Adds borders and lines of a scene: truth and labels (h, w), whole, since lines cross windows."""
        for number, counts in enumerate(self.linear):
            self.linear[number] = counts.plus(linear.count(truth, labels, number + 1))

    def add_blocks(self, rows: pd.DataFrame, truth: np.ndarray, labels: np.ndarray) -> None:
        """Adds a scene by block: each window of the chip table to the block that most of it lies in."""
        for block, window in zip(rows["block"], lattice(rows), strict=True):
            inside = window.window.clip((truth.shape[0], truth.shape[1]))
            at = np.s_[inside.rows, inside.cols]
            self.blocks[block] = self.blocks.get(block, 0) + metrics.confusion(truth[at], labels[at], self._classes)

    def add(self, scene: str, truth: np.ndarray, probs: np.ndarray) -> None:
        """Adds rows of a scene: truth (h, w), probs (K, h, w)."""
        known = truth != IGNORE
        if not known.any():
            return
        truth, probs = truth[known], probs[:, known]
        labels = probs.argmax(0).astype(np.uint8)
        before = self.scenes.get(scene, 0)
        self.scenes[scene] = before + metrics.confusion(truth, labels, self._classes)
        self.reliability += metrics.calibration(truth, probs)
        self.ranked += thresholds.count(truth, probs)
        if self._classes == 2:
            self.histogram += np.stack(metrics.histogram(truth, probs[1]))

    def scores(self, names: Sequence[str]) -> PartScores:
        """As the record that plots and the report read."""
        total = sum(self.scenes.values(), np.zeros((self._classes, self._classes), np.int64))
        positives, negatives = self.histogram.tolist() if self._classes == 2 else ((), ())
        return PartScores(
            confusion=_nested(total),
            scenes={scene: _nested(matrix) for scene, matrix in sorted(self.scenes.items())},
            blocks={block: _nested(matrix) for block, matrix in sorted(self.blocks.items())},
            linear={name: linear.scores(counts, name) for name, counts in zip(names[1:], self.linear, strict=True)},
            reliability=tuple(tuple(row) for row in self.reliability.tolist()),
            positives=tuple(positives),
            negatives=tuple(negatives),
        )


class Panels:
    """A few held-out windows as pictures, filled while rows stream by."""

    def __init__(self, reader: ChipReader, chips: pd.DataFrame, stats: Stats) -> None:
        self._reader, self._stats = reader, stats
        self._part, rows = _worth_seeing(chips, tuple(stats.class_px))
        self._places = lattice(rows)
        shapes = [(place.window.height, place.window.width) for place in self._places]
        self._labels = [np.full(shape, IGNORE, np.uint8) for shape in shapes]
        self._probs = [np.zeros(shape, np.uint8) for shape in shapes]
        self._doubts = [np.zeros(shape, np.uint8) for shape in shapes]

    def add(self, scene: str, top: int, probs: np.ndarray) -> None:
        """Takes what it needs of rows (K, h, W) that start at `top`."""
        rows, width = probs.shape[1:]
        for place, *planes in zip(self._places, self._labels, self._probs, self._doubts, strict=True):
            row, col, height, span = Window(place.window.row - top, *place.window[1:]).clip((rows, width))
            if place.scene != scene or height == 0 or span == 0:
                continue
            seen = probs[:, row : row + height, col : col + span]
            at = np.s_[row + top - place.window.row :, col - place.window.col :]
            said = (seen.argmax(0), np.rint(seen.max(0) * 255), np.rint(doubt.entropy(seen) * 255))
            for plane, values in zip(planes, said, strict=True):
                plane[at][:height, :span] = values

    def write(self, path: Path) -> None:
        """Writes panels.npz; the same panels give the same bytes."""
        masks = [self._reader.target(place.scene, place.window, self._part) for place in self._places]
        names = [f"{p.scene} {self._part} row {p.window.row} col {p.window.col}" for p in self._places]
        pictures = [self._rgb(place) for place in self._places]
        small = {"rgb": pictures, "mask": masks, "labels": self._labels, "prob": self._probs, "doubt": self._doubts}
        stacks: dict[str, Any] = {name: np.array(planes, np.uint8) for name, planes in small.items()}
        np.savez_compressed(path, **stacks, names=np.array(names, np.str_))

    def _rgb(self, place: Place) -> np.ndarray:
        record = self._reader.scenes[place.scene].record
        channels, dates = record.channels, max(len(record.dates), 1)
        count = len(channels) // dates
        first = dates // 2 * count  # of a time series, the middle date
        names = [channel.name.rpartition("/")[2] for channel in channels[first : first + count]]
        natural = [names.index(band) for band in ("B04", "B03", "B02") if band in names]
        shown = [first + k for k in (natural if len(natural) == 3 else [min(k, count - 1) for k in range(3)])]
        stored = self._reader.pixels(place.scene, place.window)[..., shown]
        scale, offset = (np.array([getattr(channels[k], key) for k in shown]) for key in ("scale", "offset"))
        low, high = (np.array([values[k] for k in shown]) for values in (self._stats.p02, self._stats.p98))
        bright = (stored * scale + offset - low) / np.maximum(high - low, 1e-6)
        return np.where(stored == NODATA, 0, np.clip(bright * 255, 0, 255)).astype(np.uint8)


def examine(member: str, predictor: infer.Predictor, reader: ChipReader, chips: pd.DataFrame,
            panels: Panels, batch_size: int) -> Heldout:  # fmt: skip
    """Predicts every scene that has held-out labels and counts each part by itself.

    Windows without held-out pixels are read as nodata, which the engine skips: every window that a held-out pixel is
    blended from is predicted as the map would.

    Args:
        member: Its name.
        predictor: The trained member.
        reader: Scenes and split of its grid.
        chips: The chip table, all parts.
        panels: Pictures to fill.
        batch_size: Windows per step.

    Raises:
        ContractError: A scene is not what the member was trained to read.
    """
    card = predictor.card
    names = tuple(info.name for info in card.classes)
    tallies = {part: Tally(len(names)) for part in HELD_OUT}
    for scene in sorted(set(chips.loc[chips["part"].isin(HELD_OUT), "scene"])):
        contract.check(card, reader.scenes[scene])
        parts = reader.parts(scene)
        said = np.zeros(parts.shape, np.uint8)
        read = partial(held_out, reader, scene, HELD_OUT)
        runs = infer.iter_rows(
            predictor.predict, read, parts.shape, len(names), card.window_px, card.overlap, batch_size
        )
        for top, probs in runs:
            panels.add(scene, top, probs)
            said[top : top + probs.shape[1]] = probs.argmax(0)
            rows = Window(top, 0, probs.shape[1], probs.shape[2])
            for part, tally in tallies.items():
                tally.add(scene, reader.target(scene, rows, part), probs)
        whole = Window(0, 0, *parts.shape)
        for part, tally in tallies.items():
            if scene in tally.scenes:
                truth = reader.target(scene, whole, part)
                tally.add_shapes(truth, said)
                tally.add_blocks(chips[(chips["scene"] == scene) & (chips["part"] == part)], truth, said)
    seen = {part: tally for part, tally in tallies.items() if tally.scenes}
    return Heldout(
        member=member, classes=names, parts={part: tally.scores(names) for part, tally in seen.items()},
        ranked={part: dict(zip(names, _pairs(tally.ranked), strict=True)) for part, tally in seen.items()},
    )  # fmt: skip


def summary(heldout: Heldout) -> dict[str, dict[str, float]]:
    """The flat scores of metrics/<member>.json: per part, at the most probable class.

    For binary tasks also at the threshold that is best on validation: `val.threshold`, `<part>_at_threshold`.
    """
    result = {}
    for part, counts in heldout.parts.items():
        scores = metrics.scores(np.array(counts.confusion), heldout.classes)
        result[part] = {**scores, "ece": metrics.ece(np.array(counts.reliability))}
        for found in counts.linear.values():
            result[part] |= found
        matrices = [np.array(matrix) for matrix in counts.blocks.values()]
        result[part] |= metrics.intervals(matrices, heldout.classes, metrics.bounded(heldout.classes))
        result[part]["blocks"] = float(len(matrices))
    if len(heldout.classes) == 2 and "val" in heldout.parts:
        result |= _at_threshold(heldout)
        result["val"]["threshold"] = threshold(heldout)
    return result


def threshold(heldout: Heldout) -> float:
    """Of a binary member: the probability of class 1 from which its IoU on the validation part is best."""
    val = heldout.parts["val"]
    return metrics.best_threshold(np.array(val.positives), np.array(val.negatives))


def _at_threshold(heldout: Heldout) -> Mapping[str, dict[str, float]]:
    cut = threshold(heldout)
    matrices = {
        part: metrics.confusion_at(np.array(c.positives), np.array(c.negatives), cut)
        for part, c in heldout.parts.items()
    }
    return {f"{part}_at_threshold": metrics.scores(matrix, heldout.classes) for part, matrix in matrices.items()}


def held_out(reader: ChipReader, scene: str, wanted: Sequence[str], window: Window) -> np.ndarray:
    """Stored values of a window, or nodata as a whole where it holds no pixel of the wanted parts."""
    parts = reader.parts(scene)
    inside = window.clip((parts.shape[0], parts.shape[1]))
    if np.isin(parts[inside.rows, inside.cols], [PARTS[part] for part in wanted]).any():
        return reader.pixels(scene, window)
    channels = len(reader.scenes[scene].record.channels)
    return np.full((window.height, window.width, channels), NODATA, reader.scenes[scene].image.dtype)


def _worth_seeing(chips: pd.DataFrame, classes: Sequence[str]) -> tuple[str, pd.DataFrame]:
    """Windows of the test part (of val where there is none) that hold most of their second most frequent class."""
    part = "test" if (chips["part"] == "test").any() else "val"
    rows = chips[chips["part"] == part]
    second = np.sort(rows[[f"px_{name}" for name in classes]].to_numpy(), axis=1)[:, -2]
    return part, rows.iloc[np.argsort(-second, kind="stable")[:PANELS]]


def _pairs(counts: np.ndarray) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(tuple(others), tuple(own)) for others, own in counts.tolist()]


def _nested(matrix: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(count) for count in row) for row in matrix)
