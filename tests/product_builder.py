"""Raw folders for tests: products from the embedded sample or tiny rasters, as fetch would deliver them."""

import shutil
from pathlib import Path

import numpy as np
from affine import Affine

from thalweg import raster, sample
from thalweg.grid import Grid
from thalweg.manifest.products import Product, write_products
from thalweg.manifest.scene import Scene, read_scenes
from thalweg.params.classes import Classes
from thalweg.params.grids import GridParams, Valid
from thalweg.params.masks import Masks
from thalweg.preprocess import build_scenes
from thalweg.sources import describe_files

CLASSES = Classes.model_validate_json(
    '{"legend": [{"name": "background", "color": "#e6e0d4"}, {"name": "channel", "color": "#1f6fb4"}]}'
)
BANDS_60M = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B09", "B11", "B12")
SIZE = 32


def make_safe(folder: Path, baseline: str = "05.11", tile: str = "T20KNA", cloud_cover: float = 0.0) -> Path:
    """A tiny SAFE folder."""
    return sample.make_product(
        folder, tile=tile, date="2025-10-03", baseline=baseline, seed=3, size_60m_px=SIZE, cloud_cover=cloud_cover
    )


def copy_safe(safe: Path, raw: Path) -> Path:
    """A private copy of a SAFE folder below a raw folder, to be damaged at will."""
    return Path(shutil.copytree(safe, raw / safe.name))


def index(raw: Path, *paths: Path, form: str = "safe", bands: dict | None = None, **changes) -> tuple[Product, ...]:
    """Writes products.json for what lies in a raw folder."""
    options = {"scale": 1e-4, "offset": 0.0, "nodata": 0.0, "date": None} | changes
    products = [
        Product(
            name=path.stem,
            form=form,
            path=path.relative_to(raw).as_posix(),
            files=describe_files(path, raw),
            bands=bands or {},
            **options,
        )
        for path in paths
    ]
    write_products(products, raw)
    return tuple(products)


def make_raster(
    path: Path,
    planes: np.ndarray,
    crs: str = "EPSG:32720",
    origin: tuple[float, float] = (600_000.0, 7_000_000.0),
    pixel: float = 10.0,
    nodata: float | None = None,
) -> Path:
    """A plain GeoTIFF of (C, H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = Grid(crs, Affine(pixel, 0, origin[0], 0, -pixel, origin[1]), (planes.shape[1], planes.shape[2]))
    raster.write(path, planes, grid, nodata)
    return path


def grid_params(**changes) -> GridParams:
    """A grid of 60 m SAFE bands, changed at will."""
    options = {
        "products": "*",
        "resolution_m": 60,
        "bands": ("B02", "B03", "B04", "B8A"),
        "resampling": "bilinear",
        "channels": (),
        "further": (),
        "dtype": "int16",
        "valid": valid_params(scl=changes.pop("scl", ())),
        "series": None,
        "pack": 1,
    }
    return GridParams(**(options | changes))


def valid_params(**changes) -> Valid:
    """No rule at all, changed at will."""
    options = {"scl": (), "product_masks": False, "cloud_probability": None, "cloud_buffer_m": 0.0}
    return Valid(**(options | changes))


def mask_params(**changes) -> Masks:
    """Masks in the torchbearer form, changed at will; none by default."""
    options = {
        "input": "masks",
        "patterns": (),
        "match": "ground",
        "band": None,
        "crs": None,
        "vector": None,
        "zero": "background",
        "values": {"255": "channel"},
        "other": "error",
        "threshold": None,
        "encoder": None,
        "area": None,
        "outside": "unlabelled",
        "prior": None,
    }
    return Masks(**(options | changes))


def build(
    folder: Path,
    grid: GridParams | None = None,
    masks: Masks | None = None,
    out: str = "scenes",
    masks_input: Path | None = None,
) -> dict[str, Scene]:
    """Builds the scenes of `folder/raw` with masks in `folder/masks` and opens them."""
    target = folder / out
    build_scenes(
        folder / "raw",
        masks_input or folder / "masks",
        "g",
        grid or grid_params(),
        masks or mask_params(),
        CLASSES,
        target,
        folder / "store",
    )
    return read_scenes(target)
