"""One definition of each metric, for training, ensembles and the report: everything follows from a confusion matrix.

A confusion matrix is (K, K) int64, rows = truth, columns = prediction, accumulated over pixels, never averaged over
batches. Pixels whose truth is `IGNORE` take no part.
"""

from collections.abc import Sequence

import numpy as np

from thalweg.classes import IGNORE

ECE_BINS = 15
PROB_BINS = 256
DRAWS = 1000
"""Of the bootstrap."""


def confusion(truth: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Confusion matrix (K, K) of two uint8 arrays of one shape, without ignored pixels."""
    known = truth != IGNORE
    pairs = truth[known].astype(np.int64) * classes + labels[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def scores(matrix: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Flat scores of a confusion matrix, keys `<metric>` and `<metric>_<class>`, all in 0…1, plus `pixels`.

    IoU = tp / (tp + fp + fn); precision = tp / (tp + fp); recall = tp / (tp + fn); F1 = 2 tp / (2 tp + fp + fn).
    A class that is in neither truth nor prediction has no score and takes no part in the macro means (`miou`,
    `macro_f1`); `weighted_iou` weights by true pixels; `accuracy` is overall accuracy.
    """
    matrix = matrix.astype(np.float64)
    hit, truth, found = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    seen = (truth + found) > 0
    iou = _ratio(hit, truth + found - hit)
    f1 = _ratio(2 * hit, truth + found)
    result = {
        "pixels": float(matrix.sum()),
        "accuracy": float(_ratio(hit.sum(), matrix.sum())),
        "miou": float(iou[seen].mean()) if seen.any() else 0.0,
        "macro_f1": float(f1[seen].mean()) if seen.any() else 0.0,
        "weighted_iou": float(_ratio((iou * truth).sum(), truth.sum())),
    }
    precision, recall = _ratio(hit, found), _ratio(hit, truth)
    for k, name in enumerate(names):
        if seen[k]:
            result |= {f"iou_{name}": float(iou[k]), f"f1_{name}": float(f1[k]),
                       f"precision_{name}": float(precision[k]), f"recall_{name}": float(recall[k])}  # fmt: skip
    return result


def bounded(names: Sequence[str]) -> tuple[str, ...]:
    """Scores that get an interval."""
    return ("miou", "accuracy", *(f"{key}_{name}" for name in names for key in ("iou", "f1")))


def intervals(
    matrices: Sequence[np.ndarray], names: Sequence[str], keys: Sequence[str], seed: int = 0
) -> dict[str, float]:
    """Bounds of 95 % intervals, `<key>_lo` and `<key>_hi`, from blocks drawn with replacement.

    Neighbouring pixels err alike, so that what is drawn are blocks of ground, not pixels.
    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3 (percentile interval).

    Args:
        matrices: Confusion matrix (K, K) per block.
        names: Of the classes.
        keys: Scores of interest; one that a draw lacks is left out of that draw.
        seed: Of the draws.
    """
    if len(matrices) < 2:
        return {}
    stack = np.stack(matrices)
    random = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {key: [] for key in keys}
    for _ in range(DRAWS):
        counts = np.bincount(random.integers(len(stack), size=len(stack)), minlength=len(stack))
        found = scores(np.tensordot(counts, stack, 1), names)
        for key in keys:
            if key in found:
                drawn[key].append(found[key])
    bounds = {key: np.quantile(values, (0.025, 0.975)) for key, values in drawn.items() if values}
    return {
        f"{key}_{end}": float(bound)
        for key, pair in bounds.items()
        for end, bound in zip(("lo", "hi"), pair, strict=True)
    }


def calibration(truth: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Reliability counts (3, ECE_BINS): pixels, summed confidence and hits per bin of the largest probability.

    Args:
        truth: (...,) uint8 class ids.
        probs: (K, ...) float, summing to one.
    """
    known = truth != IGNORE
    kept = probs[:, known]
    confidence, label = kept.max(0), kept.argmax(0)
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    hits = (label == truth[known]).astype(float)
    return np.stack([np.bincount(bins, weights, ECE_BINS) for weights in (np.ones_like(hits), confidence, hits)])


def ece(counts: np.ndarray) -> float:
    """Expected calibration error, 0…1, from the counts of `calibration`.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 5.
    """
    pixels, confidence, hits = counts
    return float(np.abs(confidence - hits).sum() / max(pixels.sum(), 1))


def histogram(truth: np.ndarray, prob: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of class 1 and of class 0, (PROB_BINS,) int64 each, per bin of the probability of class 1.

    Args:
        truth: (...,) uint8 of a binary task, ignored pixels left out.
        prob: (...,) float, 0…1.
    """
    bins = np.minimum((prob * PROB_BINS).astype(int), PROB_BINS - 1)
    positives, negatives = (np.bincount(bins[truth == k], minlength=PROB_BINS) for k in (1, 0))
    return positives, negatives


def confusion_at(positives: np.ndarray, negatives: np.ndarray, threshold: float) -> np.ndarray:
    """Confusion matrix (2, 2) where class 1 is said from `threshold` (a whole number of bins) on."""
    cut = round(threshold * PROB_BINS)
    rows = [(counts[:cut].sum(), counts[cut:].sum()) for counts in (np.asarray(negatives), np.asarray(positives))]
    return np.array(rows, np.int64)


def best_threshold(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Probability from which class 1 is said so that its IoU is best, 1/PROB_BINS…1; the middle one of equals."""
    tail_hit, tail_false = (np.cumsum(np.asarray(counts)[::-1])[::-1] for counts in (positives, negatives))
    iou = _ratio(tail_hit, tail_hit[0] + tail_false)[1:]
    best = np.flatnonzero(iou == iou.max())
    return float(best[len(best) // 2] + 1) / PROB_BINS


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    ratio: np.ndarray = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return ratio
