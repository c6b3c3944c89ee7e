"""Sentinel-2 SAFE products (L2A and L1C, folder or zip): bands, offsets, scene classification, consistency."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from thalweg import raster
from thalweg.bands import SENTINEL2
from thalweg.errors import ProductError
from thalweg.grid import Grid
from thalweg.manifest.products import Product
from thalweg.products import Delivery, Layer, Wanted, words
from thalweg.products.container import Container
from thalweg.products.lattice import check_extents, scene_grid
from thalweg.products.safe_masks import cloud_mask, probability_layer
from thalweg.products.safe_xml import Metadata, Stated, TileGrid, parse_manifest, parse_product, parse_tile

_IMAGE = re.compile(r"^GRANULE/([^/]+)/IMG_DATA/(?:R\d\dm/)?[^/]*_\d{8}T\d{6}_(\w{3})(?:_(\d\d)m)?\.jp2$")
_Images = dict[str, dict[int, str]]
"""Band → resolution, metres → path below the SAFE folder."""


def open_safe(product: Product, raw: Path, wanted: Wanted) -> Delivery:
    """Opens a SAFE product at one resolution; offsets and quantification come from its XML alone.

    Of each band, the image at the wanted resolution is taken, else the next finer one, else the finest of the coarser.

    Args:
        product: As fetch recorded it.
        raw: The raw folder.
        wanted: Bands, label bands and resolution.

    Raises:
        ProductError: The product is incomplete or inconsistent, or lacks a wanted band.
        RasterError: A JP2 file cannot be opened or has no CRS.
    """
    container = Container(raw / product.path)
    metadata = parse_product(container.read(_metadata_name(container)), product.name)
    metres = wanted.resolution_m
    if metres is None:
        raise ProductError(
            f"{product.name} delivers several resolutions, so its grid needs resolution_m (10, 20 or 60) in params.yaml"
        )
    images = _images(container, product.name)
    bands = {band: _pick(images, product.name, band, metres) for band in wanted.bands}
    labels = {
        band: _pick_labels(images, product.name, band, metres)
        for band in wanted.labels
        if band in images or band not in wanted.optional
    }
    grids = {band: raster.read_grid(Path(container.gdal_path(path))) for band, (_, path) in bands.items()}
    tiles = _tile_grids(container, product.name)
    _check_grids(product.name, {band: at for band, (at, _) in bands.items()}, grids, tiles)
    stated = partial(_verify, container, product.name)
    return Delivery(
        product=metadata.product,
        baseline=metadata.baseline,
        sensing_time=metadata.sensing_time,
        grid=scene_grid(product.name, grids, metres),
        bands={band: _layer(container, metadata, band, path, grids[band]) for band, (_, path) in bands.items()},
        labels={band: _codes(container, path) for band, path in labels.items()},
        warnings=(*metadata.warnings, *_coarse(product.name, bands, metres)),
        verify=partial(stated, [*(path for _, path in bands.values()), *labels.values()]),
        clouds=cloud_mask(container, product.name, stated),
        cloud_probability=probability_layer(container, metres, stated),
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


def _pick(images: _Images, name: str, band: str, resolution_m: int) -> tuple[int, str]:
    """Resolution, metres, and path of the image to take."""
    there = images.get(band, {})
    if there and band not in SENTINEL2:
        raise ProductError(
            f"{name}: {band} holds no reflectance, so it is no band of a grid; drop it from the bands in params.yaml "
            "(SCL serves valid.scl and masks.band)"
        )
    if not there:
        known = ", ".join(word for word in SENTINEL2 if word in images)
        raise ProductError(
            f"{name} has no band {band}, at no resolution; it has {known or 'no band at all'}; deliver the missing "
            "file or change the bands of this grid in params.yaml"
        )
    finer = [metres for metres in there if metres <= resolution_m]
    chosen = max(finer) if finer else min(there)
    return chosen, there[chosen]


def _coarse(name: str, bands: dict[str, tuple[int, str]], resolution_m: int) -> tuple[str, ...]:
    """A warning where a band was measured finer than the image that had to be taken for it."""
    poor = [
        f"{band} ({metres} m)"
        for band, (metres, _) in bands.items()
        if band in SENTINEL2 and metres > max(resolution_m, SENTINEL2[band].native_m)
    ]
    if not poor:
        return ()
    return (
        f"{name} lacks the images at {resolution_m} m of {', '.join(poor)}, which are taken from coarser ones; deliver "
        "the finer ones",
    )


def _pick_labels(images: _Images, name: str, band: str, resolution_m: int) -> str:
    paths = images.get(band, {})
    if not paths:
        raise ProductError(
            f"{name} has no {band} image; deliver it, or, if it is not to be had, set the grid's valid.scl to [] "
            "(and masks.band to null where it names this band) in params.yaml"
        )
    return paths[min(paths, key=lambda metres: abs(metres - resolution_m))]


def _layer(container: Container, metadata: Metadata, band: str, path: str, grid: Grid) -> Layer:
    scale = 1 / metadata.quantification
    return Layer(container.gdal_path(path), 1, grid, scale, metadata.offset(band), metadata.nodata, metadata.saturated)


def _codes(container: Container, path: str) -> Layer:
    file = container.gdal_path(path)
    return Layer(file, 1, raster.read_grid(Path(file)), 1.0, 0.0, None, None, "1")


def _check_grids(name: str, metres: dict[str, int], grids: dict[str, Grid], tiles: dict[int, TileGrid]) -> None:
    """Images have the pixels that their names say, fit the tile, and lie on one another."""
    firsts: dict[int, str] = {}
    for band, grid in grids.items():
        if metres[band] in tiles:
            _check_tile(name, band, grid, tiles[metres[band]])
        _check_pixel(name, band, grid, metres[band])
        first = firsts.setdefault(metres[band], band)
        if grid != grids[first]:
            raise ProductError(
                f"{name}: {band} ({words(grid)}) and {first} ({words(grids[first])}) disagree in their grid; "
                "deliver the product again"
            )
    check_extents(name, grids)


def _check_pixel(name: str, band: str, grid: Grid, metres: int) -> None:
    if (grid.transform.a, grid.transform.e) != (metres, -metres):
        raise ProductError(
            f"{name}: the image of {band} ({words(grid)}) has not the {metres} m pixels that its name says; it was "
            "resampled or mixed up, deliver the original"
        )


def _tile_grids(container: Container, name: str) -> dict[int, TileGrid]:
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
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as readers:
        list(readers.map(lambda path: _verify_file(container, name, path, stated[path]), paths))


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
