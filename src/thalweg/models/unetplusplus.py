"""U-Net++ (smp's): a U-Net whose skips are themselves small decoders.

Source: Zhou, Siddiquee, Tajbakhsh, Liang 2018, UNet++: A Nested U-Net Architecture for Medical Image Segmentation,
https://arxiv.org/abs/1807.10165.
"""

from segmentation_models_pytorch import UnetPlusPlus
from torch import nn

from thalweg.backbones.smp import build_smp, check_depth

_WIDTHS = (256, 128, 64, 32, 16)
"""Features of the decoder, from the bottom up."""


def build(*, channels: int, classes: int, encoder: str, depth: int, weights: str | None) -> nn.Module:
    """U-Net++ on any encoder: (B, C, H, W) to logits (B, K, H, W), any size.

    Args:
        channels: Input channels.
        classes: Output classes.
        encoder: smp's name, or timm's after `tu-`.
        depth: Stages of the encoder, 3 to 5.
        weights: `torchgeo:<name>`, `file:<path>` or None.

    Raises:
        ValueError: The encoder, depth or weights cannot be used.
    """
    check_depth(depth)
    return build_smp(
        UnetPlusPlus, channels=channels, classes=classes, encoder=encoder, depth=depth, weights=weights,
        decoder_channels=_WIDTHS[-depth:])  # fmt: skip
