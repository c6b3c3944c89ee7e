"""Parcels and regions on a map's grid: rasters of parcel numbers (GeoTIFF, NetCDF) and layers of outlines."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import shapely

from thalweg import raster
from thalweg.errors import ParcelError
from thalweg.grid import Grid, Window
from thalweg.preprocess.masks.features import Features
from thalweg.preprocess.masks.outlines import Outlines, stripes
from thalweg.preprocess.masks.place import read_onto
from thalweg.products.cube import read_plane, read_variable

CUBES = (".nc", ".nc4", ".h5")
RASTERS = (".tif", ".tiff", ".vrt")


class Parcels(ABC):
    """Parcels, numbered from 0."""

    ids: Sequence[object]
    """What each is called in its file."""
    sources: Sequence[str]
    """The file's name, per parcel."""
    truth: Sequence[str | None] | None = None
    """Class names, per parcel, where the file says them."""

    @abstractmethod
    def numbers(self, window: Window) -> np.ndarray:
        """(h, w) int64 number of the parcel on each pixel of a window of the map's grid, or past it; −1 without."""

    def with_outlines(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table, with geometry where there is any."""
        return table


class RasterParcels(Parcels):
    """Rasters of parcel numbers, above 0; the same number in two files is two parcels."""

    def __init__(self, paths: Sequence[Path], grid: Grid, band: str) -> None:
        """Takes files, the map's grid, and the variable of NetCDF files.

        Raises:
            ParcelError: A file holds no whole numbers.
        """
        self._grid = grid
        self._files = [_opened(path, band) for path in paths]
        self._known = [_ids_of(read, own) for read, own in self._files]
        self._first = np.cumsum([0, *(len(ids) for ids in self._known)])
        self.ids = [int(number) for ids in self._known for number in ids]
        self.sources = [path.name for path, ids in zip(paths, self._known, strict=True) for _ in ids]

    def numbers(self, window: Window) -> np.ndarray:
        """As `Parcels` says."""
        found = np.full((window.height, window.width), -1, np.int64)
        for (read, own), known, first in zip(self._files, self._known, self._first.tolist(), strict=False):
            values, inside = read_onto(_stacked(read), own, self._grid.crop(window))
            inside &= (values[0] > 0) & (found < 0)
            found[inside] = first + np.searchsorted(known, values[0][inside])
        return found


class VectorParcels(Parcels):
    """A layer of outlines; a pixel belongs to the outline that covers its centre, the last of several in the file."""

    def __init__(self, path: Path, grid: Grid, layer: str | None = None, id_field: str | None = None,
                 truth_field: str | None = None) -> None:  # fmt: skip
        """Reads the layer whole.

        Args:
            path: Anything that GDAL reads.
            grid: The map's.
            layer: Its name; the first by default.
            id_field: What the parcels are called; their number from 1 by default.
            truth_field: Class names.

        Raises:
            ParcelError: It cannot be read, has no CRS, no such field, or no polygon.
        """
        self._table = read_areas(path, layer, [field for field in (id_field, truth_field) if field])
        self._outlines = _outlines(self._table, grid)
        self.ids = list(self._table[id_field]) if id_field else list(range(1, len(self._table) + 1))
        self.sources = [path.name] * len(self._table)
        if truth_field:
            self.truth = [None if pd.isna(value) or value == "" else str(value) for value in self._table[truth_field]]

    def numbers(self, window: Window) -> np.ndarray:
        """As `Parcels` says."""
        return self._outlines.burn(window).astype(np.int64) - 1

    def with_outlines(self, table: pd.DataFrame) -> pd.DataFrame:
        """As `Parcels` says."""
        drawn: pd.DataFrame = geopandas.GeoDataFrame(
            table, geometry=self._table.geometry.to_numpy(), crs=self._table.crs
        )
        return drawn


class Regions:
    """Areas with a name; a pixel is of the one that covers its centre, the last of several in the file."""

    def __init__(self, path: Path, grid: Grid, name_field: str | None = None, layer: str | None = None) -> None:
        """Takes a layer, the map's grid and the field of names: by default `name`, else the number from 1.

        Raises:
            ParcelError: As for parcels.
        """
        field = name_field or ("name" if "name" in fields_of(path, layer) else None)
        table = read_areas(path, layer, [field] if field else [])
        called = [str(value) for value in table[field]] if field else [str(n) for n in range(1, len(table) + 1)]
        self.names = tuple(dict.fromkeys(called))
        self._number = np.array([-1, *(self.names.index(name) for name in called)])
        self._outlines = _outlines(table, grid)

    def numbers(self, window: Window) -> np.ndarray:
        """(h, w) int64 number of the region on each pixel, −1 without."""
        return np.asarray(self._number[self._outlines.burn(window)])


def open_parcels(paths: Sequence[Path], grid: Grid, layer: str | None = None, id_field: str | None = None,
                 truth_field: str | None = None, band: str = "parcels/parcels") -> Parcels:  # fmt: skip
    """Parcels from their files: rasters, as many as there are, or one layer of outlines.

    Raises:
        ParcelError: What is given does not go together, or cannot be read.
    """
    kinds = [path.suffix.lower() in (*RASTERS, *CUBES) for path in paths]
    if all(kinds) and not (layer or id_field or truth_field):
        return RasterParcels(paths, grid, band)
    if all(kinds):
        raise ParcelError(
            f"{paths[0]} is a raster, which has no layer and no fields; leave --layer, --id and --truth out"
        )
    if len(paths) > 1:
        raise ParcelError(f"{len(paths)} files of parcels were given, not all rasters; give rasters, or one layer")
    return VectorParcels(paths[0], grid, layer, id_field, truth_field)


def fields_of(path: Path, layer: str | None) -> list[str]:
    """Names of a layer's fields.

    Raises:
        ParcelError: It cannot be read.
    """
    try:
        return [str(name) for name in pyogrio.read_info(path, layer=layer)["fields"]]
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        said = " ".join(str(error).split())
        raise ParcelError(
            f"{path} cannot be read as a layer of outlines ({said}); give another file or layer"
        ) from error


def read_areas(path: Path, layer: str | None, fields: Sequence[str]) -> geopandas.GeoDataFrame:
    """Polygons of a layer with some of its fields; what has no area is left out.

    Raises:
        ParcelError: It cannot be read, has no CRS, no such field, or no polygon.
    """
    known = fields_of(path, layer)
    if missing := [field for field in fields if field not in known]:
        raise ParcelError(f"{path} has no field '{missing[0]}', but {', '.join(known) or 'none'}; correct it")
    table = pyogrio.read_dataframe(path, layer=layer, columns=list(fields))
    if not isinstance(table, geopandas.GeoDataFrame) or table.crs is None:
        raise ParcelError(f"{path} has no CRS, so its place on the ground is unknown; set it, for example in QGIS")
    there = table[~(table.geometry.isna() | table.geometry.is_empty)]
    there = there[shapely.get_dimensions(there.geometry.to_numpy()) == 2].reset_index(drop=True)
    if there.empty:
        raise ParcelError(f"{path} has no polygon; give a layer of outlines")
    return there


def _outlines(table: geopandas.GeoDataFrame, grid: Grid) -> Outlines:
    shapes = shapely.force_2d(table.geometry.to_numpy())
    broken = ~shapely.is_valid(shapes)
    shapes[broken] = shapely.make_valid(shapes[broken])
    shapes = geopandas.GeoSeries(shapes, crs=table.crs).to_crs(grid.crs).to_numpy()
    parts, of = np.asarray(shapes), np.arange(len(shapes))
    while (shapely.get_type_id(parts) > shapely.GeometryType.POLYGON).any():
        parts, within = shapely.get_parts(parts, return_index=True)
        of = of[within]
    areal = (shapely.get_dimensions(parts) == 2) & np.isfinite(shapely.bounds(parts)).all(axis=1)
    return Outlines(Features(parts[areal], of[areal], [1] * len(table), int(broken.sum()), 0), grid, all_touched=False)


Read = Callable[[Window], np.ndarray]


def _opened(path: Path, band: str) -> tuple[Read, Grid]:
    """What reads a raster of parcel numbers, 0 without, and its grid."""
    if path.suffix.lower() in CUBES:
        variable = read_variable(path, band, None)
        return _whole(path, lambda window: read_plane(path, variable, None, window), variable.fill), variable.grid
    with raster.opened(path) as dataset:
        nodata, grid = dataset.nodata, raster.known_grid(dataset, path)
    return _whole(path, lambda window: raster.read_window(path, window)[0], nodata), grid


def _whole(path: Path, read: Read, nodata: float | None) -> Read:
    def checked(window: Window) -> np.ndarray:
        values = read(window)
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), 0, values)
            if (values != np.rint(values)).any():
                raise ParcelError(f"{path} holds values that are no whole numbers; give a raster of parcel numbers")
        numbers = values.astype(np.int64)
        return numbers if nodata is None or np.isnan(nodata) else np.where(numbers == nodata, 0, numbers)

    return checked


def _stacked(read: Read) -> Read:
    return lambda window: read(window)[None]


def _ids_of(read: Read, grid: Grid) -> np.ndarray:
    """Numbers above 0, sorted; in stripes."""
    found = np.empty(0, np.int64)
    for stripe in stripes(grid.shape_yx):
        found = np.union1d(found, np.unique(read(stripe)))
    return found[found > 0]
