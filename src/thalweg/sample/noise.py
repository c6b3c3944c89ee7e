"""Seeded noise as a function of ground coordinates, so that any window of the same ground shows the same pattern.

Source: gradient noise after Perlin (2002), doi:10.1145/566654.566636; the hash is SplitMix64's finaliser
(Steele, Lea, Flood 2014), doi:10.1145/2660193.2660195.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TURNS = np.stack([np.cos(np.arange(256) * np.pi / 128), np.sin(np.arange(256) * np.pi / 128)])


def key_of(*parts: object) -> int:
    """A 56-bit key from whatever tells one pattern from another; small numbers may be added to it."""
    return int.from_bytes(hashlib.blake2b(":".join(map(str, parts)).encode(), digest_size=7).digest(), "little")


def hash_ints(key: int, *indices: Ints) -> NDArray[np.uint64]:
    """64 random bits per (broadcast) tuple of integers."""
    bits = np.full(np.broadcast_shapes(*(index.shape for index in indices)), key, np.uint64)
    for index in indices:
        bits = (bits ^ index.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits ^= bits >> np.uint64(31)
    return bits


def uniform(key: int, *indices: Ints) -> Floats:
    """A number in [0, 1) per tuple of integers."""
    return (hash_ints(key, *indices) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def gradient(key: int, xs: Floats, ys: Floats, wavelength_m: float) -> Floats:
    """Smooth noise of about unit standard deviation, features some `wavelength_m` apart.

    Args:
        key: Which pattern.
        xs: Eastings, metres; broadcast with `ys`.
        ys: Northings, metres.
        wavelength_m: Lattice spacing, metres.
    """
    px, py = xs / wavelength_m, ys / wavelength_m
    ix, iy = np.floor(px).astype(np.int64), np.floor(py).astype(np.int64)
    fx, fy = px - ix, py - iy
    left, low = int(ix.min()), int(iy.min())
    nodes_x, nodes_y = np.arange(left, int(ix.max()) + 2), np.arange(low, int(iy.max()) + 2)
    turns = (hash_ints(key, nodes_x[None, :], nodes_y[:, None]) >> np.uint64(56)).astype(np.intp)
    gx, gy = _TURNS[0][turns], _TURNS[1][turns]
    on_grid = px.ndim == 2 and px.shape[0] == 1 and py.shape[1] == 1
    mixed = _mixed_on_grid if on_grid else _mixed
    return 3.6 * mixed(gx, gy, ix - left, iy - low, fx, fy)


def _mixed(gx: Floats, gy: Floats, cx: Ints, cy: Ints, fx: Floats, fy: Floats) -> Floats:
    sx = _fade(fx)
    south = _mix(_dot(gx, gy, cx, cy, fx, fy), _dot(gx, gy, cx + 1, cy, fx - 1, fy), sx)
    north = _mix(_dot(gx, gy, cx, cy + 1, fx, fy - 1), _dot(gx, gy, cx + 1, cy + 1, fx - 1, fy - 1), sx)
    return _mix(south, north, _fade(fy))


def _mixed_on_grid(gx: Floats, gy: Floats, cx: Ints, cy: Ints, fx: Floats, fy: Floats) -> Floats:
    """The same for columns (1, W) and rows (H, 1): along the few lattice rows first, then down to the pixels."""
    col, row, sx = cx[0], cy[:, 0], _fade(fx)
    along = _mix(gx[:, col] * fx, gx[:, col + 1] * (fx - 1), sx)
    across = _mix(gy[:, col], gy[:, col + 1], sx)
    south = along[row] + across[row] * fy
    north = along[row + 1] + across[row + 1] * (fy - 1)
    return _mix(south, north, _fade(fy))


def fractal(key: int, xs: Floats, ys: Floats, wavelength_m: float, octaves: int, gain: float = 0.5) -> Floats:
    """Sum of `octaves` of gradient noise, each of half the wavelength and `gain` times the height; unit deviation."""
    total = gradient(key, xs, ys, wavelength_m)
    power = 1.0
    for octave in range(1, octaves):
        height = gain**octave
        total = total + height * gradient(key + octave, xs, ys, wavelength_m / 2**octave)
        power += height * height
    return np.asarray(total / power**0.5, np.float64)


def ramp(values: Floats, low: float, high: float) -> Floats:
    """0 below `low`, 1 above `high`, smooth in between."""
    return _smooth(np.clip((values - low) / (high - low), 0.0, 1.0))


def _smooth(share: Floats) -> Floats:
    return share * share * (3.0 - 2.0 * share)


def _fade(share: Floats) -> Floats:
    return share * share * share * (share * (share * 6.0 - 15.0) + 10.0)


def _mix(first: Floats, second: Floats, share: Floats) -> Floats:
    return first + share * (second - first)


def _dot(gx: Floats, gy: Floats, cols: Ints, rows: Ints, fx: Floats, fy: Floats) -> Floats:
    return gx[rows, cols] * fx + gy[rows, cols] * fy
