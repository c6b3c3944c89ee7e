"""A plain U-Net in one file, its widths free.

Source: Ronneberger, Fischer, Brox 2015, U-Net: Convolutional Networks for Biomedical Image Segmentation,
https://arxiv.org/abs/1505.04597; with batch normalisation and same-padding as is usual since.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class UNet(nn.Module):
    """Encoder and decoder of as many levels as there are widths, joined at each level."""

    def __init__(self, channels: int, classes: int, widths: Sequence[int], dropout: float, transposed: bool) -> None:
        super().__init__()
        self.stride = 2 ** (len(widths) - 1)
        inputs = [channels, *widths[:-1]]
        self.down = nn.ModuleList(_double(before, after) for before, after in zip(inputs, widths, strict=True))
        self.dropout = nn.Dropout2d(dropout)
        steps = list(zip(widths[:0:-1], widths[-2::-1], strict=True))  # (deep, shallow), from the bottom up
        self.up = nn.ModuleList(_Up(deep, shallow, transposed) for deep, shallow in steps)
        self.head = nn.Conv2d(widths[0], classes, 1)
        self.stages = {str(level): [f"down.{level - 1}"] for level in range(1, len(widths) + 1)}

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, K, H, W); padded with 0 to whole strides inside."""
        height, width = inputs.shape[-2:]
        features = F.pad(inputs, (0, -width % self.stride, 0, -height % self.stride))
        skips = []
        for level, block in enumerate(self.down):
            features = block(F.max_pool2d(features, 2) if level else features)
            skips.append(features)
        features = self.dropout(skips.pop())
        for block in self.up:
            features = block(features, skips.pop())
        logits: Tensor = self.head(features)
        return logits[..., :height, :width]


class _Up(nn.Module):
    def __init__(self, deep: int, shallow: int, transposed: bool) -> None:
        super().__init__()
        self.grow = (
            nn.ConvTranspose2d(deep, shallow, 2, 2) if transposed else nn.Upsample(scale_factor=2, mode="nearest")
        )
        self.block = _double(2 * shallow if transposed else deep + shallow, shallow)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        joined: Tensor = self.block(torch.cat([skip, self.grow(features)], 1))
        return joined


def _double(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(*_conv(before, after), *_conv(after, after))


def _conv(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)


def build(*, channels: int, classes: int, widths: Sequence[int], dropout: float, upsample: str) -> nn.Module:
    """A U-Net.

    Args:
        channels: Input channels.
        classes: Output classes.
        widths: Features per level, from full resolution down.
        dropout: Share of feature maps dropped at the bottom, in training.
        upsample: `nearest` or `transposed` (learned).

    Raises:
        ValueError: An option is out of its range.
    """
    if not widths or any(not isinstance(width, int) or width < 1 for width in widths):
        raise ValueError(f"widths should be positive whole numbers, not {widths}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout should be at least 0 and below 1, not {dropout}")
    if upsample not in ("nearest", "transposed"):
        raise ValueError(f"upsample should be nearest or transposed, not {upsample!r}")
    return UNet(channels, classes, widths, dropout, transposed=upsample == "transposed")
