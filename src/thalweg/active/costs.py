"""What a training costs, counted and not timed: chips looked at, chips trained on, operations of both."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class ChipCost:
    """Floating-point operations of one chip: multiplications and additions of convolutions and matrix products."""

    forward: int
    step: int
    """Forward and backward."""


@dataclass(frozen=True)
class Plan:
    """What an epoch costs."""

    trained: int
    """Chips trained on per epoch."""
    scored: int
    """Forward passes over chips that were only looked at, per epoch after the warm-up."""
    warmup_epochs: int
    chip: ChipCost
    judge: ChipCost
    """Of the network that scores."""

    def until(self, epochs: int) -> dict[str, float]:
        """Totals after so many epochs: `chips_trained`, `chips_scored`, `flops_train`, `flops_score`."""
        trained, scored = epochs * self.trained, max(epochs - self.warmup_epochs, 0) * self.scored
        return {
            "chips_trained": float(trained),
            "chips_scored": float(scored),
            "flops_train": float(trained * self.chip.step),
            "flops_score": float(scored * self.judge.forward),
        }


def of_chip(network: nn.Module, pixels: Tensor) -> ChipCost:
    """Operations of one chip, counted on the network as it stands, which is left as it was.

    Args:
        network: Stored values (B, h, w, C) to logits.
        pixels: (1, h, w, C).
    """
    before = {module: module.training for module in network.modules()}
    network.eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(pixels)
    forward = counter.get_total_flops()
    counter = FlopCounterMode(display=False)
    with counter:
        network(pixels).float().sum().backward()
    network.zero_grad(set_to_none=True)
    for module, training in before.items():
        module.training = training
    return ChipCost(forward, counter.get_total_flops())
