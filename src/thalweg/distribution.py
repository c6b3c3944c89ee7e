"""How a channel's values are distributed: counts, moments and quantiles that stream and merge.

int16 values are counted exactly, each by itself. float32 values are counted in cells that share sign, exponent and the
first 12 bits of the mantissa: a logarithmic histogram whose quantiles lie at most 1/4096 of their magnitude above the
true ones. Cells are fixed beforehand, so counts of parts add up to those of the whole in any order, to the last bit,
which sketches that choose their cells by chance (KLL) or by arrival (t-digest) cannot give.

Source: Masson, Rim, Lee 2019, DDSketch, https://doi.org/10.14778/3352063.3352135, section 2, with the float's own bits
as the logarithm.
"""

from collections.abc import Sequence

import numpy as np

from thalweg.manifest.scene import NODATA, Channel

_DROPPED_BITS = 11
"""Of a float32's 32, by which a cell is wide."""
_SIGN = np.uint32(1 << 31)


class Distribution:
    """The values of one channel; nodata and what is not finite do not count."""

    def __init__(self, channel: Channel, dtype: np.dtype) -> None:
        """`dtype` is that of the stored values: int16, or any that float32 holds."""
        self.channel = channel
        self.exact = np.dtype(dtype) == np.int16
        self.count = 0
        self._first, self._counts = 0, np.zeros(0, np.int64)
        self._mean, self._squares = 0.0, 0.0  # of floats: stored values, squares of their distances from the mean
        self._range = (np.inf, -np.inf)

    def add(self, stored: np.ndarray) -> None:
        """Counts stored values, any shape."""
        values = stored.ravel() if self.exact else stored[(stored != NODATA) & np.isfinite(stored)]
        if not values.size:
            return
        codes = _encode(values, self.exact)
        if self.exact:
            counts = np.bincount(codes)
            counts[0] = 0  # nodata
            self._add_counts(0, counts)
            self.count += int(counts.sum())
            return
        first = int(codes.min())
        self._add_counts(first, np.bincount(codes - first))
        wide = values.astype(np.float64)
        mean = float(wide.mean())
        self._add_moments(values.size, mean, float(np.square(wide - mean).sum()))
        self._range = (min(self._range[0], float(values.min())), max(self._range[1], float(values.max())))

    def merge(self, other: "Distribution") -> None:
        """Adds what another one of the same channel and dtype has counted."""
        self._add_counts(other._first, other._counts)
        if self.exact:
            self.count += other.count
            return
        self._add_moments(other.count, other._mean, other._squares)
        self._range = (min(self._range[0], other._range[0]), max(self._range[1], other._range[1]))

    @property
    def flat(self) -> bool:
        """Whether all values are one."""
        return bool(np.count_nonzero(self._counts) == 1) if self.exact else self._range[0] == self._range[1]

    @property
    def mean(self) -> float:
        """Physical units; that of a stored 0 where nothing was counted."""
        stored = float(self._stored() @ self._counts / max(self.count, 1)) if self.exact else self._mean
        return stored * self.channel.scale + self.channel.offset

    @property
    def std(self) -> float:
        """Of the population, physical units."""
        squares = self._squares
        if self.exact and self.count:
            stored = self._stored()
            squares = float((stored - stored @ self._counts / self.count) ** 2 @ self._counts)
        return float(np.sqrt(squares / max(self.count, 1))) * abs(self.channel.scale)

    def quantiles(self, shares: Sequence[float]) -> tuple[float, ...]:
        """The least counted values, in physical units, that at least these shares (0…1) of all do not exceed."""
        values, counts = self._cells()
        ranks = np.searchsorted(np.cumsum(counts), np.ceil(np.asarray(shares) * self.count))
        return tuple(values[np.minimum(ranks, len(values) - 1)].tolist())

    def shares(self, edges: Sequence[float]) -> tuple[float, ...]:
        """Share of the values in each bin between ascending edges, physical units; 0 where nothing was counted.

        The first bin is what does not exceed the first edge, the last what exceeds the last; an edge is in the bin
        below it.
        """
        values, counts = self._cells()
        below = np.concatenate([[0], np.cumsum(counts)])[np.searchsorted(values, np.asarray(edges), side="right")]
        return tuple((np.diff(below, prepend=0, append=self.count) / max(self.count, 1)).tolist())

    def _add_counts(self, first: int, counts: np.ndarray) -> None:
        if not self._counts.size or not counts.size:
            self._first, self._counts = (self._first, self._counts) if self._counts.size else (first, counts.copy())
            return
        before = max(self._first - first, 0)
        after = max(first + len(counts) - self._first - len(self._counts), 0)
        self._counts = np.pad(self._counts, (before, after))
        self._first -= before
        self._counts[first - self._first :][: len(counts)] += counts

    def _add_moments(self, count: int, mean: float, squares: float) -> None:
        """Source: Chan, Golub, LeVeque 1982, https://doi.org/10.1007/978-3-642-51461-6_3."""
        if not count:
            return
        total, apart = self.count + count, mean - self._mean
        self._squares += squares + apart**2 * (self.count * count / total)
        self._mean += apart * count / total
        self.count = total

    def _stored(self) -> np.ndarray:
        return _decode(np.arange(self._first, self._first + len(self._counts)), self.exact)

    def _cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Physical values, ascending, and how often each was counted."""
        used = self._counts > 0
        values = self._stored()[used] * self.channel.scale + self.channel.offset
        counts = self._counts[used]
        return (values[::-1], counts[::-1]) if self.channel.scale < 0 else (values, counts)


def _encode(values: np.ndarray, exact: bool) -> np.ndarray:
    """Cells of stored values, ≥ 0 and in the order of the values."""
    if exact:
        return values.astype(np.int64) - NODATA
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)  # −0 becomes 0
    ordered = bits ^ ((bits.view(np.int32) >> np.int32(31)).view(np.uint32) | _SIGN)  # all bits of a negative turn
    return (ordered >> np.uint32(_DROPPED_BITS)).astype(np.int64)


def _decode(codes: np.ndarray, exact: bool) -> np.ndarray:
    """The largest value of each cell, float64."""
    if exact:
        return codes.astype(np.float64) + NODATA
    ordered = (codes.astype(np.uint32) << np.uint32(_DROPPED_BITS)) | np.uint32((1 << _DROPPED_BITS) - 1)
    bits = np.where(ordered & _SIGN, ordered ^ _SIGN, ~ordered)
    return bits.view(np.float32).astype(np.float64)
