"""Augmentation of whole batches on their device, driven by a generator seeded for each step.

Image and target move together; ground that turns into view from outside a chip is nodata (0) and unlabelled (255).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from thalweg.classes import IGNORE


class Batch(NamedTuple):
    """An augmented batch; `other` and `share` are of a mix-up, whose loss is share × loss + (1 − share) × other's."""

    inputs: Tensor
    """(B, C, h, w) normalised, 0 = nodata."""
    target: Tensor
    """(B, h, w) class ids, 255 = unlabelled."""
    other: Tensor | None
    share: float


class Radiometry(NamedTuple):
    """What of a channel is needed to change light rather than numbers."""

    bias: Tensor
    """(C,) normalised value of physical zero."""
    reflectance: Tensor
    """(C,) bool."""


def generator(seed: int, epoch: int, step: int, rank: int = 0) -> torch.Generator:
    """A CPU generator that follows from its numbers alone, so that every device sees the same draws.

    Each of several processes has its own; that of rank 0 is the one of a process that trains alone.
    """
    state = np.random.SeedSequence([seed, epoch, step, rank]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


def augment(
    inputs: Tensor, target: Tensor, strengths: Mapping[Any, float], radiometry: Radiometry, random: torch.Generator,
    common: torch.Generator | None = None,
) -> Batch:  # fmt: skip
    """Applies the named augmentations: first those that move pixels, then those that change values, then mixtures.

    Args:
        inputs: (B, C, h, w) normalised, 0 = nodata.
        target: (B, h, w).
        strengths: Name → strength, as `models.<member>.augment` explains them; 0 leaves one out.
        radiometry: Of the channels.
        random: Of this step.
        common: Of what all processes draw alike; None where there is one process.
    """
    strengths = {name: strength for name, strength in strengths.items() if strength}
    if "d4" in strengths:
        inputs, target = d4(inputs, target, random)
    if "rotate" in strengths or "resized_crop" in strengths:
        inputs, target = warp(inputs, target, strengths.get("rotate", 0.0), strengths.get("resized_crop", 1.0), random)
    if "jitter" in strengths:
        inputs = jitter(inputs, strengths["jitter"], radiometry, random)
    if "gain" in strengths:
        inputs = gain(inputs, strengths["gain"], random)
    if "noise" in strengths:
        inputs = noise(inputs, strengths["noise"], random)
    if "band_dropout" in strengths:
        inputs = band_dropout(inputs, strengths["band_dropout"], random)
    if "cutmix" in strengths:
        inputs, target = cutmix(inputs, target, strengths["cutmix"], random)
    if "mixup" in strengths:
        return mixup(inputs, target, strengths["mixup"], random, common)
    return Batch(inputs, target, None, 1.0)


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


def warp(
    inputs: Tensor, target: Tensor, degrees: float, least: float, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Each chip turned by up to ± degrees and zoomed to a crop of `least` to all of its area, in one interpolation.

    Bilinear for values, where a pixel next to nodata keeps its own value; nearest for labels.
    """
    from kornia.geometry.transform import get_affine_matrix2d, warp_affine  # noqa: PLC0415 - takes seconds

    count, _, height, width = inputs.shape
    draw = torch.rand((4, count), generator=random)
    angle = (2 * draw[0] - 1) * degrees
    edge = torch.sqrt(least + (1 - least) * draw[1])  # share of the chip's edge that the crop spans
    size = torch.tensor([width, height], dtype=torch.float32)
    shift = (0.5 - draw[2:].T) * (1 - edge)[:, None] * size / edge[:, None]
    centre = ((size - 1) / 2).expand(count, 2)
    matrix = get_affine_matrix2d(shift, centre, (1 / edge)[:, None].expand(count, 2), angle)[:, :2].to(inputs)
    there = (inputs != 0).to(inputs.dtype)
    planes = warp_affine(torch.cat([inputs, there], 1), matrix, (height, width), mode="bilinear", align_corners=True)
    values, weight = planes.chunk(2, 1)
    warped = torch.where(weight > 0.5, values / weight.clamp(min=0.5), 0.0)
    shifted = (target.to(inputs.dtype) + 1).remainder(IGNORE + 1)[:, None]  # 255 becomes 0, which is what fills
    labels = warp_affine(shifted, matrix, (height, width), mode="nearest", align_corners=True)[:, 0]
    return warped, (labels.round() - 1).remainder(IGNORE + 1).to(target.dtype)


def jitter(inputs: Tensor, strength: float, radiometry: Radiometry, random: torch.Generator) -> Tensor:
    """Brightness and contrast of reflectance, each times 1 ± strength, the same for all channels of a chip.

    Brightness scales light itself (physical zero stays zero); contrast turns about each channel's mean of the chip.
    """
    draws = (1 + (2 * torch.rand((2, len(inputs), 1, 1, 1), generator=random) - 1) * strength).to(inputs)
    zero = radiometry.bias.to(inputs)[:, None, None]
    bright = zero + draws[0] * (inputs - zero)
    there = inputs != 0
    mean = (bright * there).sum((2, 3), keepdim=True) / there.sum((2, 3), keepdim=True).clamp(min=1)
    changed = mean + draws[1] * (bright - mean)
    return torch.where(there & radiometry.reflectance.to(inputs.device)[:, None, None], changed, inputs)


def gain(inputs: Tensor, strength: float, random: torch.Generator) -> Tensor:
    """Each channel of each chip times (1 + g) plus o, both normally drawn with this deviation; nodata stays 0."""
    draws = (torch.randn((2, *inputs.shape[:2], 1, 1), generator=random) * strength).to(inputs)
    return torch.where(inputs == 0, inputs, torch.addcmul(draws[1], inputs, 1 + draws[0]))


def noise(inputs: Tensor, strength: float, random: torch.Generator) -> Tensor:
    """Normal noise of this deviation on every value; nodata stays 0."""
    return torch.where(
        inputs == 0, inputs, inputs + (torch.randn(inputs.shape, generator=random) * strength).to(inputs)
    )


def band_dropout(inputs: Tensor, probability: float, random: torch.Generator) -> Tensor:
    """Channels of a chip that are missing with this probability, one at least stays."""
    kept = torch.rand(inputs.shape[:2], generator=random) >= probability
    kept[torch.arange(len(inputs)), torch.randint(inputs.shape[1], (len(inputs),), generator=random)] = True
    return inputs * kept.to(inputs)[:, :, None, None]


def cutmix(inputs: Tensor, target: Tensor, probability: float, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """A box of another chip, with its labels, pasted into each chip with this probability.

    Source: Yun et al. 2019, CutMix, https://arxiv.org/abs/1905.04899, with the box's share drawn evenly.
    """
    count, _, height, width = inputs.shape
    partner = torch.randperm(count, generator=random)
    draw = torch.rand((4, count), generator=random)
    high, wide = ((torch.sqrt(draw[0]) * edge).long() for edge in (height, width))
    top, left = ((draw[1] * (height - high + 1)).long(), (draw[2] * (width - wide + 1)).long())
    rows, cols = torch.arange(height)[None, :, None], torch.arange(width)[None, None, :]
    box = (rows >= top[:, None, None]) & (rows < (top + high)[:, None, None])
    box = box & (cols >= left[:, None, None]) & (cols < (left + wide)[:, None, None])
    box &= (draw[3] < probability)[:, None, None]
    box, partner = box.to(inputs.device), partner.to(inputs.device)
    return torch.where(box[:, None], inputs[partner], inputs), torch.where(box, target[partner], target)


def mixup(inputs: Tensor, target: Tensor, alpha: float, random: torch.Generator,
          common: torch.Generator | None = None) -> Batch:  # fmt: skip
    """Each chip blended with another, by one share of Beta(α, α) for the batch of all processes.

    Both targets count by their share.

    Source: Zhang et al. 2018, mixup, https://arxiv.org/abs/1710.09412.
    """
    seed = int(torch.randint(2**31, (1,), generator=common or random))
    share = float(np.random.default_rng(seed).beta(alpha, alpha))
    partner = torch.randperm(len(inputs), generator=random).to(inputs.device)
    return Batch(share * inputs + (1 - share) * inputs[partner], target, target[partner], share)
