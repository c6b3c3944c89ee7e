"""Thresholds per class on counts that one can work out, and against every other threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg import thresholds
from thalweg.classes import IGNORE
from thalweg.errors import EnsembleError


def f1(truth: np.ndarray, said: np.ndarray) -> float:
    return 2 * (truth & said).sum() / (truth.sum() + said.sum())


@given(st.integers(0, 2**32 - 1), st.integers(2, 4))
def test_no_other_threshold_has_a_better_f1_or_precision(seed, classes):
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, 200).astype(np.uint8)
    probs = random.dirichlet(np.ones(classes), 200).T + 0.3 * np.eye(classes)[:, truth]
    probs = (np.floor(probs / probs.sum(0) * 256) / 256).astype(np.float32)
    counts = thresholds.count(truth, probs)
    names = "abcd"[:classes]
    for k, best in enumerate(thresholds.choose(counts, names, "f1")):
        others = [f1(truth == k, probs[k] >= cut / 256) for cut in range(256)]
        assert f1(truth == k, probs[k] >= best) == pytest.approx(max(others))
    for k, best in enumerate(thresholds.choose(counts, names, "recall", 0.8)):
        masks = [probs[k] >= cut / 256 for cut in range(256)]
        recalls = [mask[truth == k].mean() for mask in masks]
        precisions = [(truth == k)[mask].mean() for mask, recall in zip(masks, recalls, strict=True) if recall >= 0.8]
        mask = probs[k] >= best
        assert mask[truth == k].mean() >= 0.8
        assert (truth == k)[mask].mean() == pytest.approx(max(precisions))


def test_counts_and_f1_by_hand():
    truth = np.array([1, 1, 0, 0, IGNORE], np.uint8)
    second = np.array([0.9, 0.5, 0.6, 0.1, 0.99], np.float32)
    counts = thresholds.count(truth, np.stack([1 - second, second]))
    assert counts.shape == (2, 2, 256)
    assert counts.sum() == 8, "every labelled pixel once per class"
    assert np.flatnonzero(counts[1, 1]).tolist() == [128, 230]
    # Cut above 0.6: tp 1, fn 1 → 2/3. Cut from 0.1 to 0.5: tp 2, fp 1 → 4/5, bins 26 … 128, the middle of 103.
    assert thresholds.for_f1(counts[1, 1], counts[1, 0]) == 77 / 256
    # All found: precision 2/3 at 26 … 128; half of them: 1 at 154 … 230.
    assert thresholds.at_recall(counts[1, 1], counts[1, 0], 1.0) == 77 / 256
    assert thresholds.at_recall(counts[1, 1], counts[1, 0], 0.5) == 192 / 256


def test_fixed_and_what_cannot_be():
    counts = np.zeros((2, 2, 256), np.int64)
    assert thresholds.choose(counts, "ab", "fixed", 0.4) == (0.4, 0.4)
    with pytest.raises(EnsembleError, match=r"threshold rule 'recall' needs a value from 0 to 1, got None"):
        thresholds.choose(counts, "ab", "recall")
    with pytest.raises(EnsembleError, match=r"a threshold for class a by rule 'f1' needs validation pixels of it"):
        thresholds.choose(counts, "ab", "f1")


def test_masks_stand_alone_and_labels_exclude_each_other():
    probs = np.array([[0.55, 0.30, 0.10], [0.35, 0.35, 0.10], [0.10, 0.35, 0.80]], np.float32)
    assert thresholds.to_masks(probs, (0.5, 0.3, 0.9)).tolist() == [
        [True, False, False], [True, True, False], [False, False, False]]  # fmt: skip
    # Multiples: 1.1, 1.17, .11 · .6, 1.17, .39 · .2, .33, .89
    assert thresholds.to_labels(probs, (0.5, 0.3, 0.9)).tolist() == [1, 1, 2]


@given(st.floats(0.05, 0.95), st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
def test_two_classes_are_cut_where_asked(cut, values):
    second = np.array(values, np.float32)
    second = second[np.abs(second - cut) > 1e-5]
    labels = thresholds.to_labels(np.stack([1 - second, second]), (1 - cut, cut))
    assert labels.tolist() == (second >= cut).astype(int).tolist()
