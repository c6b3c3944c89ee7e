"""DPT (smp's): tokens of a vision transformer at four depths, brought together as a pyramid.

Source: Ranftl, Bochkovskiy, Koltun 2021, Vision Transformers for Dense Prediction, https://arxiv.org/abs/2103.13413.
"""

from typing import Any

from segmentation_models_pytorch import DPT
from torch import nn

from thalweg.backbones.smp import build_smp
from thalweg.backbones.tokens import Patches


def build(*, channels: int, classes: int, encoder: str, width: int, weights: str | None) -> nn.Module:
    """DPT on a vision transformer of timm: (B, C, H, W) to logits (B, K, H, W), any size.

    Args:
        channels: Input channels.
        classes: Output classes.
        encoder: timm's name after `tu-`, as `tu-vit_small_patch16_224`.
        width: Features of the fusion.
        weights: `torchgeo:<name>`, `file:<path>` or None.

    Raises:
        ValueError: The encoder or weights cannot be used.
    """
    module = build_smp(
        DPT, channels=channels, classes=classes, encoder=encoder, depth=4, weights=weights,
        decoder_fusion_channels=width, decoder_intermediate_channels=(width // 2, width, width, width),
        dynamic_img_size=True, num_classes=0)  # fmt: skip
    embed: Any = module.get_submodule("net.encoder.model.patch_embed")
    old = embed.proj
    embed.proj = Patches(old.in_channels, old.out_channels, old.kernel_size, old.stride)
    module.stride *= 2  # the pyramid's lowest level has half the tokens' resolution
    return module
