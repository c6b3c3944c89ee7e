"""UPerNet (smp's) on any encoder: a pyramid of features with a pooled pyramid on top.

Source: Xiao, Liu, Zhou, Jiang, Sun 2018, Unified Perceptual Parsing for Scene Understanding, https://arxiv.org/abs/1807.10221.
"""

from segmentation_models_pytorch import UPerNet
from torch import nn

from thalweg.backbones.smp import build_smp


def build(*, channels: int, classes: int, encoder: str, depth: int, width: int, weights: str | None) -> nn.Module:
    """UPerNet on any encoder: (B, C, H, W) to logits (B, K, H, W), any size.

    Args:
        channels: Input channels.
        classes: Output classes.
        encoder: smp's name, or timm's after `tu-` (`tu-swinv2_tiny_window8_256`).
        depth: Stages of the encoder, 3 to 5.
        width: Features of the decoder.
        weights: `torchgeo:<name>`, `file:<path>` or None.

    Raises:
        ValueError: The encoder, depth or weights cannot be used.
    """
    return build_smp(
        UPerNet, channels=channels, classes=classes, encoder=encoder, depth=depth, weights=weights,
        decoder_channels=width)  # fmt: skip
