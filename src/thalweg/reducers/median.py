"""The median of probabilities per class, brought back to a sum of one: a member gone astray has no say.

With two members it is their mean.
"""

import numpy as np


def reduce(probs: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Median over the members that have the pixel.

    Args:
        probs: (M, K, h, w) float32.
        measured: (M, h, w) bool.
    """
    ranked = np.sort(np.where(measured[:, None], probs, np.float32(np.inf)), axis=0)
    count = np.maximum(measured.sum(0), 1)
    below, above = (np.take_along_axis(ranked, at[None, None], 0)[0] for at in ((count - 1) // 2, count // 2))
    middle = np.where(measured.any(0), (below + above) / 2, 1)
    total = middle.sum(0)
    return np.asarray(np.where(total > 0, middle / np.where(total > 0, total, 1), 1 / len(middle)), np.float32)
