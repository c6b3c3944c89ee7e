"""Tables that `dvc plots` draws, one row per point: precision–recall, reliability and scores per class.

Every table has the columns `member` and `part`, so that one template colours members and dashes revisions.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from thalweg import metrics
from thalweg.figures import Chosen

STEP = 0.01
"""Points of a curve nearer to each other than this (recall and precision together) are left out."""
SCORES = ("iou", "precision", "recall", "f1")


def precision_recall(others: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision (bins,) of a class where it is said from bin 0, 1, … on; precision is 1 where none is said.

    Args:
        others: Pixels of other classes per bin of the class's probability.
        own: Likewise those of the class; not all zero.
    """
    hits, false = (np.cumsum(np.asarray(counts)[::-1])[::-1].astype(float) for counts in (own, others))
    said = hits + false
    return hits / hits[0], np.divide(hits, said, out=np.ones_like(hits), where=said > 0)


def average_precision(others: np.ndarray, own: np.ndarray) -> float:
    """Area below the steps of a precision–recall curve, 0…1: the sum of precision × gain of recall.

    Source: Zhu 2004, Recall, Precision and Average Precision, University of Waterloo, working paper.
    """
    recall, precision = precision_recall(others, own)
    return float((precision * -np.diff(recall, append=0.0)).sum())


def wanted(names: Sequence[str]) -> tuple[str, ...]:
    """The classes that have curves: all, but of two the second alone, since the first is its mirror."""
    return tuple(names[1:]) if len(names) == 2 else tuple(names)


def to_precision_recall(chosen: Mapping[str, Chosen], names: Sequence[str]) -> pd.DataFrame:
    """`member`, `part`, `class`, `threshold`, `recall`, `precision`; a class that a part lacks is not there."""
    rows = []
    for member, found in chosen.items():
        for name in wanted(names):
            others, own = found.ranked[name]
            if any(own):
                recall, precision = precision_recall(np.array(others), np.array(own))
                kept = _thinned(recall, precision)
                rows += [(member, found.part, name, _round(k / metrics.PROB_BINS), _round(recall[k]),
                          _round(precision[k])) for k in kept]  # fmt: skip
    return pd.DataFrame(rows, columns=["member", "part", "class", "threshold", "recall", "precision"])


def to_reliability(chosen: Mapping[str, Chosen]) -> pd.DataFrame:
    """`member`, `part`, `confidence` and `right` (means of a bin, 0…1), `pixels`; bins without pixels are not there."""
    rows = []
    for member, found in chosen.items():
        pixels, confidence, hits = np.array(found.scores.reliability)
        rows += [(member, found.part, _round(confidence[k] / pixels[k]), _round(hits[k] / pixels[k]), int(pixels[k]))
                 for k in np.flatnonzero(pixels)]  # fmt: skip
    return pd.DataFrame(rows, columns=["member", "part", "confidence", "right", "pixels"])


def to_class_scores(chosen: Mapping[str, Chosen], names: Sequence[str]) -> pd.DataFrame:
    """`member`, `part`, `class` and `SCORES`; a class that is neither there nor said is not there."""
    rows = []
    for member, found in chosen.items():
        scores = metrics.scores(np.array(found.scores.confusion), names)
        rows += [(member, found.part, name, *(_round(scores[f"{score}_{name}"]) for score in SCORES))
                 for name in names if f"iou_{name}" in scores]  # fmt: skip
    return pd.DataFrame(rows, columns=["member", "part", "class", *SCORES])


def to_headline(chosen: Mapping[str, Chosen], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Member → the few scores that `dvc metrics diff` compares at a glance: mIoU, accuracy, ECE, and IoU per class."""
    found = {}
    for member, (_, scores, _) in chosen.items():
        every = metrics.scores(np.array(scores.confusion), names)
        every["ece"] = metrics.ece(np.array(scores.reliability))
        keys = ("miou", "accuracy", "ece", *(f"iou_{name}" for name in names))
        found[member] = {key: _round(every[key]) for key in keys if key in every}
    return found


def _thinned(recall: np.ndarray, precision: np.ndarray) -> list[int]:
    """Bins whose points are worth drawing: the first, the last that finds anything, and those that lie apart."""
    last = int(np.flatnonzero(recall)[-1])
    kept = [0]
    for k in range(1, last):
        if abs(recall[k] - recall[kept[-1]]) + abs(precision[k] - precision[kept[-1]]) >= STEP:
            kept.append(k)
    return sorted({*kept, last})


def _round(value: float) -> float:
    return round(float(value), 6)
