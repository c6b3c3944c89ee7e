"""Foundation encoders that make tokens of patches: frozen, with LoRA or trained whole, under a plain decoder.

Source of LoRA: Hu et al. 2021, Low-Rank Adaptation of Large Language Models, https://arxiv.org/abs/2106.09685.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.backbones.any_size import AnySize, stages_of
from thalweg.weights.catalogue import Start

LEVELS = 4
"""Depths of the encoder, evenly spaced, whose tokens the decoder sees."""
TUNINGS = ("frozen", "lora", "full")


class TokenNet(AnySize):
    """An encoder of tokens and a decoder of convolutions; subclasses say how tokens are made."""

    trunk: Any
    """The encoder, whose parts only the subclass knows."""

    def equip(
        self, trunk: nn.Module, *, channels: int, classes: int, dim: int, depth: int, width: int, tuning: str,
        rank: int, targets: Sequence[str], start: Start | None,
    ) -> None:  # fmt: skip
        """Takes the encoder in, and decides which of its weights learn.

        Args:
            trunk: The encoder.
            channels: Input channels.
            classes: Output classes.
            dim: Numbers per token.
            depth: Blocks of the encoder.
            width: Features of the decoder at the tokens' resolution; halved at each doubling, at least 16.
            tuning: `frozen`, `lora` or `full`.
            rank: Of LoRA's matrices; 0 unless tuning is lora.
            targets: Endings of the names of the linear layers that LoRA adds to.
            start: The weights to start from, or None.

        Raises:
            ValueError: An option is out of its range, LoRA's library is missing, or there are no such weights.
        """
        if tuning not in TUNINGS:
            raise ValueError(f"tuning should be {', '.join(TUNINGS)}, not {tuning!r}")
        if tuning != "full" and start is None:
            raise ValueError(f"tuning: {tuning} keeps the encoder as it is, so it needs weights")
        if (rank > 0) != (tuning == "lora"):
            raise ValueError(f"lora_rank should be at least 1 with tuning: lora and 0 otherwise, not {rank}")
        self.trunk = trunk
        self.stages = stages_of(trunk, "trunk")
        self.levels = sorted({math.ceil((k + 1) * depth / LEVELS) - 1 for k in range(LEVELS)})
        self.decoder = _Decoder(dim, len(self.levels), width, classes, self.stride)
        self.prepare(channels, start)
        if tuning != "full":
            trunk.requires_grad_(requires_grad=False)
        if tuning == "lora":
            _add_lora(trunk, rank, targets)

    def whole(self, inputs: Tensor) -> Tensor:
        """Logits of a size that divides by the stride."""
        shape_yx = inputs.shape[-2] // self.stride, inputs.shape[-1] // self.stride
        maps = [tokens.transpose(1, 2).reshape(len(inputs), -1, *shape_yx) for tokens in self.tokens(inputs, shape_yx)]
        logits: Tensor = self.decoder(maps, inputs.shape[-2:])
        return logits

    @abstractmethod
    def tokens(self, inputs: Tensor, shape_yx: tuple[int, int]) -> list[Tensor]:
        """(B, C, H, W) to tokens (B, h·w, D) of each level, row by row."""

    def through(self, tokens: Tensor, blocks: nn.Module, skip: int) -> list[Tensor]:
        """Tokens after the blocks of each level, without the first `skip`."""
        found = []
        for place, block in enumerate(blocks.children()):
            tokens = block(tokens)
            if place in self.levels:
                found.append(tokens[:, skip:])
        return found


class _Decoder(nn.Module):
    """Levels normalised, narrowed and added; then doubled and convolved up to full resolution."""

    def __init__(self, dim: int, levels: int, width: int, classes: int, patch: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(levels))
        self.narrow = nn.ModuleList(nn.Conv2d(dim, width, 1) for _ in range(levels))
        widths = [max(width // 2**k, 16) for k in range(math.ceil(math.log2(patch)) + 1)]
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
            )
            for before, after in pairwise(widths)
        )
        self.head = nn.Conv2d(widths[-1], classes, 1)

    def forward(self, maps: Sequence[Tensor], size_yx: Sequence[int]) -> Tensor:
        """Maps (B, D, h, w) of one size to logits (B, K, H, W)."""
        total = sum(
            narrow(norm(level.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
            for level, norm, narrow in zip(maps, self.norms, self.narrow, strict=True)
        )
        features = torch.as_tensor(total)
        for block in self.up:
            features = block(F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False))
        if features.shape[-2:] != tuple(size_yx):
            features = F.interpolate(features, tuple(size_yx), mode="bilinear", align_corners=False)
        logits: Tensor = self.head(features)
        return logits


def patches(inputs: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    """(B, C, h·p, w·p) and kernels (D, C, p, p) to patches (B, h·w, D), row by row: a convolution of stride p.

    As a product of matrices, since oneDNN's bf16 convolution gives wrong numbers for such kernels on CPUs with AMX
    (found with torch 2.14.1; kin to https://github.com/uxlfoundation/oneDNN/pull/5494).
    """
    edge = kernels.shape[-1]
    cells = inputs.unfold(2, edge, edge).unfold(3, edge, edge)  # (B, C, h, w, p, p)
    return F.linear(cells.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2), kernels.flatten(1), bias)


class Patches(nn.Conv2d):
    """A convolution whose stride is its edge, in the place of another and with its weights' names."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, h·p, w·p) to (B, D, h, w)."""
        edge = self.kernel_size[0]
        found = patches(inputs, self.weight, self.bias).transpose(1, 2)
        return found.reshape(len(inputs), -1, inputs.shape[2] // edge, inputs.shape[3] // edge)


def resized(positions: Tensor, shape_yx: tuple[int, int], skip: int = 1) -> Tensor:
    """Position embeddings (1, skip + n², D) of a square for another rectangle of tokens, the skipped as they are."""
    edge = math.isqrt(positions.shape[1] - skip)
    if (edge, edge) == shape_yx:
        return positions
    square = positions[:, skip:].transpose(1, 2).reshape(1, -1, edge, edge)
    plane = F.interpolate(square.float(), shape_yx, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([positions[:, :skip], plane.to(positions.dtype).flatten(2).transpose(1, 2)], 1)


def sines(values: Sequence[float] | np.ndarray, dim: int) -> Tensor:
    """Transformer positions (N, dim): sines, then cosines, of value / 10000^(k / (dim/2)). Source: arXiv:1706.03762."""
    rates = 10000.0 ** -(np.arange(dim // 2) / (dim / 2))
    angles = np.outer(np.asarray(values, np.float64), rates)
    return torch.tensor(np.concatenate([np.sin(angles), np.cos(angles)], 1), dtype=torch.float32)


def wavelengths(given: Sequence[float | None] | None, channels: int) -> list[float]:
    """Centre of every channel, nanometres; any where they are not known yet, so that shapes can be checked.

    Raises:
        ValueError: A channel has none, as indices and elevation do.
    """
    if given is None:
        return [500.0] * channels
    lacking = [place for place, value in enumerate(given) if value is None]
    if lacking:
        raise ValueError(
            f"channel {lacking[0]} of {channels} has no wavelength, by which this encoder tells bands apart; use a "
            "grid of bands alone"
        )
    return [float(value) for value in given if value is not None]


def _add_lora(trunk: nn.Module, rank: int, targets: Sequence[str]) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model  # noqa: PLC0415 - an extra, and for these members alone
    except ModuleNotFoundError as error:
        raise ValueError("tuning: lora needs peft; install it by `pip install 'thalweg[lora]'`") from error
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(targets)), trunk)
