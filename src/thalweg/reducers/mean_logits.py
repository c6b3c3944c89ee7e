"""The mean of logits, which is the normalised geometric mean of probabilities: one sure member outvotes unsure ones.

Source: Hinton 2002, Training Products of Experts by Minimizing Contrastive Divergence, section 1.
"""

import numpy as np

_FLOOR = np.float32(1e-6)


def reduce(probs: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Softmax of the mean log probability over the members that have the pixel.

    Args:
        probs: (M, K, h, w) float32; below a millionth counts as a millionth.
        measured: (M, h, w) bool.
    """
    logs = np.where(measured[:, None], np.log(np.maximum(probs, _FLOOR)), 0).sum(0, dtype=np.float32)
    logs /= np.maximum(measured.sum(0), 1).astype(np.float32)
    powers = np.exp(logs - logs.max(0))
    return np.asarray(powers / powers.sum(0))
