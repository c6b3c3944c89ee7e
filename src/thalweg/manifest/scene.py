"""`build/scenes/<grid>/<scene>/scene.json`: what an analysis-ready scene holds, and the door to its pixels."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from thalweg import raster
from thalweg.errors import SceneError
from thalweg.grid import Grid
from thalweg.manifest import Record, read_record, write_record

SCHEMA = 2
NODATA = -32768
REFLECTANCE_SCALE = 1e-4


class Channel(Record):
    """One channel of image.tif."""

    name: str
    wavelength_nm: float | None
    scale: float
    """Physical value = stored × scale + offset."""
    offset: float
    unit: str
    """`reflectance`, or `1` for a ratio."""


class SceneRecord(Record):
    """scene.json."""

    schema_version: int
    name: str
    grid: str
    product: str
    """Product id as delivered."""
    baseline: str | None
    """Processing baseline of a Sentinel-2 product, e.g. `05.11`."""
    offsets_applied: dict[str, float]
    """Digital-number offset per band that was added before scaling."""
    sensing_time: str | None
    """ISO 8601, UTC."""
    crs: str
    transform: tuple[float, float, float, float, float, float]
    shape_yx: tuple[int, int]
    georeferenced: bool
    """False for a picture that was laid at an arbitrary place."""
    dtype: str
    """Of the images: int16 or float32."""
    dates: tuple[str, ...]
    """Of a time series, ISO days in order: image_<date>.tif each; empty where there is one image.tif."""
    channels: tuple[Channel, ...]
    """Of one image; of a time series, those of all dates in order, date by date, named `t00/<channel>`."""
    prior: float | None
    """Share of positives in ground of class 0 where only positives were marked, else None."""
    masks: tuple[str, ...]
    """Paths below `masks.input` of the masks that overlap (`<product>:<band>` for a band)."""
    labelled: bool
    """Whether mask.tif exists."""
    valid_fraction: float
    clipped: dict[str, int]
    """Values per channel that int16 could not hold."""
    sources: dict[str, str]
    """Source file → sha256."""
    warnings: tuple[str, ...]
    """Degraded data, for the report."""


class Scene:
    """A scene on disk; pixels are memory maps, opened once and read-only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = read_record(SceneRecord, folder / "scene.json", "run `dvc repro preprocess`")

    @property
    def name(self) -> str:
        """The scene's name."""
        return self.record.name

    @cached_property
    def grid(self) -> Grid:
        """Where the pixels lie."""
        return Grid(self.record.crs, raster.transform_from(list(self.record.transform)), self.record.shape_yx)

    @cached_property
    def image(self) -> np.memmap[Any, Any]:
        """(H, W, C) int16, nodata −32768."""
        return raster.map_pixels(self.folder / "image.tif")

    @cached_property
    def valid(self) -> np.ndarray:
        """(H, W) uint8, 0 = unusable."""
        return raster.map_pixels(self.folder / "valid.tif")[:, :, 0]

    @cached_property
    def mask(self) -> np.ndarray | None:
        """(H, W) uint8 class ids, 255 = unlabelled; None for a scene without labels."""
        return raster.map_pixels(self.folder / "mask.tif")[:, :, 0] if self.record.labelled else None


def read_scenes(folder: Path) -> dict[str, Scene]:
    """All scenes of one grid by name, sorted.

    Raises:
        SceneError: There is none, or one is broken.
    """
    paths = sorted(folder.glob("*/scene.json"))
    if not paths:
        raise SceneError(f"{folder} holds no scene; run `dvc repro preprocess`")
    return {path.parent.name: Scene(path.parent) for path in paths}


def write_scene_record(record: SceneRecord, folder: Path) -> None:
    """Writes scene.json."""
    write_record(record, folder / "scene.json")
