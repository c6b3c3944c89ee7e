"""What training reads of the split: chips with their counts, and statistics of the training pixels."""

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd

from thalweg.classes import IGNORE
from thalweg.errors import DegradedDataWarning, SplitError
from thalweg.grid import Window
from thalweg.manifest.chips import COLUMNS, PARTS, Stats
from thalweg.manifest.scene import NODATA, Channel, Scene
from thalweg.split.blocks import Lattice, block_name, decode, encode, ranked

_LEVELS = 1 << 16
BAND_PX = 256
_PART_NAMES = {value: name for name, value in PARTS.items()}


def bands(shape_yx: tuple[int, int], height_px: int) -> Iterator[Window]:
    """Full-width windows from top to bottom."""
    for row in range(0, shape_yx[0], height_px):
        yield Window(row, 0, min(height_px, shape_yx[0] - row), shape_yx[1])


def labels(scene: Scene, window: Window, classes: tuple[str, ...]) -> np.ndarray:
    """(h, w) uint8 class ids of a window, 255 where unlabelled or not valid.

    Raises:
        SplitError: The mask holds an id that no class has.
    """
    if scene.mask is None:
        return np.full((window.height, window.width), IGNORE, np.uint8)
    found: np.ndarray = np.where(
        scene.valid[window.rows, window.cols] > 0, scene.mask[window.rows, window.cols], IGNORE
    )
    wrong = found[(found >= len(classes)) & (found != IGNORE)]
    if wrong.size:
        raise SplitError(
            f"{scene.folder / 'mask.tif'} holds the class id {wrong[0]}, but 'classes' ends at {len(classes) - 1}; "
            "correct masks.values, then run `dvc repro preprocess`"
        )
    return found


def chips_of(scene: Scene, parts: np.ndarray, size_px: int, lattice: Lattice, classes: tuple[str, ...]) -> pd.DataFrame:
    """Windows of the scene's lattice, one row per part with labelled, valid pixels in it; columns of `COLUMNS`."""
    rows: list[dict[str, object]] = []
    for window in bands(scene.grid.shape_yx, size_px):
        rows += _chip_row(scene, parts, window, size_px, lattice, classes)
    return pd.DataFrame(rows, columns=[*COLUMNS, *(f"px_{name}" for name in classes)])


