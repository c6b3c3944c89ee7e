"""Architectures, one file each: the file's name is its name in params.yaml. Rebuilt anywhere from a model's card.

Each `models/<name>.py` has `build(*, channels, classes, **options) -> nn.Module`, which takes (B, C, H, W) float of any
height and width to logits (B, K, H, W) and raises ValueError for an option that it cannot use. A `build` that names
`wavelengths_nm`, `pixel_m` or `days` is handed these from the card. What several of them share is in `backbones`;
weights to start from are put in by `weights.initialise`, at the start of a training alone.
"""

import ast
import importlib
import inspect
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from thalweg import composite
from thalweg.errors import CardError, ParamsError
from thalweg.manifest.card import WEIGHTS, ModelCard, Normalisation
from thalweg.manifest.scene import NODATA, Channel

CLIP = 5.0
"""Bound of a normalised input, standard deviations."""
HANDED = ("channels", "classes", "wavelengths_nm", "pixel_m", "days")
"""Arguments of a `build` that are no options."""
_LEAST_SHARE = 1e-4
"""A class rarer than this starts as if it were not, so that it can still be learnt."""


class Network(nn.Module):
    """An architecture behind its input normalisation: stored scene values in, logits out."""

    def __init__(self, architecture: nn.Module, channels: Sequence[Channel], normalisation: Normalisation) -> None:
        super().__init__()
        self.architecture = channels_last(architecture)
        scale, offset = (
            torch.tensor([getattr(c, key) for c in channels], dtype=torch.float64) for key in ("scale", "offset")
        )
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (normalisation.mean, normalisation.std))
        std = torch.where(std > 0, std, 1.0)  # a constant channel becomes 0, not infinite
        self.register_buffer("gain", (scale / std).float(), persistent=False)
        self.register_buffer("bias", ((offset - mean) / std).float(), persistent=False)
        self.reflectance = torch.tensor([channel.unit == "reflectance" for channel in channels])

    gain: Tensor
    bias: Tensor
    reflectance: Tensor
    """(C,) bool: which channels measure reflected light."""
    frozen: frozenset[str] = frozenset()
    """Paths of the architecture's modules and parameters that `freeze` holds still."""
    held: frozenset[str] = frozenset()
    """Names of the parameters that would learn but for that."""

    def train(self, mode: bool = True) -> "Network":
        """As everywhere, but frozen modules stay as in prediction: batch norms keep their statistics."""
        super().train(mode)
        for name, module in self.architecture.named_modules():
            if name in self.frozen:
                module.eval()
        return self

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
    wavelengths = [channel.wavelength_nm for channel in card.channels]
    architecture = build(
        card.architecture, len(card.channels), len(card.classes), card.options, wavelengths, card.pixel_m,
        days_of(card.preparation.get("series")),
    )  # fmt: skip
    return Network(architecture, card.channels, card.normalisation)


def build(
    architecture: str,
    channels: int,
    classes: int,
    options: Mapping[str, Any],
    wavelengths_nm: Sequence[float | None] | None = None,
    pixel_m: float | None = None,
    days: Sequence[float] | None = None,
) -> nn.Module:
    """An architecture by the name of its file, with fresh weights.

    Args:
        architecture: Name of the file.
        channels: Input channels.
        classes: Output classes.
        options: As in params.
        wavelengths_nm: Centre of each channel or None; None as a whole where only shapes are of interest.
        pixel_m: Ground size of a pixel, metres, or None likewise.
        days: Of a time series, the middle of each step in days since 1 January; None where they are not known.

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
    given = {"channels": channels, "classes": classes, "wavelengths_nm": wavelengths_nm, "pixel_m": pixel_m,
             "days": days}  # fmt: skip
    taken = {name: given[name] for name in inspect.signature(maker).parameters if name in HANDED}
    try:
        module: nn.Module = maker(**taken, **options)
    except (ValueError, TypeError) as error:
        raise ParamsError(
            f"options of model '{architecture}' cannot be used: {error}; correct them in params.yaml"
        ) from error
    return module


def channels_last(architecture: nn.Module) -> nn.Module:
    """Weights of two-dimensional convolutions in that memory order; `Module.to` refuses a module that has others."""
    for tensor in (*architecture.parameters(), *architecture.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return architecture


def days_of(series: Mapping[str, Any] | None) -> tuple[float, ...] | None:
    """Days of the year in the middle of a series' steps, by `start`, `frequency` and `bins` of its params, or None."""
    return None if series is None else composite.days_of(series["start"], series["frequency"], series["bins"])


