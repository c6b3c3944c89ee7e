"""Tiles of a height model: where they lie, on which lattice of posts, and the posts of a window."""

import zipfile
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from affine import Affine
from rasterio.enums import MaskFlags

from thalweg import raster
from thalweg.elevation.nodes import middle_lon
from thalweg.errors import RasterError
from thalweg.grid import Grid, Window

VOID = -32768
"""SRTM's mark of a void, which counts whether or not the file's nodata tag says so."""
_WIDE_DEG = 350.0
"""A tile wider than this may reach a scene from both sides."""


@dataclass(frozen=True)
class Tile:
    """One file."""

    path: str
    """What GDAL opens."""
    grid: Grid
    nodata: float | None
    scale: float
    offset: float
    """Height = value × scale + offset, by GDAL's tags."""
    masked: bool
    """Whether a mask or an alpha band of the file says where it has heights."""


@dataclass(frozen=True)
class Lattice:
    """Tiles whose posts lie on one lattice."""

    grid: Grid
    """Of the first tile; (0, 0) of the lattice is its upper left pixel."""
    tiles: tuple[tuple[Tile, Window], ...]
    """Each with its window on the lattice."""


def tile_grid(path: Path) -> Grid:
    """Where a tile lies.

    Raises:
        RasterError: It cannot be read, or has no CRS.
    """
    return _read_header(path, _version(path)).grid


def lattices(tiles: tuple[Path, ...], grid: Grid) -> list[Lattice]:
    """The tiles by lattice, the finest first."""
    found: list[tuple[Grid, list[tuple[Tile, Window]]]] = []
    for path in tiles:
        for tile in _unwrapped(_read_header(path, _version(path)), middle_lon(grid)):
            for first, members in found:
                if (at := first.offset_px(tile.grid)) is not None:
                    members.append((tile, Window(*at, *tile.grid.shape_yx)))
                    break
            else:
                found.append((tile.grid, [(tile, tile.grid.full)]))
    made = (Lattice(first, tuple(members)) for first, members in found)
    return sorted(made, key=lambda lattice: lattice.grid.pixel_m_yx[0] * lattice.grid.pixel_m_yx[1])


def _version(path: Path) -> tuple[int, int] | None:
    """Changes with the file; None where there is none."""
    if not path.exists():
        return None
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=512)
def _read_header(path: Path, _at: tuple[int, int] | None) -> Tile:
    opened = _gdal_path(path)
    with raster.opened(opened) as dataset:
        grid, masked = raster.known_grid(dataset, path), MaskFlags.per_dataset in dataset.mask_flag_enums[0]
        return Tile(opened, grid, dataset.nodata, dataset.scales[0], dataset.offsets[0], masked)


def _gdal_path(path: Path) -> str:
    if path.suffix != ".zip":
        return str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.lower().endswith((".hgt", ".tif"))]
    except (zipfile.BadZipFile, OSError) as error:
        raise RasterError(f"{path} is not a whole zip ({error}); deliver the tile again") from error
    if len(members) != 1:
        raise RasterError(f"{path} holds {len(members)} height files, but a zipped tile holds one; deliver it again")
    return f"/vsizip/{{{path.absolute()}}}/{members[0]}"


def _unwrapped(tile: Tile, lon: float) -> tuple[Tile, ...]:
    """A tile in degrees on that side of the antimeridian on which the scene lies; one of the whole earth on each."""
    if not tile.grid.crs.is_geographic:
        return (tile,)
    west, _, east, _ = tile.grid.bounds
    turns = round((lon - (west + east) / 2) / 360)
    if east - west > _WIDE_DEG:
        return tuple(_turned(tile, turn) for turn in (turns, turns - 1, turns + 1))
    return (_turned(tile, turns),)


def _turned(tile: Tile, turns: int) -> Tile:
    if turns == 0:
        return tile
    return replace(
        tile, grid=replace(tile.grid, transform=Affine.translation(360 * turns, 0) @ tile.grid.transform)
    )  # fmt: skip


def read_posts(lattice: Lattice, wanted: Window) -> tuple[Window, np.ndarray | None]:
    """The wanted part of a lattice as far as it has tiles, with a rim of NaN; None where it has none."""
    parts = [(tile, at, shared) for tile, at in lattice.tiles if (shared := _shared(at, wanted))]
    if not parts:
        return wanted, None
    top, left = min(shared.row for _, _, shared in parts), min(shared.col for _, _, shared in parts)
    bottom = max(shared.row + shared.height for _, _, shared in parts)
    right = max(shared.col + shared.width for _, _, shared in parts)
    inside = Window(top, left, bottom - top, right - left)
    posts = np.full((inside.height + 2, inside.width + 2), np.nan, np.float32)
    for tile, at, shared in reversed(parts):
        known = _read_heights(tile, shared._replace(row=shared.row - at.row, col=shared.col - at.col))
        place = posts[1:-1, 1:-1][_slices(shared, inside)]
        place[...] = np.where(np.isnan(known), place, known)
    return inside, posts


def _read_heights(tile: Tile, window: Window) -> np.ndarray:
    heights: np.ndarray = raster.read_window(tile.path, window)[0].astype(np.float32)
    heights[heights == VOID] = np.nan
    if tile.nodata is not None:
        heights[heights == np.float32(tile.nodata)] = np.nan
    if tile.masked:
        heights[~raster.read_measured(tile.path, window, 1)] = np.nan
    return heights * np.float32(tile.scale) + np.float32(tile.offset)


def _shared(one: Window, other: Window) -> Window | None:
    moved = one._replace(row=one.row - other.row, col=one.col - other.col).clip((other.height, other.width))
    if not (moved.height and moved.width):
        return None
    return moved._replace(row=moved.row + other.row, col=moved.col + other.col)


def _slices(window: Window, inside: Window) -> tuple[slice, slice]:
    at = window._replace(row=window.row - inside.row, col=window.col - inside.col)
    return at.rows, at.cols
