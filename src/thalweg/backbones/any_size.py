"""What an architecture on an encoder needs besides: any size, an adapter to the encoder's weights, stages to freeze."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.weights.catalogue import Start, check

_STAGE = re.compile(r"^(?:layer|stage|stages|block|blocks|layers|denseblock|patch_embed|norm)[_]?(\d+)$")
"""Children of an encoder that make up stage n; conv1 and bn1 of a ResNet are none."""
_LISTS = ("layers", "stages", "blocks")


class Adapter(nn.Module):
    """Inputs to what pre-trained weights take: gain × z-score + bias per channel; as they are until weights set it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("gain", torch.ones(channels, 1, 1))
        self.register_buffer("bias", torch.zeros(channels, 1, 1))

    gain: Tensor
    bias: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return inputs * self.gain.to(inputs.dtype) + self.bias.to(inputs.dtype)


class AnySize(nn.Module, ABC):
    """Base of architectures that take sizes which divide: pads with 0 to whole strides and crops the logits."""

    start: Start | None = None
    """The weights that a training begins with."""
    trunk_at: str | None = None
    """Path of an encoder whose tensors are named as smp's or timm's, so that `encoders/<name>` can start it."""
    stages: Mapping[str, Sequence[str]]
    """Stage → paths of the modules and parameters in it, from the input on, for freezing."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.stages = {}

    def prepare(self, channels: int, start: Start | None) -> None:
        """Makes ready for weights to start from, if there are any.

        Raises:
            ValueError: There are no such weights for this encoder.
        """
        if start is not None:
            self.start = check(start)
            self.adapter = Adapter(channels)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) of any size to logits (B, K, H, W)."""
        height, width = inputs.shape[-2:]
        padded = F.pad(inputs, (0, -width % self.stride, 0, -height % self.stride))
        if self.start is not None:
            padded = self.adapter(padded)
        return self.whole(padded)[..., :height, :width]

    @abstractmethod
    def whole(self, inputs: Tensor) -> Tensor:
        """Logits of a size that divides by the stride."""


def stages_of(trunk: nn.Module, path: str) -> dict[str, list[str]]:
    """An encoder's stages by the names that timm, torchvision and smp give them: `stem`, then `1`, `2` … in order."""
    numbered: dict[int, list[str]] = {}
    stem = []
    for name, child in trunk.named_children():
        match = _STAGE.match(name)
        if match:
            numbered.setdefault(int(match.group(1)), []).append(f"{path}.{name}")
        elif name in _LISTS:
            for index, _ in enumerate(child.children()):
                numbered.setdefault(index, []).append(f"{path}.{name}.{index}")
        else:
            stem.append(f"{path}.{name}")
    own = [f"{path}.{name}" for name, _ in trunk.named_parameters(recurse=False)]
    ordered = {str(place): numbered[key] for place, key in enumerate(sorted(numbered), 1)}
    return {"stem": [*stem, *own], **ordered}
