"""Chips, targets and labels side by side in one PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageColor
from torch import Tensor

from thalweg.classes import IGNORE

GAP_PX = 2
UNLABELLED = "#c8c8c8"
NATURAL = ("B04", "B03", "B02")
_SPREAD = 2.0
"""Standard deviations from black to middle grey, and on to white."""


def natural(channels: Sequence[str]) -> tuple[int, int, int]:
    """Places of red, green and blue among channels by name; the first three, or fewer, where these are not there."""
    found = [channels.index(band) for band in NATURAL if band in channels]
    red, green, blue = found if len(found) == len(NATURAL) else [min(k, len(channels) - 1) for k in range(3)]
    return red, green, blue


def pictures(inputs: Tensor, channels: tuple[int, int, int]) -> np.ndarray:
    """Normalised inputs (B, C, h, w) as (B, h, w, 3) uint8: ±2 standard deviations, what is nowhere measured black."""
    shown = inputs[:, list(channels)].float().cpu().permute(0, 2, 3, 1).numpy()
    bright = np.clip((shown + _SPREAD) / (2 * _SPREAD) * 255, 0, 255)
    nothing = (inputs == 0).all(1).cpu().numpy()
    return np.asarray(np.where(nothing[..., None], 0, bright), np.uint8)


def colored(labels: Any, colors: Sequence[str]) -> np.ndarray:
    """Class ids (…) uint8 as (…, 3) uint8, unlabelled ones grey."""
    palette = np.tile(np.array(ImageColor.getrgb(UNLABELLED), np.uint8), (IGNORE + 1, 1))
    palette[: len(colors)] = [ImageColor.getrgb(color)[:3] for color in colors]
    found: np.ndarray = palette[np.asarray(labels)]
    return found


def side_by_side(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Columns of (B, h, w, 3) as one (H, W, 3), a chip per row, with white gaps."""
    rows = [_joined([column[number] for column in columns], 1) for number in range(len(columns[0]))]
    return _joined(rows, 0)


def write_png(picture: np.ndarray, path: Path) -> None:
    """Writes (H, W, 3) uint8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def _joined(parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
    shape = list(parts[0].shape)
    shape[axis] = GAP_PX
    gap = np.full(shape, 255, np.uint8)
    return np.concatenate([piece for part in parts for piece in (part, gap)][:-1], axis)
