"""DOFA (torchgeo's): a vision transformer whose input layer is made from the bands' wavelengths, under a plain decoder.

Source: Xiong et al. 2024, Neural Plasticity-Inspired Multimodal Foundation Model for Earth Observation,
https://arxiv.org/abs/2403.15356. Its weights state no normalisation, so that they take z-scores.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchgeo.models import DOFA

from thalweg.backbones.tokens import TokenNet, patches, resized, sines, wavelengths
from thalweg.weights.catalogue import Start

_PATCH = 16
_WAVE_DIM = 128
_SIZES = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
"""Numbers per token, blocks, heads."""


class DofaNet(TokenNet):
    """DOFA's tokens of any rectangle."""

    def __init__(self, waves: Tensor) -> None:
        super().__init__(stride=_PATCH)
        self.register_buffer("waves", waves, persistent=False)

    waves: Tensor

    def tokens(self, inputs: Tensor, shape_yx: tuple[int, int]) -> list[Tensor]:
        """(B, C, H, W) to tokens of each level."""
        embed = self.trunk.patch_embed
        kernels, bias = embed.weight_generator(embed.fclayer(self.waves))
        kernels = kernels.unflatten(1, (_PATCH, _PATCH, -1)).permute(3, 0, 1, 2)  # (D, C, 16, 16)
        inputs = F.pad(inputs, (1, -1, 1, -1))  # the weights were trained with patches that begin one pixel early
        cells = patches(inputs, kernels * embed.scaler, bias.flatten() * embed.scaler)
        places = resized(self.trunk.pos_embed, shape_yx)
        first = (self.trunk.cls_token + places[:, :1]).expand(len(inputs), -1, -1)
        rows = cells + places[:, 1:]
        return self.through(torch.cat([first, rows], 1), self.trunk.blocks, skip=1)


def build(
    *, channels: int, classes: int, wavelengths_nm: Sequence[float | None] | None, size: str, depth: int,
    width: int, tuning: str, lora_rank: int, weights: str | None,
) -> nn.Module:  # fmt: skip
    """DOFA for the bands' wavelengths: (B, C, H, W) to logits (B, K, H, W), any size and choice of bands.

    Args:
        channels: Input channels.
        classes: Output classes.
        wavelengths_nm: Of the channels; from the card.
        size: `small`, `base` or `large`.
        depth: Blocks of the encoder that are used, from the input on: 12 are all, of `large` 24.
        width: Features of the decoder.
        tuning: `frozen`, `lora` or `full`.
        lora_rank: Of LoRA's matrices; 0 without.
        weights: `torchgeo:<name>`, `file:<path>` or None.

    Raises:
        ValueError: An option is out of its range, a channel has no wavelength, or there are no such weights.
    """
    if size not in _SIZES:
        raise ValueError(f"size should be {', '.join(_SIZES)}, not {size!r}")
    dim, blocks, heads = _SIZES[size]
    if not 1 <= depth <= blocks:
        raise ValueError(f"depth should be 1 to {blocks}, not {depth!r}")
    net = DofaNet(sines(wavelengths(wavelengths_nm, channels), _WAVE_DIM))
    trunk = DOFA(embed_dim=dim, depth=depth, num_heads=heads, num_classes=0)
    trunk.fc_norm = nn.Identity()
    model = f"dofa_{size}_patch16_224"
    net.equip(
        trunk, channels=channels, classes=classes, dim=dim, depth=depth, width=width, tuning=tuning, rank=lora_rank,
        targets=("attn.qkv", "attn.proj"), start=None if weights is None else Start(weights, model, "trunk", ""),
    )  # fmt: skip
    return net
