"""Augmentation of whole batches on their device, driven by a generator seeded for each step."""

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

JITTER = 0.05
"""Standard deviation of gain and of offset, in standard deviations of a channel."""


def generator(seed: int, epoch: int, step: int) -> torch.Generator:
    """A CPU generator that follows from its three numbers alone, so that every device sees the same draws."""
    state = np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


def augment(inputs: Tensor, target: Tensor, names: Collection[str], random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Applies the named augmentations.

    Args:
        inputs: (B, C, h, w) normalised, 0 = nodata.
        target: (B, h, w).
        names: `d4`, `gain`.
        random: Of this step.
    """
    if "d4" in names:
        inputs, target = d4(inputs, target, random)
    if "gain" in names:
        inputs = gain(inputs, random)
    return inputs, target


def d4(inputs: Tensor, target: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """One of the eight flips and turns of the square for each chip; chips are square."""
    turned, turned_target = torch.empty_like(inputs), torch.empty_like(target)
    choice = torch.randint(8, (len(inputs),), generator=random)
    for k in range(8):
        where = torch.nonzero(choice == k).flatten().to(inputs.device)
        if len(where):
            turned[where] = turn(inputs[where], k)
            turned_target[where] = turn(target[where], k)
    return turned, turned_target


def turn(planes: Tensor, k: int) -> Tensor:
    """Element k (0…7) of the dihedral group on the last two axes: k % 4 quarter turns, flipped from 4 on."""
    flipped = planes.flip(-1) if k >= 4 else planes
    return torch.rot90(flipped, k % 4, (-2, -1))


def gain(inputs: Tensor, random: torch.Generator) -> Tensor:
    """Each channel of each chip times (1 + 5 %) plus 5 % of a standard deviation, normally drawn; nodata stays 0."""
    draws = (torch.randn((2, *inputs.shape[:2], 1, 1), generator=random) * JITTER).to(inputs)
    return torch.where(inputs == 0, inputs, torch.addcmul(draws[1], inputs, 1 + draws[0]))
