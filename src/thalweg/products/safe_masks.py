"""A SAFE product's own cloud masks: MSK_CLASSI (since baseline 04.00), MSK_CLOUDS (before), and the cloud probability.

Opaque clouds and cirrus both count as cloud; MSK_CLASSI's snow does not. A mask without any polygon means a clear sky.
Source: Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD, sections on the quality indicators data.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import shapely
from pyproj import CRS, Transformer
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from thalweg import raster
from thalweg.errors import ProductError
from thalweg.grid import Grid, Window
from thalweg.products import Layer
from thalweg.products.codes import Codes, read_codes
from thalweg.products.container import Container
from thalweg.products.safe_xml import parse_xml

Verify = Callable[[list[str]], None]
"""Compares files, by their path below the SAFE folder, with what the product states of them."""

_CLASSES = re.compile(r"GRANULE/[^/]+/QI_DATA/(?:\w+_)?MSK_CLASSI_B00\.jp2")
_POLYGONS = re.compile(r"GRANULE/[^/]+/QI_DATA/(?:\w+_)?MSK_CLOUDS_\w*\.gml")
_PROBABILITY = re.compile(r"GRANULE/[^/]+/QI_DATA/(?:\w+_)?MSK_CLDPRB_(\d\d)m\.jp2")
_OPAQUE, _CIRRUS, _BANDS = 1, 2, 3
_CLOUD_TYPES = ("OPAQUE", "CIRRUS")


def cloud_mask(container: Container, name: str, verify: Verify) -> Callable[[Grid], np.ndarray] | None:
    """The product's own cloud mask, to be drawn on any grid: (H, W) bool, True where cloud; None where it has none.

    Files are read, and verified first, when a mask is drawn.

    Args:
        container: The product's files.
        name: Its name for messages.
        verify: Run on the mask's file before it is read.
    """
    if classes := _first(_CLASSES, container):
        return _Classes(container, name, classes, verify)
    if polygons := _first(_POLYGONS, container):
        return _Polygons(container, name, polygons, verify)
    return None


def probability_layer(container: Container, resolution_m: int, verify: Verify) -> Layer | None:
    """The cloud probability, percent, at the resolution nearest to the wanted one; None where the product has none.

    Raises:
        RasterError: It cannot be opened.
    """
    paths = {int(match[1]): path for path in sorted(container.sizes) if (match := _PROBABILITY.fullmatch(path))}
    if not paths:
        return None
    path = paths[min(paths, key=lambda metres: abs(metres - resolution_m))]
    file = container.gdal_path(path)
    grid = raster.read_grid(Path(file))
    return Layer(file, 1, grid, 1.0, 0.0, None, None, "%", partial(_read_verified, file, path, verify))


def parse_polygons(text: bytes, what: str) -> tuple[CRS | None, tuple[BaseGeometry, ...]]:
    """The clouds of a MSK_CLOUDS file and their CRS, None where it states none (there may be no cloud at all).

    Raises:
        ProductError: It is no XML, or a polygon is none or of a type that is no cloud.
    """
    root = parse_xml(text, what)
    name = next((element.get("srsName") for element in root.iter() if element.get("srsName")), None)
    code = re.search(r"EPSG:[\d.]*:(\d+)$|EPSG:(\d+)$", name or "")
    clouds = []
    for feature in _all(root, "MaskFeature"):
        kind = next((element.text for element in _all(feature, "maskType")), None)
        if (kind or "").strip() not in _CLOUD_TYPES:
            raise ProductError(
                f"{what} holds a mask of type '{kind}', but clouds are {' or '.join(_CLOUD_TYPES)}; "
                "deliver the product again"
            )
        polygons = [_polygon(element, what) for element in _all(feature, "Polygon")]
        clouds += [polygon for polygon in polygons if not polygon.is_empty]
    return (CRS.from_epsg(int(code[1] or code[2])) if code else None), tuple(clouds)


class _Classes:
    """MSK_CLASSI_B00.jp2: one band each of opaque clouds, cirrus and snow, 60 m."""

    def __init__(self, container: Container, name: str, path: str, verify: Verify) -> None:
        self._what = f"{name}: {path}"
        self._path = path
        self._file = container.gdal_path(path)
        self._verify = verify

    def __call__(self, grid: Grid) -> np.ndarray:
        """Clouds (H, W) bool on a grid; none where the mask does not reach.

        Raises:
            ProductError: The file is damaged, or has not three bands.
            RasterError: It cannot be read to its end.
        """
        clouds, place = self._clouds
        return Codes(clouds, place, grid, 0).on(grid.full)

    @cached_property
    def _clouds(self) -> tuple[np.ndarray, Grid]:
        self._verify([self._path])
        with raster.opened(self._file) as dataset:
            bands = dataset.count
        if bands != _BANDS:
            raise ProductError(
                f"{self._what} has {bands} bands, but opaque clouds, cirrus and snow are three; "
                "deliver the product again"
            )
        place = raster.read_grid(Path(self._file))
        layers = (Layer(self._file, band, place, 1.0, 0.0, None, None, "1") for band in (_OPAQUE, _CIRRUS))
        opaque, cirrus = (read_codes(layer) != 0 for layer in layers)
        return opaque | cirrus, place


class _Polygons:
    """MSK_CLOUDS_B00.gml: polygons in the tile's CRS."""

    def __init__(self, container: Container, name: str, path: str, verify: Verify) -> None:
        self._what = f"{name}: {path}"
        self._path = path
        self._container = container
        self._verify = verify

    def __call__(self, grid: Grid) -> np.ndarray:
        """Clouds (H, W) bool on a grid: pixels whose centre a polygon covers.

        Raises:
            ProductError: The file is damaged, or is no such mask.
        """
        crs, clouds = self._clouds
        if not clouds:
            return np.zeros(grid.shape_yx, bool)
        if crs is not None and crs != grid.crs:
            across = Transformer.from_crs(crs, grid.crs, always_xy=True)
            clouds = tuple(
                shapely.transform(cloud, lambda xy: np.column_stack(across.transform(*xy.T))) for cloud in clouds
            )
        drawn: np.ndarray = rasterize(clouds, grid.shape_yx, transform=grid.transform, dtype="uint8")
        return drawn.view(bool)

    @cached_property
    def _clouds(self) -> tuple[CRS | None, tuple[BaseGeometry, ...]]:
        self._verify([self._path])
        return parse_polygons(self._container.read(self._path), self._what)


