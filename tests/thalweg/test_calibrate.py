"""Calibration on numbers that one can work out, and its laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg import calibrate, conformal, doubt
from thalweg.classes import IGNORE
from thalweg.errors import EnsembleError
from thalweg.manifest.calibration import softmax


def drawn(count: int, seed: int, sharpness: float = 1.0, classes: int = 3):
    """Logits (N, K) that are off by a factor, and truth drawn from what they would be without it."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (count, classes))
    powers = np.exp(logits)
    probs = powers / powers.sum(1, keepdims=True)
    truth = (random.random((count, 1)) > probs.cumsum(1)[:, :-1]).sum(1)
    return (logits * sharpness).astype(np.float32), truth.astype(np.uint8)


def fitted(logits, truth, blocks=None, scenes=None, **more) -> calibrate.Calibration:
    count = len(truth)
    blocks = np.arange(count) % 20 if blocks is None else blocks
    scenes = np.arange(count) % 2 if scenes is None else scenes
    return calibrate.fit(logits, truth, blocks, scenes, **more)


def test_quality_by_hand():
    # softmax(log 3, 0) = 3/4, 1/4. Truth 0 and 1: NLL = −(ln 3/4 + ln 1/4) / 2; Brier = (2/16 + 2 · 9/16) / 2;
    # both say 0 with 3/4, one of two is right: ECE = |3/4 − 1/2|.
    logits = np.log(np.array([[3.0, 1.0], [3.0, 1.0], [1.0, 1.0]]))
    found = calibrate.quality(logits, np.array([0, 1, IGNORE]))
    assert found.nll == pytest.approx((0.28768207 + 1.38629436) / 2)
    assert found.brier == pytest.approx((2 / 16 + 18 / 16) / 2)
    assert found.ece == pytest.approx(0.25)


def test_the_temperature_of_two_kinds_of_pixels_by_hand():
    # All pixels say class 0 with logit 2 against 0, and 3 of 4 are right: the best probability is 3/4, that is a logit
    # of ln 3, so T = 2 / ln 3.
    logits, truth = np.tile([2.0, 0.0], (4, 1)), np.array([0, 0, 0, 1])
    assert calibrate.fit_temperature(logits, truth) == pytest.approx(2 / 1.0986123, rel=1e-3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_what_is_calibrated_stays(seed):
    logits, truth = drawn(4000, seed)
    assert calibrate.fit_temperature(logits, truth) == pytest.approx(1, abs=0.12)
    found = fitted(logits, truth)
    assert found.temperature == pytest.approx(1, abs=0.12)
    assert found.after.nll <= found.before.nll + 1e-9


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), sharpness=st.sampled_from([0.4, 2.0, 4.0]))
def test_temperature_undoes_a_factor_and_leaves_the_labels(seed, sharpness):
    logits, truth = drawn(4000, seed, sharpness)
    found = fitted(logits, truth)
    assert found.kept
    assert found.temperature == pytest.approx(sharpness, rel=0.15)
    assert found.after.nll < found.before.nll
    assert found.after.ece < found.before.ece
    probs = found.apply(logits.T)
    assert probs.dtype == np.float32
    np.testing.assert_allclose(probs.sum(0), 1, atol=1e-5)
    assert (probs.argmax(0) == logits.argmax(1)).all()


def test_vector_scaling_mends_what_a_temperature_cannot():
    logits, truth = drawn(6000, 3)
    tilted = logits + np.array([0.0, 1.5, 0.0], np.float32)
    temperature, vector = (fitted(tilted, truth, kind=kind) for kind in ("temperature", "vector"))
    assert vector.kept
    assert vector.after.nll < temperature.after.nll - 0.05
    np.testing.assert_allclose(np.diff(vector.shift), (-1.5, 1.5), atol=0.2)
    assert vector.after.ece < 0.02


def test_a_temperature_of_one_scene_that_another_refutes_is_not_kept():
    # Scene 0 is over-confident, scene 1 under-confident, and both have as many pixels.
    sharp, truth_0 = drawn(3000, 1, 3.0)
    flat, truth_1 = drawn(3000, 2, 0.5)
    logits, truth = np.concatenate([sharp, flat]), np.concatenate([truth_0, truth_1])
    found = fitted(logits, truth, scenes=np.repeat([0, 1], 3000))
    assert not found.kept
    assert found.scale == (1.0, 1.0, 1.0)
    assert found.fitted != found.scale
    assert found.nll_elsewhere_after > found.nll_elsewhere_before
    assert found.after == found.before
    assert found.reason.startswith("identity, other ground does not gain: NLL on left-out scenes ")
    within = fitted(sharp, truth_0, scenes=np.zeros(3000), blocks=np.arange(3000) % 4)
    assert within.kept
    assert within.grouped_by == "block"
    assert within.reason.endswith("over 4 blocks; all of one scene, so that other scenes may differ")


