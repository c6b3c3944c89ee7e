"""Bins of the calendar, composites and the filling of gaps, by hand and by law."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from thalweg import composite
from thalweg.composite import How, days_of
from thalweg.errors import ParamsError

NAN = np.nan
METHODS = ("median", "mean", "first", "max_ndvi", "medoid")


def how(method, red_nir=(0, 1), spectral=(0, 1)):
    return How(method, red_nir, spectral)


def times(*days):
    return np.array(days, "datetime64[us]")


def column(*values):
    """Acquisitions of one pixel: (T, 1, 1, C)."""
    return np.array(values, np.float32)[:, None, None, :]


def pixel(stack, method, **options):
    return composite.compose(stack, how(method, **options))[0, 0].tolist()


# --- bins


def test_the_first_of_january_belongs_to_the_bin_that_begins_there():
    """The seed's bins were closed on the right: 1 January was lost, and each first of a month fell a month back."""
    edges = composite.bin_edges("2019-01-01", "1MS", 12, times())
    assert [str(edge) for edge in edges[[0, 1, 2, 12]]] == ["2019-01-01", "2019-02-01", "2019-03-01", "2020-01-01"]
    found = composite.bin_of(
        times("2018-12-31T23:59:59", "2019-01-01", "2019-01-31T23:59", "2019-02-01", "2019-12-31T23:59", "2020-01-01"),
        edges,
    )
    assert found.tolist() == [-1, 0, 0, 1, 11, -1]


def test_every_first_and_last_day_of_a_month_is_in_its_month():
    edges = composite.bin_edges("2020-01-01", "MS", 12, times())
    firsts = [f"2020-{month:02}-01" for month in range(1, 13)]
    lasts = ["2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30", "2020-05-31", "2020-06-30", "2020-07-31",
             "2020-08-31", "2020-09-30", "2020-10-31", "2020-11-30", "2020-12-31"]  # fmt: skip
    assert composite.bin_of(times(*firsts), edges).tolist() == list(range(12))
    assert composite.bin_of(times(*lasts), edges).tolist() == list(range(12))


def test_the_middles_of_bins_are_days_of_the_year():
    """Middle of November: 304 + 15 days after New Year; of the January behind it 365 + 15.5."""
    assert days_of("11-01", "1MS", 3) == (319.0, 349.5, 380.5)
    assert days_of("2020-03-01", "1MS", 1) == (75.5,)  # a leap year: 31 + 29 + 15.5
    assert days_of("01-01", "10D", 2) == (5.0, 15.0)


def test_days_and_weeks_are_counted_from_the_start():
    """1 January 2019 is a Tuesday; pandas alone would begin `2W` on the next Sunday."""
    assert [str(edge) for edge in composite.bin_edges("2019-01-01", "2W", 2, times())] == [
        "2019-01-01", "2019-01-15", "2019-01-29"]  # fmt: skip
    assert str(composite.bin_edges("2020-02-25", "10D", 1, times())[-1]) == "2020-03-06"
    assert str(composite.bin_edges("2019-01-07", "W-MON", 3, times())[-1]) == "2019-01-28"


@pytest.mark.parametrize(
    ("start", "days", "year"),
    [
        ("01-01", ("2019-01-05", "2019-12-30"), 2019),
        ("01-01", ("2018-12-31", "2019-03-01", "2019-05-01"), 2019),
        ("10-01", ("2019-10-02", "2020-09-30"), 2019),
        ("10-01", ("2020-02-01", "2020-03-01"), 2019),
        ("02-29", ("2021-01-01",), 2020),
    ],
)
def test_without_a_year_the_bins_lie_where_most_dates_are(start, days, year):
    frequency = "30D" if start == "02-29" else "MS"
    assert str(composite.bin_edges(start, frequency, 12, times(*days))[0]) == f"{year}-{start}"


