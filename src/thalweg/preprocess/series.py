"""The pixels of a time series: one image per calendar bin, composed of the dates that fall into it.

Per bin, window by window, the physical values of every date are read, what is unusable on that date (clouds,
saturation) is left out, and the rest becomes one composite; extra channels are made of composites. With `max_gap`, a
second pass over the images fills short gaps between bins and flags them (preprocess/gaps.py). Only one bin is in memory
at a time.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from thalweg import composite, raster
from thalweg.composite import How
from thalweg.errors import ProductError
from thalweg.grid import Grid, Window
from thalweg.manifest.scene import Channel
from thalweg.params.grids import GridParams, SeriesParams
from thalweg.preprocess.gaps import FILLED, fill_gaps, with_flag
from thalweg.preprocess.pixels import WORKERS, Settings, Source, Written, channels_of, create_image, to_stored
from thalweg.preprocess.validity import judge
from thalweg.products import Delivery

_STRIPE_ROWS = 512
_CHUNK_BYTES = 8_000_000
"""Values of a bin's dates that are composed at once by a thread; sorting them takes as much again."""
_DECODED_BYTES = 384_000_000
"""Digital numbers of a bin's dates that are held decoded."""
_DECODED_ROWS, _BLOCK_COLS = 1536, 1024
"""Rows of a stripe and of the blocks of 1024 × 1024 pixels below it in Sentinel-2's JPEG 2000, and their columns."""
_LEAST_COLS = 256
_RED, _NIR = ("B04", "red"), ("B08", "B8A", "nir")
_ANY_DAY = np.array(["2001-01-01"], "datetime64[s]")


@dataclass(frozen=True)
class Bin:
    """One image to be made."""

    date: str
    """First day, ISO."""
    deliveries: tuple[Delivery, ...]
    """Sensed in it, in order of time."""


def write_pixels(deliveries: Sequence[Delivery], settings: Settings, series: SeriesParams, folder: Path) -> Written:
    """Writes image_<date>.tif per bin and valid.tif of one scene.

    A pixel is valid where any bin has a usable measurement of any band.

    Args:
        deliveries: Dates of one scene on one grid, in any order.
        settings: The grid.
        series: Its series.
        folder: Of the scene.

    Raises:
        ProductError: A date is unknown, or none lies in the bins, or a band's unit has no step in int16.
        ParamsError: The bins cannot be laid, or a composite lacks its bands.
        RasterError: A file cannot be decoded to its end.
    """
    edges, bins, warnings = bins_of(deliveries, series)
    first, how = deliveries[0], _how(deliveries[0], settings, series)
    channels = (*channels_of(first, settings), *((FILLED,) if series.max_gap else ()))
    valid = raster.create_pixels(folder / "valid.tif", first.grid, 1, "uint8", None, descriptions=("valid",))
    images, clipped = [], np.zeros((len(bins), len(channels)), int)
    for number, each in enumerate(bins):
        images.append(create_image(folder / f"image_{each.date}.tif", first, channels, settings.grid.dtype))
        clipped[number], strange = _write_bin(each, first, settings, how, channels, images[-1], valid)
        warnings += strange
    if series.max_gap:
        clipped += fill_gaps(images, edges, first, settings, channels, series.max_gap)
    named = [
        channel.model_copy(update={"name": f"t{number:02}/{channel.name}"})
        for number in range(len(bins))
        for channel in channels
    ]
    return Written(
        {channel.name: int(count) for channel, count in zip(named, clipped.ravel(), strict=True)},
        float(np.count_nonzero(valid) / valid.size),
        warnings,
        tuple(named),
        tuple(each.date for each in bins),
    )


def check_series(grid: GridParams) -> None:
    """What can be said of a series before any product is opened.

    Raises:
        ParamsError: The bins cannot be laid, or the composite lacks its bands.
    """
    if grid.series is None:
        return
    composite.bin_edges(grid.series.start, grid.series.frequency, grid.series.bins, _ANY_DAY)
    if grid.series.composite == "max_ndvi":
        composite.check_red_nir(_red_nir(grid.bands))


