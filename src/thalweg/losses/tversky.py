"""Tversky loss: Dice with false alarms and misses weighed apart.

Source: Salehi, Erdogmus, Gholipour 2017, Tversky loss function for image segmentation using 3D fully convolutional deep
networks, https://arxiv.org/abs/1706.05721, eq. 3.
"""

import torch
from torch import Tensor, nn

from thalweg.classes import IGNORE

_SMOOTH = 0.5
"""Pixels added above and below; with α = β = 1/2 this makes the loss equal to `dice`."""


class Tversky(nn.Module):
    """1 − hits / (hits + α·false alarms + β·misses) per class over the batch, averaged over classes in the truth."""

    def __init__(self, alpha: float, beta: float) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, beta

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, K, H, W) and target (B, H, W), 255 ignored, to a scalar; 0 where no pixel is labelled."""
        known = target != IGNORE
        probs = logits.softmax(1) * known[:, None]
        truth = torch.stack([target == k for k in range(logits.shape[1])], 1).to(probs.dtype)
        hits, found, real = (values.sum((0, 2, 3)) for values in (probs * truth, probs, truth))
        index = (hits + _SMOOTH) / (hits + self.alpha * (found - hits) + self.beta * (real - hits) + _SMOOTH)
        present = (real > 0).to(index.dtype)
        return ((1 - index) * present).sum() / present.sum().clamp(min=1)


def build(*, class_weights: Tensor | None, alpha: float, beta: float) -> nn.Module:  # noqa: ARG001 - as Dice
    """Tversky loss; class weights play no part.

    Args:
        class_weights: Not used.
        alpha: Weight of false alarms.
        beta: Weight of misses; above α for rare classes.

    Raises:
        ValueError: A weight is negative, or both are 0.
    """
    if alpha < 0 or beta < 0 or alpha + beta == 0:
        raise ValueError(f"alpha and beta should be at least 0 and not both 0, not {alpha} and {beta}")
    return Tversky(alpha, beta)
