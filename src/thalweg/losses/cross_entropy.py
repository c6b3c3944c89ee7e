"""Pixel-wise cross-entropy, optionally weighted by class."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.classes import IGNORE


class CrossEntropy(nn.Module):
    """Weighted mean over labelled pixels; exactly 0, with its gradient, where no pixel is labelled."""

    weights: Tensor | None

    def __init__(self, class_weights: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weights", class_weights, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, K, H, W) and target (B, H, W), 255 ignored, to a scalar."""
        target = target.long()
        total = F.cross_entropy(logits, target, self.weights, ignore_index=IGNORE, reduction="sum")
        known = (target != IGNORE).to(total.dtype)
        if self.weights is not None:
            known = known * self.weights[torch.where(target == IGNORE, 0, target)]
        return total / known.sum().clamp(min=1e-6)


def build(class_weights: Tensor | None) -> nn.Module:
    """Cross-entropy with one weight per class, or none."""
    return CrossEntropy(class_weights)