def _first(pattern: re.Pattern[str], container: Container) -> str | None:
    return next((path for path in sorted(container.sizes) if pattern.fullmatch(path)), None)


def _read_verified(file: str, path: str, verify: Verify, window: Window) -> np.ndarray:
    verify([path])
    pixels: np.ndarray = raster.read_window(file, window)[0]
    return pixels


def _polygon(element: ET.Element, what: str) -> BaseGeometry:
    try:
        [exterior] = [_ring(ring) for side in _all(element, "exterior") for ring in _all(side, "posList")]
        holes = [_ring(ring) for side in _all(element, "interior") for ring in _all(side, "posList")]
        return shapely.Polygon(exterior, holes)
    except ValueError as error:  # of shapely's, too
        raise ProductError(
            f"{what}: the polygon {_identity(element)} cannot be read ({error}); deliver the product again"
        ) from error


def _ring(positions: ET.Element) -> np.ndarray:
    dimensions = int(positions.get("srsDimension", "2"))
    ring = np.array((positions.text or "").split(), float).reshape(-1, dimensions)[:, :2]
    if not np.isfinite(ring).all():
        raise ValueError("a position of it is no number")
    return ring


def _identity(element: ET.Element) -> str:
    return next((value for key, value in element.items() if key.endswith("id")), "without id")


def _all(root: ET.Element, name: str) -> list[ET.Element]:
    return [element for element in root.iter() if element.tag.rpartition("}")[2] == name]
