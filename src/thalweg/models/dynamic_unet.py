"""A U-Net on a ResNet with pixel-shuffle upsampling and, by choice, self-attention: fastai's DynamicUnet in form.

Sources: Howard, Gugger 2020, fastai: A Layered API for Deep Learning, https://arxiv.org/abs/2002.04688, section on
vision; Shi et al. 2016, sub-pixel convolution, https://arxiv.org/abs/1609.05158; Aitken et al. 2017, its start without
checkerboard, https://arxiv.org/abs/1707.02937; Zhang et al. 2018, self-attention, https://arxiv.org/abs/1805.08318
(here without spectral normalisation).
"""

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.backbones.any_size import AnySize, stages_of
from thalweg.weights.catalogue import Start

BACKBONES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


class DynamicUNet(AnySize):
    """Five resolutions of a ResNet, joined on the way up; the input itself is joined last."""

    def __init__(self, channels: int, classes: int, backbone: str, attention: bool, weights: str | None) -> None:
        super().__init__(stride=32)
        self.trunk = getattr(torchvision.models, backbone)(weights=None)
        self.trunk.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        wide = self.trunk.fc.in_features
        del self.trunk.fc, self.trunk.avgpool
        self.middle = nn.Sequential(nn.BatchNorm2d(wide), nn.ReLU(), *_conv(wide, 2 * wide), *_conv(2 * wide, wide))
        self.up = nn.ModuleList()
        before = wide
        for place, skip in enumerate((wide // 2, wide // 4, wide // 8, 64)):
            block = _Up(before, skip, attention and place == 1)
            self.up.append(block)
            before = block.width
        self.last = _Shuffle(before, before)
        self.join = _Residual(before + channels)
        self.head = nn.Conv2d(before + channels, classes, 1)
        self.stages = stages_of(self.trunk, "trunk")
        self.trunk_at = "trunk"
        if weights is not None:
            self.prepare(channels, Start(weights, backbone, "trunk", "conv1.weight"))

    def whole(self, inputs: Tensor) -> Tensor:
        """Logits of a size that divides by 32."""
        trunk = self.trunk
        skips = [trunk.relu(trunk.bn1(trunk.conv1(inputs)))]
        skips.append(trunk.layer1(trunk.maxpool(skips[0])))
        for layer in (trunk.layer2, trunk.layer3, trunk.layer4):
            skips.append(layer(skips[-1]))
        features = self.middle(skips.pop())
        for block in self.up:
            features = block(features, skips.pop())
        logits: Tensor = self.head(self.join(torch.cat([self.last(features), inputs], 1)))
        return logits


class _Up(nn.Module):
    """Doubled features beside the skip's, two convolutions, and attention where asked."""

    def __init__(self, before: int, skip: int, attention: bool) -> None:
        super().__init__()
        self.width = (before // 2 + skip) // 2
        self.grow = _Shuffle(before, before // 2)
        self.norm = nn.BatchNorm2d(skip)
        self.block = nn.Sequential(*_conv(before // 2 + skip, self.width), *_conv(self.width, self.width))
        self.attention = _Attention(self.width) if attention else nn.Identity()

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        joined = F.relu(torch.cat([self.grow(features), self.norm(skip)], 1))
        attended: Tensor = self.attention(self.block(joined))
        return attended


class _Shuffle(nn.Module):
    """Twice the resolution: four planes are woven into one; at first all four are alike (ICNR)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, 4 * after, 1)
        with torch.no_grad():
            for parameter in self.conv.parameters():
                parameter.copy_(parameter[::4].repeat_interleave(4, 0))

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(F.pixel_shuffle(self.conv(features), 2))


class _Attention(nn.Module):
    """Every pixel looks at all others; without effect at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.narrow = max(width // 8, 1)
        self.query_key = nn.Conv1d(width, 2 * self.narrow, 1, bias=False)
        self.value = nn.Conv1d(width, width, 1, bias=False)
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        pixels = features.flatten(2)  # (B, D, N)
        query, key = self.query_key(pixels).transpose(1, 2).split(self.narrow, -1)
        found = F.scaled_dot_product_attention(query, key, self.value(pixels).transpose(1, 2), scale=1.0)
        return features + self.share * found.transpose(1, 2).reshape(features.shape)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            *_conv(width, width), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features + self.block(features))


def _conv(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)


def build(*, channels: int, classes: int, backbone: str, self_attention: bool, weights: str | None) -> nn.Module:
    """A U-Net on a ResNet: (B, C, H, W) to logits (B, K, H, W), any size.

    Args:
        channels: Input channels.
        classes: Output classes.
        backbone: `resnet18`, `resnet34`, `resnet50`, `resnet101` or `resnet152`.
        self_attention: Whether features at an eighth of the resolution look at each other; memory grows as pixels².
        weights: `torchgeo:<name>`, `file:<path>` or None.

    Raises:
        ValueError: An option is out of its range, or there are no such weights.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"backbone should be {', '.join(BACKBONES)}, not {backbone!r}")
    if not isinstance(self_attention, bool):
        raise ValueError(f"self_attention should be true or false, not {self_attention!r}")
    return DynamicUNet(channels, classes, backbone, self_attention, weights)
