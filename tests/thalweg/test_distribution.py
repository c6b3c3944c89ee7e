"""Counts, moments and quantiles against numpy's on the whole, and laws of merging."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thalweg.distribution import Distribution
from thalweg.manifest.scene import NODATA, Channel

QUICK = settings(deadline=None, max_examples=60)
INT16, FLOAT32 = np.dtype(np.int16), np.dtype(np.float32)
CELL = 1 / 4096
TENTHS = tuple(k / 10 for k in range(1, 10))
integers = arrays(np.int16, st.integers(0, 60), elements=st.integers(NODATA, 32767) | st.sampled_from([0, 0, 7]))
floats = arrays(
    np.float32, st.integers(0, 60),
    elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False) | st.sampled_from([0.0, -0.0, NODATA, np.nan, np.inf]),
)  # fmt: skip


def channel(scale: float = 1e-4, offset: float = 0.0) -> Channel:
    return Channel(name="B04", wavelength_nm=664.6, scale=scale, offset=offset, unit="reflectance")


def counted(*chunks: np.ndarray, scale: float = 1e-4, offset: float = 0.0) -> Distribution:
    """A distribution fed with chunks of one dtype."""
    distribution = Distribution(channel(scale, offset), chunks[0].dtype)
    for chunk in chunks:
        distribution.add(chunk)
    return distribution


def measured(values: np.ndarray) -> np.ndarray:
    return values[(values != NODATA) & np.isfinite(values)].astype(np.float64)


def test_five_reflectances_by_hand():
    found = counted(np.array([1000, NODATA, 2000, 3000], np.int16), np.array([4000, 10000], np.int16))
    assert found.count == 5
    assert found.mean == pytest.approx(0.4)
    assert found.std == pytest.approx(0.1 * 10**0.5)  # distances -3 -2 -1 0 6 tenths: squares 9 4 1 0 36, their mean 10
    assert found.quantiles((0.02, 0.5, 0.98)) == pytest.approx((0.1, 0.3, 1.0))
    assert found.shares((0.1, 0.35)) == pytest.approx((0.2, 0.4, 0.4))


def test_a_negative_scale_turns_the_order():
    found = counted(np.array([10, 20, 30, 40], np.int16), scale=-1.0, offset=100.0)
    assert found.quantiles((0.25, 1.0)) == (60.0, 90.0)
    assert found.shares((60.0, 85.0)) == (0.25, 0.5, 0.25)


def test_nothing_measured():
    for dtype in (INT16, FLOAT32):
        found = counted(np.full(3, NODATA, dtype))
        assert (found.count, found.flat) == (0, False)
        assert found.shares((0.1, 0.2)) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("values", "flat"), [([5, 5, NODATA], True), ([5, 6], False)])
@pytest.mark.parametrize("dtype", [INT16, FLOAT32])
def test_flat_means_one_value(values, flat, dtype):
    assert counted(np.array(values, dtype)).flat is flat


@QUICK
@given(integers, st.sampled_from([1e-4, -0.5, 1.0]), st.sampled_from([0.0, -20.0]))
def test_int16_equals_numpy(values, scale, offset):
    found, kept = counted(values, scale=scale, offset=offset), measured(values) * scale + offset
    assert found.count == len(kept)
    if len(kept):
        assert found.mean == pytest.approx(kept.mean(), rel=1e-9, abs=1e-9)
        assert found.std == pytest.approx(kept.std(), rel=1e-9, abs=1e-9)
        assert found.quantiles(TENTHS) == tuple(np.quantile(kept, TENTHS, method="inverted_cdf"))
        edges = np.quantile(kept, TENTHS, method="inverted_cdf")
        below = [(kept <= edge).mean() for edge in edges]
        assert found.shares(edges) == pytest.approx(np.diff([0, *below, 1]), abs=1e-12)


@QUICK
@given(floats)
def test_float32_equals_numpy_within_a_cell(values):
    found, kept = counted(values, scale=1.0), measured(values)
    assert found.count == len(kept)
    if len(kept):
        assert found.mean == pytest.approx(kept.mean(), rel=1e-9, abs=1e-9 * np.abs(kept).max())
        assert found.std == pytest.approx(kept.std(), rel=1e-6, abs=1e-9 * np.abs(kept).max())
        true = np.quantile(kept, TENTHS, method="inverted_cdf")
        above = np.array(found.quantiles(TENTHS)) - true
        assert (above >= 0).all()
        assert (above <= np.abs(true) * CELL + 1e-37).all()
        assert sum(found.shares(found.quantiles(TENTHS))) == pytest.approx(1)


@QUICK
@given(st.lists(integers, min_size=1, max_size=4) | st.lists(floats, min_size=1, max_size=4), st.randoms())
def test_merging_is_the_whole_in_any_order(chunks, random):
    whole, parts = counted(np.concatenate(chunks)), [counted(chunk) for chunk in chunks]
    random.shuffle(parts)
    merged = Distribution(channel(), chunks[0].dtype)
    for part in parts:
        merged.merge(part)
    assert merged.count == whole.count
    assert merged.flat == whole.flat
    if whole.count:
        assert merged.quantiles(TENTHS) == whole.quantiles(TENTHS)
        assert merged.shares((-1.0, 0.0, 1.0)) == whole.shares((-1.0, 0.0, 1.0))
        size = max(float(np.abs(measured(np.concatenate(chunks))).max()) * 1e-4, 1e-12)
        assert merged.mean == pytest.approx(whole.mean, abs=1e-12 * size)
        assert merged.std == pytest.approx(whole.std, abs=1e-7 * size)


def test_memory_of_a_float_channel_is_bounded():
    everything = np.geomspace(1e-30, 1e30, 1000).astype(np.float32)
    found = counted(np.concatenate([-everything, everything]))
    assert found._counts.nbytes <= 8 << 21


def test_what_was_found_once_is_at_most_its_own_quantile():
    """The edge of a tie lies in its cell, so that a second look counts it alike."""
    found = counted(np.repeat(np.float32([4000.9, 12.25, -3.3]), [40, 30, 30]), scale=1.0)
    assert found.shares(found.quantiles((0.3, 0.6))) == pytest.approx((0.3, 0.3, 0.4))
