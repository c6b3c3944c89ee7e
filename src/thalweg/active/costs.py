"""What a training costs, counted and not timed: chips looked at, chips trained on, operations of both."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from thalweg.manifest.costs import SCHEMA, TrainingCosts


@dataclass(frozen=True)
class ChipCost:
    """Floating-point operations of one chip: multiplications and additions of convolutions and matrix products."""

    forward: int
    step: int
    """Forward and backward."""


@dataclass(frozen=True)
class Before:
    """Operations that were spent before the first epoch, so that there is a judge; 0 where nobody else judges."""

    holdout: int
    """All that the judge's own training has cost."""
    irreducible: int
    """Its losses on the training ground, once, whether they were kept or not."""


NOBODY = Before(0, 0)


@dataclass(frozen=True)
class Plan:
    """What an epoch costs, and what was spent before."""

    trained: int
    """Chips trained on per epoch."""
    scored: int
    """Forward passes over chips that were only looked at, per epoch after the warm-up."""
    warmup_epochs: int
    chip: ChipCost
    judge: ChipCost
    """Of the network that scores."""
    before: Before

    def until(self, epochs: int) -> TrainingCosts:
        """Totals after so many epochs."""
        trained, scored = epochs * self.trained, max(epochs - self.warmup_epochs, 0) * self.scored
        return TrainingCosts(
            schema_version=SCHEMA,
            chips_trained=trained,
            chips_scored=scored,
            flops_train=trained * self.chip.step,
            flops_score=scored * self.judge.forward,
            flops_irreducible=self.before.irreducible,
            flops_holdout=self.before.holdout,
        )


def of_chip(network: nn.Module, pixels: Tensor) -> ChipCost:
    """Operations of one chip, counted on the network as it stands, which is left as it was.

    Args:
        network: Stored values (B, h, w, C) to logits.
        pixels: (1, h, w, C).
    """
    with _examined(network) as counter:
        network(pixels).float().sum().backward()
    network.zero_grad(set_to_none=True)
    return ChipCost(of_forward(network, pixels), counter.get_total_flops())


def of_forward(network: nn.Module, pixels: Tensor) -> int:
    """Operations of one forward pass over (1, h, w, C)."""
    with _examined(network) as counter, torch.no_grad():
        network(pixels)
    return counter.get_total_flops()


@contextmanager
def _examined(network: nn.Module) -> Iterator[FlopCounterMode]:
    """Counts, in evaluation mode; afterwards every module is as it was."""
    before = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with FlopCounterMode(display=False) as counter:
            yield counter
    finally:
        for module, training in before.items():
            module.training = training
