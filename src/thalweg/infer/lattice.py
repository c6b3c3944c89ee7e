"""Where windows lie and what each counts for: sweeps of overlapping windows whose weights sum to one at every pixel.

A window's weights are the product of a taper over its rows and one over its columns. Each taper is divided by the exact
sum of the tapers that meet at a pixel, so that a pixel that only one window sees, at a border or in a scene smaller
than a window, has the weight 1 all the same. Several sweeps are averaged: their weights are added and divided by their
number, so that they cost no memory, and windows that they share are predicted once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from thalweg.errors import ParamsError
from thalweg.grid import Window, iter_windows

BLENDS = ("hann", "cosine", "linear", "crop", "none")
_FLOOR = 1e-3
"""Least weight of a window's outermost pixels, so that no sum of weights is ever near 0."""
_STEP_PX = 32
"""Small scenes get windows that just hold them, in steps that networks divide by."""

Tapers = dict[int, np.ndarray]
"""Start of a window along one axis → weights of its pixels, clipped to the raster."""


@dataclass(frozen=True)
class How:
    """How a scene is swept by windows."""

    overlaps: tuple[float, ...]
    """Share of a window that overlaps its neighbour, 0 ≤ overlap < 1: one sweep each, averaged."""
    blend: str
    """Taper of a window's weights, with t = (i + ½) / n from 0 to 1 across a window of n pixels: `hann` sin²(πt),
    `cosine` sin(πt), `linear` 1 − |2t − 1|; `crop`: 1, but 0 in the outer half of the overlap except at the scene's
    borders; `none`: 1, so that overlapping windows have their plain mean."""

    def __post_init__(self) -> None:
        if not self.overlaps or not all(0 <= overlap < 1 for overlap in self.overlaps):
            raise ParamsError(f"overlaps of windows are {self.overlaps}; give one or more, each from 0 to below 1")
        if self.blend not in BLENDS:
            raise ParamsError(f"windows cannot be blended by '{self.blend}'; choose one of {', '.join(BLENDS)}")


@dataclass(frozen=True)
class Lattice:
    """The windows of one size over an area, all sweeps together."""

    shape_yx: tuple[int, int]
    window_px: int
    """Edge of a window; not larger than the area needs."""
    sweeps: tuple[tuple[Tapers, Tapers], ...]
    """Tapers over rows and over columns of each sweep."""

    @classmethod
    def over(cls, shape_yx: tuple[int, int], window_px: int, how: How) -> "Lattice":
        """The windows that cover an area; the last of each row and column end at its edge."""
        size = min(window_px, math.ceil(max(shape_yx) / _STEP_PX) * _STEP_PX)
        sweeps = [_sweep(shape_yx, size, stride_px(size, overlap), how.blend) for overlap in how.overlaps]
        return cls(shape_yx, size, tuple(sweeps))

    @cached_property
    def tops(self) -> tuple[int, ...]:
        """First rows of windows, from the top of the area to its bottom."""
        return tuple(sorted({top for rows, _ in self.sweeps for top in rows}))

    def windows(self, top: int) -> list[Window]:
        """The windows that begin at a row, from left to right; they may reach past the area's edge."""
        lefts = {left for rows, cols in self.sweeps if top in rows for left in cols}
        return [Window(top, left, self.window_px, self.window_px) for left in sorted(lefts)]

    def weights(self, window: Window) -> np.ndarray:
        """(h, w) float32: what a window counts for at each of its pixels inside the area."""
        shares = [rows[window.row][:, None] * cols[window.col] for rows, cols in self.sweeps
                  if window.row in rows and window.col in cols]  # fmt: skip
        total: np.ndarray = sum(shares[1:], start=shares[0])
        return total if len(self.sweeps) == 1 else total / np.float32(len(self.sweeps))


def stride_px(window_px: int, overlap: float) -> int:
    """Distance of neighbouring windows, pixels, at least 1."""
    return max(round(window_px * (1 - overlap)), 1)


def _sweep(shape_yx: tuple[int, int], size_px: int, stride: int, blend: str) -> tuple[Tapers, Tapers]:
    windows = list(iter_windows(shape_yx, size_px, stride))
    rows, cols = sorted({window.row for window in windows}), sorted({window.col for window in windows})
    return _tapers(rows, shape_yx[0], size_px, stride, blend), _tapers(cols, shape_yx[1], size_px, stride, blend)


def _tapers(starts: Sequence[int], length_px: int, size_px: int, stride: int, blend: str) -> Tapers:
    """Per window start the weights along one axis; they sum to 1 over all starts."""
    raw = {start: _taper(blend, size_px, stride, start == starts[0], start == starts[-1]) for start in starts}
    clipped = {start: weights[: length_px - start] for start, weights in raw.items()}
    total = np.zeros(length_px)
    for start, weights in clipped.items():
        total[start : start + len(weights)] += weights
    return {
        start: (weights / total[start : start + len(weights)]).astype(np.float32) for start, weights in clipped.items()
    }


def _taper(blend: str, size_px: int, stride: int, first: bool, last: bool) -> np.ndarray:
    place = (np.arange(size_px) + 0.5) / size_px
    if blend == "hann":
        return np.asarray(np.maximum(np.sin(np.pi * place) ** 2, _FLOOR))
    if blend == "cosine":
        return np.asarray(np.maximum(np.sin(np.pi * place), _FLOOR))
    if blend == "linear":
        return np.asarray(1 - np.abs(2 * place - 1))
    weights = np.ones(size_px)
    margin = (size_px - stride) // 2 if blend == "crop" else 0
    weights[: 0 if first else margin] = 0
    weights[size_px if last else size_px - margin :] = 0
    return weights
