"""Frozen features: what an encoder makes of chips, as maps and as one vector per chip.

An encoder is a folder of pre-trained weights (`encoders/<name>`), a trained member (`models/<member>`), or a fresh
network of timm's (`timm:<name>`), which is what a pre-trained one has to beat.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.errors import FeatureError
from thalweg.manifest.card import Normalisation
from thalweg.manifest.scene import Channel
from thalweg.models import CLIP, Network
from thalweg.pretrain.encoder import pooled

_STRIDE = 32
"""Pixels that a trial chip's sides divide by, where an encoder does not say what they must."""


@dataclass(frozen=True)
class Encoder:
    """An encoder in evaluation, whose weights stay as they are."""

    name: str
    channels: tuple[Channel, ...]
    """What it reads, in order."""
    normalisation: Normalisation
    network: Network
    """Stored values (B, h, w, C) to a list of maps, the finest first."""
    strides: tuple[int, ...]
    """Per map, pixels of the input to a side of one of its own."""
    fresh: Callable[[int], "Encoder"]
    """The same encoder with random weights of a seed."""
    pixel_m: float | None = None
    """Ground size of a pixel that it learnt from."""
    weights: str = ""
    """SHA-256 of the file that its weights are from; empty for fresh ones."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of its channels."""
        return tuple(channel.name for channel in self.channels)

    @torch.inference_mode()
    def maps(self, inputs: Tensor) -> list[Tensor]:
        """(B, C, H, W) normalised to maps (B, D, ⌈H/s⌉, ⌈W/s⌉) of each stride s; padded with 0 to whole strides."""
        inputs = inputs.to(next(self.network.parameters()).device)
        height, width = inputs.shape[-2:]
        deepest = self.strides[-1]
        padded = F.pad(inputs, (0, -width % deepest, 0, -height % deepest))
        found: list[Tensor] = self.network.architecture(padded)
        return [
            each[..., : -(-height // stride), : -(-width // stride)].float()
            for each, stride in zip(found, self.strides, strict=True)
        ]

    def untrained(self, seed: int) -> "Encoder":
        """The same encoder with random weights of a seed, where this one computes."""
        other = self.fresh(seed)
        other.network.to(next(self.network.parameters()).device)
        return other

    def vectors(self, inputs: Tensor) -> Tensor:
        """(B, D): the mean of the deepest map over what is measured; 0 of a chip without any."""
        maps = self.maps(inputs)
        return pooled(maps[-1], (inputs != 0).any(1, keepdim=True).to(maps[-1]))


def wrapped(name: str, module: nn.Module, channels: Sequence[Channel], normalisation: Normalisation,
            fresh: Callable[[int], Encoder], pixel_m: float | None = None, weights: str = "",
            stride: int = _STRIDE) -> Encoder:  # fmt: skip
    """An encoder of a module that takes (B, C, H, W) to maps (B, D, h, w), the finest first.

    Args:
        name: For messages and tables.
        module: Is put into evaluation, and never trained.
        channels: What it reads, in order.
        normalisation: Of its inputs.
        fresh: Makes the same with random weights.
        pixel_m: Ground size of a pixel that it learnt from.
        weights: SHA-256 of its weights' file.
        stride: Pixels that its inputs' sides divide by.

    Raises:
        FeatureError: Its outputs are no such maps.
    """
    network = Network(module, channels, normalisation).eval().requires_grad_(requires_grad=False)
    with torch.inference_mode():
        trial = module(torch.zeros(1, len(channels), 2 * stride, 4 * stride))  # twice as wide, so that axes show
    strides = []
    for each in trial:
        if each.ndim != 4 or each.shape[3] != 2 * each.shape[2]:
            raise FeatureError(
                f"{name} makes a tensor {tuple(each.shape)} of a chip of {2 * stride} × {4 * stride} px, which is "
                "no map; give an encoder of images, such as encoders/<name> or timm:resnet18"
            )
        strides.append(2 * stride // each.shape[2])
    return Encoder(name, tuple(channels), normalisation, network, tuple(strides), fresh, pixel_m, weights)


def normalised(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Physical values (B, C, H, W), NaN = not measured, to inputs as `Network.normalise` makes them of stored ones."""
    std = torch.where(std > 0, std, 1.0)
    values = (pixels - mean[:, None, None]) / std[:, None, None]
    return values.clamp(-CLIP, CLIP).nan_to_num(nan=0.0)
