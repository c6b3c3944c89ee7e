"""The encoder that is pre-trained: one of smp's or timm's, kept and read back with the names that members use."""

from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file
from segmentation_models_pytorch.encoders import get_encoder
from segmentation_models_pytorch.encoders.timm_vit import TimmViTEncoder
from timm.models import is_model_in_modules
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.backbones.faults import encoder_faults
from thalweg.backbones.tokens import Patches
from thalweg.errors import CardError, ParamsError
from thalweg.manifest.card import WEIGHTS
from thalweg.manifest.encoder import read_encoder_card

_TIMM = "tu-"


class Encoder(nn.Module):
    """Feature maps of an image, from fine to coarse; sizes that divide by `stride`."""

    def __init__(self, net: nn.Module, stride: int, tokens: bool) -> None:
        super().__init__()
        self.net: Any = net
        self.stride = stride
        self.tokens = tokens
        """Whether it is a vision transformer."""

    @property
    def trunk(self) -> Any:
        """The module whose tensors are kept, named as in the members' architectures."""
        return self.net.model if hasattr(self.net, "model") else self.net

    @property
    def dim(self) -> int:
        """Features of the coarsest map."""
        return int(self.net.out_channels[-1])

    @property
    def dims(self) -> list[int]:
        """Features of every map that `forward` gives."""
        every = list(self.net.out_channels) if self.tokens else list(self.net.out_channels)[1:]
        return [int(dim) for dim in every if dim]

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """(B, C, H, W) to maps (B, D, h, w), the coarsest last."""
        if self.tokens:
            return list(self.net(inputs)[0])
        return [level for level in self.net(inputs)[1:] if level.shape[1]]


def build_encoder(name: str, channels: int, depth: int) -> Encoder:
    """An encoder with fresh weights.

    Args:
        name: smp's, or timm's after `tu-`.
        channels: Input channels.
        depth: Stages; maps of a vision transformer.

    Raises:
        ParamsError: There is no such encoder, or it does not take so many stages.
    """
    try:
        with encoder_faults(name, depth):
            if name.startswith(_TIMM) and is_model_in_modules(name.removeprefix(_TIMM), ["vision_transformer"]):
                return _tokens(name.removeprefix(_TIMM), channels, depth)
            more = {"strict_img_size": False} if name.startswith("tu-swin") else {}
            net = get_encoder(name, in_channels=channels, depth=depth, weights=None, **more)
    except ValueError as error:
        raise ParamsError(f"{error}; choose another") from error
    return Encoder(net, max(int(net.output_stride), 2**depth), tokens=False)


def pooled(level: Tensor, valid: Tensor) -> Tensor:
    """(B, D) mean of a feature map (B, D, h, w) over the ground that was measured, by the share of each cell.

    Args:
        level: Features.
        valid: (B, 1, H, W) 1 where something was measured.
    """
    weight = share_of_cells(valid, level)
    return (level * weight).sum((2, 3)) / weight.sum((2, 3)).clamp(min=1e-6)


def share_of_cells(valid: Tensor, level: Tensor) -> Tensor:
    """(B, 1, h, w) share of each cell of a feature map (B, D, h, w) that was measured."""
    return F.adaptive_avg_pool2d(valid, (level.shape[-2], level.shape[-1]))


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Writes `weights.safetensors`; the same tensors give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    state = encoder.trunk.state_dict()
    save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, folder / WEIGHTS)


def load_encoder(folder: Path) -> Encoder:
    """The encoder of a folder, which takes z-scores by its card's normalisation, nodata 0.

    Raises:
        CardError: Its weights are missing or broken, or not those that the card describes.
        SceneError: Its card is missing or broken.
    """
    card, path = read_encoder_card(folder), folder / WEIGHTS
    encoder = build_encoder(card.architecture, len(card.channels), card.depth)
    try:
        encoder.trunk.load_state_dict(load_file(path))
    except (OSError, safetensors.SafetensorError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise CardError(
            f"{path} cannot be read as the {card.architecture} that its card names ({said}); copy the whole directory "
            "again, or run `dvc repro pretrain`"
        ) from error
    return encoder.eval()


def _tokens(name: str, channels: int, depth: int) -> Encoder:
    net: Any = TimmViTEncoder(name, pretrained=False, in_channels=channels, depth=depth, dynamic_img_size=True,
                              num_classes=0)  # fmt: skip
    old = net.model.patch_embed.proj
    net.model.patch_embed.proj = Patches(old.in_channels, old.out_channels, old.kernel_size, old.stride)
    return Encoder(net, int(net.output_stride), tokens=True)


def on_meta(name: str, channels: int, depth: int) -> Encoder:
    """The same without memory for weights, for checks."""
    first = torch.device("cpu") if name.startswith("mit_b") else torch.device("meta")
    with first:
        return build_encoder(name, channels, depth).to("meta")
