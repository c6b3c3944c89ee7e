"""The pixels of a scene: image.tif and valid.tif, made in stripes of rows so that memory does not grow with a tile."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from thalweg import raster
from thalweg.grid import Grid, Window
from thalweg.indices import Formula
from thalweg.manifest.scene import NODATA, Channel
from thalweg.params.classes import Classes
from thalweg.params.grids import GridParams
from thalweg.params.masks import Masks
from thalweg.preprocess import channels as channel_room
from thalweg.preprocess import radiometry
from thalweg.preprocess.measured import Band, bands_on
from thalweg.preprocess.validity import judge
from thalweg.products import Delivery

_STRIPE_ROWS = 512
_CHUNK_BYTES = 4_000_000
"""Of physical values that are worked on at once, so that they stay in the processor's cache."""
WORKERS = min(4, os.cpu_count() or 1)
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
    warnings: tuple[str, ...]
    """Of the masks that say what is usable, and of a series' dates."""
    channels: tuple[Channel, ...]
    """As the record lists them."""
    dates: tuple[str, ...] = ()
    """Of a series: first day of each bin, ISO."""


@dataclass(frozen=True)
class Stripe:
    """Physical values of some rows."""

    planes: np.ndarray
    """(rows, W, B) float32, NaN where not measured: the grid's bands, then those of further products."""
    good: np.ndarray
    """(rows, W) bool: every band of the grid is measured and none is saturated."""
    bright: np.ndarray
    """(rows, W) bool: some band of the grid is saturated."""


def channels_of(delivery: Delivery, settings: Settings) -> tuple[Channel, ...]:
    """The channels of image.tif: bands in the grid's order, extra channels, bands of further products.

    Raises:
        ProductError: A band's unit has no step in int16.
    """
    return channel_room.channels_of(delivery, settings.grid, settings.formulas)


def read_physical(delivery: Delivery, settings: Settings, window: Window) -> Stripe:
    """What one product measured in a window of full rows of its scene's grid.

    Stateless: a window that is not a multiple of the files' blocks decodes the blocks at its rim once more.

    Raises:
        RasterError: A file cannot be decoded to its end.
    """
    source = Source(delivery, settings)
    with ThreadPoolExecutor(WORKERS) as workers:
        source.load(window, workers)
    return source.physical(window)


def with_extras(planes: np.ndarray, delivery: Delivery, settings: Settings, window: Window,
                moment: str | None) -> np.ndarray:  # fmt: skip
    """All channels (rows, W, C) float32 of a stripe from its measured planes as `read_physical` gives them.

    Args:
        planes: (rows, W, B) float32, NaN where not measured.
        delivery: Of the scene; of a series, any of its dates.
        settings: The grid.
        window: The stripe, on the scene's grid.
        moment: Sensing time, or the date of a composite.

    Raises:
        ProductError: A channel needs a date, and `moment` is none.
    """
    names, grid = settings.grid.channels, settings.grid
    given: dict[str, np.ndarray | float] = {
        **channel_room.of_time(names, moment, delivery.product),
        **channel_room.of_ground(names, delivery.heights, delivery.grid, window),
    }
    bands = {band: planes[:, :, number] for number, band in enumerate(grid.bands)}
    extras = channel_room.extra_planes(names, settings.formulas, bands, given, planes.shape[:2])
    count = len(grid.bands)
    return np.concatenate([planes[:, :, :count], *(plane[:, :, None] for plane in extras), planes[:, :, count:]], 2)


