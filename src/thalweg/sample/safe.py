"""Writes the sample's ground as a Sentinel-2 L2A product: a SAFE folder with JPEG 2000 images and its metadata.

These files stand in for a provider's, so they are written here and not by `thalweg.raster`, the pipeline's own writer.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from thalweg.bands import L2A_BANDS
from thalweg.sample import metadata
from thalweg.sample.identity import Identity, identify
from thalweg.sample.landscape import View, iter_blocks, observe
from thalweg.sample.mgrs import Tile
from thalweg.sample.noise import Floats, key_of
from thalweg.sample.spectra import BANDS

_SATURATED = 65535
_JP2 = {"driver": "JP2OpenJPEG", "count": 1, "QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"}
_TILE_PX = {20: 640, 60: 192}


@dataclass(frozen=True)
class _Images:
    numbers: dict[int, NDArray[np.uint16]]
    """Resolution → (band, H, W) digital numbers."""
    classes: dict[int, NDArray[np.uint8]]
    """Resolution → (H, W) SCL."""


def make_product(folder: Path, *, tile: str, date: str, baseline: str = "05.11", seed: int = 0,
                 size_60m_px: int = 1830, cloud_cover: float = 0.0) -> Path:  # fmt: skip
    """Makes one product in `folder`, whole or not at all; the same arguments give the same bytes.

    Args:
        folder: Gets the SAFE folder; made if need be.
        tile: MGRS tile; the product lies at its upper left corner.
        date: Sensing date, ISO 8601.
        baseline: Processing baseline; decides offset, checksums and whether there is B01 at 20 m.
        seed: Which ground.
        size_60m_px: Edge at 60 m, pixels; 1830 is the full tile.
        cloud_cover: Share of the ground under cloud, about.

    Returns:
        The SAFE folder.

    Raises:
        ParamsError: The tile or date does not exist.
    """
    identity = identify(tile, date, baseline, seed)
    images = _observe(identity, View(seed, identity.tile.epsg, date, cloud_cover), size_60m_px)
    target, partial = folder / identity.name, folder / f".{identity.name}.part"
    for stale in (partial, target):
        shutil.rmtree(stale, ignore_errors=True)
    entries = _write_images(partial, identity, images)
    granule = partial / "GRANULE" / identity.granule
    (granule / metadata.TILE).write_bytes(metadata.tile_xml(identity, size_60m_px))
    (partial / metadata.PRODUCT).write_bytes(metadata.product_xml(identity, entries, images.classes[60]))
    files = sorted(path for path in partial.rglob("*") if path.is_file())
    (partial / metadata.MANIFEST).write_bytes(metadata.manifest_xml(identity, partial, files))
    return partial.replace(target)


def bands_at(resolution_m: int, identity: Identity) -> tuple[str, ...]:
    """Reflectance bands of a resolution folder: R20m has no B01 before baseline 04.00."""
    names = L2A_BANDS[resolution_m]
    return names if resolution_m == 60 or identity.has_offset else names[1:]


def corner(tile: Tile) -> tuple[int, int]:
    """Row and column of the tile's first 20 m cell, counted south and east from the zone's origin."""
    return (tile.false_northing - tile.uly) // 20, tile.ulx // 20


def _observe(identity: Identity, view: View, size_60m_px: int) -> _Images:
    """Digital numbers and classes at both resolutions, block by block."""
    edge = {20: 3 * size_60m_px, 60: size_60m_px}
    numbers = {step: np.zeros((len(bands_at(step, identity)), px, px), np.uint16) for step, px in edge.items()}
    classes = {step: np.zeros((px, px), np.uint8) for step, px in edge.items()}
    for place, (rows, cols), (from_rows, from_cols) in iter_blocks(*corner(identity.tile), edge[20]):
        seen, scene = observe(view, place.top, place.left)
        part = seen[:, from_rows, from_cols]
        coarse = (slice(rows.start // 3, rows.stop // 3), slice(cols.start // 3, cols.stop // 3))
        numbers[20][:, rows, cols] = _numbers(part, 20, identity)
        numbers[60][:, *coarse] = _numbers(_thirds(part), 60, identity)
        classes[20][rows, cols] = scene[from_rows, from_cols]
        classes[60][coarse] = scene[from_rows, from_cols][1::3, 1::3]
    _cut_swath(numbers, classes, view, identity)
    return _Images(numbers, classes)


def _numbers(reflectance: Floats, resolution_m: int, identity: Identity) -> NDArray[np.uint16]:
    chosen = [BANDS.index(band) for band in bands_at(resolution_m, identity)]
    counts = np.round(reflectance[chosen] * 10_000) + (1000 if identity.has_offset else 0)
    return np.clip(counts, 1, _SATURATED - 1).astype(np.uint16)


def _thirds(planes: Floats) -> Floats:
    bands, height, width = planes.shape
    means: Floats = planes.reshape(bands, height // 3, 3, width // 3, 3).mean(axis=(2, 4))
    return means


def _cut_swath(numbers: dict[int, NDArray[np.uint16]], classes: dict[int, NDArray[np.uint8]], view: View,
               identity: Identity) -> None:  # fmt: skip
    """In one product of three the swath ends in its south-east corner, beyond which nothing was measured.

    The edge runs with the descending orbit, some 15 degrees off the meridian.
    """
    luck = key_of(view.seed, identity.tile.name, view.date, "orbit")
    if luck % 3:
        return
    width = 0.09 + 0.10 * (luck // 3 % 100) / 100
    for step, scene in classes.items():
        pixel = np.arange(scene.shape[0]) // (60 // step)  # in 60 m pixels, so that both resolutions end alike
        inward = 1 - (pixel + 0.5) * (60 // step) / scene.shape[0]
        outside = inward[None, :] + 0.27 * inward[:, None] < width
        scene[outside] = 0
        numbers[step][:, outside] = 0


def _write_images(safe: Path, identity: Identity, images: _Images) -> list[str]:
    """All rasters, finest first as in real lists; returns their IMAGE_FILE entries."""
    entries = []
    for resolution in (20, 60):
        planes = dict(zip(bands_at(resolution, identity), images.numbers[resolution], strict=True))
        for band, plane in {**planes, "SCL": images.classes[resolution]}.items():
            entry = identity.image(band, resolution)
            _write_jp2(safe / f"{entry}.jp2", plane, identity.tile, resolution)
            entries.append(entry)
    return entries


def _write_jp2(path: Path, plane: np.ndarray, tile: Tile, resolution_m: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    edge = plane.shape[0]
    block = _TILE_PX[resolution_m]
    tiles = {"BLOCKXSIZE": str(block), "BLOCKYSIZE": str(block)} if edge > block else {}
    where = {"crs": f"EPSG:{tile.epsg}", "transform": Affine(resolution_m, 0, tile.ulx, 0, -resolution_m, tile.uly)}
    with rasterio.open(path, "w", **_JP2, **tiles, **where, height=edge, width=edge, dtype=plane.dtype) as image:
        image.write(plane, 1)
