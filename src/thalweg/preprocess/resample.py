"""Planes from one pixel grid onto another of the same CRS: separable, exact, without a trace of where stripes begin.

Each target row and column has its own taps in the source, which depend on its place alone, so that a plane made in
stripes equals one made at once. Codes are never resampled here. One rule for all methods says what is measured:

- Onto finer or equal pixels, a pixel has a measurement where the source pixel under its centre has one: the region
  without data neither grows nor shrinks. Its value is the weighted mean of those neighbours that are measured; `cubic`
  falls back to `bilinear` where one of its neighbours is missing.
- Onto coarser pixels, every method but `nearest` is the mean by area, because interpolating between a few of many
  source pixels would alias; a pixel has a measurement where at least half of its area has.
"""

from dataclasses import dataclass, replace

import numpy as np

from thalweg.grid import Grid, Window

_LATTICE_PX = 0.01
"""A shift below this is rounding in a file's header, not another lattice."""
_HALF = 0.5 - 1e-4
_TRACE = 1e-5
"""Share of a neighbour below which it has none."""


@dataclass(frozen=True)
class Axis:
    """How positions along one axis of the target map to the source: source = target × ratio + shift, pixel edges."""

    ratio: float
    """Target pixel over source pixel; above 1 the source is finer, below 0 it runs the other way."""
    shift: float
    size: int
    """Source pixels."""

    def taps(self, start: int, stop: int, method: str) -> "Taps":
        """Source pixels and their weights for the target pixels from `start` up to `stop`."""
        centre = (np.arange(start, stop) + 0.5) * self.ratio + self.shift
        if method == "nearest":
            return self._points(centre, np.floor(centre)[:, None], np.ones((len(centre), 1)))
        if method == "average" or abs(self.ratio) > 1:
            return self._areas(centre)
        first = np.floor(centre - 0.5)
        part = centre - 0.5 - first
        offsets = np.arange(0, 2) if method == "bilinear" else np.arange(-1, 3)
        return self._points(centre, first[:, None] + offsets, kernel(method, part[:, None] - offsets))

    def _points(self, centre: np.ndarray, index: np.ndarray, weight: np.ndarray) -> "Taps":
        """The border pixels go on for ever, but only centres inside the source count."""
        covered = ((centre >= 0) & (centre < self.size)).astype(np.float32)
        return Taps(index.clip(0, self.size - 1).astype(np.intp), weight.astype(np.float32), covered)

    def _areas(self, centre: np.ndarray) -> "Taps":
        half = abs(self.ratio) / 2
        low = centre - half
        first = np.floor(low + _TRACE)
        index = first[:, None] + np.arange(int(np.ceil(2 * half - _TRACE)) + 1)
        shared = np.minimum(index + 1, (centre + half)[:, None]) - np.maximum(index, low[:, None])
        overlap = np.where((index >= 0) & (index < self.size) & (shared >= _TRACE), shared, 0.0)
        total = overlap.sum(1)
        weight = overlap / np.where(total > 0, total, 1)[:, None]
        used = np.asarray(weight.any(axis=0))
        used[0] = True
        index, weight = index[:, used], weight[:, used]
        return Taps(index.clip(0, self.size - 1).astype(np.intp), weight.astype(np.float32),
                    (total / (2 * half)).astype(np.float32))  # fmt: skip


@dataclass(frozen=True)
class Taps:
    """Source pixels that make each pixel along one axis."""

    index: np.ndarray
    """(n, k)."""
    weight: np.ndarray
    """(n, k), sums to 1 in each row."""
    covered: np.ndarray
    """(n): share of each target pixel that the source reaches."""

    @property
    def magnitude(self) -> "Taps":
        """The same with weights above zero."""
        return replace(self, weight=np.abs(self.weight))

    @property
    def range(self) -> tuple[int, int]:
        """First source pixel and the one after the last."""
        return int(self.index.min()), int(self.index.max()) + 1


