"""CROMA's optical encoder (torchgeo's): a vision transformer that knows distances, not places, with a plain decoder.

Source: Fuller, Millard, Green 2023, CROMA: Remote Sensing Representations with Contrastive Radar-Optical Masked
Autoencoders, https://arxiv.org/abs/2311.00566. Its weights take each band from mean − 2 std to mean + 2 std as 0 to 1.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchgeo.models.croma import ViT

from thalweg.backbones.any_size import stages_of
from thalweg.backbones.tokens import TokenNet, patches
from thalweg.weights.catalogue import Start

_PATCH = 8
_HEADS = 16
_SIZES = {"base": (768, 12), "large": (1024, 24)}
"""Numbers per token, blocks."""
_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")


class CromaNet(TokenNet):
    """CROMA's tokens of any rectangle."""

    def tokens(self, inputs: Tensor, shape_yx: tuple[int, int]) -> list[Tensor]:
        """(B, C, H, W) to tokens of each level."""
        if self.start is not None:
            inputs = inputs.clamp(0, 1)
        layer = self.trunk.linear_input
        kernels = layer.weight.reshape(len(layer.weight), -1, _PATCH, _PATCH)
        tokens = patches(inputs, kernels, layer.bias)
        bias = distances(shape_yx, inputs.device).to(inputs.dtype)
        found = []
        for place, (attend, forward) in enumerate(self.trunk.transformer.layers):
            tokens = attend(tokens, bias) + tokens
            tokens = forward(tokens) + tokens
            if place in self.levels:
                found.append(tokens)
        return found


def distances(shape_yx: tuple[int, int], device: torch.device) -> Tensor:
    """Attention bias (1, heads, N, N): minus the distance of two tokens, times a slope per head.

    Source: the paper's 2D-ALiBi, section 3.1; slopes as in Press, Smith, Lewis 2022, https://arxiv.org/abs/2108.12409.
    """
    rows, cols = (torch.arange(size, device=device, dtype=torch.float32) for size in shape_yx)
    y, x = rows.repeat_interleave(len(cols)), cols.repeat(len(rows))
    apart = ((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2).sqrt()
    slopes = 2.0 ** (-8 / _HEADS * torch.arange(1, _HEADS + 1, device=device, dtype=torch.float32))
    return -(slopes[:, None, None] * apart)[None]


def build(
    *, channels: int, classes: int, size: str, depth: int, width: int, tuning: str, lora_rank: int, weights: str | None
) -> nn.Module:
    """CROMA's optical encoder: (B, C, H, W) to logits (B, K, H, W), any size and choice of bands.

    Args:
        channels: Input channels; the weights know the twelve bands of L2A.
        classes: Output classes.
        size: `base` or `large`.
        depth: Blocks of the encoder that are used, from the input on: 12 are all of `base`, 24 of `large`.
        width: Features of the decoder.
        tuning: `frozen`, `lora` or `full`.
        lora_rank: Of LoRA's matrices; 0 without.
        weights: `torchgeo:<name>`, `file:<path>` or None.

    Raises:
        ValueError: An option is out of its range, or there are no such weights.
    """
    if size not in _SIZES:
        raise ValueError(f"size should be {', '.join(_SIZES)}, not {size!r}")
    dim, blocks = _SIZES[size]
    if not 1 <= depth <= blocks:
        raise ValueError(f"depth should be 1 to {blocks}, not {depth!r}")
    trunk: Any = ViT(dim=dim, depth=depth, in_channels=channels)
    trunk.transformer.norm_out = nn.Identity()
    net = CromaNet(stride=_PATCH)
    start = None
    if weights is not None:
        start = Start(weights, f"croma_{size}", "trunk", "linear_input.weight", spread=(0.25, 0.5), bands=_BANDS)
    net.equip(
        trunk, channels=channels, classes=classes, dim=dim, depth=depth, width=width, tuning=tuning, rank=lora_rank,
        targets=("to_qkv", "to_out"), start=start)  # fmt: skip
    net.stages = stages_of(trunk.transformer, "trunk.transformer") | {"stem": ["trunk.linear_input"]}
    return net
