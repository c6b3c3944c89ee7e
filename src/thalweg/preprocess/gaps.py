"""Short gaps of a series, filled by interpolation in time between its written images, and flagged."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from thalweg import composite, raster
from thalweg.grid import Window
from thalweg.manifest.scene import NODATA, Channel
from thalweg.preprocess.pixels import Settings, to_stored, with_extras
from thalweg.products import Delivery

FILLED = Channel(name="filled", wavelength_nm=None, scale=1.0, offset=0.0, unit="1")
"""1 where any band was interpolated, 0 where all that is there was observed, nodata where nothing is."""
_SERIES_BYTES = 16_000_000
"""Values of all bins that are looked at at once."""


def fill_gaps(
    images: Sequence[np.memmap[Any, Any]], edges: np.ndarray, delivery: Delivery, settings: Settings,
    channels: Sequence[Channel], max_gap: int,
) -> np.ndarray:  # fmt: skip
    """Fills runs of at most `max_gap` bins in the images of a series, extra channels included.

    Args:
        images: One per bin, mapped for writing; their last channel is `FILLED`.
        edges: Of the bins.
        delivery: Any date of the scene.
        settings: The grid.
        channels: Of one image.
        max_gap: Bins in a row that may be filled.

    Returns:
        Clipped values per bin and channel, of filled pixels.
    """
    height, width = images[0].shape[:2]
    extras = len(settings.grid.channels)
    bands = len(settings.grid.bands)
    measured = [*range(bands), *range(bands + extras, len(channels) - 1)]
    rows = max(_SERIES_BYTES // (4 * width * len(images) * len(measured)), 1)
    clipped = np.zeros((len(images), len(channels)), int)
    for row in range(0, height, rows):
        window = Window(row, 0, min(rows, height - row), width)
        stack = np.stack([_physical(image[window.rows], channels)[:, :, measured] for image in images])
        filled, gaps = composite.fill(stack, composite.middles(edges), max_gap)
        for number, image in enumerate(images):
            where = gaps[number].any(axis=2)
            if where.any():
                flag = np.ones(where.shape, np.float32)
                whole = with_flag(filled[number], flag, delivery, settings, window, str(edges[number]))
                stored, beyond = to_stored(whole[where][None], channels, settings.grid.dtype)
                image[window.rows][where] = stored[0]
                clipped[number] += beyond
            raster.release(image)
    return clipped


def with_flag(
    planes: np.ndarray, flag: np.ndarray | None, delivery: Delivery, settings: Settings, window: Window, date: str
) -> np.ndarray:
    """All channels (h, w, C) float32 of an image: measured ones, extras made of them, and the flag, where there is one.

    Args:
        planes: (h, w, B) float32, NaN where nothing is, as `read_physical` orders them.
        flag: (h, w) float32, or None for a series without `FILLED`.
        delivery: Any date of the scene.
        settings: The grid.
        window: On the scene's grid.
        date: Of the bin.
    """
    made = with_extras(planes, delivery, settings, window, date)
    return made if flag is None else np.concatenate([made, flag[:, :, None]], axis=2)


def _physical(stored: np.ndarray, channels: Sequence[Channel]) -> np.ndarray:
    """Stored values (h, w, C) as float32, NaN where nodata."""
    scale, offset = (np.array([getattr(each, key) for each in channels], np.float32) for key in ("scale", "offset"))
    return np.where(stored == NODATA, np.float32(np.nan), stored * scale + offset)
