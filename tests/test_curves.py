"""Tables of curves, worked by hand, and a law: average precision agrees with scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_builder import PART, make_ranked
from sklearn.metrics import average_precision_score

from thalweg import curves
from thalweg.figures import Chosen

NAMES = ("background", "channel")
CHOSEN = {"unet": Chosen("test", PART, make_ranked(NAMES))}


def test_precision_and_recall_by_hand():
    """6 of the class, of which 4 lie above 0.9 with 1 of another; all 10 are said from the bottom."""
    table = curves.to_precision_recall(CHOSEN, NAMES)
    assert table["class"].unique().tolist() == ["channel"]  # background's curve is its mirror
    rows = table[["threshold", "recall", "precision"]].to_numpy().tolist()
    expected = [[0, 1, 0.6], [77 / 256, 4 / 6, 0.8], [230 / 256, 4 / 6, 0.8]]
    np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_average_precision_by_hand():
    """The steps: 4/6 of recall at precision 4/5, then 2/6 at 6/10."""
    others, own = (np.array(counts) for counts in make_ranked()["background"])
    assert curves.average_precision(others, own) == pytest.approx(4 / 6 * 0.8 + 2 / 6 * 0.6)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 255)), min_size=1, max_size=60).filter(
        lambda rows: any(there for there, _ in rows)
    )
)
def test_average_precision_is_scikit_learns(rows):
    there, bins = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    others, own = (np.bincount(bins[there == kind], minlength=256) for kind in (False, True))
    assert curves.average_precision(others, own) == pytest.approx(average_precision_score(there, bins))


def test_reliability_and_class_scores_by_hand():
    """Two bins of 60 pixels: of the first 48 summed confidence and 46 hits, of the last 57 and 60."""
    reliability = curves.to_reliability(CHOSEN)
    assert reliability[["confidence", "right", "pixels"]].to_numpy().tolist() == [
        [0.8, pytest.approx(46 / 60, abs=1e-6), 60.0], [0.95, 1.0, 60.0],
    ]  # fmt: skip
    scores = curves.to_class_scores(CHOSEN, NAMES).set_index("class")
    assert scores.loc["channel", ["iou", "precision", "recall"]].tolist() == pytest.approx(
        [16 / 30, 16 / 26, 0.8], abs=1e-6
    )


def test_a_class_that_is_nowhere_has_no_curve():
    ranked = make_ranked(("a", "b", "c")) | {"b": ((1,) * 256, (0,) * 256)}
    table = curves.to_precision_recall({"unet": Chosen("val", PART, ranked)}, ("a", "b", "c"))
    assert table["class"].unique().tolist() == ["a", "c"]
