"""Weights, stacking and selection on made-up validation pixels, against what is worked out by hand or known by design."""

import numpy as np
import pytest
from ensemble_builder import make_ensemble
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.ensemble.combination import combine_as_asked, fits, to_rule
from thalweg.ensemble.validation import Sample

NAMES = ("one", "two", "three")


def sample_of(probs: np.ndarray, truth: np.ndarray, blocks: np.ndarray, scenes: np.ndarray | None = None) -> Sample:
    """Of members' probabilities (M, K, N)."""
    count = len(truth)
    return Sample(probs.astype(np.float32), np.ones((len(probs), count), bool), truth.astype(np.uint8), blocks,
                  np.zeros(count, np.int64) if scenes is None else scenes)  # fmt: skip


def world(pixels: int = 4000, seed: int = 0, sharp=(2.0, 2.0, 0.0)) -> Sample:
    """Two classes; members whose logits know the truth by `sharp` and err each for itself; 0 knows nothing."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, pixels)
    logits = np.stack([s * (2 * truth - 1) / 2 * 2 + rng.normal(0, 1.5, pixels) for s in sharp])
    top = 1 / (1 + np.exp(-logits))
    return sample_of(np.stack([1 - top, top], 1), truth, np.arange(pixels) % 6)


def nll(ensemble, sample: Sample) -> float:
    found = combine_as_asked(ensemble, NAMES, sample)
    probs = to_rule(found, NAMES, None, ()).probs(sample.probs[..., None], sample.measured[..., None])[:, :, 0]
    return float(-np.log(probs[sample.truth, np.arange(len(sample.truth))]).mean())


def test_what_must_be_fitted():
    assert not fits(make_ensemble(members=NAMES))
    assert fits(make_ensemble(members=NAMES, reducer="weighted_mean"))
    assert not fits(make_ensemble(members=NAMES, reducer="weighted_mean", weights={"one": 1, "two": 1, "three": 2}))
    assert fits(make_ensemble(members=NAMES, reducer="stack"))
    assert fits(make_ensemble(members=NAMES, select="greedy"))


def test_given_weights_are_shares_also_of_members_that_are_left():
    ensemble = make_ensemble(members=NAMES, reducer="weighted_mean", weights={"one": 1, "two": 1, "three": 2})
    assert combine_as_asked(ensemble, NAMES, None).weights == {"one": 0.25, "two": 0.25, "three": 0.5}
    assert combine_as_asked(ensemble, ("one", "three"), None).weights == {"one": 1 / 3, "three": 2 / 3}


def test_the_weights_of_the_least_nll_by_hand():
    # Member one is right (0.9) on 3 of 4 pixels, member two (0.9) on the other; each says 0.1 where it is wrong.
    # With share w of the first, the NLL is −3/4 ln(0.1 + 0.8 w) − 1/4 ln(0.9 − 0.8 w): its slope is 0 where
    # 3 (0.9 − 0.8 w) = 0.1 + 0.8 w, so w = 2.6 / 3.2 = 0.8125.
    right = np.tile([True, True, True, False], 60)
    given_ = np.stack([np.where(right, 0.9, 0.1), np.where(right, 0.1, 0.9)])
    sample = sample_of(np.stack([given_, 1 - given_], 1), np.zeros(240), np.arange(240) // 4 % 5)
    found = combine_as_asked(make_ensemble(members=NAMES[:2], reducer="weighted_mean"), NAMES[:2], sample)
    assert found.weights["one"] == pytest.approx(0.8125, abs=1e-3)
    assert sum(found.weights.values()) == pytest.approx(1)
    assert found.reason.startswith("weights fitted: NLL on left-out blocks")
    assert found.reason.endswith("over 5 blocks; all of one scene, so that other scenes may differ")


def test_weights_that_other_scenes_do_not_gain_by_are_not_kept():
    # Scene 0: member one knows and two does not; scene 1 the other way round: what one scene teaches harms the other.
    truth = np.zeros(400)
    scenes = np.repeat([0, 1], 200)
    given_ = np.stack([np.where(scenes == 0, 0.9, 0.3), np.where(scenes == 1, 0.9, 0.3)])
    sample = sample_of(np.stack([given_, 1 - given_], 1), truth, np.arange(400) % 7, scenes)
    found = combine_as_asked(make_ensemble(members=NAMES[:2], reducer="weighted_mean"), NAMES[:2], sample)
    assert found.weights == {"one": 0.5, "two": 0.5}
    assert found.reason.startswith("equal weights, other ground does not gain by more: NLL on left-out scenes")
    one_block = sample_of(sample.probs, truth, np.zeros(400))
    found = combine_as_asked(make_ensemble(members=NAMES[:2], reducer="weighted_mean"), NAMES[:2], one_block)
    assert "all validation pixels lie in one block" in found.reason


def test_stacking_is_kept_where_it_serves_and_else_the_mean():
    # Member two says the opposite of what is true: the mean knows nothing, stacking turns it round.
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 3000)
    top = np.where(truth == 1, 0.9, 0.1)
    probs = np.stack([np.stack([1 - top, top]), np.stack([top, 1 - top])])
    probs += rng.normal(0, 0.01, probs.shape)
    sample = sample_of(probs / probs.sum(1, keepdims=True), truth, np.arange(3000) % 6)
    found = combine_as_asked(make_ensemble(members=NAMES[:2], reducer="stack"), NAMES[:2], sample)
    assert (found.reducer, found.stacking.pull) == ("stack", 0.01)
    assert found.reason.startswith("stacking with pull 0.01: NLL on left-out blocks 0.69")
    rule = to_rule(found, NAMES[:2], None, ())
    labels = rule.probs(sample.probs[..., None], sample.measured[..., None])[:, :, 0].argmax(0)
    assert (labels == truth).mean() > 0.99
    noise = sample_of(np.full((2, 2, 600), 0.5), np.arange(600) % 2, np.arange(600) // 100)
    found = combine_as_asked(make_ensemble(members=NAMES[:2], reducer="stack"), NAMES[:2], noise)
    assert (found.reducer, found.stacking) == ("mean", None)
    assert found.reason.startswith("the mean, other ground does not gain by more")


def test_greedy_takes_what_helps_and_leaves_what_does_not():
    sample = world()
    found = combine_as_asked(make_ensemble(members=NAMES, select="greedy"), NAMES, sample)
    assert set(found.bag) == {"one", "two"}
    assert found.weights["three"] == 0
    assert [pick.nll for pick in found.picks] == sorted((pick.nll for pick in found.picks), reverse=True)
    assert found.picks[0].gain == pytest.approx(np.log(2) - found.picks[0].nll)
    # The first pick is the best single member.
    own = -np.log(np.take_along_axis(sample.probs, sample.truth[None, None].astype(int), 1)[:, 0]).mean(1)
    assert found.picks[0].member == NAMES[own.argmin()]
    assert found.picks[0].nll == pytest.approx(own.min(), abs=1e-6)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 99))
def test_greedy_is_never_worse_than_its_best_member_where_it_was_chosen(seed):
    sample = world(1500, seed, (1.5, 1.0, 0.5))
    alone = min(nll(make_ensemble(members=NAMES, reducer="weighted_mean", weights={n: float(n == one) for n in NAMES}),
                    sample) for one in NAMES)  # fmt: skip
    assert nll(make_ensemble(members=NAMES, select="greedy"), sample) <= alone + 1e-9


@pytest.mark.parametrize("reducer", ["weighted_mean", "stack", "median"])
def test_selection_comes_before_weights_and_stacking(reducer):
    found = combine_as_asked(make_ensemble(members=NAMES, select="greedy", reducer=reducer), NAMES, world(1500))
    assert "three" not in found.bag
    assert found.weights["three"] == 0
    assert sum(found.weights.values()) == pytest.approx(1)
    if reducer != "median":
        assert len(set(found.bag)) == len(found.bag)


def test_a_member_that_lacks_a_scene_is_selected_by_what_the_map_shows_there():
    """Member one knows all it has; where it has nothing the map shows the others, and so does the selection."""
    truth = np.zeros(400)
    given_ = np.stack([np.full(400, 0.99), np.full(400, 0.7)])
    sample = sample_of(np.stack([given_, 1 - given_], 1), truth, np.arange(400) % 7)
    measured = sample.measured.copy()
    measured[0, :100] = False
    found = combine_as_asked(make_ensemble(members=NAMES[:2], select="greedy"), NAMES[:2],
                             Sample(sample.probs, measured, sample.truth, sample.blocks, sample.scenes))  # fmt: skip
    # Alone it leaves 100 pixels to member two: (300 · −ln 0.99 + 100 · −ln 0.7) / 400.
    assert found.bag == ("one",)
    assert found.picks[0].nll == pytest.approx(0.0967, abs=1e-3)


def test_members_that_are_alike_are_selected_once():
    sample = world()
    twice = sample_of(np.repeat(sample.probs[:1], 2, axis=0), sample.truth, sample.blocks)
    found = combine_as_asked(make_ensemble(members=NAMES[:2], select="greedy"), NAMES[:2], twice)
    assert found.bag == ("one",)
    assert found.weights == {"one": 1.0, "two": 0.0}
