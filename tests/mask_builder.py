"""Masks of every form for tests, and scenes of nothing but a grid to draw them onto."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import geopandas
import numpy as np
import shapely
from affine import Affine
from product_builder import mask_params

from thalweg import raster
from thalweg.grid import Grid
from thalweg.params.classes import Classes
from thalweg.params.masks import Masks, Vector
from thalweg.preprocess.masks import find_masks, write_mask
from thalweg.products import Delivery, Layer

CLASSES = Classes.model_validate_json(
    '{"legend": [{"name": "background", "color": "#000000"}, {"name": "damage", "color": "#ff0000"},'
    ' {"name": "water", "color": "#0000ff"}]}'
)
GRID = Grid("EPSG:32720", Affine(60, 0, 600_000, 0, -60, 7_000_000), (16, 16))
"""UTM: the scene is 960 m wide."""


def rules(**changes) -> Masks:
    """Params of masks: 255 is damage, 0 background."""
    return mask_params(**({"input": ".", "patterns": ("*.tif",), "values": {"255": "damage"}} | changes))


def vector(**changes) -> Vector:
    """How features become pixels, changed at will."""
    return Vector(**({"layer": None, "attribute": None, "buffer_m": 0.0, "all_touched": False} | changes))


def features(**changes) -> Masks:
    """Params of vector masks: any feature is damage."""
    return rules(**({"patterns": ("*.gpkg",), "values": {"1": "damage"}, "vector": vector()} | changes))


def delivery(grid: Grid, labels: Mapping[str, Layer] | None = None, georeferenced: bool = True) -> Delivery:
    """A product of which only the grid, and bands of labels, are known."""
    return Delivery("p", None, None, grid, {}, dict(labels or {}), (), lambda: None, georeferenced=georeferenced)


def draw(folder: Path, masks: Masks, scenes: Mapping[str, Grid] | Grid = GRID, classes: Classes = CLASSES,
         **options) -> tuple[np.ndarray | None, tuple[str, ...], tuple[str, ...]]:  # fmt: skip
    """Labels (None without mask.tif), names and warnings of the first scene, with the masks in a folder."""
    scenes = {"s": scenes} if isinstance(scenes, Grid) else scenes
    name, grid = next(iter(scenes.items()))
    found = find_masks(masks, classes, folder, scenes)[name]
    out = folder / "out"
    out.mkdir(exist_ok=True)
    path = out / "mask.tif"
    path.unlink(missing_ok=True)
    names, warnings = write_mask(name, delivery(grid, **options), found, out)
    assert path.exists() == bool(names)
    return (np.array(raster.map_pixels(path)[:, :, 0]) if names else None), names, warnings


def write_raster(path: Path, values: np.ndarray, grid: Grid = GRID, nodata: float | None = None) -> Path:
    """A mask GeoTIFF of (H, W) or (B, H, W) from a grid's upper left corner on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raster.write(path, np.asarray(values), Grid(grid.crs_wkt, grid.transform, values.shape[-2:]), nodata)
    return path


def write_vectors(path: Path, shapes: Iterable[shapely.Geometry | None], crs: str = GRID.crs_wkt, layer: str | None = None,
                  **columns) -> Path:  # fmt: skip
    """Features with attributes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = geopandas.GeoDataFrame(columns, geometry=list(shapes), crs=crs)
    frame.to_file(path, **({} if layer is None else {"layer": layer}))
    return path


def square(row: float, col: float, height: float, width: float, grid: Grid = GRID) -> shapely.Polygon:
    """A rectangle of a grid's pixels, in its CRS."""
    corners = ((col, row), (col + width, row), (col + width, row + height), (col, row + height))
    return shapely.Polygon([grid.transform @ corner for corner in corners])
