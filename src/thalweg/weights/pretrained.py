"""Weights of one's own: an encoder that `pretrain` made, put under a member's architecture.

The member takes its z-scores by the encoder's normalisation, so that its channels must be the encoder's, in order and
unit, and distributed alike.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from thalweg.errors import WeightsError
from thalweg.manifest.card import WEIGHTS, Normalisation
from thalweg.manifest.encoder import EncoderCard, read_encoder_card
from thalweg.manifest.scene import Channel

FAR_STD = 2.0
"""Training means further from the encoder's, in its deviations, are of other values: digital numbers, another unit."""
FAR_RATIO = 4.0
"""So are deviations whose ratio is larger, or smaller than its inverse."""
_SPARE = ("num_batches_tracked",)


def check_channels(card: EncoderCard, channels: Sequence[Channel], own: Normalisation, where: str) -> None:
    """Whether an encoder can read a member's channels.

    Args:
        card: The encoder's.
        channels: The member's.
        own: Statistics of the member's training ground.
        where: The member, for the message.

    Raises:
        WeightsError: Names, order or units differ, or values that are distributed quite otherwise.
    """
    mine, theirs = ([f"{channel.name} [{channel.unit}]" for channel in each] for each in (channels, card.channels))
    if mine != theirs:
        raise WeightsError(
            f"{where} has the channels {', '.join(mine)}, but encoders/{card.encoder} was pre-trained on "
            f"{', '.join(theirs)}; give both grids the same bands and channels in the same order"
        )
    for place, channel in enumerate(channels):
        mean, std = card.normalisation.mean[place], card.normalisation.std[place]
        ratio = own.std[place] / std if std > 0 and own.std[place] > 0 else 1.0
        if std > 0 and (abs(own.mean[place] - mean) > FAR_STD * std or not 1 / FAR_RATIO < ratio < FAR_RATIO):
            raise WeightsError(
                f"{where}: channel {channel.name} has mean {own.mean[place]:.4g} and deviation {own.std[place]:.4g} on "
                f"training ground, but encoders/{card.encoder} was normalised by {mean:.4g} and {std:.4g}; pre-train "
                "on ground like this, or correct the products' scale"
            )


@torch.no_grad()
def put_encoder(architecture: nn.Module, options: dict[str, Any], folder: Path, where: str) -> EncoderCard:
    """Puts an encoder's weights under an architecture, every tensor of its encoder or none.

    Args:
        architecture: With `trunk_at`, the path of its encoder.
        options: The member's, whose `depth` must not go beyond the encoder's.
        folder: `encoders/<name>`.
        where: The member, for the message.

    Raises:
        WeightsError: The architecture has no encoder of that name and depth, or weights of its own to start from, or
            the file is broken.
    """
    card, path = read_encoder_card(folder), folder / WEIGHTS
    try:
        tensors = load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); run `dvc repro pretrain`") from error
    own = check_fit(architecture, options, tensors, Made(card.encoder, card.architecture, card.depth), where)
    for name, value in own.items():
        if name in tensors:
            value.copy_(tensors[name])
    return card


class Made(NamedTuple):
    """What an encoder is, pre-trained or yet to be."""

    name: str
    architecture: str
    depth: int


def check_fit(architecture: nn.Module, options: Mapping[str, Any], tensors: Mapping[str, Tensor], made: Made,
              where: str) -> dict[str, Tensor]:  # fmt: skip
    """The tensors of an architecture's encoder by name, each of which an encoder has a value for.

    Args:
        architecture: As for `put_encoder`.
        options: The member's.
        tensors: The encoder's, of which only the shapes count.
        made: Which encoder that is.
        where: The member, for the message.

    Raises:
        WeightsError: The architecture has no encoder of that name and depth, or weights of its own to start from.
    """
    trunk_at = getattr(architecture, "trunk_at", None)
    if trunk_at is None:
        raise WeightsError(
            f"{where}: its architecture has no encoder that encoders/{made.name} could start; take one with "
            f"the option encoder, such as unetplusplus with encoder: {made.architecture}"
        )
    if getattr(architecture, "start", None) is not None:
        raise WeightsError(
            f"{where} starts from its option weights and from encoders/{made.name}; set weights to null, or after "
            "to masks/none.yaml"
        )
    own = architecture.get_submodule(trunk_at).state_dict(keep_vars=True)
    wrong = [name for name, value in own.items() if not name.endswith(_SPARE)
             and (name not in tensors or tensors[name].shape != value.shape)]  # fmt: skip
    depth = int(options.get("depth", made.depth))
    if wrong or depth > made.depth:
        fault = f"of {len(own)} tensors {len(wrong)} do not fit, such as {wrong[0]}" if wrong else f"depth is {depth}"
        raise WeightsError(
            f"{where} does not fit encoders/{made.name}, which is {made.architecture} at depth {made.depth} "
            f"({fault}); give both the same encoder, and the member no more depth"
        )
    return own
