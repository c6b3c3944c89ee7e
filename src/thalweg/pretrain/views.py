"""Views of a chip: crops by their size on the ground, turned, and changed in light as air and instruments change it.

A view remembers where on the ground it lies, so that features of the same ground can be found in two of them. Nodata
stays 0 through all of it, and `valid` says where anything was measured.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from thalweg.dataset import augment
from thalweg.params.encoders import Alter, Crops, Metres
from thalweg.pretrain.encoder import share_of_cells

_SCATTERING = (4.0, 2.0, 1.0, 0.7, 0.5)
"""Powers of the wavelength by which path radiance falls, from a very clear to a very hazy atmosphere.

Source: Chavez 1988, An improved dark-object subtraction technique, table 1,
https://doi.org/10.1016/0034-4257(88)90019-3.
"""
_BLUE_NM = 490.0


class View(NamedTuple):
    """One view of every chip of a batch."""

    inputs: Tensor
    """(B, C, h, w) z-scores, 0 = nodata."""
    valid: Tensor
    """(B, 1, h, w) 1 where any channel was measured."""
    place: Tensor
    """(B, 2, 3) from a view's coordinates, −1…1 as of `affine_grid`, to metres from its chip's middle."""
    measured: Tensor
    """(B, C, h, w) bool: measured, and not dropped."""


class Look(NamedTuple):
    """Which of a chip's dates a view shows, and by which draw of crop and light."""

    date: int
    crop: int
    light: int | None
    """None: as it is."""


class Light(NamedTuple):
    """What of the channels is needed to change light."""

    radiometry: augment.Radiometry
    std: Tensor
    """(C,) of a z-score, physical units."""
    wavelengths_nm: Tensor
    """(C,), NaN where there is none."""


def crop_places(count: int, edges_m: Metres, chip_px: int, pixel_m: Tensor, crops: Crops, d4: bool,
                random: torch.Generator) -> Tensor:  # fmt: skip
    """(B, 2, 3) places of crops whose edge on the ground is drawn evenly in its logarithm, inside `crops.chip_m`.

    Args:
        count: Chips.
        edges_m: Smallest and largest edge.
        chip_px: Edge of the chips' rasters.
        pixel_m: (B,) ground size of their pixels.
        crops: For the ground that crops may lie in.
        d4: Whether each is flipped and turned.
        random: Of this view.
    """
    draw = torch.rand((3, count), generator=random)
    low, high = (math.log(edge) for edge in edges_m)
    edge_m = torch.exp(low + (high - low) * draw[0])
    scale = edge_m / (pixel_m * chip_px)  # half of the raster's edge is 1
    room = (crops.chip_m - edge_m) / (pixel_m * chip_px)
    shift = (2 * draw[1:] - 1) * room
    turn = torch.eye(2).expand(count, 2, 2)
    if d4:
        which = torch.randint(8, (count,), generator=random)
        quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        turns = torch.stack([torch.linalg.matrix_power(quarter, k) for k in range(4)])
        flips = torch.stack([torch.eye(2), torch.diag(torch.tensor([-1.0, 1.0]))])
        turn = turns[which % 4] @ flips[which // 4]
    return torch.cat([turn * scale[:, None, None], shift.T[:, :, None]], 2)


def look(inputs: Tensor, measured: Tensor, place: Tensor, size_px: int, half_m: Tensor) -> View:
    """A crop of z-scores (B, C, H, W): bilinear over what was measured, nodata where most of it was not.

    Args:
        inputs: Z-scores.
        measured: Of the same shape.
        place: As of `crop_places`.
        size_px: Edge of the view.
        half_m: (B,) half of the raster's edge on the ground, so that dates of unlike pixels can be compared.
    """
    grid = F.affine_grid(place.to(inputs), [len(inputs), 1, size_px, size_px], align_corners=False)
    there = measured.to(inputs.dtype)
    sampled = F.grid_sample(torch.cat([inputs * there, there], 1), grid, mode="bilinear", align_corners=False)
    values, weight = sampled.chunk(2, 1)
    kept = weight > 0.5
    return View(torch.where(kept, values / weight.clamp(min=0.5), 0.0), kept.any(1, keepdim=True).to(inputs.dtype),
                place.to(inputs) * half_m.to(inputs)[:, None, None], kept)  # fmt: skip


def relit(view: View, alter: Alter, light: Light, random: torch.Generator) -> View:
    """The view under other air and by another instrument; nodata stays 0."""
    inputs = view.inputs
    if alter.jitter:
        inputs = augment.jitter(inputs, alter.jitter, light.radiometry, random)
    if alter.haze:
        inputs = haze(inputs, alter.haze, light, random)
    if alter.gain:
        inputs = augment.gain(inputs, alter.gain, random)
    if alter.noise:
        inputs = augment.noise(inputs, alter.noise, random)
    measured = view.measured
    if alter.band_dropout:
        measured = measured & (augment.band_dropout(torch.ones_like(inputs), alter.band_dropout, random) > 0)
    return view._replace(inputs=torch.where(measured, inputs, 0.0), measured=measured)


def haze(inputs: Tensor, most: float, light: Light, random: torch.Generator) -> Tensor:
    """Path radiance over reflectance with a wavelength: up to `most` at 490 nm, by one power of the wavelength a chip.

    Nodata (0) stays.
    """
    draw = torch.rand((len(inputs), 1), generator=random) * most
    powers = torch.tensor(_SCATTERING)[torch.randint(len(_SCATTERING), (len(inputs), 1), generator=random)]
    ratio = (light.wavelengths_nm / _BLUE_NM)[None]  # (1, C)
    added = draw * ratio**-powers / light.std
    added = torch.where(torch.isnan(added) | ~light.radiometry.reflectance, 0.0, added).to(inputs)
    return torch.where(inputs == 0, inputs, inputs + added[:, :, None, None])


def matched(first: View, second: View, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Features of the same ground in two views: (N, D) of the first's cells, (N, D) of the second under their middles.

    Only cells whose ground lies in both views, and most of which was measured in both.

    Args:
        first: A view.
        second: Another of the same chips.
        maps: (B, D, h, w) features of each.
    """
    one, other = maps
    cells = F.affine_grid(torch.eye(2, 3).to(one).expand(len(one), 2, 3), list(one.shape), align_corners=False)
    whole = torch.tensor([[0.0, 0.0, 1.0]]).to(one).expand(len(one), 1, 3)
    there = torch.linalg.inv(torch.cat([second.place.to(one), whole], 1)) @ torch.cat([first.place.to(one), whole], 1)
    at = torch.einsum("bhwi,bji->bhwj", cells, there[:, :2, :2]) + there[:, None, None, :2, 2]
    known = share_of_cells(second.valid, other)
    sampled = F.grid_sample(torch.cat([other, known], 1), at, mode="bilinear", padding_mode="border",
                            align_corners=False)  # fmt: skip
    both = (at.abs() <= 1).all(-1) & (sampled[:, -1] > 0.5)
    both &= share_of_cells(first.valid, one)[:, 0] > 0.5
    return one.permute(0, 2, 3, 1)[both], sampled[:, :-1].permute(0, 2, 3, 1)[both]
