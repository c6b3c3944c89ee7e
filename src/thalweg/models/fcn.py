"""A five-layer fully convolutional network at full resolution (torchgeo's), small context, few weights.

Source: Long, Shelhamer, Darrell 2015, Fully Convolutional Networks for Semantic Segmentation,
https://arxiv.org/abs/1411.4038; the five-layer form as in https://arxiv.org/abs/2101.01154.
"""

from torch import nn
from torchgeo.models import FCN


def build(*, channels: int, classes: int, num_filters: int) -> nn.Module:
    """The FCN of torchgeo: (B, C, H, W) to logits (B, K, H, W), any size.

    Args:
        channels: Input channels.
        classes: Output classes.
        num_filters: Features of every layer.

    Raises:
        ValueError: `num_filters` is not a positive whole number.
    """
    if not isinstance(num_filters, int) or num_filters < 1:
        raise ValueError(f"num_filters should be a positive whole number, not {num_filters!r}")
    module: nn.Module = FCN(in_channels=channels, classes=classes, num_filters=num_filters)
    return module
