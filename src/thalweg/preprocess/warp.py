"""Planes onto a grid in another CRS, or a turned one: each pixel looked up where it lies on the ground.

Positions are transformed exactly at every sixteenth pixel corner and interpolated between, which errs by less than a
thousandth of a pixel (asserted in tests) and does not depend on where a stripe begins.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pyproj import Transformer

from thalweg.grid import Grid, Window
from thalweg.preprocess.resample import kernel

_STEP = 16
_MOST = 16
"""Samples along each edge of a target pixel, at most, when its mean by area is taken."""
_HALF = 0.5 - 1e-4
_TURN = 360.0
"""Degrees of longitude around the earth, after which the same ground comes again."""


@dataclass(frozen=True)
class Warp:
    """A source grid seen from a target grid of another CRS."""

    source: Grid
    target: Grid
    method: str

    @cached_property
    def samples(self) -> int:
        """Samples along each edge of a target pixel: 1 for interpolation, more where the source is finer."""
        if self.method == "nearest":
            return 1
        finer = max(self.target.pixel_m_yx[axis] / self.source.pixel_m_yx[axis] for axis in (0, 1))
        return min(_MOST, max(1, round(finer))) if self.method == "average" or finer > 1.01 else 1

    @property
    def by_area(self) -> bool:
        """Whether values are means of several source pixels."""
        return self.samples > 1 or self.method == "average"

    def source_window(self, window: Window) -> Window:
        """The part of the source that a window of the target needs; of no size where it lies elsewhere."""
        rows, cols = self._knots(*_knots_over(window))
        if not (np.isfinite(rows).any() and np.isfinite(cols).any()):
            return Window(0, 0, 0, 0)
        margin = 3 + self.samples
        top, left = int(np.nanmin(rows)) - margin, int(np.nanmin(cols)) - margin
        bottom, right = int(np.nanmax(rows)) + margin, int(np.nanmax(cols)) + margin
        around = self._around_px
        if around and not (left >= 0 and right <= around):  # across the seam of a source that goes around the earth
            left, right = 0, self.source.shape_yx[1]
        return Window(top, left, bottom - top, right - left).clip(self.source.shape_yx)

    def resample(self, source: np.ndarray, at: Window, window: Window) -> np.ndarray:
        """A window of the target.

        Args:
            source: (h, w) float32 of the source window `at`, NaN where not measured.
            at: Covers `source_window(window)`.
            window: On the target.

        Returns:
            (h, w) float32, NaN where not measured.
        """
        rows, cols = self._positions(window, self.samples)
        rows, cols = rows - at.row, cols - at.col
        if self.by_area:
            return self._mean(source, rows, cols)
        nearest = _pick(source, np.floor(rows), np.floor(cols))
        if self.method == "nearest":
            return nearest
        values = self._interpolated(source, rows - 0.5, cols - 0.5, "bilinear")
        if self.method == "cubic":
            cubic = self._interpolated(source, rows - 0.5, cols - 0.5, "cubic")
            values = np.where(np.isfinite(cubic), cubic, values)
        return np.where(np.isfinite(nearest), values, np.float32(np.nan))

    def _mean(self, source: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        picked = _pick(source, np.floor(rows), np.floor(cols))
        height, width = picked.shape[0] // self.samples, picked.shape[1] // self.samples
        blocks = picked.reshape(height, self.samples, width, self.samples)
        there = np.isfinite(blocks)
        count = there.sum((1, 3), dtype=np.float32)
        total = np.where(there, blocks, np.float32(0)).sum((1, 3), dtype=np.float32)
        lacking = count < _HALF * self.samples**2
        return np.where(lacking, np.float32(np.nan), total / np.maximum(count, 1))

    def _interpolated(self, source: np.ndarray, rows: np.ndarray, cols: np.ndarray, method: str) -> np.ndarray:
        """Bilinear over the neighbours that are measured; cubic where all sixteen are, else NaN."""
        offsets = (0, 1) if method == "bilinear" else (-1, 0, 1, 2)
        top, left = np.floor(rows), np.floor(cols)
        total, weights = np.zeros(rows.shape, np.float32), np.zeros(rows.shape, np.float32)
        for down in offsets:
            for right in offsets:
                weight = (kernel(method, rows - top - down) * kernel(method, cols - left - right)).astype(np.float32)
                value = _pick(source, top + down, left + right)
                there = np.isfinite(value) | ((method == "cubic") & (weight != 0))
                total += np.where(there, value * weight, np.float32(0))
                weights += np.where(there, weight, np.float32(0))
        return np.divide(total, weights, out=np.full_like(total, np.nan), where=weights > 0)

    def _positions(self, window: Window, samples: int) -> tuple[np.ndarray, np.ndarray]:
        """Fractional source rows and columns of the samples of a target window, each (h × samples, w × samples)."""
        row, col = _knots_over(window)
        down = (np.arange(window.row * samples, (window.row + window.height) * samples) + 0.5) / samples / _STEP
        right = (np.arange(window.col * samples, (window.col + window.width) * samples) + 0.5) / samples / _STEP
        rows, cols = (_between(knots, row[0], col[0], down, right) for knots in self._knots(row, col))
        return rows, np.mod(cols, self._around_px) if self._around_px else cols

    def _knots(self, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Source rows and columns of some pixel corners of the target; NaN where the ground has no place there."""
        right, down = np.meshgrid(col * float(_STEP), row * float(_STEP))
        a, b, c, d, e, f = self.target.transform[:6]
        xs, ys = a * right + b * down + c, d * right + e * down + f
        xs, ys = Transformer.from_crs(self.target.crs, self.source.crs, always_xy=True).transform(xs, ys)
        xs, ys = (np.where(np.isfinite(axis), axis, np.nan) for axis in (xs, ys))
        if self.source.crs.is_geographic:
            xs = self._middle + (xs - self._middle + _TURN / 2) % _TURN - _TURN / 2
        a, b, c, d, e, f = (~self.source.transform)[:6]
        return d * xs + e * ys + f, a * xs + b * ys + c

    @cached_property
    def _middle(self) -> float:
        """Longitude of the target's middle, in the turn that is nearest to the source's middle.

        What is counted from it does not jump at 180° inside the target, and 300° is known as 60° west.
        """
        height, width = self.target.shape_yx
        lon, _ = self.target.lonlat(np.array(height / 2), np.array(width / 2))
        west, _, east, _ = self.source.bounds
        return float(lon + _TURN * np.rint(((west + east) / 2 - lon) / _TURN))

    @cached_property
    def _around_px(self) -> float:
        """Columns after which a source that goes around the earth begins again; 0 for all others."""
        a, b = self.source.transform.a, self.source.transform.b
        whole = self.source.crs.is_geographic and b == 0 and self.source.shape_yx[1] * abs(a) > _TURN - abs(a) / 2
        return _TURN / abs(a) if whole else 0.0