def test_one_block_confirms_nothing():
    logits, truth = drawn(500, 1, 3.0)
    found = fitted(logits, truth, blocks=np.zeros(500), scenes=np.zeros(500))
    assert (found.kept, found.grouped_by, found.temperature) == (False, "none", 1.0)
    assert "all validation pixels lie in one block" in found.reason


def test_nothing_labelled_is_an_error():
    with pytest.raises(EnsembleError, match=r"calibration needs labelled validation pixels, and there is none"):
        fitted(np.zeros((3, 2)), np.full(3, IGNORE))
    nothing = np.ones((3, 2)), np.full(3, IGNORE), np.zeros(3)
    with pytest.raises(EnsembleError, match=r"only be promised from labelled validation pixels"):
        conformal.choose_sets(*nothing, 0.1)
    with pytest.raises(EnsembleError, match=r"only be promised from labelled validation pixels"):
        conformal.choose_abstain(nothing[0], np.zeros(3), *nothing[1:], 0.1)


def test_probs_come_back_from_their_logits():
    probs = np.array([[0.2, 0.999], [0.8, 0.001]], np.float32)
    np.testing.assert_allclose(softmax(calibrate.to_logits(probs)), probs, rtol=1e-5)
    assert np.isfinite(calibrate.to_logits(np.array([[0.0], [1.0]]))).all()
    np.testing.assert_allclose(softmax(np.array([[1e4], [0.0]], np.float32)), [[1], [0]])


def test_sets_by_hand():
    # Nine pixels, true class with 0.1 … 0.9; rate 0.2: floor(10 · 0.2) = 2nd smallest = 0.2.
    given_ = np.arange(1, 10) / 10
    probs = np.stack([given_, np.round(1 - given_, 1)], 1)
    rule = conformal.choose_sets(probs, np.zeros(9, np.uint8), np.zeros(9), 0.2)
    assert rule.least == pytest.approx(0.2)
    assert (rule.pixels, rule.groups, rule.missed_elsewhere) == (9, 1, {})
    # 0.1 / 0.9 → {1}, 0.2 / 0.8 … 0.8 / 0.2 → both, 0.9 / 0.1 → {0}
    assert rule.mean_size == pytest.approx((1 + 7 * 2 + 1) / 9)
    assert conformal.choose_sets(probs, np.zeros(9, np.uint8), np.zeros(9), 0.05).least == 0
    sets = conformal.to_sets(probs.T.astype(np.float32), 0.95)
    assert (sets.sum(0) == 1).all(), "no set is empty"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), rate=st.sampled_from([0.05, 0.1, 0.3]), sharpness=st.sampled_from([0.3, 1.0, 5.0]))
def test_sets_cover_what_is_drawn_alike(seed, rate, sharpness):
    logits, truth = drawn(6000, seed, sharpness)
    probs = softmax(logits, 1)
    rule = conformal.choose_sets(probs[:3000], truth[:3000], np.arange(3000) % 3, rate)
    inside = conformal.to_sets(probs[3000:].T, rule.least)[truth[3000:], np.arange(3000)]
    one = np.sqrt(rate * (1 - rate))  # spread of one pixel; chosen on 3000 and checked on as many, or on 2000 and 1000
    assert 1 - inside.mean() <= rate + 5 * one * np.sqrt(1 / 3000 + 1 / 3000)
    assert max(rule.missed_elsewhere.values()) <= rate + 5 * one * np.sqrt(1 / 2000 + 1 / 1000)


def test_abstaining_by_hand():
    # Sure 0.9, 0.8 (right), 0.7 (wrong), 0.6 (right): (errors + 1) / (n + 1) = 1/2, 1/3, 2/4, 2/5.
    sure = np.array([0.9, 0.8, 0.7, 0.6])
    probs = np.stack([sure, 1 - sure], 1)
    truth, one, said = np.array([0, 0, 1, 0], np.uint8), np.zeros(4), np.zeros(4, np.uint8)
    assert conformal.choose_abstain(probs, said, truth, one, 0.34).least == pytest.approx(0.8)
    assert conformal.choose_abstain(probs, said, truth, one, 0.4).least == pytest.approx(0.6)
    none = conformal.choose_abstain(probs, said, truth, one, 0.1)
    assert (none.least, none.labelled) == (conformal.NOTHING, 0.0)
    held = probs.T.astype(np.float32)
    assert conformal.abstains(held, said, 0.8).tolist() == [False, False, True, True]
    assert not conformal.abstains(held, np.full(4, IGNORE, np.uint8), 0.8).any(), "no label, nothing to leave out"
    # Labels by a threshold, 0 1 1 1 with 0.9 (right), 0.2 (wrong), 0.3 (right), 0.4 (wrong): 1/2, then 2/3, 2/4, 3/5.
    by_cut = conformal.choose_abstain(probs, np.array([0, 1, 1, 1], np.uint8), truth, one, 0.5)
    assert by_cut.least == pytest.approx(0.3), "what counts is the probability of the label that is given"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), rate=st.sampled_from([0.1, 0.2]))
