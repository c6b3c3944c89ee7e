"""Sentinel-2 SAFE products (L2A and L1C, folder or zip): bands, offsets, scene classification, consistency."""

import re
from functools import partial
from pathlib import Path

from thalweg import raster
from thalweg.bands import SENTINEL2
from thalweg.errors import ProductError
from thalweg.grid import Grid
from thalweg.manifest.products import Product
from thalweg.products import Delivery, Layer, Wanted, words
from thalweg.products.container import Container
from thalweg.products.safe_xml import Metadata, Stated, TileGrid, parse_manifest, parse_product, parse_tile

_IMAGE = re.compile(r"^GRANULE/([^/]+)/IMG_DATA/(?:R\d\dm/)?[^/]*_\d{8}T\d{6}_(\w{3})(?:_(\d\d)m)?\.jp2$")
_Images = dict[str, dict[int, str]]
"""Band → resolution, metres → path below the SAFE folder."""


def open_safe(product: Product, raw: Path, wanted: Wanted) -> Delivery:
    """Opens a SAFE product at one resolution; offsets and quantification come from its XML alone.

    Args:
        product: As fetch recorded it.
        raw: The raw folder.
        wanted: Bands, label bands and resolution.

    Raises:
        ProductError: The product is incomplete or inconsistent, or lacks a wanted band at that resolution.
        RasterError: A JP2 file cannot be opened or has no CRS.
    """
    container = Container(raw / product.path)
    metadata = parse_product(container.read(_metadata_name(container)), product.name)
    if wanted.resolution_m is None:
        raise ProductError(
            f"{product.name} delivers several resolutions, so its grid needs resolution_m (10, 20 or 60) in params.yaml"
        )
    images = _images(container, product.name)
    bands = {band: _pick(images, product.name, band, wanted.resolution_m) for band in wanted.bands}
    labels = {band: _pick_labels(images, product.name, band, wanted.resolution_m) for band in wanted.labels}
    grid = _checked_grid(container, product.name, bands, wanted.resolution_m)
    return Delivery(
        product=metadata.product,
        baseline=metadata.baseline,
        sensing_time=metadata.sensing_time,
        grid=grid,
        bands={band: _layer(container, metadata, band, path) for band, path in bands.items()},
        labels={band: _codes(container, path) for band, path in labels.items()},
        warnings=metadata.warnings,
        verify=partial(_verify, container, product.name, [*bands.values(), *labels.values()]),
    )


def _metadata_name(container: Container) -> str:
    return "MTD_MSIL2A.xml" if "MTD_MSIL2A.xml" in container.sizes else "MTD_MSIL1C.xml"


def _images(container: Container, name: str) -> _Images:
    found: _Images = {}
    granules = set()
    for path in sorted(container.sizes):
        if match := _IMAGE.match(path):
            granule, band, metres = match.groups()
            native = SENTINEL2[band].native_m if band in SENTINEL2 else 0
            found.setdefault(band, {})[int(metres) if metres else native] = path
            granules.add(granule)
    if len(granules) > 1:
        raise ProductError(
            f"{name} holds {len(granules)} granules with images ({', '.join(sorted(granules))}); "
            "deliver one tile per product"
        )
    return found


def _pick(images: _Images, name: str, band: str, resolution_m: int) -> str:
    path = images.get(band, {}).get(resolution_m)
    if path is None:
        there = [known for known in SENTINEL2 if resolution_m in images.get(known, {})]
        elsewhere = ", ".join(f"{metres} m" for metres in sorted(images.get(band, {})))
        other = f" (only at {elsewhere})" if elsewhere else ""
        raise ProductError(
            f"{name} has no band {band} at {resolution_m} m{other}; at that resolution it has "
            f"{', '.join(there) or 'no band at all'}; deliver the missing file or change the bands of this grid in "
            "params.yaml"
        )
    return path


def _pick_labels(images: _Images, name: str, band: str, resolution_m: int) -> str:
    paths = images.get(band, {})
    if not paths:
        raise ProductError(
            f"{name} has no {band} image; deliver it, or, if it is not to be had, set the grid's valid.scl to [] "
            "(and masks.band to null where it names this band) in params.yaml"
        )
    return paths[min(paths, key=lambda metres: abs(metres - resolution_m))]


def _layer(container: Container, metadata: Metadata, band: str, path: str) -> Layer:
    scale = 1 / metadata.quantification
    file = container.gdal_path(path)
    return Layer(
        file, 1, raster.read_grid(Path(file)), scale, metadata.offset(band), metadata.nodata, metadata.saturated
    )


def _codes(container: Container, path: str) -> Layer:
    file = container.gdal_path(path)
    return Layer(file, 1, raster.read_grid(Path(file)), 1.0, 0.0, None, None, "1")


def _checked_grid(container: Container, name: str, bands: dict[str, str], resolution_m: int) -> Grid:
    tile = _tile_grid(container, name).get(resolution_m)
    grids = {band: raster.read_grid(Path(container.gdal_path(path))) for band, path in bands.items()}
    first, grid = next(iter(grids.items()))
    for band, other in grids.items():
        if tile is not None:
            _check_tile(name, band, other, tile)
        if other != grid:
            raise ProductError(
                f"{name}: {band} ({words(other)}) and {first} ({words(grid)}) disagree in their grid; "
                "deliver the product again"
            )
    return grid


def _tile_grid(container: Container, name: str) -> dict[int, TileGrid]:
    tiles = [path for path in container.sizes if re.fullmatch(r"GRANULE/[^/]+/MTD_TL\.xml", path)]
    return parse_tile(container.read(tiles[0] if tiles else _metadata_name(container)), name)


def _check_tile(name: str, band: str, grid: Grid, tile: TileGrid) -> None:
    west, south, east, north = grid.bounds
    left, top = tile.upper_left_xy
    right = left + tile.shape_yx[1] * tile.pixel_xy[0]
    bottom = top + tile.shape_yx[0] * tile.pixel_xy[1]
    pixel = (grid.transform.a, grid.transform.e)
    inside = left <= west and east <= right and bottom <= south and north <= top
    if grid.crs_wkt != tile.crs or pixel != tile.pixel_xy or not inside:
        raise ProductError(
            f"{name}: the image of {band} ({words(grid)}) does not fit MTD_TL.xml, which says {tile.shape_yx[1]} × "
            f"{tile.shape_yx[0]} pixels of {tile.pixel_xy[0]:g} from {left:.12g}, {top:.12g} in {tile.crs}; "
            "it was resampled or mixed up, deliver the original"
        )


def _verify(container: Container, name: str, paths: list[str]) -> None:
    if "manifest.safe" not in container.sizes:
        return
    stated = parse_manifest(container.read("manifest.safe"), name)
    for path in paths:
        if path not in stated:
            raise ProductError(f"{name}: {path} is not listed in manifest.safe; deliver the product again")
        _verify_file(container, name, path, stated[path])


def _verify_file(container: Container, name: str, path: str, stated: Stated) -> None:
    if container.sizes[path] != stated.size:
        raise ProductError(
            f"{name}: {path} has {container.sizes[path]} bytes, manifest.safe says {stated.size}; "
            "it is truncated or foreign, deliver it again"
        )
    digest = container.checksum(path, stated.algorithm)
    if digest != stated.checksum:
        raise ProductError(
            f"{name}: {path} has the {stated.algorithm} sum {digest[:16]}…, manifest.safe says "
            f"{stated.checksum[:16]}…; it is damaged, deliver it again"
        )
