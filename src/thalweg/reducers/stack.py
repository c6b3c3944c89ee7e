"""Stacking: a linear model on the members' log-probabilities, fitted on validation, tells whom to believe about what.

A member that lacks a pixel counts as the mean of those that have it.

Source: Wolpert 1992, Stacked Generalization, https://doi.org/10.1016/S0893-6080(05)80023-1; with class probabilities
and a linear model: Ting and Witten 1999, Issues in Stacked Generalization, https://doi.org/10.1613/jair.594.
"""

import numpy as np

_FLOOR = np.float32(1e-6)


def reduce(probs: np.ndarray, measured: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Softmax of matrix · log probabilities + shift.

    Args:
        probs: (M, K, h, w) float32; below a millionth counts as a millionth.
        measured: (M, h, w) bool.
        matrix: (K, M, K) float32: class that is scored, member, class that it says.
        shift: (K,) float32.
    """
    scores = np.einsum("kmc,mc...->k...", matrix, to_features(probs, measured), optimize=True)
    scores += shift.reshape(-1, *(1,) * (probs.ndim - 2))
    powers = np.exp(scores - scores.max(0), dtype=np.float32)
    return np.asarray(powers / powers.sum(0))


def to_features(probs: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Log-probabilities (M, K, …) float32, absent members filled with the mean of the others."""
    logs = np.log(np.clip(probs, _FLOOR, 1))
    present = measured[:, None]
    mean = np.where(present, logs, 0).sum(0, dtype=np.float32) / np.maximum(measured.sum(0), 1).astype(np.float32)
    return np.asarray(np.where(present, logs, mean), np.float32)
