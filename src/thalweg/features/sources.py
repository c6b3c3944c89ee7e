"""What can be named as an encoder on a command line, opened."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from thalweg import models
from thalweg.errors import FeatureError
from thalweg.features import Encoder, wrapped
from thalweg.features.stages import maps_of
from thalweg.infer.predictor import to_device
from thalweg.manifest.card import CARD, WEIGHTS, Normalisation, read_card
from thalweg.manifest.encoder import read_encoder_card
from thalweg.manifest.scene import Channel
from thalweg.pretrain.encoder import build_encoder, load_encoder
from thalweg.sources import sha256_of

TIMM = "timm:"


def open_encoder(text: str, channels: Sequence[Channel], normalisation: Normalisation, device: str = "cpu",
                 seed: int = 0) -> Encoder:  # fmt: skip
    """The encoder that a text names, on a device.

    Args:
        text: `encoders/<name>`, `models/<member>` or `timm:<name>`.
        channels: What a fresh network shall read; the others read what they learnt from.
        normalisation: Of those.
        device: torch's name, or `auto`.
        seed: Of a fresh network's weights.

    Raises:
        FeatureError: It names none, or one that makes no maps.
        CardError: Weights do not fit their card.
        ParamsError: The device is not there.
    """
    if text.startswith(TIMM):
        found = _fresh_timm(text.removeprefix(TIMM), tuple(channels), normalisation, seed)
    elif (Path(text) / CARD).is_file():
        found = _pretrained(Path(text), None) if _is_encoder(Path(text)) else _member(Path(text), None)
    else:
        raise FeatureError(
            f"'{text}' is no encoder: there is no {Path(text) / CARD}; give encoders/<name>, models/<member>, or "
            f"{TIMM}<name> for a fresh network such as {TIMM}resnet18"
        )
    found.network.to(to_device(device))
    return found


def _is_encoder(folder: Path) -> bool:
    """Whether a folder holds a pre-trained encoder's card, and not a member's."""
    return "method" in json.loads((folder / CARD).read_text("utf-8"))


def _pretrained(folder: Path, seed: int | None) -> Encoder:
    """A pre-trained encoder, or the same with the random weights of a seed."""
    card = read_encoder_card(folder)
    torch.manual_seed(seed or 0)
    module = load_encoder(folder) if seed is None else build_encoder(card.architecture, len(card.channels), card.depth)
    weights = "" if seed is not None else sha256_of(folder / WEIGHTS)
    return wrapped(str(folder), module, card.channels, card.normalisation, partial(_pretrained, folder), card.pixel_m,
                   weights, module.stride)  # fmt: skip


def _member(folder: Path, seed: int | None) -> Encoder:
    """A trained member's encoder, or the same with the random weights of a seed."""
    card = read_card(folder)
    torch.manual_seed(seed or 0)
    network = models.network(card)
    if seed is None:
        models.load_weights(network, folder)
    maps = maps_of(network.architecture, len(card.channels), len(card.classes), str(folder))
    weights = "" if seed is not None else sha256_of(folder / WEIGHTS)
    return wrapped(str(folder), maps, card.channels, card.normalisation, partial(_member, folder), card.pixel_m,
                   weights)  # fmt: skip


def _fresh_timm(name: str, channels: tuple[Channel, ...], normalisation: Normalisation, seed: int) -> Encoder:
    import timm  # noqa: PLC0415 - takes seconds

    torch.manual_seed(seed)
    try:
        module = timm.create_model(name, features_only=True, in_chans=len(channels), pretrained=False)
    except RuntimeError as error:
        raise FeatureError(
            f"timm makes no features of '{name}' ({' '.join(str(error).split())}); give a name of "
            "`timm.list_models()`, such as resnet18"
        ) from error
    return wrapped(f"{TIMM}{name}", module, channels, normalisation,
                   partial(_fresh_timm, name, channels, normalisation))  # fmt: skip
