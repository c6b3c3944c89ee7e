"""Swin transformer V2 (torchvision's) under a feature pyramid whose head sees every level.

Sources: Liu et al. 2022, Swin Transformer V2, https://arxiv.org/abs/2111.09883; Lin et al. 2017, Feature Pyramid
Networks, https://arxiv.org/abs/1612.03144; Kirillov et al. 2019, Panoptic Feature Pyramid Networks,
https://arxiv.org/abs/1901.02446, figure 3, for the head; weights as in https://arxiv.org/abs/2211.15660 (Satlas).
"""

import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import FeaturePyramidNetwork

from thalweg.backbones.any_size import AnySize
from thalweg.weights.catalogue import Start

BACKBONES = ("swin_v2_t", "swin_v2_s", "swin_v2_b")
_OUTPUTS = (1, 3, 5, 7)
"""Places in `features` of the four stages' last blocks, strides 4, 8, 16 and 32."""


class SwinFPN(AnySize):
    """All four stages, a pyramid, and the sum of its levels."""

    def __init__(self, channels: int, classes: int, backbone: str, width: int, weights: str | None) -> None:
        super().__init__(stride=32)
        self.trunk = getattr(torchvision.models, backbone)(weights=None)
        patches = self.trunk.features[0][0]
        self.trunk.features[0][0] = nn.Conv2d(channels, patches.out_channels, patches.kernel_size, patches.stride)
        del self.trunk.norm, self.trunk.head
        dims = [patches.out_channels * 2**level for level in range(len(_OUTPUTS))]
        self.pyramid = FeaturePyramidNetwork(dims, width)
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width // 2, 3, padding=1, bias=False), nn.BatchNorm2d(width // 2), nn.ReLU())
            for _ in dims
        )
        self.head = nn.Conv2d(width // 2, classes, 1)
        self.stages = {"stem": ["trunk.features.0"], "1": ["trunk.features.1"]} | {
            str(stage): [f"trunk.features.{2 * stage - 2}", f"trunk.features.{2 * stage - 1}"] for stage in (2, 3, 4)
        }
        if weights is not None:
            self.prepare(channels, Start(weights, backbone, "trunk", "features.0.0.weight"))

    def whole(self, inputs: Tensor) -> Tensor:
        """Logits of a size that divides by 32."""
        features, levels = inputs, {}
        for place, stage in enumerate(self.trunk.features):
            features = stage(features)  # (B, h, w, D)
            if place in _OUTPUTS:
                levels[str(place)] = features.permute(0, 3, 1, 2)
        pyramid = list(self.pyramid(levels).values())
        finest = pyramid[0].shape[-2:]
        total = self.levels[0](pyramid[0])
        for block, level in zip(list(self.levels)[1:], pyramid[1:], strict=True):
            total = total + F.interpolate(block(level), finest, mode="bilinear", align_corners=False)
        return F.interpolate(self.head(total), inputs.shape[-2:], mode="bilinear", align_corners=False)


def build(*, channels: int, classes: int, backbone: str, width: int, weights: str | None) -> nn.Module:
    """A Swin transformer under a pyramid: (B, C, H, W) to logits (B, K, H, W), any size.

    Args:
        channels: Input channels.
        classes: Output classes.
        backbone: `swin_v2_t`, `swin_v2_s` or `swin_v2_b`.
        width: Features of the pyramid, even.
        weights: `torchgeo:<name>` (Satlas), `file:<path>` or None.

    Raises:
        ValueError: An option is out of its range, or there are no such weights.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"backbone should be {', '.join(BACKBONES)}, not {backbone!r}")
    if not isinstance(width, int) or width < 2 or width % 2:
        raise ValueError(f"width should be an even whole number, not {width!r}")
    return SwinFPN(channels, classes, backbone, width, weights)
