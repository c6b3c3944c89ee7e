"""Scenes as an encoder reads them: its channels in its order, of all dates together or of one after the other."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import FeatureError
from thalweg.features import Encoder
from thalweg.manifest.scene import Channel, SceneRecord


def order_of(encoder: Encoder, record: SceneRecord) -> list[int]:
    """Place of each of the encoder's channels among a scene's.

    Raises:
        FeatureError: The scene lacks one, or holds it in another scale or unit.
    """
    return _places(encoder, record, record.channels)


def dates_of(encoder: Encoder, record: SceneRecord) -> list[tuple[str | None, list[int]]]:
    """Day and places of the encoder's channels: of the whole scene, or of each date of a series read one by one.

    Raises:
        FeatureError: As for `order_of`.
    """
    names = {channel.name for channel in record.channels}
    if not record.dates or set(encoder.bands) <= names:
        day = record.dates[0] if record.dates else (record.sensing_time or "")[:10]
        return [(day or None, order_of(encoder, record))]
    count = len(record.channels) // len(record.dates)
    found: list[tuple[str | None, list[int]]] = []
    for number, day in enumerate(record.dates):
        mine = [channel.model_copy(update={"name": channel.name.partition("/")[2]})
                for channel in record.channels[number * count : (number + 1) * count]]  # fmt: skip
        found.append((day, [number * count + place for place in _places(encoder, record, mine)]))
    return found


def to_inputs(encoder: Encoder, pixels: Sequence[np.ndarray], order: Sequence[int]) -> Tensor:
    """Stored values (h, w, C) of some windows of scenes to inputs (B, C, h, w), where the encoder computes."""
    stored = torch.from_numpy(np.stack([each[..., list(order)] for each in pixels]))
    return encoder.network.normalise(stored.to(next(encoder.network.parameters()).device))


def _places(encoder: Encoder, record: SceneRecord, channels: Sequence[Channel]) -> list[int]:
    known = {channel.name: place for place, channel in enumerate(channels)}
    if lacking := [name for name in encoder.bands if name not in known]:
        raise FeatureError(
            f"{encoder.name} reads {', '.join(encoder.bands)}, but scene {record.name} lacks {', '.join(lacking)}; "
            "give an encoder of this grid's channels"
        )
    order = [known[name] for name in encoder.bands]
    for mine, place in zip(encoder.channels, order, strict=True):
        there = channels[place]
        if (mine.scale, mine.offset, mine.unit) != (there.scale, there.offset, there.unit):
            raise FeatureError(
                f"{encoder.name} reads {mine.name} in {mine.unit} × {mine.scale:g}, scene {record.name} holds it in "
                f"{there.unit} × {there.scale:g}; make both with the same grid's params"
            )
    return order
