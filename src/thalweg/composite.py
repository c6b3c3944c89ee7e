"""Acquisitions to composites by calendar bins, and gaps between bins filled in time: pure numpy, any area.

A bin is half-open, [left, right): what was sensed at 00:00 of 1 January belongs to the bin that begins there, and every
date between the first and the last edge falls in exactly one bin. NaN means no measurement and never takes part.
"""

import re
import warnings
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from thalweg.errors import ParamsError

_DAYS = {"D": 1, "W": 7}
_YEAR_DAYS = 365
_COMMON_YEAR = np.array(["2001-07-01"], "datetime64[s]")
_END = np.datetime64("10000-01-01")
"""Where the calendar ends in which images are named."""
_MOST = 10_000_000
"""Days that are more than the calendar has, so that no sum of them overflows."""


@dataclass(frozen=True)
class How:
    """How the acquisitions of a bin become one."""

    method: Literal["median", "mean", "first", "max_ndvi", "medoid"]
    red_nir: tuple[int, int] | None
    """Channels of NDVI; only `max_ndvi` needs them."""
    spectral: tuple[int, ...]
    """Channels in which `medoid` measures distances: those of one unit."""


def bin_edges(start: str, frequency: str, bins: int, times: np.ndarray) -> np.ndarray:
    """Edges of calendar bins, datetime64[D] (bins + 1,), ascending.

    Args:
        start: First day of the first bin, `YYYY-MM-DD`; as `MM-DD` it is in the year from which the bins hold most of
            `times`, the latest of equals.
        frequency: Offset as pandas writes it. Days and weeks (`10D`, `2W`) are counted from `start`; the others (`1MS`,
            `QS`, `W-MON`) end where the calendar says, so `start` must be such a day.
        bins: How many.
        times: Acquisitions, datetime64; they only choose the year.

    Raises:
        ParamsError: `start` is no day, or none on which `frequency` begins, or
            `frequency` is no offset of whole days forwards, or the bins do not end before the year 10000.
    """
    if re.fullmatch(r"\d{4}-\d\d-\d\d", start):
        return _edges_from(start, frequency, bins)
    years = {int(year) for year in times.astype("datetime64[Y]").astype(int) + 1970}
    leap = _edges_from(f"2000-{start}", frequency, bins, anchored=False)
    span = -(-int((leap[-1] - leap[0]).astype(int)) // _YEAR_DAYS)
    begins = sorted({year - back for year in years for back in range(span + 1)}, reverse=True)
    tables = [_edges_from(f"{year:04d}-{start}", frequency, bins) for year in begins if _is_day(f"{year:04d}-{start}")]
    if not tables:
        raise ParamsError(
            f"grids: series.start {start} is a day of none of the years {begins[-1]} to {begins[0]} that the dates ask "
            "for; give another day, or the year with it"
        )
    return max(tables, key=lambda edges: int(np.count_nonzero(bin_of(times, edges) >= 0)))


def bin_of(times: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Number of the bin of each acquisition, or −1 outside all bins."""
    found = np.searchsorted(edges.astype("datetime64[us]"), times.astype("datetime64[us]"), side="right") - 1
    return np.where(found < len(edges) - 1, found, -1)


def days_of(start: str, frequency: str, bins: int) -> tuple[float, ...]:
    """Middle of each bin, days since 1 January of the year in which the first begins (a common year, unless named).

    Raises:
        ParamsError: As `bin_edges`.
    """
    edges = bin_edges(start, frequency, bins, _COMMON_YEAR)
    return tuple(((middles(edges) - edges[0].astype("datetime64[Y]")) / np.timedelta64(1, "D")).tolist())


def middles(edges: np.ndarray) -> np.ndarray:
    """Middle of each bin, datetime64[h]."""
    hours = edges.astype("datetime64[h]")
    return np.asarray(hours[:-1] + (hours[1:] - hours[:-1]) // 2)


def compose(stack: np.ndarray, how: How) -> np.ndarray:
    """One composite of the acquisitions of a bin, float32 (h, w, C); NaN where a channel was never measured.

    `median` and `mean` take each channel by itself. The others put the acquisitions of a pixel in an order, by time, by
    falling NDVI or by rising distance, and take each channel from the first one that measured it, so that a spectrum is
    of one acquisition wherever that acquisition is complete. Of equals the earliest counts.

    Args:
        stack: (T, h, w, C) float32 in order of time, NaN where not measured; T ≥ 1.
        how: What to do.

    Source: maximum NDVI, Holben 1986, doi:10.1080/01431168608948945; medoid, Flood 2013, doi:10.3390/rs5126481.
    """
    if how.method == "median":
        return _median(stack)
    if how.method == "mean":
        return _mean(stack)
    if how.method == "first":
        return _first(stack)
    rank = _ndvi_rank(stack, how) if how.method == "max_ndvi" else medoid_distance(stack[..., list(how.spectral)])
    order = np.argsort(rank, axis=0, kind="stable")  # NaN last
    return _first(np.take_along_axis(stack, order[..., None], 0))


def check_red_nir(red_nir: tuple[int, int] | None) -> tuple[int, int]:
    """The channels of NDVI.

    Raises:
        ParamsError: There are none.
    """
    if red_nir is None:
        raise ParamsError("grids: the composite max_ndvi needs the bands B04 and B08 or B8A; add them to 'bands'")
    return red_nir


def medoid_distance(stack: np.ndarray) -> np.ndarray:
    """Mean distance (T, h, w) of each acquisition (T, h, w, C) to the others of its pixel; NaN where it has no value.

    A distance is the root of the mean squared difference over the channels that both measured, so that an acquisition
    that lacks a band is not near for that; where all are complete, the order is that of the summed Euclidean distances.
    A lone acquisition has the distance 0.

    Source: Flood 2013, doi:10.3390/rs5126481, equation 1.
    """
    total, count = np.zeros(stack.shape[:3], np.float32), np.zeros(stack.shape[:3], np.int16)
    there = np.isfinite(stack)
    for one in range(len(stack)):
        for other in range(one):
            shared = there[one] & there[other]
            squares = np.where(shared, stack[one] - stack[other], 0) ** 2
            common = shared.sum(-1)
            apart = np.sqrt(squares.sum(-1) / np.maximum(common, 1))
            for each in (one, other):
                total[each] += apart
                count[each] += common > 0
    mean = total / np.maximum(count, 1)
    mean[~there.any(-1)] = np.nan
    return mean


def fill(stack: np.ndarray, times: np.ndarray, max_gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaps between bins by linear interpolation in time, and where: (T, h, w, C) float32 and bool.

    Only runs of at most `max_gap` bins that have a measurement before and after them are filled; longer gaps and the
    ends stay NaN, so that nothing is ever extrapolated.

    Args:
        stack: (T, h, w, C) composites, NaN where there is none.
        times: Middle of each bin, datetime64, ascending.
        max_gap: Bins in a row that may be filled.
    """
    number = np.arange(len(stack), dtype=np.int16)[:, None, None, None]
    there = np.isfinite(stack)
    before = np.maximum.accumulate(np.where(there, number, -1), axis=0)
    after = np.minimum.accumulate(np.where(there, number, len(stack))[::-1], axis=0)[::-1]
    gaps = ~there & (before >= 0) & (after < len(stack)) & (after - before - 1 <= max_gap)
    filled = stack.copy()
    at = np.nonzero(gaps)
    left, right = before[at], after[at]
    day = (times - times[0]) / np.timedelta64(1, "D")
    share = ((day[at[0]] - day[left]) / (day[right] - day[left])).astype(np.float32)
    filled[at] = stack[left, *at[1:]] * (1 - share) + stack[right, *at[1:]] * share
    return filled, gaps


def _median(stack: np.ndarray) -> np.ndarray:
    ordered = np.sort(stack, axis=0)  # NaN last
    count = np.isfinite(ordered).sum(0)[None]
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, 0)[0]
    high = np.take_along_axis(ordered, np.minimum(count // 2, len(stack) - 1), 0)[0]
    return np.asarray(np.where(count[0] % 2 == 1, low, (low + high) / 2), np.float32)


def _mean(stack: np.ndarray) -> np.ndarray:
    there = np.isfinite(stack)
    total = np.sum(stack, axis=0, dtype=np.float64, where=there)
    count = there.sum(0)
    mean = np.full(total.shape, np.nan)
    return np.asarray(np.divide(total, count, out=mean, where=count > 0), np.float32)


def _first(stack: np.ndarray) -> np.ndarray:
    chosen = np.isfinite(stack).argmax(0)[None]
    return np.asarray(np.take_along_axis(stack, chosen, 0)[0], np.float32)


def _ndvi_rank(stack: np.ndarray, how: How) -> np.ndarray:
    """Minus NDVI, so that the greenest comes first; NaN where it cannot be told."""
    red, nir = (np.maximum(stack[..., channel], 0) for channel in check_red_nir(how.red_nir))
    total = red + nir
    ndvi = np.divide(nir - red, total, out=np.zeros_like(total), where=total > 0)
    return np.where(np.isfinite(total), -ndvi, np.nan)


def _edges_from(start: str, frequency: str, bins: int, anchored: bool = True) -> np.ndarray:
    first = _day(start)
    if match := re.fullmatch(r"(\d*)([DW])", frequency):
        step = min(int(match[1] or 1), _MOST) * _DAYS[match[2]]
        _check_step(step, frequency)
        return _checked(np.datetime64(first, "D") + step * np.arange(bins + 1), frequency)
    offset = _offset(frequency)
    if anchored and not offset.is_on_offset(pd.Timestamp(first)):
        raise ParamsError(
            f"grids: series.start {start} is no day on which a bin of '{frequency}' begins; give such a day "
            f"(the next is {(pd.Timestamp(first) + offset.base).date()}), or count days from it ('30D')"
        )
    edges = pd.date_range(first, periods=bins + 1, freq=offset, unit="s").to_numpy().astype("datetime64[D]")
    return _checked(edges, frequency)


def _checked(edges: np.ndarray, frequency: str) -> np.ndarray:
    if edges[-1] > _END:
        raise ParamsError(
            f"grids: the last of {len(edges) - 1} bins of '{frequency}' from {edges[0]} ends after the year 9999; "
            "correct series.bins or series.frequency in params.yaml"
        )
    return edges


def _offset(frequency: str) -> pd.offsets.BaseOffset:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # pandas warns of names that it is about to forget
            offset = to_offset(frequency)
    except (ValueError, Warning) as error:
        raise ParamsError(
            f"grids: series.frequency '{frequency}' is no offset that pandas knows; give one such as '1MS' or '10D'"
        ) from error
    if isinstance(offset, pd.offsets.Tick) or offset.n < 1:
        _check_step(0, frequency)
    return offset


def _check_step(days: int, frequency: str) -> None:
    if days < 1:
        raise ParamsError(
            f"grids: series.frequency '{frequency}' does not step forwards by whole days, but images are named by "
            "days; give such a one, e.g. '1D' or '1MS'"
        )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ParamsError(
            f"grids: series.start: {text} is no day of the calendar; correct it in params.yaml"
        ) from error


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text) is not None
    except ValueError:
        return False
