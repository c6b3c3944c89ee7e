"""Scale-MAE (torchgeo's): a large vision transformer whose positions are metres on the ground, under a plain decoder.

Source: Reed et al. 2023, Scale-MAE: A Scale-Aware Masked Autoencoder for Multiscale Geospatial Representation
Learning, https://arxiv.org/abs/2212.14532.
"""

import torch
from torch import Tensor, nn
from torchgeo.models import ScaleMAE

from thalweg.backbones.tokens import TokenNet, patches, sines
from thalweg.weights.catalogue import Start

_PATCH = 16
_DIM, _BLOCKS, _HEADS = 1024, 24, 16


class ScaleMAENet(TokenNet):
    """Scale-MAE's tokens of any rectangle."""

    def __init__(self, pixel_m: float) -> None:
        super().__init__(stride=_PATCH)
        self.pixel_m = pixel_m

    def tokens(self, inputs: Tensor, shape_yx: tuple[int, int]) -> list[Tensor]:
        """(B, C, H, W) to tokens of each level."""
        layer = self.trunk.patch_embed.proj
        cells = patches(inputs, layer.weight, layer.bias)
        places = positions(shape_yx, self.pixel_m).to(cells)
        first = self.trunk.cls_token.expand(len(inputs), -1, -1)
        return self.through(torch.cat([first, cells + places], 1), self.trunk.blocks, skip=1)


def positions(shape_yx: tuple[int, int], pixel_m: float) -> Tensor:
    """(h·w, D): half of the sines and cosines for the column, half for the row, each times the pixel's size.

    Source: eq. 1 of the paper, with a reference resolution of 1 m.
    """
    rows = sines([row * pixel_m for row in range(shape_yx[0])], _DIM // 2)
    cols = sines([col * pixel_m for col in range(shape_yx[1])], _DIM // 2)
    return torch.cat([cols.repeat(shape_yx[0], 1), rows.repeat_interleave(shape_yx[1], 0)], 1)


def build(
    *, channels: int, classes: int, pixel_m: float | None, depth: int, width: int, tuning: str, lora_rank: int,
    weights: str | None,
) -> nn.Module:  # fmt: skip
    """Scale-MAE (large): (B, C, H, W) to logits (B, K, H, W), any size and number of channels.

    Args:
        channels: Input channels; the weights know red, green and blue.
        classes: Output classes.
        pixel_m: Ground size of a pixel, metres; from the card.
        depth: Blocks of the encoder that are used, 1 to 24, from the input on.
        width: Features of the decoder.
        tuning: `frozen`, `lora` or `full`.
        lora_rank: Of LoRA's matrices; 0 without.
        weights: `torchgeo:<name>`, `file:<path>` or None.

    Raises:
        ValueError: An option is out of its range, or there are no such weights.
    """
    if not 1 <= depth <= _BLOCKS:
        raise ValueError(f"depth should be 1 to {_BLOCKS}, not {depth!r}")
    trunk = ScaleMAE(
        patch_size=_PATCH,
        in_chans=channels,
        embed_dim=_DIM,
        depth=depth,
        num_heads=_HEADS,
        qkv_bias=True,
        num_classes=0,
    )
    trunk.pos_embed = None
    trunk.norm = trunk.fc_norm = nn.Identity()
    net = ScaleMAENet(1.0 if pixel_m is None else pixel_m)
    start = None
    if weights is not None:
        start = Start(weights, "scalemae_large_patch16", "trunk", "patch_embed.proj.weight", bands=("R", "G", "B"))
    net.equip(
        trunk, channels=channels, classes=classes, dim=_DIM, depth=depth, width=width, tuning=tuning, rank=lora_rank,
        targets=("attn.qkv", "attn.proj"), start=start)  # fmt: skip
    return net
