"""A finished map as files in GIS terms: class names from its tags, values by their scale, ground area by row.

Nothing here knows how probabilities are held: bytes or words, they carry scale and nodata.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pyproj import Geod

from thalweg import raster
from thalweg.classes import IGNORE
from thalweg.errors import MapError
from thalweg.grid import Grid, Window

CLASSES = "classes.tif"
PROBS = "probs.tif"
UNCERTAINTY = "uncertainty.tif"
_TAG = "CLASS_"
_WGS84 = Geod(ellps="WGS84")


@dataclass(frozen=True)
class MapFiles:
    """One map: its classes, and beside them probabilities and uncertainty where there are any."""

    classes: Path
    probs: Path | None
    uncertainty: Path | None
    names: tuple[str, ...]
    """By class id."""
    grid: Grid

    @cached_property
    def row_m2(self) -> np.ndarray:
        """Ground area (H,) of a pixel of each row, m², at the middle column: it varies where pixels are degrees."""
        rows = np.arange(self.grid.shape_yx[0], dtype=float)
        middle = np.full_like(rows, self.grid.shape_yx[1] / 2)
        lon, lat = self.grid.lonlat(rows + 0.5, middle)
        steps = []
        for row, col in ((1.0, 0.0), (0.5, 1.0)):
            start_lon, start_lat = (lon, lat) if col else self.grid.lonlat(rows, middle)
            end_lon, end_lat = self.grid.lonlat(rows + row, middle + col)
            steps.append(_WGS84.inv(start_lon, start_lat, end_lon, end_lat)[2])
        return np.asarray(steps[0] * steps[1])

    def label(self, name: str) -> int:
        """The id of a class.

        Raises:
            MapError: The map has no such class.
        """
        if name not in self.names:
            raise MapError(f"{self.classes} has no class '{name}', but {', '.join(self.names)}; give one of these")
        return self.names.index(name)

    def read_labels(self, window: Window) -> np.ndarray:
        """(h, w) uint8 class ids, `IGNORE` where there is no map.

        Raises:
            MapError: An id has no name.
        """
        labels: np.ndarray = raster.read_window(self.classes, window)[0]
        strange = np.setdiff1d(np.unique(labels), [*range(len(self.names)), IGNORE])
        if strange.size:
            raise MapError(
                f"{self.classes} holds the value {strange[0]}, but its tags name {len(self.names)} classes "
                f"({', '.join(self.names)}); give it a tag {_TAG}{strange[0]} with the class's name"
            )
        return labels

    def iter_stripes(self, rows: int | None = None) -> Iterator[Window]:
        """Windows of whole rows, `rows` high or as high as the file's blocks, from top to bottom."""
        height, width = self.grid.shape_yx
        step = rows or raster.block_rows(self.classes)
        for row in range(0, height, step):
            yield Window(row, 0, step, width).clip((height, width))


def read_map(path: Path) -> MapFiles:
    """A map from its folder, or from its classes raster.

    Raises:
        RasterError: The raster is missing, broken or lies nowhere on the ground.
        MapError: It is no raster of named classes, or what lies beside it is of another grid.
    """
    classes = path / CLASSES if path.is_dir() else path
    grid = raster.read_grid(classes)
    with raster.opened(classes) as dataset:
        tags, dtype, nodata = dataset.tags(), dataset.dtypes[0], dataset.nodata
    if dtype != "uint8" or nodata != IGNORE:
        raise MapError(f"{classes} should be uint8 with nodata {IGNORE}, got {dtype} with {nodata}; give a classes.tif")
    names = tuple(_names(tags))
    if not names:
        raise MapError(f"{classes} has no tags {_TAG}0, {_TAG}1, … with class names; give a classes.tif of Thalweg's")
    return MapFiles(classes, _beside(classes, PROBS, grid), _beside(classes, UNCERTAINTY, grid), names, grid)


def read_scaled(path: Path, window: Window, bands: tuple[int, ...]) -> np.ndarray:
    """Bands of a window (N, h, w) float32 in their own unit, NaN where there is no value.

    Raises:
        RasterError: The window cannot be read.
        MapError: There are not as many bands.
    """
    with raster.opened(path) as dataset:
        if max(bands) > dataset.count:
            raise MapError(
                f"{path} has {dataset.count} bands, but band {max(bands)} is wanted; keep a map's files together"
            )
        held = dataset.read(list(bands), window=raster.to_rio(window))
        scales, offsets, nodata = dataset.scales, dataset.offsets, dataset.nodata
    values = np.stack([held[n] * np.float32(scales[b - 1]) + np.float32(offsets[b - 1]) for n, b in enumerate(bands)])
    return np.asarray(np.where(held == nodata, np.float32(np.nan), values), np.float32)


def _beside(classes: Path, name: str, grid: Grid) -> Path | None:
    other = classes.with_name(name)
    if not other.is_file():
        return None
    if raster.read_grid(other) != grid:
        raise MapError(f"{other} lies on another grid than {classes}; keep the files of one map together")
    return other


def _names(tags: dict[str, str]) -> Iterator[str]:
    number = 0
    while f"{_TAG}{number}" in tags:
        yield tags[f"{_TAG}{number}"]
        number += 1