@pytest.mark.parametrize(
    ("start", "frequency", "says"),
    [
        ("2019-01-15", "MS", "no day on which a bin of 'MS' begins.*next is 2019-02-01"),
        ("2019-02-30", "MS", "2019-02-30 is no day"),
        ("2019-01-01", "1 month", "'1 month' is no offset that pandas knows"),
        ("2019-01-01", "12h", "'12h' does not step forwards by whole days"),
        ("2019-01-01", "0D", "'0D' does not step forwards"),
        ("2019-01-01", "0MS", "'0MS' does not step forwards"),
        ("2019-01-01", "-1MS", "'-1MS' does not step forwards"),
        ("2019-01-01", "-10D", "'-10D' does not step forwards"),
        ("2019-01-01", "10d", "'10d' is no offset that pandas knows"),
        ("2019-01-01", "99999999999999999D", "ends after the year 9999"),
        ("9999-11-01", "MS", "last of 3 bins of 'MS' from 9999-11-01 ends after the year 9999"),
        ("02-29", "10D", "02-29 is a day of none of the years 2018 to 2019"),
    ],
)
def test_bins_that_cannot_be_laid_are_refused(start, frequency, says):
    with pytest.raises(ParamsError, match=says):
        composite.bin_edges(start, frequency, 3, times("2019-06-01"))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["MS", "2MS", "QS", "W", "2W", "10D", "1D", "SMS"]),
    st.integers(1, 30),
    st.lists(st.datetimes(datetime(2018, 6, 1), datetime(2022, 1, 1)), min_size=1, max_size=20),
)
def test_every_date_is_in_exactly_one_bin(frequency, bins, moments):
    edges = composite.bin_edges("2019-01-01", frequency, bins, times())
    dates = np.array(moments, "datetime64[us]")
    inside = (dates[:, None] >= edges[:-1]) & (dates[:, None] < edges[1:])
    found = composite.bin_of(dates, edges)
    covered = (dates >= edges[0]) & (dates < edges[-1])
    assert (inside.sum(1) == covered).all()
    assert ((found >= 0) == covered).all()
    assert all(inside[number, place] for number, place in enumerate(found) if place >= 0)


# --- composites by hand


def test_a_median_leaves_out_what_is_missing_and_averages_the_middle_two():
    assert pixel(column((4, 1), (NAN, 2), (1, 3), (2, 9)), "median") == [2, 2.5]


def test_a_mean_leaves_out_what_is_missing():
    assert pixel(column((4, NAN), (NAN, NAN), (1, NAN)), "mean") == [2.5, pytest.approx(NAN, nan_ok=True)]


def test_the_first_measurement_counts_and_a_missing_band_comes_from_the_next():
    assert pixel(column((NAN, NAN), (NAN, 5), (7, 8)), "first") == [7, 5]


def test_max_ndvi_takes_the_whole_spectrum_of_the_greenest_date():
    """NDVI (nir − red) / (nir + red): 1/3, 0.6, 0.6 and unknown; of the two equals the earlier counts."""
    stack = column((1, 2, 10), (1, 4, 20), (2, 8, 30), (NAN, 9, 40))
    assert pixel(stack, "max_ndvi") == [1, 4, 20]


def test_max_ndvi_without_its_bands_is_refused():
    with pytest.raises(ParamsError, match="max_ndvi needs the bands B04 and B08 or B8A"):
        pixel(column((1, 2)), "max_ndvi", red_nir=None)


def test_the_medoid_is_the_date_nearest_to_all_others():
    """Sums of distances on a line at 0, 1, 10: 11, 10, 19; the third channel is of another unit and plays no part."""
    stack = column((0, 0, 500), (1, 0, 900), (10, 0, 1))
    assert pixel(stack, "medoid") == [1, 0, 900]
    distance = composite.medoid_distance(stack[..., :1])
    assert distance[:, 0, 0].tolist() == [5.5, 5, 9.5]


def test_a_date_that_lacks_a_band_is_not_near_for_that():
    """Root mean squares over shared bands: the second date differs by 3 in its only band; without care it were 3 / √2."""
    distance = composite.medoid_distance(column((0, 0), (3, NAN)))
    assert distance[:, 0, 0].tolist() == [3, 3]


# --- laws

stacks = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.integers(2, 4)),
    elements=st.one_of(st.just(np.float32(NAN)), st.floats(-1, 2, width=16).map(np.float32)),
)


@settings(max_examples=50, deadline=None)
@given(stacks)
@pytest.mark.filterwarnings("ignore:All-NaN slice")
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_median_and_mean_are_numpys(stack):
    median = composite.compose(stack, how("median"))
    assert median.dtype == np.float32
    np.testing.assert_array_equal(median, np.nanmedian(stack, axis=0))
    expected = np.nanmean(stack.astype(np.float64), axis=0)
    np.testing.assert_allclose(composite.compose(stack, how("mean")), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=30, deadline=None)
