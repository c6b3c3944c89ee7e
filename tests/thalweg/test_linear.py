"""Border and line scores on arrays that one can count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg import linear


def bar(row: int, height: int, width: int = 20) -> np.ndarray:
    """A horizontal bar of class 1 on 20 rows."""
    plane = np.zeros((20, width), np.uint8)
    plane[row : row + height] = 1
    return plane


def test_a_shifted_line_is_within_the_tolerance_or_not():
    truth = bar(10, 1)
    near, far = (linear.count(truth, bar(10 + shift, 1), 1) for shift in (2, 3))
    assert near.precision.share == near.recall.share == 1
    assert far.precision.share == far.recall.share == 0


def test_boundary_iou_by_hand():
    # A bar of 10 rows: rim = its two outer pairs of rows, 4 × 20 px. One that is one row lower shares
    # rows 6 (of 5,6 and 6,7) and 14 (of 13,14 and 14,15): 2 × 20 of 6 × 20.
    counts = linear.count(bar(5, 10), bar(6, 10), 1)
    assert counts.boundary == (2 * 20, 6 * 20)


def test_centrelines_by_hand():
    truth = bar(10, 1)
    half = truth.copy()
    half[:, 10:] = 0
    counts = linear.count(truth, half, 1)
    assert (counts.centre_precision.share, counts.centre_recall.share) == (1.0, 0.5)
    assert linear.scores(counts, "line")["cldice_line"] == pytest.approx(2 * 0.5 / 1.5)


def test_unlabelled_ground_is_neither_border_nor_mistake():
    truth = bar(5, 10)
    truth[:, 10:] = 255
    labels = bar(5, 10)
    labels[:, 12:] = 0
    counts = linear.count(truth, labels, 1)
    assert counts.boundary == (4 * 10, 4 * 10)
    assert (counts.precision.share, counts.recall.share) == (1.0, 1.0)


def test_a_class_that_is_nowhere_has_no_score():
    assert linear.scores(linear.count(bar(0, 0), bar(0, 0), 1), "line") == {}
    missed = linear.scores(linear.count(bar(5, 3), bar(0, 0), 1), "line")
    assert missed == {"boundary_iou_line": 0.0, "buffered_recall_line": 0.0, "cldice_line": 0.0}


@given(st.integers(0, 2**32 - 1))
def test_what_is_right_scores_one_and_counts_add_up(seed):
    truth = (np.random.default_rng(seed).random((24, 24)) > 0.7).astype(np.uint8)
    counts = linear.count(truth, truth, 1)
    assert all(pair.part == pair.whole for pair in counts)
    assert counts.plus(linear.NOTHING) == counts
