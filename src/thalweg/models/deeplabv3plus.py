"""DeepLabV3+ (smp's): dilated context at several rates, joined with fine features.

Source: Chen, Zhu, Papandreou, Schroff, Adam 2018, Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation, https://arxiv.org/abs/1802.02611.
"""

from segmentation_models_pytorch import DeepLabV3Plus
from torch import nn

from thalweg.backbones.smp import build_smp


def build(*, channels: int, classes: int, encoder: str, depth: int, weights: str | None) -> nn.Module:
    """DeepLabV3+ on any encoder that can be dilated: (B, C, H, W) to logits (B, K, H, W), any size.

    Args:
        channels: Input channels.
        classes: Output classes.
        encoder: smp's name, or timm's after `tu-`; Swin transformers cannot be dilated.
        depth: Stages of the encoder, 3 to 5.
        weights: `torchgeo:<name>`, `file:<path>` or None.

    Raises:
        ValueError: The encoder, depth or weights cannot be used.
    """
    return build_smp(DeepLabV3Plus, channels=channels, classes=classes, encoder=encoder, depth=depth, weights=weights)