def test_abstaining_keeps_its_rate_on_what_is_drawn_alike(seed, rate):
    logits, truth = drawn(8000, seed)
    probs = softmax(logits, 1)
    labels = probs.argmax(1).astype(np.uint8)
    rule = conformal.choose_abstain(probs[:4000], labels[:4000], truth[:4000], np.arange(4000) % 4, rate)
    labels = labels[4000:]
    said = ~conformal.abstains(probs[4000:].T, labels, rule.least)
    assert said.any()
    spread = np.sqrt(2 * rate * (1 - rate) / said.sum())  # of the choice and of the check
    assert (labels != truth[4000:])[said].mean() <= rate + 5 * spread
    assert set(rule.wrong_elsewhere) <= {"0", "1", "2", "3"}


def test_a_group_unlike_the_others_shows():
    # The others are always right with 0.9; group b is sure and wrong in half of its pixels.
    probs = np.tile([0.9, 0.1], (300, 1))
    truth, groups = np.zeros(300, np.uint8), np.repeat(["a", "b", "c"], 100)
    truth[100:150] = 1
    assert conformal.choose_abstain(probs, np.zeros(300, np.uint8), truth, groups, 0.2).wrong_elsewhere["b"] == 0.5
    assert conformal.choose_sets(probs, truth, groups, 0.1).missed_elsewhere["b"] == 0.5


def test_doubt_by_hand():
    members = np.array([[[1.0], [0.0]], [[0.0], [1.0]]], np.float32)
    assert doubt.mutual_information(members, np.ones((2, 1), bool)) == pytest.approx(1)
    assert doubt.entropy(members.mean(0)) == pytest.approx(1)
    assert doubt.margin(members.mean(0)) == pytest.approx(1)
    alike = np.full((2, 2, 1), 0.5, np.float32)
    assert doubt.mutual_information(alike, np.ones((2, 1), bool)) == pytest.approx(0, abs=1e-6)
    assert doubt.mutual_information(members, np.array([[True], [False]])) == 0, "one alone disagrees with nobody"
    assert doubt.margin(np.array([[0.7], [0.2], [0.1]])) == pytest.approx(0.5)
    # Three classes, 1/2, 1/2, 0: ln 2 / ln 3.
    assert doubt.entropy(np.array([[0.5], [0.5], [0.0]])) == pytest.approx(0.63092975)


@given(seed=st.integers(0, 2**32 - 1), members=st.integers(1, 4), classes=st.integers(2, 5))
def test_doubt_is_from_0_to_1_and_disagreement_is_within_it(seed, members, classes):
    random = np.random.default_rng(seed)
    probs = random.dirichlet(np.full(classes, 0.2), (members, 6)).transpose(0, 2, 1).astype(np.float32)
    whole, shared = doubt.entropy(probs.mean(0)), doubt.mutual_information(probs, np.ones((members, 6), bool))
    for values in (whole, shared, doubt.margin(probs.mean(0))):
        assert values.dtype == np.float32
        assert ((values >= 0) & (values <= 1)).all()
    assert (shared <= whole + 1e-5).all()
    if members == 1:
        np.testing.assert_allclose(shared, 0, atol=1e-6)


def test_one_place_does_not_make_anybody_surer():
    """A fit that sharpens gains on other blocks of the same place, but only another place could confirm it."""
    logits, truth = drawn(4000, 1, 0.4)
    at_home = fitted(logits, truth, scenes=np.zeros(4000))
    assert not at_home.kept
    assert at_home.temperature == 1
    assert at_home.nll_elsewhere_after < at_home.nll_elsewhere_before - calibrate.LEAST_GAIN
    assert at_home.reason == calibrate.SHARPER
    assert at_home.fitted[0] == pytest.approx(2.5, rel=0.15)
    assert fitted(logits, truth).kept  # two scenes
    assert fitted(logits * 10, truth, scenes=np.zeros(4000)).kept  # becomes less sure
