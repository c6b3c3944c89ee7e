"""clDice: whether the centre lines of thin things, such as channels and roads, are found unbroken.

Source: Shit et al. 2021, clDice – a Novel Topology-Preserving Loss Function for Tubular Structure Segmentation,
https://arxiv.org/abs/2003.07311, algorithms 1 and 2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.classes import IGNORE
from thalweg.errors import ParamsError

_SMOOTH = 1.0
"""Pixels added above and below, as in `dice`."""


class ClDice(nn.Module):
    """1 − clDice of each linear class over the batch, averaged over those that the truth holds."""

    def __init__(self, classes: Sequence[int], iterations: int) -> None:
        super().__init__()
        self.classes, self.iterations = tuple(classes), iterations

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, K, H, W) and target (B, H, W), 255 ignored, to a scalar; 0 where there is no such class.

        Raises:
            ParamsError: There is no class of that id.
        """
        if max(self.classes) >= logits.shape[1]:
            raise ParamsError(f"loss 'cldice' names class {max(self.classes)} of {logits.shape[1]}; ids count from 0")
        picked = list(self.classes)
        probs = (logits.softmax(1) * (target != IGNORE)[:, None])[:, picked]
        truth = torch.stack([target == k for k in picked], 1).to(probs.dtype)
        lines, real_lines = skeleton(probs, self.iterations), skeleton(truth, self.iterations)
        precise, complete = _within(lines, truth), _within(real_lines, probs)
        loss = 1 - 2 * precise * complete / (precise + complete)
        present = (truth.sum((0, 2, 3)) > 0).to(loss.dtype)
        return (loss * present).sum() / present.sum().clamp(min=1)


def skeleton(planes: Tensor, iterations: int) -> Tensor:
    """Soft centre lines of (B, K, H, W) in 0…1: what opening takes away, while planes are eroded again and again."""
    lines = F.relu(planes - _opened(planes))
    for _ in range(iterations):
        planes = _eroded(planes)
        more = F.relu(planes - _opened(planes))
        lines = lines + F.relu(more - lines * more)
    return lines


def _within(lines: Tensor, area: Tensor) -> Tensor:
    return ((lines * area).sum((0, 2, 3)) + _SMOOTH) / (lines.sum((0, 2, 3)) + _SMOOTH)


def _eroded(planes: Tensor) -> Tensor:
    """Least of the pixel and its four neighbours."""
    return torch.minimum(-F.max_pool2d(-planes, (3, 1), 1, (1, 0)), -F.max_pool2d(-planes, (1, 3), 1, (0, 1)))


def _opened(planes: Tensor) -> Tensor:
    return F.max_pool2d(_eroded(planes), 3, 1, 1)


def build(*, class_weights: Tensor | None, classes: Sequence[int], iterations: int) -> nn.Module:  # noqa: ARG001
    """The clDice of linear classes; class weights play no part. Its authors add it to `dice`, half and half.

    Args:
        class_weights: Not used.
        classes: Ids of the linear classes.
        iterations: Erosions; at least half the greatest width of the things, pixels.

    Raises:
        ValueError: No class is named, or an option is out of its range.
    """
    if not classes or any(not isinstance(k, int) or k < 0 for k in classes):
        raise ValueError(f"classes should be ids of the linear classes, not {classes}")
    if not isinstance(iterations, int) or iterations < 1:
        raise ValueError(f"iterations should be a whole number from 1 on, not {iterations!r}")
    return ClDice(classes, iterations)