@dataclass(frozen=True)
class Lattice:
    """A source grid seen from a target grid of the same CRS, both unrotated."""

    rows: Axis
    cols: Axis
    method: str

    @property
    def as_it_is(self) -> bool:
        """Whether both grids share one lattice, so that values are taken as they are."""
        return all(axis.ratio == 1 and axis.shift == round(axis.shift) for axis in (self.rows, self.cols))

    @property
    def identical(self) -> bool:
        """Whether both grids begin at the same pixel of one lattice."""
        return self.as_it_is and self.rows.shift == 0 and self.cols.shift == 0

    @property
    def by_area(self) -> bool:
        """Whether target pixels take the mean of source pixels by area."""
        return self.method == "average" or (
            self.method != "nearest" and (abs(self.rows.ratio) > 1 or abs(self.cols.ratio) > 1)
        )

    def source_window(self, window: Window) -> Window:
        """The part of the source that a window of the target needs."""
        top, bottom = self.rows.taps(window.row, window.row + window.height, self.method).range
        left, right = self.cols.taps(window.col, window.col + window.width, self.method).range
        return Window(top, left, bottom - top, right - left)

    def resample(self, source: np.ndarray, at: Window, window: Window) -> np.ndarray:
        """A window of the target.

        Args:
            source: (h, w) float32 of the source window `at`, NaN where not measured.
            at: Covers `source_window(window)`.
            window: On the target.

        Returns:
            (h, w) float32, NaN where not measured.
        """
        there = np.isfinite(source)
        rows, cols = self._taps(at, window, self.method)
        absent = np.zeros((1, 1), np.float32)
        if there.all():
            result = _separable(source, rows, cols)
        else:
            filled, gone = np.where(there, source, np.float32(0)), (~there).astype(np.float32)
            absent = _separable(gone, rows.magnitude, cols.magnitude)
            result = self._mended(filled, gone, absent, at, window)
        covered = rows.covered[:, None] * cols.covered
        if self.by_area:
            lacking = covered * (1 - absent) < _HALF
        else:
            here, across = self._taps(at, window, "nearest")
            lacking = (covered == 0) | ~there[here.index, across.index[:, 0]]
        result[np.asarray(lacking)] = np.nan
        return result

    def _taps(self, at: Window, window: Window, method: str) -> tuple["Taps", "Taps"]:
        rows = self.rows.taps(window.row, window.row + window.height, method)
        cols = self.cols.taps(window.col, window.col + window.width, method)
        return replace(rows, index=rows.index - at.row), replace(cols, index=cols.index - at.col)

    def _mended(self, filled: np.ndarray, gone: np.ndarray, absent: np.ndarray, at: Window,
                window: Window) -> np.ndarray:  # fmt: skip
        """The weighted sums; where a neighbour is missing, the weighted mean of the others."""
        result = _separable(filled, *self._taps(at, window, self.method))
        broken = absent > _TRACE
        if self.method == "cubic" and not self.by_area:
            taps = self._taps(at, window, "bilinear")
            result[broken] = _separable(filled, *taps)[broken]
            absent = _separable(gone, *taps)
        np.divide(result, 1 - absent, out=result, where=broken & (absent < 1))
        return result


def between(source: Grid, target: Grid, method: str) -> Lattice | None:
    """How a source lies under a target; None where their CRS differ or one is turned, which takes a warp."""
    same = source.crs_wkt == target.crs_wkt or source.crs == target.crs
    one, other = source.transform, target.transform
    if not same or one.b or one.d or other.b or other.d:
        return None
    rows = _axis(other.e / one.e, (other.f - one.f) / one.e, source.shape_yx[0])
    cols = _axis(other.a / one.a, (other.c - one.c) / one.a, source.shape_yx[1])
    lattice = Lattice(rows, cols, method)
    return replace(lattice, method="nearest") if lattice.as_it_is else lattice


def _axis(ratio: float, shift: float, size: int) -> Axis:
    if abs(ratio - 1) * size < _LATTICE_PX and abs(shift - round(shift)) < _LATTICE_PX:
        return Axis(1.0, float(round(shift)), size)
    return Axis(ratio, shift, size)


def _separable(plane: np.ndarray, rows: Taps, cols: Taps) -> np.ndarray:
    """Weighted sums (n, m) of a plane, along rows, then along columns."""
    return _along(_along(plane, rows, 0), cols, 1)


def _along(plane: np.ndarray, taps: Taps, axis: int) -> np.ndarray:
    total: np.ndarray | None = None
    for index, weight in zip(taps.index.T, taps.weight.T, strict=True):
        part = np.take(plane, index, axis) * (weight[:, None] if axis == 0 else weight)
        total = part if total is None else np.add(total, part, out=total)
    return np.asarray(total)


def kernel(method: str, distance: np.ndarray) -> np.ndarray:
    """Weight of a neighbour by its distance, source pixels.

    Source: cubic convolution with a = −0.5, Keys 1981, doi:10.1109/TASSP.1981.1163711, eq. 15.
    """
    distance = np.abs(distance)
    if method == "bilinear":
        return np.asarray(np.maximum(1 - distance, 0))
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
