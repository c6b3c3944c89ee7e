"""Networks of segmentation-models-pytorch on any of its encoders or timm's (`tu-<name>`), any number of channels."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.backbones.any_size import AnySize, stages_of
from thalweg.backbones.faults import encoder_faults
from thalweg.weights.catalogue import Start

_STEMS = ("conv1.weight", "stem.0.weight", "patch_embed.proj.weight", "patch_embed1.proj.weight", "conv_stem.weight",
          "stem_0.weight", "_conv_stem.weight")  # fmt: skip
"""Where encoders keep their input layer; of others it is the first weight that takes as many planes as channels."""


class Smp(AnySize):
    """A network of smp behind padding and adapter."""

    def __init__(self, net: nn.Module, name: str, channels: int, weights: str | None, stride: int) -> None:
        super().__init__(stride)
        self.net = net
        trunk = "net.encoder.model" if hasattr(net.encoder, "model") else "net.encoder"
        encoder = self.get_submodule(trunk)
        self.trunk_at = trunk
        self.stages = stages_of(encoder, trunk)
        if weights is not None:
            model = name.removeprefix("tu-").partition(".")[0]
            start = Start(weights, model, trunk, _stem(encoder, channels), ("fc.", "head", "norm."))
            self.prepare(channels, start)

    def whole(self, inputs: Tensor) -> Tensor:
        """Logits of a size that divides by the stride."""
        logits: Tensor = self.net(inputs)
        return logits


def check_depth(depth: int) -> None:
    """Raises ValueError unless smp's networks are made of so many stages of an encoder."""
    if depth not in (3, 4, 5):
        raise ValueError(f"depth should be 3, 4 or 5, not {depth!r}")


def build_smp(
    maker: Callable[..., Any], *, channels: int, classes: int, encoder: str, depth: int, weights: str | None,
    **more: Any,
) -> Smp:  # fmt: skip
    """One of smp's networks, its encoder from fresh weights.

    Args:
        maker: smp's class.
        channels: Input channels.
        classes: Output classes.
        encoder: smp's name of an encoder, or timm's after `tu-`.
        depth: Stages of the encoder that are used; the last has 2^depth pixels to a side.
        weights: What a training starts from, or None.
        more: Further arguments of smp's class.

    Raises:
        ValueError: smp or timm has no such encoder, or the network does not take it at that depth.
    """
    check_depth(depth)
    if encoder.startswith("tu-swin"):
        more = more | {"strict_img_size": False}
    home = torch.get_default_device()
    first = torch.device("cpu") if encoder.startswith("mit_b") else home  # its rates of dropping need real numbers
    given = {"encoder_name": encoder, "encoder_depth": depth, "in_channels": channels, "classes": classes}
    with encoder_faults(encoder, depth):
        with first:
            net = maker(encoder_weights=None, **given, **more)
        net = net.to(home)
    return Smp(net, encoder, channels, weights, max(int(net.encoder.output_stride), 2**depth))


def _stem(encoder: nn.Module, channels: int) -> str:
    named = dict(encoder.named_parameters())
    for name in _STEMS:
        if name in named:
            return name
    return next(name for name, value in named.items() if value.ndim == 4 and value.shape[1] == channels)
