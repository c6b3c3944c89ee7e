"""Boundary loss: what is wrong counts by how far it lies from the true outline.

Source: Kervadec, Bouchtiba, Desrosiers, Granger, Dolz, Ben Ayed 2019, Boundary loss for highly unbalanced segmentation,
https://arxiv.org/abs/1812.07032, eq. 5. Here the truth's own (constant) share is taken off, so that the loss is 0 where
all is right, and distances are bounded, so that its weight does not depend on the chip's size; gradients are the
paper's within reach. It says nothing of classes that a chip lacks: add it to another loss.
"""

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn

from thalweg.classes import IGNORE


class Boundary(nn.Module):
    """Mean over labelled pixels of |probability − truth| × distance to the outline, averaged over classes."""

    def __init__(self, reach_px: float) -> None:
        super().__init__()
        self.reach_px = reach_px

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, K, H, W) and target (B, H, W), 255 ignored, to a scalar; 0 where no pixel is labelled."""
        ids = target.detach().cpu().numpy()
        maps = np.stack([[distance(chip, k, self.reach_px) for k in range(logits.shape[1])] for chip in ids])
        far = torch.from_numpy(maps).to(logits)  # (B, K, H, W)
        truth = torch.stack([target == k for k in range(logits.shape[1])], 1).to(logits.dtype)
        labelled = (target != IGNORE).sum().clamp(min=1)
        return (far * (logits.softmax(1) - truth)).sum() / (labelled * logits.shape[1])


def distance(ids: np.ndarray, k: int, reach_px: float) -> np.ndarray:
    """Signed distance of (H, W) pixels to the outline of class k, as a share of the reach: −1 deep inside, 1 far off.

    Measured to the nearest labelled pixel on the other side; 0 on ignored pixels, and where there is no other side.
    """
    inside, known = ids == k, ids != IGNORE
    outside = known & ~inside
    if not inside.any() or not outside.any():
        return np.zeros(ids.shape, np.float32)
    away, deep = distance_transform_edt(~inside), distance_transform_edt(~outside)
    signed = np.where(inside, -deep, away) * known
    return np.asarray(np.clip(signed / reach_px, -1, 1), np.float32)


def build(*, class_weights: Tensor | None, reach_px: float) -> nn.Module:  # noqa: ARG001 - distance is the weight
    """Boundary loss; class weights play no part.

    Args:
        class_weights: Not used.
        reach_px: Distance from which on a pixel counts in full, pixels.

    Raises:
        ValueError: The reach is not above 0.
    """
    if not reach_px > 0:
        raise ValueError(f"reach_px should be above 0, not {reach_px}")
    return Boundary(reach_px)
