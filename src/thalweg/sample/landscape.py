"""Ground and sky put together on blocks that are fixed to the ground, so that every product shows the same of both.

Blocks are the unit of computing: a window takes the whole blocks it touches, hence no value depends on the window.
"""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thalweg.sample import ground
from thalweg.sample.ground import Place
from thalweg.sample.noise import Floats, key_of
from thalweg.sample.sky import Sky, sky
from thalweg.sample.spectra import BANDS, SPECTRA, index_of

BLOCK = 192
"""Edge of a block, 20 m cells; a multiple of 3, so that 60 m pixels never straddle two."""
_HALO = 2


@dataclass(frozen=True)
class View:
    """Which ground is seen when."""

    seed: int
    epsg: int
    date: str
    """ISO 8601."""
    cloud_cover: float


def iter_blocks(top: int, left: int, size: int) -> Iterator[tuple[Place, tuple[slice, slice], tuple[slice, slice]]]:
    """Blocks that a square window touches: the block's row and column, where it lies in the window, and its part of it.

    Args:
        top: First row of the window, cells south of the zone's origin.
        left: First column.
        size: Edge, cells.
    """
    for row in range(top // BLOCK, (top + size - 1) // BLOCK + 1):
        for col in range(left // BLOCK, (left + size - 1) // BLOCK + 1):
            rows, from_rows = _overlap(row * BLOCK, top, size)
            cols, from_cols = _overlap(col * BLOCK, left, size)
            yield Place(0, row * BLOCK, col * BLOCK, BLOCK, BLOCK), (rows, cols), (from_rows, from_cols)


def observe(view: View, top: int, left: int) -> tuple[Floats, NDArray[np.uint8]]:
    """Reflectance (band, BLOCK, BLOCK) and scene classes of the block at a lattice position."""
    wide = Place(view.epsg, top - _HALO, left - _HALO, BLOCK + 2 * _HALO, BLOCK + 2 * _HALO)
    surface, water = ground.reflectance(view.seed, wide, greenness(view))
    above = sky(view.seed, view.epsg, view.date, view.cloud_cover, wide.xs, wide.ys)
    classes = _classes(surface, water, above)
    seen = _blurred(_through(surface, above))
    core = (slice(_HALO, -_HALO), slice(_HALO, -_HALO))
    noise = np.random.default_rng([key_of(*vars(view).values()), top & 0xFFFFFFFF, left & 0xFFFFFFFF])
    inner = seen[:, *core]
    inner = inner + noise.normal(0, 0.0012, inner.shape) + noise.normal(0, 0.008, inner.shape) * inner
    return np.clip(inner, 0.0005, 1.6), classes[core]


def greenness(view: View) -> float:
    """Season, 0 … 1: greenest in mid-February in the south, in mid-August in the north."""
    day = datetime.date.fromisoformat(view.date).timetuple().tm_yday
    shift = 45 if view.epsg > 32700 else 227
    return float(0.5 + 0.5 * np.cos(2 * np.pi * (day - shift) / 365))


def _overlap(block: int, start: int, size: int) -> tuple[slice, slice]:
    low, high = max(block, start), min(block + BLOCK, start + size)
    return slice(low - start, high - start), slice(low - block, high - block)


def _through(surface: Floats, above: Sky) -> Floats:
    dimmed = surface * (1 - 0.62 * above.shadow)
    white: Floats = SPECTRA[index_of("cloud")][:, None, None]
    veiled = dimmed + 0.16 * above.cirrus * (white - dimmed)
    cloud = white * (0.55 + 0.5 * above.cloud)
    return veiled + above.cloud * (cloud - veiled)


def _classes(surface: Floats, water: Floats, above: Sky) -> NDArray[np.uint8]:
    """SCL. Source: Sentinel-2 L2A ATBD (S2-PDGS-MPC-ATBD-L2A), section on scene classification, for the meanings."""
    red, nir = surface[BANDS.index("B04")], surface[BANDS.index("B8A")]
    classes = np.where((nir - red) / (nir + red) > 0.36, 4, 5)
    classes[water > 0.5] = 6
    for share, low, value in ((above.cloud, 0.06, 7), (above.cirrus, 0.22, 10), (above.shadow, 0.35, 3),
                              (above.cloud, 0.25, 8), (above.cloud, 0.7, 9)):  # fmt: skip
        classes[share > low] = value
    return classes.astype(np.uint8)


def _blurred(planes: Floats) -> Floats:
    """Light of the neighbours that the instrument mixes in, about its point spread at 20 m."""
    for axis in (1, 2):
        planes = 0.78 * planes + 0.11 * (np.roll(planes, 1, axis) + np.roll(planes, -1, axis))
    return planes
