"""The mean of probabilities: the plain, hard-to-beat combination of separately trained networks.

Source: Lakshminarayanan et al. 2017, Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles, 2.4.
"""

import numpy as np

KEEPS_ONE = True
"""A member by itself stays as it is."""


def reduce(probs: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Mean over the members that have the pixel.

    Args:
        probs: (M, K, h, w) float32.
        measured: (M, h, w) bool.
    """
    total = np.where(measured[:, None], probs, 0).sum(0, dtype=np.float32)
    return np.asarray(total / np.maximum(measured.sum(0), 1).astype(np.float32))
