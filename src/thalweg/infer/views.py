"""The same ground seen otherwise: flips and turns, undone exactly, and other pixel sizes, brought back onto the grid.

Source of the mean over mirrored inputs at prediction time: Krizhevsky et al. 2012, ImageNet Classification with Deep
Convolutional Neural Networks, section 4.1.
"""

import itertools

import torch
from torch import Tensor
from torch.nn.functional import interpolate

DIHEDRAL = tuple(itertools.product(range(4), (False, True)))
"""Quarter turns, and whether flipped thereafter: all eight ways to lay a square onto itself, the plain one first."""


def turned(pixels: Tensor, view: tuple[int, bool], dims: tuple[int, int]) -> Tensor:
    """A view of pixels, of which `dims` are the rows and the columns."""
    turn, flip = view
    tensor = torch.rot90(pixels, turn, dims) if turn else pixels
    return tensor.flip(dims[1]) if flip else tensor


def unturned(pixels: Tensor, view: tuple[int, bool], dims: tuple[int, int]) -> Tensor:
    """The inverse of `turned`."""
    turn, flip = view
    tensor = pixels.flip(dims[1]) if flip else pixels
    return torch.rot90(tensor, -turn, dims) if turn else tensor


def scaled(pixels: Tensor, scale: float, nodata: float) -> Tensor:
    """Stored values (B, h, w, C) at pixels of another size, float32, nodata kept apart.

    Each channel is interpolated bilinearly from its measured pixels alone; where they make up less than half of the
    weight, the new pixel is nodata. Up to scale 2 every pixel counts, and what is linear on the ground stays so.

    Args:
        pixels: Stored values.
        scale: Size of the new pixels in old ones.
        nodata: The value that means no measurement; NaN means the same.
    """
    planes = pixels.permute(0, 3, 1, 2).float()
    measured = ((planes != nodata) & ~planes.isnan()).float()
    size = [max(round(length / scale), 1) for length in planes.shape[2:]]
    values, share = (
        interpolate(plane, size, mode="bilinear") for plane in (torch.where(measured > 0, planes, 0.0), measured)
    )
    found = torch.where(share >= 0.5, values / share.clamp(min=1e-6), nodata)
    return found.permute(0, 2, 3, 1)


def unscaled(probs: Tensor, size_yx: tuple[int, int]) -> Tensor:
    """Probabilities (B, K, h, w) of another pixel size on a window's own pixels; they still sum to one."""
    return interpolate(probs, size_yx, mode="bilinear")
