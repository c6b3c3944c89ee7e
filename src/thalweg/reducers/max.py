"""What any member is surest of, as torchbearer merges its maps: nothing that one member found is lost.

Two classes: the largest probability of class 1, class 0 the rest, so that the map of class 1 is torchbearer's. More
classes: the largest of each, divided by their sum, so that the label is that of the surest member.

Source: giodueck/torchbearer, commit e8689f1 (windows and members merged by rasterio's `max`), the idea only.
"""

import numpy as np


def reduce(probs: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Largest over the members that have the pixel.

    Args:
        probs: (M, K, h, w) float32.
        measured: (M, h, w) bool.
    """
    top = np.where(measured[:, None], probs, 0).max(0)
    if len(top) == 2:
        return np.stack([1 - top[1], top[1]])
    return np.asarray(top / np.maximum(top.sum(0), np.float32(1e-6)))
