"""Images of another resolution than the model's: said plainly, or brought to it where that is asked for."""

import math
from pathlib import Path

import numpy as np
import rasterio.shutil
from affine import Affine
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from thalweg import raster
from thalweg.errors import ContractError
from thalweg.grid import Grid
from thalweg.manifest.card import ModelCard
from thalweg.manifest.products import Product
from thalweg.params.grids import GridParams

_TOLERANCE = 0.02
"""As in `contract`."""
_ROUNDING = 1e-3


def fit_resolution(product: Product, card: ModelCard, grid: GridParams, resample: bool, room: Path) -> Product:
    """The product, at the resolution that the model was trained on; a SAFE product delivers it itself.

    A raster whose pixels are metres is left for preprocess to bring to the grid's `resolution_m`. Any other, and one of
    a grid that takes rasters as they are, is written anew: finer pixels are averaged, coarser ones interpolated.

    Args:
        product: One image.
        card: Of the member.
        grid: How its scenes are made.
        resample: Whether that is wanted.
        room: Where what is written anew lies.

    Raises:
        ContractError: The resolution differs, and resampling is not wanted or not possible.
    """
    if product.form not in ("raster", "folder") or product.role != "scene":
        return product
    path = _file(product)
    with raster.opened(path) as dataset:
        if dataset.crs is None:
            return product
        source = raster.known_grid(dataset, path)
    low, high = card.pixel_m_range
    pixel_m = float(np.mean(source.pixel_m_yx))
    fits = low * (1 - _TOLERANCE) <= pixel_m <= high * (1 + _TOLERANCE)
    if fits and (grid.resolution_m is None or _metric(source)):
        return product
    if fits and not resample:
        raise ContractError(
            f"{path} lies turned or in degrees ({source.crs.to_string()}), but the scenes of member '{card.member}' "
            "lie upright in metres; give --resample to bring it to such a grid"
        )
    if not resample:
        trained = f"{low:.4g}" if f"{low:.4g}" == f"{high:.4g}" else f"{low:.4g} to {high:.4g}"
        raise ContractError(
            f"{path} has pixels of {pixel_m:.4g} m, but member '{card.member}' was trained on {trained} m; give "
            "--resample to bring it to that size, or a product of that resolution"
        )
    if grid.resolution_m is not None and _metric(source):
        return product
    if product.form == "folder":
        raise ContractError(
            f"{product.path} has pixels of {pixel_m:.4g} m that lie turned or in degrees, or the model's scenes were "
            "never resampled, so that only a single raster can be brought to its size; make one of the folder's files"
        )
    return product.model_copy(update={"path": str(_rewritten(path, product, source, card.pixel_m, room))})


def _file(product: Product) -> Path:
    """The raster, or of a folder the file of its first band."""
    path = Path(product.path)
    return path if product.form == "raster" else path / str(next(iter(product.bands.values())))


def _metric(grid: Grid) -> bool:
    return grid.crs.is_projected and grid.transform.b == 0 and grid.transform.d == 0


def _rewritten(path: Path, product: Product, source: Grid, pixel_m: float, room: Path) -> Path:
    """A copy with pixels of so many metres, in the raster's own CRS, or in UTM where that is in degrees."""
    target = room / f"{product.name}.tif"
    crs = source.crs_wkt if source.crs.is_projected else _utm(source)
    finer = float(np.mean(source.pixel_m_yx)) < pixel_m
    with raster.opened(path) as dataset:
        west, south, east, north = transform_bounds(source.crs_wkt, crs, *source.bounds, densify_pts=21)
        width, height = math.ceil((east - west) / pixel_m - _ROUNDING), math.ceil((north - south) / pixel_m - _ROUNDING)
        nodata = dataset.nodata if product.nodata is None else product.nodata
        if nodata is None and dataset.dtypes[0].startswith("float"):
            nodata = np.nan
        transform = Affine(pixel_m, 0, west, 0, -pixel_m, north)
        with WarpedVRT(dataset, crs=crs, transform=transform, width=width, height=height,
                       src_nodata=nodata, nodata=nodata, add_alpha=nodata is None,
                       resampling=Resampling.average if finer else Resampling.bilinear) as warped:  # fmt: skip
            rasterio.shutil.copy(warped, target, driver="GTiff", tiled=True, bigtiff="if_safer")
    return target


def _utm(grid: Grid) -> str:
    lon, lat = grid.lonlat(np.array([grid.shape_yx[0] / 2]), np.array([grid.shape_yx[1] / 2]))
    zone = int((float(lon[0]) + 180) // 6) % 60 + 1
    return f"EPSG:{(32600 if float(lat[0]) >= 0 else 32700) + zone}"
