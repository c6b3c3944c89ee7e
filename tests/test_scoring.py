"""Thresholds and the values that maps hold, by hand and by brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg import reducers
from thalweg.classes import IGNORE
from thalweg.errors import EnsembleError
from thalweg.grid import Window
from thalweg.layers import Rule, combine
from thalweg.maps import PROB_NODATA, PROB_SCALE, dequantise, quantise, to_labels
from thalweg.scoring import HeldoutWindow, Tally, best_cut


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=40))
def test_the_chosen_cut_has_the_best_iou_of_all(pixels) -> None:
    values, truth = np.array([v for v, _ in pixels]) * 6000, np.array([t for _, t in pixels])
    counts = [np.bincount(values[truth == k], minlength=PROB_NODATA) for k in (False, True)]

    def iou(cut: int) -> float:
        found = values >= cut
        return (truth & found).sum() / max((truth | found).sum(), 1)

    assert iou(best_cut(*counts)) == max(iou(cut) for cut in range(0, 60_000, 3000))


def test_of_equal_cuts_the_one_nearest_to_one_half_is_taken() -> None:
    negatives, positives = np.zeros((2, PROB_NODATA), int)
    negatives[10_000], positives[60_000] = 5, 5
    assert best_cut(negatives, positives) == PROB_SCALE // 2
    negatives[50_000] = 1
    assert best_cut(negatives, positives) == 50_001


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_held_probabilities_come_back_within_half_a_step(values) -> None:
    probs = np.array(values, np.float32).reshape(1, 1, -1)
    held = quantise(probs, np.ones(probs.shape[1:], bool))
    assert held.max() <= PROB_SCALE
    np.testing.assert_allclose(dequantise(held), probs, atol=0.5001 / PROB_SCALE)


def test_labels_take_the_cut_or_the_most_probable_class_and_keep_absence() -> None:
    held = quantise(np.array([[[0.7, 0.4, 0.2]], [[0.3, 0.6, 0.8]]]), np.array([[True, True, False]]))
    assert to_labels(held, None).tolist() == [[0, 1, IGNORE]]
    assert to_labels(held, round(0.25 * PROB_SCALE)).tolist() == [[1, 1, IGNORE]]
    assert held[:, 0, 2].tolist() == [PROB_NODATA, PROB_NODATA]


def test_members_are_averaged_where_they_have_data_and_their_disagreement_told() -> None:
    layers = np.stack([
        quantise(np.array([[[0.9, 0.2, 0.5, 0.5]], [[0.1, 0.8, 0.5, 0.5]]]), np.array([[True, True, False, True]])),
        quantise(np.array([[[0.5, 0.9, 0.5, 0.5]], [[0.5, 0.1, 0.5, 0.5]]]), np.array([[True, False, False, True]])),
    ])  # fmt: skip
    rule = Rule((0, 1), reducers.load("mean"), None, ("disagreement",))
    held = combine(layers, np.array([[True, True, True, False]]), rule)
    assert held.shape == (3, 1, 4)
    np.testing.assert_allclose(dequantise(held[:, 0, :2]), [[0.7, 0.2], [0.3, 0.8], [0.2, 0.0]], atol=1e-4)
    assert (held[:, 0, 2:] == PROB_NODATA).all()


def test_an_unknown_reducer_names_those_that_there_are() -> None:
    with pytest.raises(
        EnsembleError, match=r"reducer 'average' has no file src/thalweg/reducers/average.py; there are max, mean"
    ):
        reducers.load("average")


def test_a_tally_counts_per_scene_and_per_probability() -> None:
    held = quantise(np.array([[[0.9, 0.4, 0.5]], [[0.1, 0.6, 0.5]]]), np.ones((1, 3), bool))
    counts = Tally(2)
    for scene in ("a", "b"):
        counts.add(
            HeldoutWindow(
                scene, "val", np.array([[0, 1, IGNORE]], np.uint8), {}, np.array([[0, 4, 4]]), Window(0, 0, 1, 3)
            ),
            held,
            None,
        )
    record = counts.record()
    assert record.confusion == ((2, 0), (0, 2))
    assert record.blocks == {"0": ((2, 0), (0, 0)), "4": ((0, 0), (0, 2))}
    assert record.scenes == {"a": ((1, 0), (0, 1)), "b": ((1, 0), (0, 1))}
    assert (record.negatives[25], record.positives[153]) == (2, 2)
    assert sum(record.negatives) == sum(record.positives) == 2
    assert counts.scores(("x", "y"))["ece"] == pytest.approx(0.25, abs=1e-4)