@given(stack=stacks)
def test_there_is_a_value_wherever_there_is_a_measurement(method, stack):
    result = composite.compose(stack, how(method))
    assert result.shape == stack.shape[1:]
    np.testing.assert_array_equal(np.isfinite(result), np.isfinite(stack).any(0))


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=20, deadline=None)
@given(stack=stacks, value=st.floats(-1, 2, width=16))
def test_a_composite_of_a_constant_is_that_constant(method, stack, value):
    constant = np.where(np.isnan(stack), stack, np.float32(value))
    result = composite.compose(constant, how(method))
    assert (result[np.isfinite(result)] == np.float32(value)).all()


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=30, deadline=None)
@given(stack=stacks, random=st.randoms())
def test_the_order_of_acquisitions_does_not_matter_but_to_first(method, stack, random):
    order = random.sample(range(len(stack)), len(stack))
    one, other = composite.compose(stack, how(method)), composite.compose(stack[order], how(method))
    if method in ("median", "mean"):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)
    elif method == "max_ndvi":  # of equals, the earlier counts
        complete = np.isfinite(stack).all((0, 3))
        np.testing.assert_array_equal(_ndvi(one)[complete], _ndvi(other)[complete])
    elif method == "medoid":
        complete = np.isfinite(stack).all((0, 3))
        np.testing.assert_allclose(_apart(one, stack)[complete], _apart(other, stack)[complete], rtol=1e-4, atol=1e-6)


def _ndvi(spectra):
    red, nir = np.maximum(spectra[..., 0], 0), np.maximum(spectra[..., 1], 0)
    with np.errstate(all="ignore"):
        return np.where(red + nir > 0, (nir - red) / (red + nir), 0)


def _apart(spectra, stack):
    """Summed Euclidean distance in the first two channels, pixel by pixel."""
    return np.sqrt(((stack[..., :2].astype(np.float64) - spectra[..., :2]) ** 2).sum(-1)).sum(0)


@settings(max_examples=40, deadline=None)
@given(stack=stacks)
def test_a_medoid_is_one_of_its_inputs_and_none_is_nearer(stack):
    stack = np.nan_to_num(stack, nan=0.5)
    result = composite.compose(stack, how("medoid"))
    assert (result == stack).all(-1).any(0).all()
    least = np.min([_apart(date, stack) for date in stack], axis=0)
    np.testing.assert_allclose(_apart(result, stack), least, rtol=1e-4, atol=1e-5)


# --- gaps

MONTHS = composite.middles(
    np.array(["2019-01-01", "2019-02-01", "2019-03-01", "2019-04-01", "2019-05-01"], "datetime64[D]")
)


def test_a_gap_is_filled_by_days_and_flagged():
    """Middles: 16 January 12 h, 15 February 0 h, 16 March 12 h: 29.5 of 59 days, so just half way."""
    filled, gaps = composite.fill(column((1,), (NAN,), (3,), (NAN,)), MONTHS, 1)
    assert filled[:, 0, 0, 0].tolist() == [1, 2, 3, pytest.approx(NAN, nan_ok=True)]
    assert gaps[:, 0, 0, 0].tolist() == [False, True, False, False]


def test_the_share_is_that_of_days_not_of_bins():
    """From 16 January 12 h to 16 April 0 h, between them 15 February and 16 March: 29.5 and 59 of 89.5 days."""
    filled, _ = composite.fill(column((0,), (NAN,), (NAN,), (89.5,)), MONTHS, 2)
    np.testing.assert_allclose(filled[1:3, 0, 0, 0], [29.5, 59.0], rtol=1e-6)


def test_longer_gaps_and_ends_stay_missing():
    stack = column((NAN,), (1,), (NAN,), (NAN,))
    for longest in (0, 1, 5):
        filled, gaps = composite.fill(stack, MONTHS, longest)
        np.testing.assert_array_equal(filled, stack)
        assert not gaps.any()
    between = column((1,), (NAN,), (NAN,), (4,))
    np.testing.assert_array_equal(composite.fill(between, MONTHS, 1)[0], between)


@settings(max_examples=40, deadline=None)
@given(stack=stacks, longest=st.integers(0, 4))
def test_filling_keeps_what_is_there_and_never_leaves_the_range_of_neighbours(stack, longest):
    days = np.arange(len(stack)).astype("datetime64[D]").astype("datetime64[h]")
    filled, gaps = composite.fill(stack, days, longest)
    there = np.isfinite(stack)
    np.testing.assert_array_equal(filled[there], stack[there])
    np.testing.assert_array_equal(np.isfinite(filled), there | gaps)
    for place in np.argwhere(gaps):
        time, *rest = place
        series = stack[(slice(None), *rest)]
        before, after = (
            np.flatnonzero(there[(slice(None), *rest)][:time]),
            np.flatnonzero(there[(slice(None), *rest)][time:]),
        )
        low, high = sorted((series[before[-1]], series[time + after[0]]))
        assert after[0] + time - before[-1] - 1 <= longest
        assert low - 1e-3 <= filled[tuple(place)] <= high + 1e-3