def _knots_over(window: Window) -> tuple[np.ndarray, np.ndarray]:
    row = np.arange(window.row // _STEP, -(-(window.row + window.height) // _STEP) + 1)
    col = np.arange(window.col // _STEP, -(-(window.col + window.width) // _STEP) + 1)
    return row, col


def _between(knots: np.ndarray, top: int, left: int, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Bilinear interpolation of knots (n, m), the first at `top`, `left`, at the given fractional rows and columns."""
    above, before = np.floor(down), np.floor(right)
    part_row, part_col = (down - above)[:, None], right - before
    row, col = above.astype(int) - top, before.astype(int) - left
    upper = knots[row][:, col] * (1 - part_col) + knots[row][:, col + 1] * part_col
    lower = knots[row + 1][:, col] * (1 - part_col) + knots[row + 1][:, col + 1] * part_col
    return np.asarray(upper * (1 - part_row) + lower * part_row)


def _pick(plane: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Values at whole positions, NaN outside."""
    height, width = plane.shape
    if not plane.size:
        return np.full(rows.shape, np.nan, np.float32)
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)  # NaN is not inside
    row, col = (np.where(inside, axis, 0).astype(np.intp) for axis in (rows, cols))
    return np.where(inside, plane[row, col], np.float32(np.nan))
