"""Thresholds per class, chosen from counts of validation pixels: for the best F1, for a recall, or as given.

Each class is taken against all others. Counts are those of `count`: per bin of the class's probability, the pixels of
the class and the others. A threshold t is a whole number of bins: the class is said where its probability is ≥ t.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from thalweg.classes import IGNORE
from thalweg.errors import EnsembleError
from thalweg.metrics import PROB_BINS

Rule = Literal["f1", "recall", "fixed"]


def count(truth: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Counts (K, 2, PROB_BINS) int64: per class and bin of its probability, other pixels and those of the class.

    Args:
        truth: (…) uint8 class ids, `IGNORE` left out.
        probs: (K, …) float, 0…1.
    """
    known = truth != IGNORE
    labels, given = truth[known], probs[:, known]
    bins = np.minimum((given * PROB_BINS).astype(np.int64), PROB_BINS - 1)
    return np.stack(
        [[np.bincount(row[(labels == k) == there], minlength=PROB_BINS) for there in (False, True)]
         for k, row in enumerate(bins)]
    )  # fmt: skip


def choose(counts: np.ndarray, names: Sequence[str], rule: Rule, value: float | None = None) -> tuple[float, ...]:
    """A threshold per class.

    Args:
        counts: (K, 2, PROB_BINS), as `count` gives them.
        names: Of the classes.
        rule: `f1`: the best F1; `recall`: the best precision with at least `value` recall; `fixed`: `value` for all.
        value: What `recall` or `fixed` needs.

    Raises:
        EnsembleError: A class has no validation pixel, or a value is missing or not in 0…1.
    """
    if rule != "f1" and (value is None or not 0 <= value <= 1):
        raise EnsembleError(
            f"threshold rule '{rule}' needs a value from 0 to 1, got {value}; correct it in params.yaml"
        )
    if rule == "fixed":
        return (float(value or 0.0),) * len(counts)
    for name, (_, positives) in zip(names, counts, strict=True):
        if not positives.any():
            raise EnsembleError(
                f"a threshold for class {name} by rule '{rule}' needs validation pixels of it, and there is none; "
                "give 'val' a larger share in params.yaml's 'split', or take a fixed threshold"
            )
    if rule == "f1":
        return tuple(for_f1(positives, negatives) for negatives, positives in counts)
    return tuple(at_recall(positives, negatives, float(value or 0.0)) for negatives, positives in counts)


def for_f1(positives: np.ndarray, negatives: np.ndarray) -> float:
    """The threshold of the best F1 = 2 tp / (2 tp + fp + fn); the middle one of equals."""
    hits, said = _tails(positives, negatives)
    return _middle(2 * hits / (positives.sum() + said))


def at_recall(positives: np.ndarray, negatives: np.ndarray, recall: float) -> float:
    """The threshold of the best precision among those that find at least `recall`; the middle one of equals."""
    hits, said = _tails(positives, negatives)
    enough = hits >= recall * positives.sum() * (1 - 1e-12)
    precision = np.divide(hits, said, out=np.zeros(len(hits)), where=said > 0)
    return _middle(np.where(enough, precision, -1.0))


def to_masks(probs: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Binary masks (K, …) bool, each class on its own: a pixel may be in several or in none."""
    return np.asarray(probs >= _shaped(thresholds, probs))


def to_labels(probs: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """One class id (…) uint8 per pixel: that whose probability is the largest multiple of its threshold.

    With two classes whose thresholds sum to one, class 1 is said exactly where its probability reaches its threshold.
    """
    ratio = probs / np.maximum(_shaped(thresholds, probs), np.float32(1e-6))
    return np.asarray(ratio[::-1].argmax(0) * -1 + len(probs) - 1).astype(np.uint8)


def _tails(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per threshold (bins 0…) the pixels of the class that are found, and all that are said to be of it."""
    hits, false = (np.cumsum(np.asarray(counts)[::-1])[::-1].astype(float) for counts in (positives, negatives))
    return hits, hits + false


def _middle(score: np.ndarray) -> float:
    best = np.flatnonzero(score == score.max())
    return float(best[len(best) // 2]) / PROB_BINS


def _shaped(thresholds: Sequence[float], probs: np.ndarray) -> np.ndarray:
    return np.asarray(thresholds, np.float32).reshape(-1, *(1,) * (probs.ndim - 1))
