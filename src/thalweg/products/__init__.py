"""Reading one delivered form each: where a product's bands lie and how digital numbers become physical values.

Opening a product reads metadata and headers only; pixels come through `thalweg.raster`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thalweg.grid import Grid, Window


def words(grid: Grid) -> str:
    """A pixel grid in words, for messages."""
    height, width = grid.shape_yx
    left, top = grid.transform.c, grid.transform.f
    return f"{width} × {height} pixels of {grid.transform.a:g} from {left:.12g}, {top:.12g} in {grid.crs_wkt[:40]}"


@dataclass(frozen=True)
class Layer:
    """One band of a product on disk. Physical value = (digital number + offset) × scale."""

    path: str
    """What GDAL opens (`/vsizip/…` inside a zip)."""
    index: int
    """1-based band in that file."""
    grid: Grid
    """Where the file's pixels lie: the delivery's own grid, or a coarser or finer one."""
    scale: float
    offset: float
    nodata: float | None
    """Digital number that means no measurement."""
    saturated: float | None
    """Digital number that means more light than the instrument could measure."""
    unit: str = "reflectance"
    """Of the physical value."""
    read: Callable[[Window], np.ndarray] | None = None
    """Digital numbers (h, w) of a window on `grid`, for forms that GDAL does not read; None: `path` is read by GDAL."""
    masked: bool = False
    """Whether the file has a mask or alpha band of its own, which then says, too, where there is no measurement."""


@dataclass(frozen=True)
class Wanted:
    """What a grid needs of a product."""

    bands: tuple[str, ...]
    """Measured bands, in order."""
    labels: tuple[str, ...]
    """Bands of codes (`SCL`), never scaled and never interpolated."""
    resolution_m: int | None
    """Pixel size in CRS units; None takes a plain raster as it is."""
    optional: tuple[str, ...] = ()
    """Those of `labels` that a product may lack: SCL, where its own cloud masks stand in."""


@dataclass(frozen=True)
class Delivery:
    """An opened product, brought down to what a grid wants of it: one date."""

    product: str
    """Product id as its producer wrote it."""
    baseline: str | None
    sensing_time: str | None
    """ISO 8601, UTC."""
    grid: Grid
    """Of the scene to be made."""
    bands: dict[str, Layer]
    labels: dict[str, Layer]
    """Brought onto the scene's grid by nearest."""
    warnings: tuple[str, ...]
    verify: Callable[[], None]
    """Reads the wanted files once and compares size and checksum with what the producer states.

    Raises:
        ProductError: They differ.
    """
    clouds: Callable[[Grid], np.ndarray] | None = None
    """The product's own cloud mask, (H, W) bool on a grid; None where it has none."""
    cloud_probability: Layer | None = None
    """Percent, 0 to 100, at its own resolution."""
    udm: tuple[Layer, tuple[int, ...]] | None = None
    """A band of the product that says which pixels are usable, and its values that mean so."""
    beside: tuple["Beside", ...] = ()
    """Other products on the same ground, one for each of the grid's `further`."""
    heights: tuple[Path, ...] = ()
    """Tiles of a height model, for the channels elevation and slope."""
    georeferenced: bool = True
    """False for a picture that was laid at an arbitrary place."""


@dataclass(frozen=True)
class Beside:
    """What one entry of the grid's `further` found for a scene."""

    bands: tuple[str, ...]
    unit: str
    """Of their values."""
    resampling: str
    deliveries: tuple[Delivery, ...]
    """Those on the scene's ground, the one that counts first first."""
