"""Clouds widened by ground metres: exact Euclidean distance between pixel centres, in bounded memory."""

import math
from typing import Any

import numpy as np

TOLERANCE = 1.002
"""By which a distance may be exceeded, since UTM's metres differ from the ground's by up to 0.1 %: a buffer of 20 m
reaches the next 20 m pixel everywhere."""
_STRIPE_ROWS = 256


def widen(usable: np.ndarray, clouds: np.ndarray, pixel_m_yx: tuple[float, float], distance_m: float) -> None:
    """Marks pixels as unusable whose centre lies within a distance of that of a cloud's pixel.

    Args:
        usable: (H, W) bool, changed in place.
        clouds: (H, W) bool.
        pixel_m_yx: Height and width of a pixel, ground metres.
        distance_m: Ground metres.
    """
    height = clouds.shape[0]
    reach = _reach_px(pixel_m_yx, distance_m)
    halo = len(reach) - 1
    for start in range(0, height, _STRIPE_ROWS):
        stop = min(start + _STRIPE_ROWS, height)
        top = max(start - halo, 0)
        around = clouds[top : min(stop + halo, height)]
        if not around.any():
            continue
        near = within(around, reach)
        usable[start:stop] &= ~near[start - top : stop - top]


def within(clouds: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Pixels (h, w) bool near a cloud; correct `len(reach) - 1` rows away from the edges of a larger picture.

    Args:
        clouds: (h, w) bool.
        reach: Columns that a cloud reaches to either side, by the number of rows that it is away.
    """
    width = clouds.shape[1]
    small = max(2 * width, clouds.shape[0] + len(reach)) < np.iinfo(np.int16).max
    number = np.dtype(np.int16 if small else np.int32)
    away = _rows_away(clouds, len(reach), number)
    spread = np.append(np.minimum(reach, width), -1 - width).astype(number)[away]  # beyond the last row none
    col = np.arange(width, dtype=number)
    to_right = np.maximum.accumulate(col + spread, axis=1) >= col
    to_left = np.minimum.accumulate((col - spread)[:, ::-1], axis=1)[:, ::-1] <= col
    return to_right | to_left


def _reach_px(pixel_m_yx: tuple[float, float], distance_m: float) -> np.ndarray:
    height_m, width_m = pixel_m_yx
    limit_m = distance_m * TOLERANCE
    rows = np.arange(math.floor(limit_m / height_m) + 1)
    half_m = np.sqrt(np.maximum(limit_m**2 - (rows * height_m) ** 2, 0))
    return np.asarray(np.floor(half_m / width_m), np.int32)


def _rows_away(clouds: np.ndarray, most: int, number: np.dtype[Any]) -> np.ndarray:
    """Rows to the nearest cloud in the same column, `most` where there is none so near."""
    row = np.arange(clouds.shape[0], dtype=number)[:, None]
    none_above, none_below = number.type(-most), number.type(clouds.shape[0] + most)
    above = row - np.maximum.accumulate(np.where(clouds, row, none_above), axis=0)
    below = np.minimum.accumulate(np.where(clouds, row, none_below)[::-1], axis=0)[::-1] - row
    return np.asarray(np.minimum(np.minimum(above, below), number.type(most)), number)
