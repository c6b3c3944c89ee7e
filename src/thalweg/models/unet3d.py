"""A U-Net whose convolutions run over dates as well as over the ground; resolution falls on the ground alone.

Sources: Çiçek et al. 2016, 3D U-Net, https://arxiv.org/abs/1606.06650; for crops M Rustowicz et al. 2019, Semantic
Segmentation of Crop Type in Africa, CVPR workshops.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.backbones.series import bands_of, dates_of, measured

_POOL = (1, 2, 2)


class UNet3D(nn.Module):
    """As many levels as widths; the mean over the dates that measured something is classified."""

    def __init__(self, bands: int, classes: int, steps: int, widths: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.steps, self.stride = steps, 2 ** (len(widths) - 1)
        inputs = [bands, *widths[:-1]]
        self.down = nn.ModuleList(_double(before, after) for before, after in zip(inputs, widths, strict=True))
        self.dropout = nn.Dropout3d(dropout)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))  # (deep, shallow), from the bottom up
        self.up = nn.ModuleList(_double(deep + shallow, shallow) for deep, shallow in pairs)
        self.head = nn.Conv2d(widths[0], classes, 1)
        self.stages = {str(place): [f"down.{place - 1}"] for place in range(1, len(widths) + 1)}

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, T·C, H, W) to logits (B, K, H, W); padded with 0 to whole strides inside."""
        height, width = inputs.shape[-2:]
        padded = F.pad(inputs, (0, -width % self.stride, 0, -height % self.stride))
        features = dates_of(padded, self.steps).transpose(1, 2)  # (B, C, T, H, W)
        skips = []
        for level, block in enumerate(self.down):
            features = block(F.max_pool3d(features, _POOL) if level else features)
            skips.append(features)
        features = self.dropout(skips.pop())
        for block in self.up:
            grown = F.interpolate(features, scale_factor=[float(k) for k in _POOL], mode="nearest")
            features = block(torch.cat([skips.pop(), grown], 1))
        logits: Tensor = self.head(mean_of_dates(features, measured(dates_of(padded, self.steps)).transpose(1, 2)))
        return logits[..., :height, :width]


def mean_of_dates(features: Tensor, there: Tensor) -> Tensor:
    """Of (B, D, T, H, W) over the dates that are there (B, 1, T, H, W), over all where none is."""
    weights = (there | ~there.any(2, keepdim=True)).to(features.dtype)
    return (features * weights).sum(2) / weights.sum(2)


def _double(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(*_conv(before, after), *_conv(after, after))


def _conv(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv3d(before, after, 3, padding=1, bias=False), nn.BatchNorm3d(after), nn.ReLU(inplace=True)


def build(*, channels: int, classes: int, steps: int, widths: Sequence[int], dropout: float) -> nn.Module:
    """A 3-D U-Net over a time series: (B, T·C, H, W) to logits (B, K, H, W), any size.

    Args:
        channels: Input channels, date by date.
        classes: Output classes.
        steps: Dates.
        widths: Features per level, from full resolution down.
        dropout: Share of feature maps dropped at the bottom, in training.

    Raises:
        ValueError: An option is out of its range, or the channels are not so many dates.
    """
    if not widths or any(not isinstance(width, int) or width < 1 for width in widths):
        raise ValueError(f"widths should be positive whole numbers, not {widths}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout should be at least 0 and below 1, not {dropout}")
    return UNet3D(bands_of(channels, steps), classes, steps, widths, dropout)