def freeze(network: Network, stages: Sequence[str | int]) -> None:
    """Holds these stages of an architecture still, and lets go of all others: called again, it thaws.

    Weights that an architecture keeps for itself (a frozen or LoRA encoder) stay as they are.

    Args:
        network: Whose architecture has `stages`: `stem`, then `1`, `2` … from the input on.
        stages: Which of them; none thaws everything.

    Raises:
        ParamsError: The architecture has no such stage.
    """
    known: Mapping[str, Sequence[str]] = getattr(network.architecture, "stages", {})
    if wrong := [str(stage) for stage in stages if str(stage) not in known]:
        raise ParamsError(
            f"'freeze' names {', '.join(wrong)}; the architecture's stages are {', '.join(known) or 'none'}"
        )
    paths = frozenset(path for stage in stages for path in known[str(stage)])
    held = set()
    for name, parameter in network.architecture.named_parameters():
        learns = parameter.requires_grad or name in network.held
        if learns and any(f"{name}.".startswith(f"{path}.") for path in paths):
            held.add(name)
        parameter.requires_grad_(learns and name not in held)
    network.frozen, network.held = paths, frozenset(held)
    network.train(network.training)


def still_frozen(stages: Sequence[str | int], epoch: int, thaw_epochs: int | None) -> tuple[str | int, ...]:
    """What of `freeze` still holds in an epoch: the last stage thaws after `thaw_epochs`, one more after as many again.

    Args:
        stages: In order from the input on.
        epoch: From 0.
        thaw_epochs: At least 1; None thaws nothing.
    """
    gone = 0 if thaw_epochs is None else epoch // thaw_epochs
    return tuple(stages[: max(len(stages) - gone, 0)])


def set_prior_bias(network: Network, shares: Sequence[float]) -> None:
    """Starts the last layer's bias at the logarithms of the classes' shares, which training need then not learn.

    Source: Lin et al. 2017, Focal Loss for Dense Object Detection, https://arxiv.org/abs/1708.02002, section 4.1.

    Args:
        network: To be trained.
        shares: Of the labelled training pixels, per class.

    Raises:
        ParamsError: The architecture has no last layer with a bias per class.
    """
    layers = [layer for layer in network.architecture.modules() if isinstance(layer, nn.Conv2d)]
    last = next((layer for layer in reversed(layers) if layer.out_channels == len(shares)), None)
    if last is None or last.bias is None:
        raise ParamsError("the architecture has no last layer with a bias per class; do not start it from class shares")
    logs = torch.tensor(list(shares), dtype=torch.float64).clamp(min=_LEAST_SHARE).log()
    with torch.no_grad():
        last.bias.copy_((logs - logs.mean()).to(last.bias))


def source_sha256(architecture: str) -> str:
    """Hash of an architecture's file, and of the parts in `backbones` that it is made of; empty for an unknown one."""
    room = Path(__file__).parent
    files, todo = dict[Path, None](), [room / f"{architecture}.py"]
    while todo:
        file = todo.pop()
        if file.is_file() and file not in files:
            files[file] = None
            modules = [
                node.module or ""
                for node in ast.walk(ast.parse(file.read_text("utf-8")))
                if isinstance(node, ast.ImportFrom)
            ]
            names = [name.split(".")[-1] for name in modules if name.startswith("thalweg.backbones.")]
            todo += [room.parent / "backbones" / f"{name}.py" for name in sorted(names)]
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest() if files else ""


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
    taken = {name: p for name, p in inspect.signature(maker).parameters.items() if name not in HANDED}
    unknown = sorted(set(options) - set(taken))
    missing = sorted(name for name, p in taken.items() if p.default is p.empty and name not in options)
    if unknown or missing:
        faults = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise ParamsError(
            f"'options' of model '{architecture}' {' and '.join(faults)}; it takes {', '.join(taken) or 'none'}"
        )
