"""Each member's label is one vote; a class's probability is its share of the votes, less what breaks ties.

A thousandth of the mean of probabilities decides between classes with as many votes, and between those alone.
"""

import numpy as np

_TIE = np.float32(1e-3)


def reduce(probs: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Shares of the votes of the members that have the pixel (fewer than a thousand).

    Args:
        probs: (M, K, h, w) float32.
        measured: (M, h, w) bool.
    """
    said = np.arange(probs.shape[1])[:, None, None] == probs.argmax(1)[:, None]
    count = np.maximum(measured.sum(0), 1).astype(np.float32)
    votes, mean = (np.where(measured[:, None], each, 0).sum(0, dtype=np.float32) / count for each in (said, probs))
    return np.asarray((votes + _TIE * mean) / (1 + _TIE))
