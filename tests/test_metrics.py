"""Each metric against numbers worked out by hand."""

import numpy as np
import pytest

from thalweg import metrics

TRUTH = np.array([[0, 0, 1, 1], [1, 2, 255, 255]], np.uint8)
LABELS = np.array([[0, 1, 1, 1], [0, 2, 2, 0]], np.uint8)


def test_confusion_has_truth_in_rows_and_skips_ignored():
    assert metrics.confusion(TRUTH, LABELS, 3).tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 1]]


def test_scores_by_hand():
    scores = metrics.scores(metrics.confusion(TRUTH, LABELS, 3), ["a", "b", "c"])
    assert scores["pixels"] == 6
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["iou_a"] == pytest.approx(1 / 3)
    assert scores["iou_b"] == pytest.approx(2 / 4)
    assert scores["iou_c"] == 1
    assert scores["miou"] == pytest.approx((1 / 3 + 1 / 2 + 1) / 3)
    assert scores["f1_b"] == pytest.approx(2 * 2 / (3 + 3))
    assert scores["precision_a"] == pytest.approx(1 / 2)
    assert scores["recall_b"] == pytest.approx(2 / 3)
    assert scores["weighted_iou"] == pytest.approx((2 * (1 / 3) + 3 * (1 / 2) + 1) / 6)


def test_a_class_that_nobody_saw_has_no_score_and_no_share_in_the_mean():
    scores = metrics.scores(np.array([[3, 0], [0, 0]]), ["there", "absent"])
    assert "iou_absent" not in scores
    assert scores["miou"] == 1


def test_nothing_to_score_is_zero_not_nan():
    assert metrics.scores(np.zeros((2, 2), int), ["a", "b"])["miou"] == 0


def test_ece_of_a_member_that_is_sure_and_half_right():
    truth = np.array([0, 1], np.uint8)
    probs = np.array([[1.0, 1.0], [0.0, 0.0]])
    assert metrics.ece(metrics.calibration(truth, probs)) == pytest.approx(0.5)


def test_ece_ignores_unlabelled_pixels():
    truth = np.array([0, 255], np.uint8)
    probs = np.array([[1.0, 1.0], [0.0, 0.0]])
    assert metrics.ece(metrics.calibration(truth, probs)) == 0


def test_best_threshold_by_hand():
    positives, negatives = np.zeros(256, int), np.zeros(256, int)
    positives[[100, 200]], negatives[[50, 150, 220]] = (4, 6), (80, 3, 1)
    # From bin 101..151 on: 6 / (10 + 1) or with bin 150 6 / 14; from 51..100 on: 10 / 14; from 151..200: 6 / 11.
    threshold = metrics.best_threshold(positives, negatives)
    assert 51 / 256 <= threshold <= 100 / 256
    assert metrics.confusion_at(positives, negatives, threshold).tolist() == [[80, 4], [0, 10]]


def test_histogram_and_threshold_agree_with_the_pixels():
    rng = np.random.default_rng(2)
    truth, prob = rng.integers(0, 2, 5000).astype(np.uint8), rng.random(5000)
    truth[:50], prob[:3] = 255, 1.0
    counts = metrics.histogram(truth, prob)
    labels = (prob >= 77 / 256).astype(np.uint8)
    assert (metrics.confusion_at(*counts, 77 / 256) == metrics.confusion(truth, labels, 2)).all()


def test_intervals_hold_the_score_and_narrow_with_blocks():
    rng = np.random.default_rng(0)
    blocks = [np.array([[80, 5], [5, 10]]) + rng.integers(0, 8, (2, 2)) for _ in range(64)]
    few, many = (metrics.intervals(some, ("a", "b"), ("miou",)) for some in (blocks[:8], blocks))
    score = metrics.scores(sum(blocks), ("a", "b"))["miou"]
    assert many["miou_lo"] < score < many["miou_hi"]
    assert many["miou_hi"] - many["miou_lo"] < few["miou_hi"] - few["miou_lo"]
    assert metrics.intervals(blocks, ("a", "b"), ("miou",)) == many
    assert metrics.intervals(blocks[:1], ("a", "b"), ("miou",)) == {}


def test_blocks_that_are_alike_have_no_width():
    alike = metrics.intervals([np.array([[8, 2], [1, 9]])] * 5, ("a", "b"), ("iou_b",))
    assert alike["iou_b_lo"] == pytest.approx(9 / 12)
    assert alike["iou_b_hi"] == pytest.approx(9 / 12)
