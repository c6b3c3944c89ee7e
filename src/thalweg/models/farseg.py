"""FarSeg (torchgeo's): a ResNet pyramid whose features are re-weighted by their relation to the whole window.

Source: Zheng, Zhong, Wang, Ma 2020, Foreground-Aware Relation Network for Geospatial Object Segmentation in High
Spatial Resolution Remote Sensing Imagery, https://arxiv.org/abs/2011.09766.
"""

from torch import Tensor, nn
from torch.nn import functional as F
from torchgeo.models import FarSeg

_STRIDE = 32


class _AnySize(nn.Module):
    """Pads to whole strides with 0 and crops the logits, because FarSeg takes sizes that divide."""

    def __init__(self, farseg: FarSeg) -> None:
        super().__init__()
        self.farseg = farseg

    def forward(self, inputs: Tensor) -> Tensor:
        height, width = inputs.shape[-2:]
        padded = F.pad(inputs, (0, -width % _STRIDE, 0, -height % _STRIDE))
        logits: Tensor = self.farseg(padded)
        return logits[..., :height, :width]


def build(*, channels: int, classes: int, backbone: str) -> nn.Module:
    """FarSeg from fresh weights: (B, C, H, W) to logits (B, K, H, W), any size and number of channels.

    Args:
        channels: Input channels.
        classes: Output classes.
        backbone: `resnet18`, `resnet34`, `resnet50` or `resnet101`.

    Raises:
        ValueError: Another backbone.
    """
    if backbone not in ("resnet18", "resnet34", "resnet50", "resnet101"):
        raise ValueError(f"backbone should be resnet18, resnet34, resnet50 or resnet101, not {backbone!r}")
    farseg = FarSeg(backbone=backbone, classes=classes, backbone_pretrained=False)
    stem = farseg.backbone.conv1
    farseg.backbone.conv1 = nn.Conv2d(channels, stem.out_channels, 7, stride=2, padding=3, bias=False)
    del farseg.backbone.fc  # the classifier head of the ResNet, which FarSeg never calls
    return _AnySize(farseg)
