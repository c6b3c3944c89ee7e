"""Parcel loss: cross-entropy in which every parcel counts alike, however many pixels it has.

A parcel is a connected piece of one class on a chip, by edges; neighbours of one class are one parcel. Ground of a
class that is no parcel (background) counts as one piece too, unless the masks leave it unlabelled.
"""

import numpy as np
import torch
from scipy.ndimage import label
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.classes import IGNORE


class Parcel(nn.Module):
    """Mean over parcels of their mean cross-entropy; those below `min_px` count by their size."""

    weights: Tensor | None

    def __init__(self, class_weights: Tensor | None, min_px: int) -> None:
        super().__init__()
        self.register_buffer("weights", class_weights, persistent=False)
        self.min_px = min_px

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, K, H, W) and target (B, H, W), 255 ignored, to a scalar; 0 where no pixel is labelled."""
        ids = target.detach().cpu().numpy()
        weight = torch.from_numpy(np.stack([pixel_weights(chip, self.min_px) for chip in ids])).to(logits)
        safe = torch.where(target == IGNORE, 0, target).long()
        if self.weights is not None:
            weight = weight * self.weights[safe]
        each = F.cross_entropy(logits, safe, reduction="none")
        return (each * weight).sum() / weight.sum().clamp(min=1e-6)


def pixel_weights(ids: np.ndarray, min_px: int) -> np.ndarray:
    """(H, W) class ids to weights that sum to 1 over each parcel of at least `min_px`; 0 on ignored pixels."""
    weights = np.zeros(ids.shape, np.float32)
    for k in np.unique(ids[ids != IGNORE]):
        parcels, _ = label(ids == k)
        areas = np.bincount(parcels.ravel())
        areas[0] = 0
        shares = np.where(areas > 0, 1 / np.maximum(areas, min_px), 0)
        weights += shares[parcels].astype(np.float32)
    return weights


def build(*, class_weights: Tensor | None, min_px: int) -> nn.Module:
    """Cross-entropy by parcels.

    Args:
        class_weights: (K,) or None.
        min_px: Area from which on a parcel counts in full, so that specks do not; pixels.

    Raises:
        ValueError: The area is below 1.
    """
    if min_px < 1:
        raise ValueError(f"min_px should be at least 1, not {min_px}")
    return Parcel(class_weights, min_px)
