"""Clouds, thin cirrus and the shadows that clouds throw, of one date."""

import functools
from dataclasses import dataclass

import numpy as np

from thalweg.sample.noise import Floats, fractal, key_of, ramp

_SHADOW_M = (-760.0, -520.0)
_ALL_M = 120_000.0


@dataclass(frozen=True)
class Sky:
    """(H, W) each, 0 … 1."""

    cloud: Floats
    cirrus: Floats
    shadow: Floats


def sky(seed: int, epsg: int, date: str, cover: float, xs: Floats, ys: Floats) -> Sky:
    """What lies between the ground and the satellite.

    Args:
        seed: Which weather.
        epsg: UTM zone.
        date: Sensing date.
        cover: Share of the ground under cloud over some hundreds of kilometres; a small window may have none.
        xs: Eastings, metres.
        ys: Northings, metres.
    """
    key = key_of(seed, epsg, date, "sky")
    clear = np.zeros(np.broadcast_shapes(xs.shape, ys.shape))
    if cover == 0:
        return Sky(clear, clear, clear)
    floor, veil = _quantile(key, 1 - cover), _quantile(key + 50, 1 - 0.25 * cover)
    cloud = ramp(_density(key, xs, ys), floor - 0.25, floor + 0.35)
    cirrus = 0.5 * ramp(_density(key + 50, 0.35 * xs + 0.2 * ys, ys), veil - 0.2, veil + 0.9)
    thrown = ramp(_density(key, xs - _SHADOW_M[0], ys - _SHADOW_M[1]), floor - 0.1, floor + 0.35)
    return Sky(cloud, cirrus, thrown * (1 - cloud))


def _density(key: int, xs: Floats, ys: Floats) -> Floats:
    return fractal(key, xs, ys, 3_600, 5, 0.55)


@functools.lru_cache(maxsize=64)
def _quantile(key: int, share: float) -> float:
    """The density that `share` of a wide region stays below; the same for every window of a date."""
    axis = np.linspace(0, _ALL_M, 140)
    return float(np.quantile(_density(key, axis[None, :], axis[:, None]), share))
