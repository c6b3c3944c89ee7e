"""A layer of vectors: what it holds, and those of its features that lie on a scene, repaired and in one CRS."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS

from thalweg.errors import MaskError, ParamsError
from thalweg.grid import Grid
from thalweg.preprocess.masks.around import Box, boxes_around, cut
from thalweg.preprocess.masks.place import lonlat_of

_COUNTED_TO = 200_000
"""Features among which those without a geometry are counted; of a larger layer only the scene's part is ever read."""
_EARTH_RADIUS_M = 6_371_000.0
_BENT_PX = 0.01
"""Most that a straight edge of the file may be off, on the scene's grid, for want of a vertex."""
_METRES_PER_DEGREE = 111_320.0
_NOWHERE = (1e300, 1e300, 1e300, 1e300)
"""A box that no feature meets: what is read then has the columns, but no rows."""


@dataclass(frozen=True)
class VectorLayer:
    """One layer of a vector file."""

    path: Path
    name: str
    crs_wkt: str
    attribute: str | None
    """Whose value says the class; None where every feature has the value 1."""
    bounds: tuple[float, float, float, float] | None
    """In its CRS; None of a layer without a feature."""
    empty: int
    """Features without a geometry."""

    @cached_property
    def lonlat_bounds(self) -> tuple[float, float, float, float] | None:
        """West, south, east, north in degrees; the whole circle where it crosses the antimeridian."""
        if self.bounds is None:
            return None
        return lonlat_of(self.bounds, CRS.from_user_input(self.crs_wkt))


@dataclass(frozen=True)
class Features:
    """The features of a layer on a scene's ground, in the file's order, in the scene's CRS."""

    shapes: np.ndarray
    """Polygons, lines and points, none of them multiple, none empty."""
    feature: np.ndarray
    """Number of the feature that each shape is a part of."""
    values: list[object]
    """Per feature: its attribute, or 1."""
    repaired: int
    """Features whose polygons crossed themselves."""
    lost: int
    """Features of which repair or projection left nothing."""


def open_layer(path: Path, layer: str | None, attribute: str | None, crs: str | None) -> VectorLayer:
    """Opens a layer as far as its table of contents.

    Args:
        path: GeoPackage, GeoJSON, Shapefile or FlatGeobuf.
        layer: Its name; None where the file has one only.
        attribute: Column whose value says the class, or None.
        crs: Of a file that carries none.

    Raises:
        MaskError: The file cannot be read, or has no CRS.
        ParamsError: It has no such layer or attribute, or several layers and none is named.
    """
    with _readable(path):
        name = _chosen([str(row[0]) for row in pyogrio.list_layers(path)], layer, path)
        info = pyogrio.read_info(path, layer=name, force_feature_count=True, force_total_bounds=True)
        bounds, empty = info["total_bounds"], 0
        if info["features"] <= _COUNTED_TO:
            bounds, empty = _extent(path, name)
    known = info["crs"] or crs
    if known is None:
        raise MaskError(f"{path} has no CRS, so its place on the ground is unknown; say it in masks.crs")
    if attribute is not None and attribute not in info["fields"]:
        raise ParamsError(
            f"{path} has no attribute '{attribute}', but {', '.join(info['fields']) or 'none at all'}; correct "
            "masks.vector.attribute in params.yaml"
        )
    there = bounds is not None and info["features"] > empty and bool(np.isfinite(bounds).all())
    return VectorLayer(path, name, known, attribute, _four(bounds) if there else None, empty)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (DataSourceError, DataLayerError) as error:
        raise MaskError(
            f"{path} cannot be read as vectors ({' '.join(str(error).split())}); deliver it again"
        ) from error


def _chosen(layers: list[str], wanted: str | None, path: Path) -> str:
    if wanted is None and len(layers) == 1:
        return layers[0]
    if wanted in layers:
        return str(wanted)
    fault = "which layer is meant is not said" if wanted is None else f"it has no layer '{wanted}'"
    raise ParamsError(f"{path}: {fault}; correct masks.vector.layer, one of {', '.join(layers) or 'none at all'}")


def _four(bounds: Any) -> tuple[float, float, float, float]:
    west, south, east, north = (float(bound) for bound in bounds)
    return west, south, east, north


def _extent(path: Path, layer: str) -> tuple[np.ndarray, int]:
    """Bounds of all geometries (that a file states include those that are none), and features without one."""
    numbers, bounds = pyogrio.read_bounds(path, layer=layer)
    nothing = np.isnan(bounds).any(axis=0)
    at_origin = numbers[(bounds == 0).all(axis=0)]  # as an empty polygon's are, but a point's may be, too
    if len(at_origin):
        nothing |= np.isin(numbers, at_origin[_is_empty(path, layer, at_origin)])
    least, most = (axis[:, ~nothing] for axis in (bounds[:2], bounds[2:]))
    return np.concatenate([least.min(axis=1, initial=np.inf), most.max(axis=1, initial=-np.inf)]), int(nothing.sum())


def _is_empty(path: Path, layer: str, numbers: np.ndarray) -> np.ndarray:
    return np.asarray(pyogrio.read_dataframe(path, layer=layer, columns=[], fids=numbers).geometry.is_empty)


