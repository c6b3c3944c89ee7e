"""Blocks to parts: shares, rare classes, determinism."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.errors import DegradedDataWarning, SplitError
from thalweg.split.assign import assign

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}


def _shares(area, parts):
    return {part: area[np.array(parts) == part].sum(0) / area.sum(0) for part in FRACTIONS}


def test_each_part_gets_its_share_of_every_class():
    rng = np.random.default_rng(0)
    area = rng.gamma(1, 1, (80, 3)) * np.array([100, 10, 1]) * (rng.random((80, 3)) > [0, 0.3, 0.7])
    shares = _shares(area, assign(area, FRACTIONS, 3, ("a", "b", "c")))
    for part, fraction in FRACTIONS.items():
        np.testing.assert_allclose(shares[part], fraction, atol=0.07)


def test_a_class_in_three_blocks_reaches_all_three_parts():
    area = np.ones((12, 2))
    area[:, 1] = 0
    area[[2, 5, 9], 1] = 1
    parts = assign(area, FRACTIONS, 0, ("a", "rare"))
    assert {parts[block] for block in (2, 5, 9)} == set(FRACTIONS)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), blocks=st.integers(3, 25), rare=st.integers(3, 25))
def test_every_part_has_every_class_that_lies_in_enough_blocks(seed, blocks, rare):
    rng = np.random.default_rng(seed)
    area = rng.gamma(0.3, 1, (blocks, 2)) + 1e-6
    area[rng.permutation(blocks)[: max(blocks - rare, 0)], 1] = 0
    parts = np.array(assign(area, FRACTIONS, seed, ("a", "b")))
    for part in FRACTIONS:
        assert (area[parts == part].sum(0) > 0).all()


def test_the_seed_decides():
    area = np.random.default_rng(1).gamma(1, 1, (40, 2))
    once, again, other = (assign(area, FRACTIONS, seed, ("a", "b")) for seed in (3, 3, 4))
    assert once == again
    assert once != other


def test_parts_without_a_share_get_nothing():
    assert set(assign(np.ones((9, 1)), {"train": 0.5, "val": 0.5, "test": 0}, 0, ("a",))) == {"train", "val"}


def test_too_few_blocks_is_an_error_that_says_how_many():
    with pytest.raises(SplitError, match=r"finds 2 block\(s\).*3 parts train, val, test; lower split.block_m"):
        assign(np.ones((2, 1)), FRACTIONS, 0, ("a",))


def test_a_class_in_too_few_blocks_goes_to_train_with_a_warning():
    area = np.ones((10, 2))
    area[1:, 1] = 0
    with pytest.warns(DegradedDataWarning, match=r"class 'rare' lies in 1 block\(s\) only, so val and test get none"):
        parts = assign(area, FRACTIONS, 0, ("class 'a'", "class 'rare'"))
    assert parts[0] == "train"


def test_a_class_that_lies_nowhere_is_left_to_the_caller():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(assign(np.array([[1.0, 0.0]] * 9), FRACTIONS, 0, ("a", "none"))) == set(FRACTIONS)
