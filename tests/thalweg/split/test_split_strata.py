"""Binning and dealing by chance: sizes, proportions, merged bins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.split.strata import bin_numbers, merged, shuffled, strata_of, stratified


def test_bins_have_equal_width():
    assert bin_numbers(np.array([0.0, 1.9, 2.1, 5.9, 10.0]), 5).tolist() == [0, 0, 1, 2, 4]
    assert bin_numbers(np.array([3.0, 3.0]), 5).tolist() == [0, 0]
    assert len(np.unique(bin_numbers(np.linspace(0, 1, 60), None))) == 3
    assert len(np.unique(bin_numbers(np.linspace(0, 1, 9000), None))) == 100


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0, 0, 5, 5], [0, 0, 1, 1]),
        ([0, 0, 4, 5, 5], [0, 0, 1, 1, 1]),  # the lone 4 joins the nearer side
        ([0, 0, 3, 6, 6, 6], [0, 0, 0, 1, 1, 1]),  # equally near: the smaller group
        ([0, 1, 9, 9], [0, 0, 1, 1]),  # two alone join each other
        ([0, 7], [0, 0]),
        ([4], [0]),
    ],
)
def test_a_bin_of_one_is_merged_with_its_nearest_neighbour(numbers, expected):
    assert merged(np.array(numbers)).tolist() == expected


def test_later_columns_are_merged_inside_earlier_ones():
    first = np.array([0.0, 0, 0, 0, 9, 9, 9, 9])
    second = np.array([0.0, 0, 5, 5, 0, 0, 0, 5])  # in the second group one value is alone
    assert strata_of([(first, 2), (second, 2)]).tolist() == [0, 0, 1, 1, 2, 2, 2, 2]


@given(st.integers(0, 60), st.lists(st.floats(0, 0.3), min_size=1, max_size=3), st.integers(0, 99))
def test_shuffled_cuts_at_rounded_cumulative_shares(count, shares, seed):
    dealt = shuffled(count, shares, np.random.default_rng(seed))
    ends = np.rint(np.cumsum([0, *shares]) * count)
    assert [int((dealt == number).sum()) for number in range(len(shares))] == np.diff(ends).tolist()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(0, 99))
def test_every_stratum_is_dealt_in_proportion(strata, seed):
    stratum, shares = np.array(strata), (0.6, 0.2, 0.2)
    dealt = stratified(stratum, shares, np.random.default_rng(seed))
    for number, share in enumerate(shares):
        assert abs((dealt == number).sum() - share * len(stratum)) <= 1.5
        for kind in np.unique(stratum):
            inside = dealt[stratum == kind]
            assert abs((inside == number).sum() - share * len(inside)) < 3
