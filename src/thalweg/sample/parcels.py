"""Farmland: estates, each turned its own way, cut into strips and parcels with windbreaks and tracks between."""

from dataclasses import dataclass

import numpy as np

from thalweg.sample.noise import Floats, Ints, fractal, uniform

_ESTATE_M = 7600.0
_STRIP_M = 950.0
_PARCEL_M = 1500.0
_TURNS = np.deg2rad([4.0, -9.0, 17.0, -26.0, 38.0])


@dataclass(frozen=True)
class Parcels:
    """What the cells of one block know about the parcel that they lie in."""

    luck: Floats
    """(3, H, W) random numbers of the parcel in [0, 1)."""
    farmed: Floats
    """1 inside cleared parcels, else 0."""
    edge_m: Floats
    """To the nearest parcel edge, metres."""
    along_m: Floats
    """Position across the rows of the crop, metres."""
    track: Floats
    """1 where the nearest edge carries a track, else 0."""


def parcels(key: int, xs: Floats, ys: Floats) -> Parcels:
    """The parcels under the given eastings and northings, metres."""
    estate_x, _ = _cells(key + 1, xs + 0.12 * ys, np.zeros((1, 1), np.int64), _ESTATE_M)
    estate_y, _ = _cells(key + 2, ys - 0.12 * xs, estate_x, _ESTATE_M)
    turn = _TURNS[(uniform(key + 3, estate_x, estate_y) * len(_TURNS)).astype(np.intp)]
    cos, sin = np.cos(turn), np.sin(turn)
    along, across = xs * cos + ys * sin, ys * cos - xs * sin
    strip, strip_edge = _cells(key + 4, across, estate_x * 131 + estate_y, _STRIP_M)
    parcel, parcel_edge = _cells(key + 5, along, strip * 8191 + estate_x * 131 + estate_y, _PARCEL_M)
    luck = np.stack([uniform(key + salt, parcel, strip, estate_x * 131 + estate_y) for salt in (6, 7, 8)])
    # the wish for farmland is asked at the parcel's middle, so that clearings end at parcel edges
    middle_p, middle_q = (parcel + 0.5) * _PARCEL_M, (strip + 0.5) * _STRIP_M
    wish = fractal(key + 9, middle_p * cos - middle_q * sin, middle_p * sin + middle_q * cos, 11_000, 2)
    farmed = (wish + 0.5 * luck[2] > 0.5).astype(np.float64)
    track = (uniform(key + 10, strip, estate_x, estate_y) < 0.3) & (strip_edge < parcel_edge)
    return Parcels(luck, farmed, np.minimum(strip_edge, parcel_edge), across, track.astype(np.float64))


def _cells(key: int, position: Floats, row: Ints, size_m: float) -> tuple[Ints, Floats]:
    """Index of the jittered cell along one axis, and the distance to its nearer end, metres."""
    scaled = position / size_m
    cell = np.floor(scaled).astype(np.int64)
    low, high = _end(key, cell, row), _end(key, cell + 1, row)
    cell = np.where(scaled < low, cell - 1, np.where(scaled >= high, cell + 1, cell))
    low, high = _end(key, cell, row), _end(key, cell + 1, row)
    return cell, np.minimum(scaled - low, high - scaled) * size_m


def _end(key: int, cell: Ints, row: Ints) -> Floats:
    return cell + 0.36 * (2 * uniform(key, cell, row) - 1)
