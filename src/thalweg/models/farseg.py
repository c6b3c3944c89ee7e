"""FarSeg (torchgeo's): a ResNet pyramid whose features are re-weighted by their relation to the whole window.

Source: Zheng, Zhong, Wang, Ma 2020, Foreground-Aware Relation Network for Geospatial Object Segmentation in High
Spatial Resolution Remote Sensing Imagery, https://arxiv.org/abs/2011.09766.
"""

from torch import Tensor, nn
from torchgeo.models import FarSeg

from thalweg.backbones.any_size import AnySize, stages_of
from thalweg.weights.catalogue import Start

BACKBONES = ("resnet18", "resnet34", "resnet50", "resnet101")
_STRIDE = 32


class FarSegNet(AnySize):
    """FarSeg for any number of channels."""

    def __init__(self, channels: int, classes: int, backbone: str, weights: str | None) -> None:
        super().__init__(_STRIDE)
        self.farseg = FarSeg(backbone=backbone, classes=classes, backbone_pretrained=False)
        trunk = self.farseg.backbone
        trunk.conv1 = nn.Conv2d(channels, trunk.conv1.out_channels, 7, stride=2, padding=3, bias=False)
        del trunk.fc  # the classifier head of the ResNet, which FarSeg never calls
        self.stages = stages_of(trunk, "farseg.backbone")
        self.trunk_at = "farseg.backbone"
        if weights is not None:
            self.prepare(channels, Start(weights, backbone, "farseg.backbone", "conv1.weight"))

    def whole(self, inputs: Tensor) -> Tensor:
        """Logits of a size that divides by 32."""
        logits: Tensor = self.farseg(inputs)
        return logits


def build(*, channels: int, classes: int, backbone: str, weights: str | None = None) -> nn.Module:
    """FarSeg: (B, C, H, W) to logits (B, K, H, W), any size and number of channels.

    Args:
        channels: Input channels.
        classes: Output classes.
        backbone: `resnet18`, `resnet34`, `resnet50` or `resnet101`.
        weights: `torchgeo:<name>`, `file:<path>` or None; cards from before there were weights name none.

    Raises:
        ValueError: Another backbone, or there are no such weights.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"backbone should be {', '.join(BACKBONES)}, not {backbone!r}")
    return FarSegNet(channels, classes, backbone, weights)