def read_features(layer: VectorLayer, grid: Grid, buffer_m: float) -> Features:
    """Reads the features on a scene's ground; of the file no more than these.

    Features that cross themselves are repaired, collections and multiple geometries are taken apart, heights dropped.
    With a buffer everything becomes a polygon, wider by so many true ground metres: it is drawn in an azimuthal
    equidistant projection around the scene's centre, whose scale errs by less than 10⁻⁴ within 150 km.

    Source: J. P. Snyder, Map Projections: A Working Manual, USGS Professional Paper 1395 (1987), section 25.
    """
    boxes = () if layer.bounds is None else boxes_around(grid, buffer_m, layer.crs_wkt, layer.bounds)
    table = _on(layer, boxes)
    geometry = shapely.force_2d(table.geometry.to_numpy())
    geometry, repaired = _repaired(geometry)
    parts, feature = _parts(geometry)
    lost = len(table) - len(np.unique(feature))
    if boxes is not None:
        parts, of = cut(parts, boxes)
        parts, within = _parts(parts)
        feature = feature[of][within]
    near = len(np.unique(feature))
    parts = _bent_as_the_ground(parts, layer, grid, buffer_m)
    drawn = geopandas.GeoSeries(parts, crs=layer.crs_wkt)
    if buffer_m > 0:
        drawn = drawn.to_crs(_around(grid)).buffer(buffer_m)
    shapes = drawn.to_crs(grid.crs).to_numpy()
    sound = ~shapely.is_empty(shapes) & np.isfinite(shapely.bounds(shapes)).all(axis=1)
    shapes, within = shapely.get_parts(shapes[sound], return_index=True)
    feature = feature[sound][within]
    column = table[layer.attribute] if layer.attribute is not None else [1] * len(table)
    values = [None if pd.api.types.is_scalar(value) and pd.isna(value) else value for value in column]
    return Features(shapes, feature, values, repaired, lost + near - len(np.unique(feature)))


def _on(layer: VectorLayer, boxes: tuple[Box, ...] | None) -> geopandas.GeoDataFrame:
    """Features whose box meets one of the given boxes, or all, in the file's order."""
    columns = [] if layer.attribute is None else [layer.attribute]
    wanted = [None] if boxes is None else [box.bounds for box in boxes] or [_NOWHERE]
    with _readable(layer.path):
        tables = [
            pyogrio.read_dataframe(layer.path, layer=layer.name, columns=columns, bbox=bounds, fid_as_index=True)
            for bounds in wanted
        ]
    table = pd.concat(tables) if len(tables) > 1 else tables[0]
    table = table[~table.index.duplicated()].sort_index()  # a spatial index answers in its own order
    return table[~(table.geometry.isna() | table.geometry.is_empty)]


def _repaired(geometry: np.ndarray) -> tuple[np.ndarray, int]:
    broken = ~shapely.is_valid(geometry)
    if broken.any():
        polygonal = shapely.get_dimensions(geometry) == 2
        geometry = np.where(broken, shapely.make_valid(geometry), geometry)
        lines_left = broken & polygonal
        geometry[lines_left] = [_polygons(shape) for shape in geometry[lines_left]]
    return geometry, int(broken.sum())


def _polygons(shape: shapely.Geometry) -> shapely.Geometry:
    """What has an area in a repaired polygon; the rest is what it was drawn to and fro along."""
    parts, _ = _parts(np.array([shape]))
    polygons: shapely.Geometry = shapely.multipolygons(parts[shapely.get_dimensions(parts) == 2])
    return polygons


def _parts(geometry: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Simple geometries and the number of that which each is a part of, however deep collections nest."""
    index = np.arange(len(geometry))
    while (shapely.get_type_id(geometry) > shapely.GeometryType.POLYGON).any():
        geometry, within = shapely.get_parts(geometry, return_index=True)
        index = index[within]
    there = ~shapely.is_empty(geometry)
    return geometry[there], index[there]


def _bent_as_the_ground(parts: np.ndarray, layer: VectorLayer, grid: Grid, buffer_m: float) -> np.ndarray:
    """Long edges get vertices: they are straight in the file's CRS, and so are not quite in the scene's.

    Over a length L a parallel leaves the straight line by L² tan(latitude) / 8 R.
    """
    source = CRS.from_user_input(layer.crs_wkt)
    if (source == grid.crs and buffer_m == 0) or not len(parts):
        return parts
    edge_m = float(np.sqrt(8 * _EARTH_RADIUS_M * _BENT_PX * min(grid.pixel_m_yx))) / 2
    return np.asarray(shapely.segmentize(parts, edge_m / _METRES_PER_DEGREE if source.is_geographic else edge_m))


def _around(grid: Grid) -> CRS:
    row, col = grid.shape_yx[0] / 2, grid.shape_yx[1] / 2
    lon, lat = grid.lonlat(np.array([row]), np.array([col]))
    return CRS.from_proj4(f"+proj=aeqd +lat_0={lat[0]:.9f} +lon_0={lon[0]:.9f} +datum=WGS84 +units=m +no_defs")