def to_stored(planes: np.ndarray, channels: Sequence[Channel], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Physical planes (rows, W, C), NaN where not measured, as image.tif holds them, and clipped values per channel."""
    stored = np.empty(planes.shape, dtype)
    clipped = np.zeros(len(channels), int)
    for number, channel in enumerate(channels):
        stored[:, :, number], clipped[number] = radiometry.to_stored(planes[:, :, number], channel.scale, dtype)
    return stored, clipped


def create_image(path: Path, delivery: Delivery, channels: Sequence[Channel], dtype: str) -> np.memmap[Any, Any]:
    """A new image on the scene's grid, mapped for writing, (H, W, C)."""
    return raster.create_pixels(
        path, delivery.grid, len(channels), dtype, NODATA,
        descriptions=tuple(channel.name for channel in channels), scales=tuple(channel.scale for channel in channels),
        offsets=tuple(channel.offset for channel in channels), units=tuple(channel.unit for channel in channels),
    )  # fmt: skip


def write_pixels(delivery: Delivery, settings: Settings, folder: Path) -> Written:
    """Writes image.tif and valid.tif of one scene; every block of every file is decoded once.

    Raises:
        ProductError: A band's unit has no step in int16, or a channel needs a date that the product does not state.
        RasterError: A file cannot be decoded to its end.
    """
    channels = channels_of(delivery, settings)
    image = create_image(folder / "image.tif", delivery, channels, settings.grid.dtype)
    valid = raster.create_pixels(folder / "valid.tif", delivery.grid, 1, "uint8", None, descriptions=("valid",))
    verdict = judge(delivery, settings.grid.valid, delivery.grid)
    source = Source(delivery, settings)
    clipped, count = np.zeros(len(channels), int), 0
    with ThreadPoolExecutor(WORKERS) as workers:
        for stripe in source.stripes():
            source.load(stripe, workers)
            chunks = list(source.chunks(stripe))
            for window, (good, beyond) in zip(
                chunks, workers.map(lambda window: source.store(window, channels, image), chunks), strict=True
            ):
                both = good if verdict.usable is None else good & verdict.usable[window.rows]
                valid[window.rows, :, 0] = both
                clipped, count = clipped + beyond, count + int(np.count_nonzero(both))
            raster.release(image)
            raster.release(valid)
    counts = {channel.name: int(count) for channel, count in zip(channels, clipped, strict=True)}
    return Written(counts, count / valid.size, verdict.warnings, channels)


class Source:
    """A product's bands, and those of the products beside it, on the scene's grid."""

    def __init__(self, delivery: Delivery, settings: Settings) -> None:
        self._delivery = delivery
        self._grid = settings.grid
        self._formulas = settings.formulas
        self._bands = bands_on(delivery.grid, delivery.bands, settings.grid.resampling)
        self._beside = [
            (other.bands, [_Measures.of(found, delivery.grid, other.resampling) for found in other.deliveries])
            for other in delivery.beside
        ]
        self._given: dict[str, np.ndarray] = {}
        """Channels of the height model in the stripe that is loaded."""
        self._loaded = Window(0, 0, 0, 0)

    @cached_property
    def _times(self) -> dict[str, float]:
        delivery = self._delivery
        return channel_room.of_time(self._grid.channels, delivery.sensing_time, delivery.product)

    def stripes(self) -> Iterator[Window]:
        """Windows of full rows, of the height in which the first file of the scene's resolution is decoded."""
        height, width = self._delivery.grid.shape_yx
        native = next((band for band in self._bands.values() if band.as_delivered), None)
        block = native.reader.block_rows if native else 1
        step = block * max(1, _STRIPE_ROWS // block)
        return (Window(row, 0, min(step, height - row), width) for row in range(0, height, step))

    def chunks(self, stripe: Window) -> Iterator[Window]:
        """Parts of a stripe that are worked on at once."""
        each = 4 * stripe.width * (len(self._bands) + len(self._grid.channels) + 1)
        rows = max(8, _CHUNK_BYTES // each)
        end = stripe.row + stripe.height
        return (Window(row, 0, min(rows, end - row), stripe.width) for row in range(stripe.row, end, rows))

    def load(self, window: Window, workers: ThreadPoolExecutor) -> None:
        """Decodes what a stripe needs, one thread per file."""
        by_file: dict[int, Band] = {}
        for band in (*self._bands.values(), *(b for _, found in self._beside for one in found for b in one.all())):
            by_file[id(band.reader)] = band
        list(workers.map(lambda band: band.load(window), by_file.values()))
        delivery = self._delivery
        self._given = channel_room.of_ground(self._grid.channels, delivery.heights, delivery.grid, window)
        self._loaded = window

    def physical(self, window: Window) -> Stripe:
        """Measured planes of a part of what is loaded."""
        planes, glares = zip(*(band.physical(window) for band in self._bands.values()), strict=True)
        bright = np.logical_or.reduce(glares)
        good = np.logical_and.reduce([np.isfinite(plane) for plane in planes]) & ~bright
        return Stripe(np.stack([*planes, *self._further(window)], axis=-1), good, bright)

    def store(self, window: Window, channels: Sequence[Channel],
              image: np.memmap[Any, Any]) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Fills rows of the image; usable pixels (rows, W) and clipped values per channel."""
        good = np.ones((window.height, window.width), bool)
        stored = np.empty((window.height, window.width, len(channels)), image.dtype)
        clipped = np.zeros(len(channels), int)
        read = {name for formula in self._formulas for name in formula.bands}
        physical: dict[str, np.ndarray] = {}
        for number, (name, band) in enumerate(self._bands.items()):
            if band.as_delivered and not band.layer.masked and name not in read:
                stored[:, :, number], clipped[number] = self._direct(band, window, channels[number], good)
            else:
                physical[name] = self._measured(band, window, good)
                self._put(stored, clipped, number, physical[name], channels)
        rest = [*self._extras(physical, window), *self._further(window)]
        for number, plane in enumerate(rest, len(self._bands)):
            self._put(stored, clipped, number, plane, channels)
        image[window.rows] = stored
        return good, clipped

    def _direct(self, band: Band, window: Window, channel: Channel, good: np.ndarray) -> tuple[np.ndarray, int]:
        """A band as delivered, straight from its digital numbers."""
        digital, layer = band.digital(window), band.layer
        good &= radiometry.measured(digital, layer) & ~radiometry.saturated(digital, layer)
        return radiometry.digital_to_stored(digital, layer, channel.scale, self._grid.dtype)

    def _measured(self, band: Band, window: Window, good: np.ndarray) -> np.ndarray:
        values, bright = band.physical(window)
        good &= np.isfinite(values) & ~bright
        return values

    def _put(self, stored: np.ndarray, clipped: np.ndarray, number: int, plane: np.ndarray,
             channels: Sequence[Channel]) -> None:  # fmt: skip
        stored[:, :, number], clipped[number] = radiometry.to_stored(plane, channels[number].scale, self._grid.dtype)

    def _extras(self, bands: Mapping[str, np.ndarray], window: Window) -> list[np.ndarray]:
        top = window.row - self._loaded.row
        ground = {name: plane[top : top + window.height] for name, plane in self._given.items()}
        shape = (window.height, window.width)
        return channel_room.extra_planes(self._grid.channels, self._formulas, bands, {**self._times, **ground}, shape)

    def _further(self, window: Window) -> list[np.ndarray]:
        """Bands of the products beside, mosaicked: the first that measured counts."""
        planes = []
        for names, found in self._beside:
            for name in names:
                plane = np.full((window.height, window.width), np.nan, np.float32)
                for one in found:
                    missing = np.isnan(plane)
                    if missing.any():
                        plane[missing] = one.values(name, window)[missing]
                planes.append(plane)
        return planes


@dataclass(frozen=True)
class _Measures:
    """A product beside a scene, on the scene's grid."""

    bands: dict[str, Band]
    mask: Band | None
    """What says which of its pixels are usable."""
    usable: tuple[int, ...]

    @classmethod
    def of(cls, found: Delivery, grid: Grid, resampling: str) -> "_Measures":
        """Its bands and what masks them, nothing decoded yet."""
        layer, usable = found.udm or (None, ())
        mask = None if layer is None else bands_on(grid, {"mask": layer}, "nearest")["mask"]
        return cls(bands_on(grid, found.bands, resampling), mask, usable)

    def all(self) -> tuple[Band, ...]:
        """All that is to be decoded."""
        return (*self.bands.values(), *(() if self.mask is None else (self.mask,)))

    def values(self, name: str, window: Window) -> np.ndarray:
        """Of a loaded window, (h, w) float32, NaN where not measured or not usable."""
        values, _ = self.bands[name].physical(window)
        if self.mask is not None:
            codes, _ = self.mask.physical(window)
            values = np.where(np.isin(codes, self.usable), values, np.float32(np.nan))
        return values
