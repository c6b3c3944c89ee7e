"""The mean of probabilities, each member by its weight: how good it is on validation ground, say."""

import numpy as np

KEEPS_ONE = True
"""A member by itself stays as it is."""


def reduce(probs: np.ndarray, measured: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean over the members that have the pixel; where all of those weigh nothing, their plain mean.

    Args:
        probs: (M, K, h, w) float32.
        measured: (M, h, w) bool.
        weights: (M,) float32, 0 or more.
    """
    share = measured * weights[:, None, None]
    share = np.where(share.sum(0) > 0, share, measured).astype(np.float32)
    share /= np.maximum(share.sum(0), np.float32(1e-30))
    return np.asarray((np.where(measured[:, None], probs, 0) * share[:, None]).sum(0, dtype=np.float32))
