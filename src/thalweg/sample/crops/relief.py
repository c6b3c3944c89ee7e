"""Heights of the crop world, and the tiles of a height model that hold them, in SRTM's form."""

import math
from pathlib import Path

import numpy as np
from pyproj import Transformer

from thalweg.sample.noise import Floats, fractal, key_of, ramp

POSTS = 1201
"""Along an edge of a tile of one degree: 3 arc-seconds."""
_LOW_M, _HIGH_M = 60.0, 900.0
_HILLS_M = 14_000.0


def heights(seed: int, epsg: int, xs: Floats, ys: Floats) -> Floats:
    """Metres above the sea at eastings and northings of a UTM zone."""
    hills = ramp(fractal(key_of(seed, epsg, "relief"), xs, ys, _HILLS_M, 4), -1.2, 2.2)
    return np.asarray(_LOW_M + (_HIGH_M - _LOW_M) * hills, np.float64)


def tiles_under(epsg: int, bounds: tuple[float, float, float, float]) -> set[tuple[int, int]]:
    """(south, west) degrees of the tiles that the rectangle (left, bottom, right, top) of a UTM zone touches."""
    to_degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    west, south, east, north = to_degrees.transform_bounds(*bounds)
    return {(lat, lon) for lat in range(math.floor(south), math.floor(north) + 1)
            for lon in range(math.floor(west), math.floor(east) + 1)}  # fmt: skip


def make_heights(folder: Path, *, seed: int, epsg: int, south: int, west: int) -> Path:
    """A tile such as `N43E001.hgt`: big-endian int16 metres, from the north-west corner, edges shared with neighbours.

    Source: SRTM Topography, https://dds.cr.usgs.gov/srtm/version2_1/Documentation/SRTM_Topo.pdf, section 2.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{'N' if south >= 0 else 'S'}{abs(south):02d}{'E' if west >= 0 else 'W'}{abs(west):03d}.hgt"
    steps = np.arange(POSTS) / (POSTS - 1)
    lon, lat = np.meshgrid(west + steps, south + 1 - steps)
    xs, ys = Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    metres = np.round(heights(seed, epsg, xs, ys)).astype(">i2")
    (folder / name).write_bytes(metres.tobytes())
    return folder / name
