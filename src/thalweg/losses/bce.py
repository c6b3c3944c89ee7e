"""Binary cross-entropy: each class against the rest, as if classes did not exclude each other.

Of two classes one margin is judged, logit 1 − logit 0, so that softmax makes of the logits the very probability that
was trained, and the loss equals the cross-entropy. Of more, each logit is judged for itself; softmax keeps their order.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.classes import IGNORE


class BCE(nn.Module):
    """Weighted mean over labelled pixels, and over classes where there are more than two."""

    weights: Tensor | None

    def __init__(self, class_weights: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weights", class_weights, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, K, H, W) and target (B, H, W), 255 ignored, to a scalar."""
        known = target != IGNORE
        ids = torch.where(known, target, 0).long()
        scores = logits[:, 1:] - logits[:, :1] if logits.shape[1] == 2 else logits
        first = logits.shape[1] - scores.shape[1]
        truth = torch.stack([ids == k for k in range(first, logits.shape[1])], 1).to(scores.dtype)
        each = F.binary_cross_entropy_with_logits(scores, truth, reduction="none").mean(1)  # (B, H, W)
        weight = known.to(each.dtype) if self.weights is None else known * self.weights[ids]
        return (each * weight).sum() / weight.sum().clamp(min=1e-6)


def build(*, class_weights: Tensor | None) -> nn.Module:
    """Binary cross-entropy; a pixel weighs as its true class, (K,) or None."""
    return BCE(class_weights)
