"""SegFormer's decoder (smp's) on any encoder: all levels brought to one width by a linear layer, and fused.

Source: Xie, Wang, Yu, Anandkumar, Alvarez, Luo 2021, SegFormer: Simple and Efficient Design for Semantic Segmentation
with Transformers, https://arxiv.org/abs/2105.15203; its own encoders are `mit_b0` to `mit_b5`.
"""

from segmentation_models_pytorch import Segformer
from torch import nn

from thalweg.backbones.smp import build_smp


def build(*, channels: int, classes: int, encoder: str, depth: int, width: int, weights: str | None) -> nn.Module:
    """SegFormer on any encoder: (B, C, H, W) to logits (B, K, H, W), any size.

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
        Segformer, channels=channels, classes=classes, encoder=encoder, depth=depth, weights=weights,
        decoder_segmentation_channels=width)  # fmt: skip
