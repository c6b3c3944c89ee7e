"""Architectures, one file each: the file's name is its name in params.yaml. Rebuilt anywhere from a model's card.

Each `models/<name>.py` has `build(*, channels, classes, **options) -> nn.Module`, which takes (B, C, H, W) float of any
height and width to logits (B, K, H, W) and raises ValueError for an option that it cannot use.
"""

import importlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from thalweg.errors import CardError, ParamsError
from thalweg.manifest.card import WEIGHTS, ModelCard, Normalisation
from thalweg.manifest.scene import NODATA, Channel

CLIP = 5.0
"""Bound of a normalised input, standard deviations."""


class Network(nn.Module):
    """An architecture behind its input normalisation: stored scene values in, logits out."""

    def __init__(self, architecture: nn.Module, channels: Sequence[Channel], normalisation: Normalisation) -> None:
        super().__init__()
        self.architecture = architecture.to(memory_format=torch.channels_last)
        scale, offset = (
            torch.tensor([getattr(c, key) for c in channels], dtype=torch.float64) for key in ("scale", "offset")
        )
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (normalisation.mean, normalisation.std))
        std = torch.where(std > 0, std, 1.0)  # a constant channel becomes 0, not infinite
        self.register_buffer("gain", (scale / std).float(), persistent=False)
        self.register_buffer("bias", ((offset - mean) / std).float(), persistent=False)

    gain: Tensor
    bias: Tensor

    def normalise(self, pixels: Tensor) -> Tensor:
        """Stored values (B, H, W, C) to inputs (B, C, H, W) in memory order channels-last, nodata and NaN 0."""
        inputs = torch.addcmul(self.bias, pixels.to(self.gain.dtype), self.gain).clamp_(-CLIP, CLIP)
        inputs.masked_fill_(pixels == NODATA, 0.0)
        if pixels.is_floating_point():
            inputs.nan_to_num_(nan=0.0)
        return inputs.permute(0, 3, 1, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        """Stored values (B, H, W, C) to logits (B, K, H, W)."""
        logits: Tensor = self.architecture(self.normalise(pixels))
        return logits


def network(card: ModelCard) -> Network:
    """The network that a card describes, with fresh weights.

    Raises:
        ParamsError: The architecture or its options are unknown to this Thalweg.
    """
    architecture = build(card.architecture, len(card.channels), len(card.classes), card.options)
    return Network(architecture, card.channels, card.normalisation)


def build(architecture: str, channels: int, classes: int, options: Mapping[str, Any]) -> nn.Module:
    """An architecture by the name of its file.

    Raises:
        ParamsError: No such file, or options that its `build` does not take.
    """
    known = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    if architecture not in known:
        raise ParamsError(
            f"model '{architecture}' has no file src/thalweg/models/{architecture}.py; there are {', '.join(known)}"
        )
    maker = importlib.import_module(f"thalweg.models.{architecture}").build
    _check_names(architecture, maker, options)
    try:
        module: nn.Module = maker(channels=channels, classes=classes, **options)
    except (ValueError, TypeError) as error:
        raise ParamsError(
            f"options of model '{architecture}' cannot be used: {error}; correct them in params.yaml"
        ) from error
    return module


def load_weights(network: Network, folder: Path) -> None:
    """Loads `weights.safetensors` into a network, every tensor or none.

    Raises:
        CardError: The file is missing or broken, or holds the tensors of another architecture.
    """
    path = folder / WEIGHTS
    try:
        network.architecture.load_state_dict(load_file(path), strict=True)
    except FileNotFoundError as error:
        raise CardError(
            f"{path} is missing; copy the whole model directory, or train the member with `dvc repro`"
        ) from error
    except safetensors.SafetensorError as error:
        raise CardError(f"{path} is no safetensors file ({error}); copy the whole model directory again") from error
    except RuntimeError as error:
        fault = " ".join(str(error).split())[:300]
        raise CardError(
            f"{path} does not fit its card ({fault}); copy the whole model directory again or retrain"
        ) from error


def save_weights(weights: Mapping[str, Tensor], folder: Path) -> None:
    """Writes an architecture's state as `weights.safetensors`; the same tensors give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)


def _check_names(architecture: str, maker: Any, options: Mapping[str, Any]) -> None:
    taken = {name: p for name, p in inspect.signature(maker).parameters.items() if name not in ("channels", "classes")}
    unknown = sorted(set(options) - set(taken))
    missing = sorted(name for name, p in taken.items() if p.default is p.empty and name not in options)
    if unknown or missing:
        faults = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise ParamsError(
            f"'options' of model '{architecture}' {' and '.join(faults)}; it takes {', '.join(taken) or 'none'}"
        )
