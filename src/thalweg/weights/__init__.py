"""Pre-trained weights: by torchgeo's name or from a local file, with their own normalisation and their bands mapped.

The network that they start learns from z-scores of the training statistics like any other; an adapter in front of the
encoder turns these into what the weights were trained on. Bands are mapped by name:

- a channel takes the input kernel of its band, whatever the order, at every date of a time series;
- a channel that the weights never saw takes the mean of their kernels, and the mean of the mapped channels' adapters;
- bands of the weights that the scenes lack are dropped;
- all kernels are then multiplied by (bands of the weights) / (channels), which keeps the first features' size.

A local file that is not named after one of torchgeo's takes z-scores as they are; its bands are unknown, so that its
input kernels are taken in order where the channels are as many, and their mean otherwise.

Only a training start reads weights: a trained member's own file holds everything, the adapter included.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from thalweg.errors import WeightsError
from thalweg.manifest.card import Normalisation
from thalweg.manifest.scene import Channel
from thalweg.weights.catalogue import Pretraining, Start, canonical, pretraining
from thalweg.weights.files import read_weights

SAME_BAND_NM = 40.0
"""Centres of one band on two sensors lie nearer than this."""


@dataclass(frozen=True)
class Started:
    """What an encoder was started from, for the run's record."""

    weights: str
    sha256: str
    mapped: dict[str, str]
    """Channel → band of the weights."""
    unknown: tuple[str, ...]
    """Channels that the weights never saw."""
    missing: tuple[str, ...]
    """Bands of the weights that the scenes lack."""


def initialise(architecture: nn.Module, channels: Sequence[Channel], normalisation: Normalisation) -> Started | None:
    """Puts pre-trained weights into an architecture's encoder, if its options name some.

    Args:
        architecture: With `start` and `adapter` where it can be started (`backbones.any_size`).
        channels: Of the scenes, in order.
        normalisation: By which the network makes its z-scores.

    Raises:
        WeightsError: The weights cannot be read or fetched, or do not fit the encoder, its bands or its units.
    """
    start = getattr(architecture, "start", None)
    if start is None:
        return None
    trunk = architecture.get_submodule(start.trunk)
    own = {name.replace(".base_layer", ""): value for name, value in trunk.state_dict(keep_vars=True).items()}
    tensors, sha256 = read_weights(start, own)
    seen = pretraining(start)
    mapped = _mapped(channels, seen)
    if start.stem:
        tensors[start.stem] = kernels(_of(tensors, start), own[start.stem], [*mapped.values()], seen.bands, start)
    _copy(tensors, own, start)
    gain, bias = adapter(channels, normalisation, mapped, seen, start)
    architecture.get_buffer("adapter.gain").copy_(gain[:, None, None])
    architecture.get_buffer("adapter.bias").copy_(bias[:, None, None])
    return Started(
        start.text, sha256, {name: seen.bands[k] for name, k in mapped.items() if k is not None},
        tuple(name for name, k in mapped.items() if k is None),
        tuple(band for k, band in enumerate(seen.bands) if k not in mapped.values()))  # fmt: skip


def kernels(pretrained: Tensor, own: Tensor, order: Sequence[int | None], bands: Sequence[str], start: Start) -> Tensor:
    """The input layer's weight for these channels, shaped as the architecture's own.

    Args:
        pretrained: (out, bands, k, k) or (out, bands × k²).
        own: The architecture's weight, whose shape is kept.
        order: Per channel its place in the weights' bands, or None.
        bands: Of the weights.
        start: For messages.

    Raises:
        WeightsError: The shapes cannot belong together.
    """
    area = own[0].numel() // len(order)
    seen = pretrained[0].numel() // area
    if len(pretrained) != len(own) or seen * area != pretrained[0].numel() or (bands and seen != len(bands)):
        raise WeightsError(
            f"{start.text}: the input layer has shape {tuple(pretrained.shape)}, where {tuple(own.shape)} is taken "
            f"from {len(bands) or 'any number of'} bands; choose weights of {start.model}"
        )
    parts = pretrained.reshape(len(pretrained), seen, area)
    if not bands and seen == len(order):
        order = range(seen)  # a file of unknown bands, but as many
    mean = parts.mean(1)
    stacked = torch.stack([mean if k is None else parts[:, k] for k in order], 1)
    return (stacked * (seen / len(order))).reshape(own.shape)


def adapter(
    channels: Sequence[Channel],
    normalisation: Normalisation,
    mapped: dict[str, int | None],
    seen: Pretraining,
    start: Start,
) -> tuple[Tensor, Tensor]:
    """(gain, bias) per channel from z-scores to what the weights take: value = mean + std·z, (value − M) / S.

    Raises:
        WeightsError: A channel's unit is not the one that the weights' normalisation is stated in.
    """
    if not seen.unit:
        gain, bias = start.spread or (1.0, 0.0)
        return torch.full((len(channels),), gain), torch.full((len(channels),), bias)
    found: dict[int, tuple[float, float]] = {}
    for place, channel in enumerate(channels):
        band = mapped[channel.name]
        if band is None:
            continue
        if channel.unit != seen.unit:
            raise WeightsError(
                f"{start.text} take {seen.bands[band]} in {seen.unit}, channel {channel.name} is in {channel.unit}; "
                "choose other weights, or deliver the products in that unit"
            )
        mean, std = normalisation.mean[place], normalisation.std[place] or 1.0
        found[place] = std / seen.std[band], (mean - seen.mean[band]) / seen.std[band]
    middle = [sum(pair[side] for pair in found.values()) / max(len(found), 1) for side in (0, 1)]
    pairs = torch.tensor([found.get(place, (middle[0], middle[1])) for place in range(len(channels))])
    return pairs[:, 0], pairs[:, 1]


def _mapped(channels: Sequence[Channel], seen: Pretraining) -> dict[str, int | None]:
    mapped: dict[str, int | None] = {}
    for channel in channels:
        name = canonical(channel.name)
        place = seen.bands.index(name) if name in seen.bands else None
        centre = seen.wavelengths_nm.get(name)
        if place is not None and centre and channel.wavelength_nm is not None:
            place = place if abs(channel.wavelength_nm - centre) < SAME_BAND_NM else None
        mapped[channel.name] = place
    if seen.bands and all(place is None for place in mapped.values()):
        raise WeightsError(
            f"none of the channels {', '.join(mapped)} is one of the weights' bands {', '.join(seen.bands)}; "
            "choose other weights, or set them to null"
        )
    return mapped


def _of(tensors: dict[str, Tensor], start: Start) -> Tensor:
    if start.stem not in tensors:
        raise WeightsError(f"{start.text} lack {start.stem}; choose weights of {start.model}")
    return tensors[start.stem]


@torch.no_grad()
def _copy(tensors: dict[str, Tensor], own: dict[str, Tensor], start: Start) -> None:
    """Every tensor or none; lacking may be what LoRA adds, counters of batches, and what the start spares."""
    spare = (*start.spare, "num_batches_tracked", "lora_")
    fits = {name for name, value in own.items() if name in tensors and tensors[name].shape == value.shape}
    wrong = [name for name in own if name not in fits and not any(part in name for part in spare)]
    if wrong:
        there = tuple(tensors[wrong[0]].shape) if wrong[0] in tensors else "not there"
        raise WeightsError(
            f"{start.text} do not fit {start.model}: {wrong[0]} should be {tuple(own[wrong[0]].shape)}, is {there} "
            f"({len(wrong)} of {len(own)} tensors); choose weights of {start.model}"
        )
    for name in fits:
        own[name].copy_(tensors[name])