def _chip_row(scene: Scene, parts: np.ndarray, window: Window, size_px: int, lattice: Lattice,
              classes: tuple[str, ...]) -> Iterator[dict[str, object]]:  # fmt: skip
    truth = labels(scene, window, classes)
    part = parts[window.rows, window.cols]
    column = np.broadcast_to(np.arange(window.width) // size_px, truth.shape)
    columns = -(-window.width // size_px)
    codes, place = ranked(encode(*lattice.cells(scene.grid, window)))
    used = (truth != IGNORE) & (part != PARTS["unused"])
    key = column[used].astype(np.int64) * len(PARTS) + part[used]
    per_class = _counts(key, truth[used], columns, len(classes))
    per_block = _counts(key, place[used], columns, len(codes))
    usable = np.bincount(column[scene.valid[window.rows, window.cols] > 0], minlength=columns)
    block_rows, block_cols = decode(codes)
    for number, value in zip(*np.nonzero(per_class.sum(2)), strict=True):
        width = min(size_px, window.width - number * size_px)
        block = int(per_block[number, value].argmax())
        yield {
            "scene": scene.name,
            "row": window.row,
            "col": int(number) * size_px,
            "size": size_px,
            "block": block_name(int(block_rows[block]), int(block_cols[block])),
            "part": _PART_NAMES[int(value)],
            "valid_fraction": float(usable[number] / (window.height * width)),
            "labelled_px": int(per_class[number, value].sum()),
            **{f"px_{name}": int(per_class[number, value, label]) for label, name in enumerate(classes)},
        }


def _counts(key: np.ndarray, of: np.ndarray, columns: int, kinds: int) -> np.ndarray:
    """(window, part, kind) counts."""
    flat = np.bincount(key * kinds + of, minlength=columns * len(PARTS) * kinds)
    return flat.reshape(columns, len(PARTS), kinds)


class Histogram:
    """Exact counts of every stored value per channel over valid training pixels, from which all statistics follow."""

    def __init__(self) -> None:
        self.counts: np.ndarray | None = None
        self.channels: tuple[Channel, ...] = ()
        self.pixels = 0

    def feed(self, scene: Scene, parts: np.ndarray) -> None:
        """Adds a scene's valid training pixels, band by band.

        Raises:
            SplitError: The scene's channels are not those of the scenes before.
        """
        if self.counts is None:
            self.channels = scene.record.channels
            self.counts = np.zeros((len(self.channels), _LEVELS), np.int64)
        if scene.record.channels != self.channels:
            raise SplitError(
                f"{scene.folder} has the channels {_names(scene.record.channels)}, other scenes of its grid have "
                f"{_names(self.channels)}, or their scales differ; remove build/scenes and run `dvc repro`"
            )
        for window in bands(scene.grid.shape_yx, BAND_PX):
            chosen = (parts[window.rows, window.cols] == PARTS["train"]) & (scene.valid[window.rows, window.cols] > 0)
            if chosen.any():
                self._add(scene.image[window.rows, window.cols][chosen])

    def _add(self, pixels: np.ndarray) -> None:
        if self.counts is not None:
            self.pixels += len(pixels)
            for channel in range(pixels.shape[1]):
                self.counts[channel] += np.bincount(pixels[:, channel].astype(np.int64) - NODATA, minlength=_LEVELS)

    def stats(self, class_px: dict[str, int], parts_px: dict[str, dict[str, int]], leak_m: float | None) -> Stats:
        """Statistics in physical units; a nodata value inside a valid pixel does not count.

        Raises:
            SplitError: A channel has no measurement in any valid training pixel, or none has more than one value.
        """
        rows = [_describe(counts, channel) for counts, channel in zip(self._measured(), self.channels, strict=True)]
        mean, std, p02, p50, p98 = zip(*rows, strict=True)
        names = tuple(channel.name for channel in self.channels)
        return Stats(channels=names, mean=mean, std=std, p02=p02, p50=p50, p98=p98, pixels=self.pixels,
                     class_px=class_px, parts_px=parts_px, leak_m=leak_m)  # fmt: skip

    def _measured(self) -> np.ndarray:
        counts = np.zeros((0, _LEVELS), np.int64) if self.counts is None else self.counts.copy()
        counts[:, 0] = 0
        empty = np.flatnonzero(counts.sum(1) == 0)
        if len(empty):
            raise SplitError(
                f"channel '{self.channels[int(empty[0])].name}' is nodata in all {self.pixels} valid training pixels; "
                "drop it from params 'grids', or see why preprocess found no data"
            )
        self._check_flat(np.flatnonzero((counts > 0).sum(1) == 1))
        return counts

    def _check_flat(self, flat: np.ndarray) -> None:
        """Channels that have one value everywhere are a loss; if all have, there is nothing to learn from."""
        if not len(flat):
            return
        message = (
            f"channel(s) {', '.join(self.channels[int(channel)].name for channel in flat)} have one value each in all "
            f"{self.pixels} valid training pixels; correct scale and offset under fetch.local.products, or drop them "
            "from params 'grids'"
        )
        if len(flat) == len(self.channels):
            raise SplitError(message)
        warnings.warn(message, DegradedDataWarning, stacklevel=2)


def _describe(counts: np.ndarray, channel: Channel) -> tuple[float, float, float, float, float]:
    """Mean, standard deviation (population) and the 2nd, 50th, 98th percentiles of one channel, physical units."""
    stored = np.arange(_LEVELS, dtype=np.float64) + NODATA
    total = counts.sum()
    mean = float(stored @ counts / total)
    std = float(np.sqrt((stored - mean) ** 2 @ counts / total))
    ranks = np.searchsorted(np.cumsum(counts), np.ceil(np.array([0.02, 0.5, 0.98]) * total))
    low, middle, high = (float(stored[rank]) * channel.scale + channel.offset for rank in ranks)
    return mean * channel.scale + channel.offset, std * abs(channel.scale), low, middle, high


def _names(channels: tuple[Channel, ...]) -> str:
    return " ".join(channel.name for channel in channels)


def part_counts(chips: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Part → class → labelled, valid pixels."""
    return {
        part: {name: int(chips.loc[chips["part"] == part, f"px_{name}"].sum()) for name in classes}
        for part in PARTS
        if part != "unused"
    }
