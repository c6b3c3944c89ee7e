"""Blocks on the ground: one sinusoidal tiling of the earth that every grid, tile and UTM zone shares.

Rows are bands of latitude, `block_m` high on the sphere; each row is cut into a whole number of columns, as near to
`block_m` wide at the row's middle latitude as that number allows. A block is thus a box of longitude and latitude, and
the same ground is the same block in any CRS. The sphere misses lengths on the ellipsoid by at most 0.6 %, which
changes the size of blocks and nothing else.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from thalweg.grid import Grid, Window
from thalweg.manifest.chips import PARTS
from thalweg.split.position import lonlat
from thalweg.split.terrain import Terrain

RADIUS_M = 6_371_007.2
"""Authalic radius of GRS80. Source: Moritz (2000), Geodetic Reference System 1980, doi:10.1007/s001900050278."""


@dataclass(frozen=True)
class Lattice:
    """The tiling for one block size."""

    block_m: float

    def columns(self, rows: np.ndarray) -> np.ndarray:
        """Number of blocks around the earth in each of these rows."""
        middle = (rows + 0.5) * self.block_m / RADIUS_M
        around = 2 * np.pi * RADIUS_M * np.cos(np.clip(middle, -np.pi / 2, np.pi / 2))
        count: np.ndarray = np.maximum(np.rint(around / self.block_m), 1).astype(np.int64)
        return count

    def cells(self, grid: Grid, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Block row and column (h, w) of the pixel centres of a window, which may reach past the grid."""
        lon, lat = lonlat(grid, window)
        rows = np.floor(np.radians(lat) * (RADIUS_M / self.block_m)).astype(np.int64)
        first = int(rows.min())
        count = self.columns(np.arange(first, int(rows.max()) + 1))[rows - first]
        cols = np.floor((lon + 180) % 360 * (count / 360)).astype(np.int64) % count
        return rows, cols

    def box(self, row: int, col: int) -> tuple[float, float, float, float]:
        """West, south, east, north of a block, degrees."""
        count = int(self.columns(np.array([row]))[0])
        south, north = np.degrees(np.array([row, row + 1]) * self.block_m / RADIUS_M)
        return 360 * col / count - 180, float(south), 360 * (col + 1) / count - 180, float(north)


def encode(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """One integer per block, ordered by row and column."""
    codes: np.ndarray = (rows << 32) + cols
    return codes


def decode(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of block integers."""
    return codes >> 32, codes & 0xFFFFFFFF


def ranked(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct blocks of a window, sorted, and each pixel's place among them.

    As `np.unique(return_inverse=True)`, but quick: neighbouring pixels mostly share their block, so only the first
    of each run in a row is sorted.
    """
    first = np.ones(codes.shape, bool)
    first[:, 1:] = codes[:, 1:] != codes[:, :-1]
    distinct, place = np.unique(codes[first], return_inverse=True)
    return distinct, place[np.cumsum(first.ravel()) - 1].reshape(codes.shape)


class Piece(NamedTuple):
    """A piece of a scene that is dealt in place of a block of the lattice."""

    name: str
    grid: Grid
    """Of the piece alone."""
    row: int
    col: int
    """Its place among the pieces of its scene."""


@dataclass(frozen=True)
class BlockTable:
    """What is dealt to the parts, blocks of the lattice or pieces of scenes: labelled ground and the part of each."""

    lattice: Lattice
    codes: np.ndarray
    """(n,) int64, sorted."""
    area_m2: np.ndarray
    """(n, classes) labelled, valid ground, square metres, summed over scenes."""
    parts: np.ndarray
    """(n,) uint8 values of `PARTS`."""
    pieces: tuple[Piece, ...] | None = None
    """Of the codes, in their order; None where codes are those of lattice blocks."""
    terrain: Terrain | None = None
    """Elevations, where the scenes have that channel."""

    @cached_property
    def names(self) -> list[str]:
        """`<row>_<col>` of each block, or the piece's own name."""
        if self.pieces is not None:
            return [piece.name for piece in self.pieces]
        return [block_name(int(row), int(col)) for row, col in zip(*decode(self.codes), strict=True)]

    @cached_property
    def name_of(self) -> dict[int, str]:
        """Code → name."""
        return dict(zip(self.codes.tolist(), self.names, strict=True))

    def parts_at(self, grid: Grid, window: Window) -> np.ndarray:
        """(h, w) uint8 part of the block under each pixel; `unused` where no labelled block is."""
        return self.parts_of(encode(*self.lattice.cells(grid, window)))

    def parts_of(self, codes: np.ndarray) -> np.ndarray:
        """(h, w) uint8 part of each code; `unused` where the table does not have it."""
        distinct, place = ranked(codes)
        if not len(self.codes):
            return np.full(place.shape, PARTS["unused"], np.uint8)
        at = np.minimum(np.searchsorted(self.codes, distinct), len(self.codes) - 1)
        values = np.where(self.codes[at] == distinct, self.parts[at], PARTS["unused"]).astype(np.uint8)
        found: np.ndarray = values[place]
        return found


def block_name(row: int, col: int) -> str:
    """How chips.parquet and blocks.geojson call a block."""
    return f"{row}_{col}"