def bins_of(deliveries: Sequence[Delivery], series: SeriesParams) -> tuple[np.ndarray, list[Bin], tuple[str, ...]]:
    """Edges of the bins, the bins with their dates, and what is to be said of them.

    Raises:
        ProductError: A date is unknown, or none lies in the bins.
        ParamsError: The bins cannot be laid.
    """
    ordered = sorted(deliveries, key=lambda delivery: (time_of(delivery), delivery.product))
    times = np.array([time_of(delivery) for delivery in ordered], "datetime64[s]")
    edges = composite.bin_edges(series.start, series.frequency, series.bins, times)
    numbers = composite.bin_of(times, edges)
    if (numbers < 0).all():
        raise ProductError(
            f"{ordered[0].product}: none of its {len(ordered)} dates ({times[0]} to {times[-1]}) lies in the bins, "
            f"{edges[0]} to {edges[-1]}; correct series.start in params.yaml under grids"
        )
    bins = [Bin(str(edge), tuple(d for d, n in zip(ordered, numbers, strict=True) if n == number))
            for number, edge in enumerate(edges[:-1])]  # fmt: skip
    return edges, bins, _remarks(ordered[0].product, bins, numbers, edges)


def time_of(delivery: Delivery) -> datetime:
    """When it was sensed, UTC without saying so.

    Raises:
        ProductError: It is not said to the day.
    """
    try:
        time = datetime.fromisoformat(delivery.sensing_time or "")
    except ValueError as error:
        said = f"'{delivery.sensing_time}', which is no day" if delivery.sensing_time else "no sensing date"
        raise ProductError(
            f"{delivery.product} states {said}, but a series needs one; give it by 'date' or 'more.date_in_name' under "
            "fetch.options.products in params.yaml"
        ) from error
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)


def _remarks(product: str, bins: Sequence[Bin], numbers: np.ndarray, edges: np.ndarray) -> tuple[str, ...]:
    remarks = []
    if outside := int(np.count_nonzero(numbers < 0)):
        remarks.append(f"{product}: {outside} of {len(numbers)} dates lie outside the bins ({edges[0]} to {edges[-1]})")
    if empty := [each.date for each in bins if not each.deliveries]:
        counts = " ".join(str(len(each.deliveries)) for each in bins)
        remarks.append(
            f"{product}: {len(empty)} of {len(bins)} bins have no date ({', '.join(empty)}); dates per bin: {counts}"
        )
    return tuple(remarks)


def _how(delivery: Delivery, settings: Settings, series: SeriesParams) -> How:
    bands = settings.grid.bands
    spectral = tuple(k for k, name in enumerate(bands) if delivery.bands[name].unit == "reflectance")
    return How(series.composite, _red_nir(bands), spectral or tuple(range(len(bands))))


def _red_nir(bands: Sequence[str]) -> tuple[int, int] | None:
    red = next((bands.index(name) for name in _RED if name in bands), None)
    nir = next((bands.index(name) for name in _NIR if name in bands), None)
    return None if red is None or nir is None else (red, nir)


def _write_bin(
    each: Bin, first: Delivery, settings: Settings, how: How, channels: Sequence[Channel],
    image: np.memmap[Any, Any], valid: np.memmap[Any, Any],
) -> tuple[np.ndarray, tuple[str, ...]]:  # fmt: skip
    """Composes one bin; clipped values per channel, and what is strange about its dates."""
    packed, strange = _judged(each.deliveries, settings, first.grid)
    composer = _Composer(each, packed, first, settings, how, tuple(channels), image, valid)
    clipped = np.zeros(len(channels), int)
    with ThreadPoolExecutor(WORKERS) as workers:
        for strip in _strips(first.grid.shape_yx, composer.bands, len(each.deliveries)):
            sources = composer.sources(strip)
            for stripe in _parts(strip, _STRIPE_ROWS):
                for source in sources:
                    source.load(stripe._replace(col=0), workers)
                chunks = _parts(stripe, composer.chunk_rows(strip.width))
                for beyond in workers.map(partial(composer.store, sources), chunks):
                    clipped += beyond
                raster.release(image)
                raster.release(valid)
    return clipped, strange


