"""Focal loss: cross-entropy that looks away from pixels which are right already.

Source: Lin, Goyal, Girshick, He, Dollár 2017, Focal Loss for Dense Object Detection, https://arxiv.org/abs/1708.02002,
eq. 5, with softmax for sigmoid.
"""

import torch
from torch import Tensor, nn

from thalweg.classes import IGNORE


class Focal(nn.Module):
    """(1 − p)^γ · −log p of the true class, as a weighted mean over labelled pixels."""

    weights: Tensor | None

    def __init__(self, class_weights: Tensor | None, gamma: float) -> None:
        super().__init__()
        self.register_buffer("weights", class_weights, persistent=False)
        self.gamma = gamma

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, K, H, W) and target (B, H, W), 255 ignored, to a scalar."""
        known = target != IGNORE
        ids = torch.where(known, target, 0).long()
        log_p = logits.log_softmax(1).gather(1, ids[:, None])[:, 0]
        # γ below 1 has an infinite slope at p = 1, which the clamp keeps out
        each = -log_p * (-torch.expm1(log_p)).clamp(min=1e-6) ** self.gamma
        weight = known.to(each.dtype) if self.weights is None else known * self.weights[ids]
        return (each * weight).sum() / weight.sum().clamp(min=1e-6)


def build(*, class_weights: Tensor | None, gamma: float) -> nn.Module:
    """Focal loss.

    Args:
        class_weights: (K,) or None; the paper's α.
        gamma: How far it looks away; 0 is the cross-entropy, 2 the paper's choice.

    Raises:
        ValueError: `gamma` is negative.
    """
    if gamma < 0:
        raise ValueError(f"gamma should be at least 0, not {gamma}")
    return Focal(class_weights, gamma)
