"""What every reducer must keep to, and each by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg import reducers
from thalweg.errors import EnsembleError

WEIGHED = ("weighted_mean",)
STACKED = ("stack",)
NAMES = reducers.names()


def loaded(name: str, members: int, classes: int = 3) -> reducers.Reduce:
    model = None
    if name in STACKED:  # the mean of log-probabilities, to which stacking is pulled
        matrix = np.repeat(np.eye(classes)[:, None], members, 1) / members
        model = reducers.Model(matrix, np.zeros(classes))
    return reducers.load(name, (1.0,) * members if name in WEIGHED else None, model)


def column(*members: tuple[float, ...]) -> np.ndarray:
    """One pixel: (M, K, 1, 1)."""
    return np.array(members, np.float32)[:, :, None, None]


def of_pixel(name: str, probs: np.ndarray, measured: tuple[bool, ...], weights=None) -> list[float]:
    reduce = reducers.load(name, weights)
    return reduce(probs, np.array(measured)[:, None, None])[:, 0, 0].tolist()


def test_these_are_all():
    assert NAMES == ["max", "mean", "mean_logits", "median", "stack", "vote", "weighted_mean"]


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32 - 1), members=st.integers(1, 4), classes=st.integers(2, 4))
def test_contract(name, seed, members, classes):
    random = np.random.default_rng(seed)
    probs = random.dirichlet(np.full(classes, 0.3), (members, 4, 3)).transpose(0, 3, 1, 2).astype(np.float32)
    measured = random.random((members, 4, 3)) > 0.4
    held, before = probs.copy(), probs.copy()
    held[~np.broadcast_to(measured[:, None], probs.shape)] = np.float32(65535 / 65534)
    reduce = loaded(name, members, classes)
    found = reduce(held, measured)
    assert (found.shape, found.dtype) == ((classes, 4, 3), np.float32)
    assert np.isfinite(found).all()
    seen = measured.any(0)
    np.testing.assert_allclose(found.sum(0)[seen], 1, atol=1e-5)
    assert (found[:, seen] >= 0).all()
    np.testing.assert_array_equal(found[:, seen], reduce(before, measured)[:, seen], "what is not measured has no say")
    np.testing.assert_allclose(reduce(held[::-1], measured[::-1])[:, seen], found[:, seen], atol=1e-5)
    alone = measured.sum(0) == 1
    labels = np.where(measured, probs.argmax(1), 0).sum(0)
    assert (found.argmax(0)[alone] == labels[alone]).all(), "one member's label is its own"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "vote"])
def test_members_that_agree_change_nothing(name):
    probs = np.repeat(column((0.6, 0.3, 0.1)), 3, 0)
    assert loaded(name, 3)(probs, np.ones((3, 1, 1), bool))[:, 0, 0].tolist() == pytest.approx([0.6, 0.3, 0.1])


def test_weighted_mean_by_hand():
    probs = column((1.0, 0.0), (0.0, 1.0), (0.5, 0.5))
    assert of_pixel("weighted_mean", probs, (True, True, True), (3, 1, 0)) == pytest.approx([0.75, 0.25])
    assert of_pixel("weighted_mean", probs, (False, True, True), (3, 1, 1)) == pytest.approx([0.25, 0.75])
    assert of_pixel("weighted_mean", probs, (False, False, True), (3, 1, 0)) == pytest.approx([0.5, 0.5])


def test_mean_of_logits_by_hand():
    # Geometric means √(0.9 · 0.4) = 0.6 and √(0.1 · 0.6) = 0.244949 → 0.6 / 0.844949.
    probs = column((0.9, 0.1), (0.4, 0.6))
    assert of_pixel("mean_logits", probs, (True, True))[0] == pytest.approx(0.710102, abs=1e-5)
    assert of_pixel("mean_logits", column((1.0, 0.0), (0.0, 1.0)), (True, True)) == pytest.approx([0.5, 0.5])


def test_median_by_hand():
    probs = column((0.9, 0.1, 0.0), (0.2, 0.7, 0.1), (0.3, 0.3, 0.4))
    # Medians 0.3, 0.3, 0.1 of a sum of 0.7.
    assert of_pixel("median", probs, (True,) * 3) == pytest.approx([3 / 7, 3 / 7, 1 / 7])
    assert of_pixel("median", probs, (True, True, False)) == pytest.approx([0.55, 0.4, 0.05])


def test_max_is_torchbearers_for_two_classes():
    assert of_pixel("max", column((0.9, 0.1), (0.3, 0.7)), (True, True)) == pytest.approx([0.3, 0.7])
    # Largest 0.9, 0.5, 0.2 of a sum of 1.6.
    probs = column((0.9, 0.1, 0.0), (0.3, 0.5, 0.2))
    assert of_pixel("max", probs, (True, True)) == pytest.approx([0.5625, 0.3125, 0.125])


def test_votes_by_hand():
    probs = column((0.6, 0.4), (0.55, 0.45), (0.0, 1.0))
    assert of_pixel("vote", probs, (True,) * 3) == pytest.approx([2 / 3, 1 / 3], abs=1e-3)
    tie = of_pixel("vote", probs, (True, False, True))
    assert tie[1] > tie[0], "of as many votes, the surer win"


def test_stacking_by_hand():
    # Member one's class 1 is believed twice, all else not at all: logits 0 and 2 ln 0.4 + ln 5 → 1 and 0.16 · 5 = 0.8.
    matrix = np.zeros((2, 2, 2))
    matrix[1, 0, 1] = 2
    reduce = reducers.load("stack", model=reducers.Model(matrix, np.array([0, np.log(5)])))
    probs = column((0.6, 0.4), (0.9, 0.1))
    both, second = np.ones((2, 1, 1), bool), np.array([[[False]], [[True]]])
    assert reduce(probs, both)[:, 0, 0].tolist() == pytest.approx([1 / 1.8, 0.8 / 1.8], abs=1e-6)
    # Where member one is missing, it counts as what the other says: 0.01 · 5.
    assert reduce(probs, second)[:, 0, 0].tolist() == pytest.approx([1 / 1.05, 0.05 / 1.05], abs=1e-6)


def test_stacking_at_its_home_is_the_mean_of_logits():
    probs = column((0.9, 0.1), (0.4, 0.6))
    measured = np.ones((2, 1, 1), bool)
    np.testing.assert_allclose(loaded("stack", 2, 2)(probs, measured), reducers.load("mean_logits")(probs, measured))


def test_weights_that_cannot_be():
    with pytest.raises(EnsembleError, match=r"reducer 'stack' needs a fitted model and has none"):
        reducers.load("stack")
    with pytest.raises(EnsembleError, match=r"reducer 'weighted_mean' needs weights and has none"):
        reducers.load("weighted_mean")
    with pytest.raises(EnsembleError, match=r"reducer 'mean' takes no weights, but has some"):
        reducers.load("mean", (1.0,))
    with pytest.raises(EnsembleError, match=r"reducer 'median' takes no weights, but has some"):
        reducers.check("median", given=True)
    reducers.check("weighted_mean", given=False)
    with pytest.raises(EnsembleError, match=r"should be 0 or more and not all 0, got \[0.0, 0.0\]"):
        reducers.load("weighted_mean", (0.0, 0.0))