def _judged(
    deliveries: Sequence[Delivery], settings: Settings, grid: Grid
) -> tuple[tuple[np.ndarray | None, ...], tuple[str, ...]]:
    """Usable pixels of each date, eight to a byte, since all dates are held at once; and what is strange about them."""
    packed: list[np.ndarray | None] = []
    strange: list[str] = []
    for delivery in deliveries:
        verdict = judge(delivery, settings.grid.valid, grid)
        packed.append(None if verdict.usable is None else np.packbits(verdict.usable, axis=1))
        strange += verdict.warnings
    return tuple(packed), tuple(strange)


@dataclass(frozen=True)
class _Composer:
    """Dates to one image, chunk by chunk, each by any thread."""

    bin: Bin
    packed: tuple[np.ndarray | None, ...]
    """Usable pixels of each date, eight to a byte; None where there is no rule."""
    first: Delivery
    settings: Settings
    how: How
    channels: tuple[Channel, ...]
    image: np.memmap[Any, Any]
    valid: np.memmap[Any, Any]

    @property
    def bands(self) -> int:
        """Measured planes: the grid's bands, and those of further products."""
        return len(self.settings.grid.bands) + sum(len(other.bands) for other in self.first.beside)

    def sources(self, strip: Window) -> list[Source]:
        """The dates, ready to be read in a strip of columns from the top down, without extra channels."""
        grid = self.settings.grid.model_copy(update={"channels": ()})
        bare = replace(self.settings, formulas=(), grid=grid)
        whole = strip == self.first.grid.full
        return [
            Source(delivery if whole else replace(delivery, grid=delivery.grid.crop(strip)), bare)
            for delivery in self.bin.deliveries
        ]

    def chunk_rows(self, width: int) -> int:
        """Rows of all dates that are composed at once."""
        return max(_CHUNK_BYTES // (4 * width * self.bands * max(len(self.bin.deliveries), 1)), 1)

    def store(self, sources: Sequence[Source], window: Window) -> np.ndarray:
        """Fills a loaded window of the image; clipped values per channel."""
        planes = self._composed(sources, window)
        there = np.isfinite(planes[:, :, : len(self.settings.grid.bands)]).any(axis=2)
        flag = np.where(there, np.float32(0), np.float32(np.nan)) if FILLED in self.channels else None
        whole = with_flag(planes, flag, self.first, self.settings, window, self.bin.date)
        stored, clipped = to_stored(whole, self.channels, self.settings.grid.dtype)
        self.image[window.rows, window.cols] = stored
        self.valid[window.rows, window.cols, 0] |= there
        return clipped

    def _composed(self, sources: Sequence[Source], window: Window) -> np.ndarray:
        """The composite (h, w, B), NaN where no date has a usable measurement."""
        if not sources:
            return np.full((window.height, window.width, self.bands), np.nan, np.float32)
        stack = np.empty((len(sources), window.height, window.width, self.bands), np.float32)
        for planes, source, bits in zip(stack, sources, self.packed, strict=True):
            stripe = source.physical(window._replace(col=0))
            planes[:] = stripe.planes
            planes[stripe.bright] = np.nan
            if bits is not None:
                usable = np.unpackbits(bits[window.rows], axis=1, count=self.first.grid.shape_yx[1])
                planes[usable[:, window.cols] == 0] = np.nan
        return composite.compose(stack, self.how)


def _strips(shape_yx: tuple[int, int], bands: int, dates: int) -> Iterator[Window]:
    """Columns of which a bin's dates can be held decoded at once, for as many rows as blocks of files are high."""
    height, width = shape_yx
    cols = _DECODED_BYTES // (2 * _DECODED_ROWS * bands * max(dates, 1))
    cols = max(cols // _BLOCK_COLS * _BLOCK_COLS or cols, _LEAST_COLS)
    return (Window(0, col, height, min(cols, width - col)) for col in range(0, width, cols))


def _parts(window: Window, rows: int) -> Iterator[Window]:
    """A window in runs of rows."""
    end = window.row + window.height
    return (window._replace(row=row, height=min(rows, end - row)) for row in range(window.row, end, rows))
