"""The pixels of a scene: image.tif and valid.tif, made in stripes of rows so that memory does not grow with a tile."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thalweg import indices, raster
from thalweg.bands import wavelength_nm
from thalweg.grid import Window
from thalweg.indices import Formula
from thalweg.manifest.scene import NODATA, REFLECTANCE_SCALE, Channel
from thalweg.params.classes import Classes
from thalweg.params.grids import GridParams
from thalweg.params.masks import Masks
from thalweg.preprocess import radiometry
from thalweg.preprocess.masks import onto_grid
from thalweg.products import Delivery, Layer

SCL = "SCL"
_STRIPE_ROWS = 512
_DECODERS = min(4, os.cpu_count() or 1)
"""Files decoded at once, each by one thread of its own (one thread per file is what makes a truncated JP2 raise)."""


@dataclass(frozen=True)
class Settings:
    """What all scenes of a grid share."""

    grid_name: str
    grid: GridParams
    masks: Masks
    classes: Classes
    formulas: tuple[Formula, ...]


@dataclass(frozen=True)
class Written:
    """What the record says of the pixels."""

    clipped: dict[str, int]
    """Values per channel that int16 could not hold."""
    valid_fraction: float


def channels_of(settings: Settings) -> tuple[Channel, ...]:
    """The channels of image.tif: bands in the grid's order, then the formulas."""
    bands = (
        Channel(name=band, wavelength_nm=wavelength_nm(band), scale=REFLECTANCE_SCALE, offset=0.0, unit="reflectance")
        for band in settings.grid.bands
    )
    extra = (
        Channel(name=formula.name, wavelength_nm=None, scale=formula.scale, offset=0.0, unit="1")
        for formula in settings.formulas
    )
    return (*bands, *extra)


def write_pixels(delivery: Delivery, settings: Settings, folder: Path) -> Written:
    """Writes image.tif and valid.tif of one scene.

    Raises:
        RasterError: A file cannot be decoded to its end.
    """
    channels = channels_of(settings)
    image = raster.create_pixels(
        folder / "image.tif", delivery.grid, len(channels), "int16", NODATA,
        descriptions=tuple(channel.name for channel in channels), scales=tuple(channel.scale for channel in channels),
        offsets=tuple(channel.offset for channel in channels), units=tuple(channel.unit for channel in channels),
    )  # fmt: skip
    valid = raster.create_pixels(folder / "valid.tif", delivery.grid, 1, "uint8", None, descriptions=("valid",))
    usable = _usable(delivery, settings.grid)
    clipped = np.zeros(len(channels), int)
    for window in _stripes(delivery):
        stored, good, beyond = _stripe(delivery, settings, window)
        image[window.rows] = stored
        valid[window.rows, :, 0] = good if usable is None else good & usable[window.rows]
        clipped += beyond
    counts = {channel.name: int(count) for channel, count in zip(channels, clipped, strict=True)}
    return Written(counts, float(np.count_nonzero(valid) / valid.size))


def _stripes(delivery: Delivery) -> Iterator[Window]:
    height, width = delivery.grid.shape_yx
    block = raster.block_rows(next(iter(delivery.bands.values())).path)
    step = block * max(1, _STRIPE_ROWS // block)
    return (Window(row, 0, min(step, height - row), width) for row in range(0, height, step))


def _stripe(delivery: Delivery, settings: Settings, window: Window) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stored values (rows, W, C), usable pixels (rows, W), and clipped values per channel of one stripe."""
    reflectance: dict[str, np.ndarray] = {}
    there: dict[str, np.ndarray] = {}
    good = np.ones((window.height, window.width), bool)
    planes: list[tuple[np.ndarray, int]] = []
    digital = _read_bands(delivery, window)
    for band, layer in delivery.bands.items():
        there[band] = radiometry.measured(digital[band], layer)
        if layer.masked:
            there[band] &= raster.read_measured(layer.path, window, layer.index)
        good &= there[band] & ~radiometry.saturated(digital[band], layer)
        reflectance[band] = radiometry.to_reflectance(digital[band], layer)
        planes.append(radiometry.to_stored(reflectance[band], there[band], REFLECTANCE_SCALE))
    for formula in settings.formulas:
        values = indices.compute(formula, reflectance)
        planes.append(
            radiometry.to_stored(values, np.logical_and.reduce([there[band] for band in formula.bands]), formula.scale)
        )
    return np.stack([plane for plane, _ in planes], axis=-1), good, np.array([beyond for _, beyond in planes])


def _read_bands(delivery: Delivery, window: Window) -> dict[str, np.ndarray]:
    """Digital numbers per band (rows, W); bands of one file are decoded together."""
    paths = tuple(dict.fromkeys(layer.path for layer in delivery.bands.values()))
    names = {path: [band for band, layer in delivery.bands.items() if layer.path == path] for path in paths}

    def read(path: str) -> np.ndarray:
        return raster.read_window(path, window, tuple(delivery.bands[band].index for band in names[path]))

    with ThreadPoolExecutor(_DECODERS) as decoders:
        planes = list(decoders.map(read, paths))
    return {
        band: plane
        for path, stack in zip(paths, planes, strict=True)
        for band, plane in zip(names[path], stack, strict=True)
    }


def _usable(delivery: Delivery, grid: GridParams) -> np.ndarray | None:
    if not grid.valid.scl:
        return None
    codes = read_codes(delivery, delivery.labels[SCL], outside=0)
    return ~np.isin(codes, np.array(grid.valid.scl, np.uint8))


def read_codes(delivery: Delivery, layer: Layer, outside: int) -> np.ndarray:
    """A label band on the scene's grid, (H, W)."""
    codes = raster.read_band(Path(layer.path), layer.index)
    return onto_grid(codes, raster.read_grid(Path(layer.path)), delivery.grid, outside)
