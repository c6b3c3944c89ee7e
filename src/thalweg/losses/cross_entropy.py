"""Pixel-wise cross-entropy, optionally weighted by class and with smoothed labels.

Source of smoothing: Szegedy et al. 2016, Rethinking the Inception Architecture, https://arxiv.org/abs/1512.00567,
section 7.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.classes import IGNORE


class CrossEntropy(nn.Module):
    """Weighted mean over labelled pixels; exactly 0, with its gradient, where no pixel is labelled."""

    weights: Tensor | None

    def __init__(self, class_weights: Tensor | None, smoothing: float) -> None:
        super().__init__()
        self.register_buffer("weights", class_weights, persistent=False)
        self.smoothing = smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, K, H, W) and target (B, H, W), 255 ignored, to a scalar."""
        target = target.long()
        if self.weights is not None:  # smoothing would pull at pixels that are weighed with nothing
            weightless = self.weights[torch.where(target == IGNORE, 0, target)] == 0
            target = target.masked_fill(weightless, IGNORE)
        total = F.cross_entropy(
            logits, target, self.weights, ignore_index=IGNORE, reduction="sum", label_smoothing=self.smoothing
        )
        known = (target != IGNORE).to(total.dtype)
        if self.weights is not None:
            known = known * self.weights[torch.where(target == IGNORE, 0, target)]
        return total / known.sum().clamp(min=1e-6)


def build(*, class_weights: Tensor | None, smoothing: float = 0.0) -> nn.Module:
    """Cross-entropy with one weight per class, or none.

    Args:
        class_weights: (K,) or None.
        smoothing: Share of the truth that is spread evenly over all classes; with class weights each class's part of it
            is weighted by that class, and pixels of a class of weight 0 take no part. 0 in params of the short form
            `cross_entropy: 1.0`.

    Raises:
        ValueError: The share is out of its range.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing should be at least 0 and below 1, not {smoothing}")
    return CrossEntropy(class_weights, smoothing)
