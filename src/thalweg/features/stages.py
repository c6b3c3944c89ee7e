"""The maps inside a trained member: what each stage of its encoder gives, or what its last layer sees."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.backbones.tokens import TokenNet
from thalweg.errors import FeatureError

_TRIAL_YX = (64, 128)


class StageMaps(nn.Module):
    """An architecture that gives the outputs of some of its modules, as maps (B, D, h, w), instead of logits."""

    def __init__(self, architecture: nn.Module, paths: Sequence[str], before: bool = False) -> None:
        """Takes the modules' paths; `before` gives what goes into them instead of what comes out."""
        super().__init__()
        self.architecture = architecture
        self._paths, self._seen = tuple(paths), dict[str, Tensor]()
        self._last: frozenset[str] = frozenset()
        for path in paths:
            module = architecture.get_submodule(path)
            if before:
                module.register_forward_pre_hook(partial(self._take_input, path))
            else:
                module.register_forward_hook(partial(self._take_output, path))

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """(B, C, H, W) to one map per path."""
        self._seen.clear()
        self.architecture(inputs)
        return [self._seen[path].permute(0, 3, 1, 2) if path in self._last else self._seen[path]
                for path in self._paths]  # fmt: skip

    @torch.inference_mode()
    def look(self, channels: int) -> None:
        """Finds by a trial which modules keep their features in the last axis (Swin), as chips twice as wide show."""
        self.architecture.eval()
        self.forward(torch.zeros(1, channels, *_TRIAL_YX))
        self._last = frozenset(
            path for path, each in self._seen.items() if each.ndim == 4 and each.shape[2] == 2 * each.shape[1]
        )

    def _take_output(self, path: str, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self._seen[path] = output

    def _take_input(self, path: str, _module: nn.Module, inputs: Any) -> None:
        self._seen[path] = inputs[0]


class TokenMaps(nn.Module):
    """The levels of an encoder of tokens as maps (B, D, h, w)."""

    def __init__(self, architecture: TokenNet) -> None:
        super().__init__()
        self.architecture = architecture

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """(B, C, H, W), H and W whole strides, to one map per level."""
        net = self.architecture
        shape_yx = inputs.shape[-2] // net.stride, inputs.shape[-1] // net.stride
        if net.start is not None:
            inputs = net.adapter(inputs)
        return [tokens.transpose(1, 2).reshape(len(inputs), -1, *shape_yx) for tokens in net.tokens(inputs, shape_yx)]


def maps_of(architecture: nn.Module, channels: int, classes: int, name: str) -> nn.Module:
    """What gives the maps of a member's architecture.

    The encoder's, stage by stage, where the architecture says what its stages are; else what its last layer sees.

    Raises:
        FeatureError: It has neither stages nor a last layer of scores.
    """
    if isinstance(architecture, TokenNet):
        return TokenMaps(architecture)
    stages: Mapping[str, Sequence[str]] = getattr(architecture, "stages", {})
    paths = [stages[key][-1] for key in sorted(stages, key=_order) if key != "stem"]
    found = StageMaps(architecture, paths) if paths else StageMaps(architecture, [_head(architecture, classes, name)],
                                                                   before=True)  # fmt: skip
    found.look(channels)
    return found


def _order(stage: str) -> int:
    return int(stage) if stage.isdigit() else 0


def _head(architecture: nn.Module, classes: int, name: str) -> str:
    layers = [path for path, layer in architecture.named_modules()
              if isinstance(layer, nn.Conv2d) and layer.out_channels == classes]  # fmt: skip
    if not layers:
        raise FeatureError(
            f"{name} has no stages and no last layer of {classes} scores, so nothing in it is a feature; give another "
            "member, or an encoder"
        )
    return str(layers[-1])
