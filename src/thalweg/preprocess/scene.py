"""One scene: image.tif, valid.tif, mask.tif and scene.json from an opened product and the masks on its ground."""

import math
from pathlib import Path

import numpy as np

from thalweg import raster
from thalweg.classes import IGNORE
from thalweg.errors import ProductError
from thalweg.manifest.products import Product
from thalweg.manifest.scene import SCHEMA, SceneRecord, write_scene_record
from thalweg.preprocess.masks import (
    OUTSIDE,
    MaskFile,
    conflict_px,
    merge,
    onto_grid,
    outside_id,
    read_file,
    to_class_ids,
)
from thalweg.preprocess.pixels import Settings, Written, channels_of, read_codes, write_pixels
from thalweg.products import Delivery


def build_scene(
    product: Product, delivery: Delivery, files: tuple[MaskFile, ...], settings: Settings, folder: Path
) -> None:
    """Writes one scene folder.

    Args:
        product: As fetch recorded it.
        delivery: The same, opened for this grid.
        files: Mask files on its ground.
        settings: The grid and what labels mean.
        folder: Empty folder to fill.

    Raises:
        ProductError: A file's bytes are not what the product states, or its scale cannot be right.
        RasterError: A file cannot be decoded to its end.
        MaskError: A mask holds a value that no class has.
    """
    delivery.verify()
    pixels = write_pixels(delivery, settings, folder)
    _check_clipped(product, pixels, delivery)
    names, warnings = _write_mask(product, delivery, files, settings, folder)
    if pixels.valid_fraction == 0:
        warnings = (f"{product.name} has no valid pixel on the grid {settings.grid_name}", *warnings)
    grid = delivery.grid
    transform = grid.transform
    record = SceneRecord(
        schema_version=SCHEMA,
        name=product.name,
        grid=settings.grid_name,
        product=delivery.product,
        baseline=delivery.baseline,
        offsets_applied={band: layer.offset for band, layer in delivery.bands.items()},
        sensing_time=delivery.sensing_time,
        crs=grid.crs_wkt,
        transform=(transform.a, transform.b, transform.c, transform.d, transform.e, transform.f),
        shape_yx=grid.shape_yx,
        georeferenced=True,
        dtype="int16",
        dates=(),
        prior=settings.masks.prior,
        channels=channels_of(settings),
        masks=names,
        labelled=bool(names),
        valid_fraction=pixels.valid_fraction,
        clipped=pixels.clipped,
        sources={file.path: file.sha256 for file in product.files},
        warnings=(*delivery.warnings, *warnings),
    )
    write_scene_record(record, folder)


def _check_clipped(product: Product, pixels: Written, delivery: Delivery) -> None:
    """Half a band beyond int16 is no bright scene, but digital numbers taken for reflectance."""
    for band in delivery.bands:
        if 2 * pixels.clipped[band] > math.prod(delivery.grid.shape_yx):
            raise ProductError(
                f"{product.name}: {pixels.clipped[band]} pixels of {band} lie beyond a reflectance of ±3.2767, which "
                "a scene cannot hold; correct scale and offset of the product under fetch.local.products in params.yaml"
            )


def _write_mask(
    product: Product, delivery: Delivery, files: tuple[MaskFile, ...], settings: Settings, folder: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Writes mask.tif where a mask overlaps; names of the masks and warnings."""
    labels, names, warnings = _from_files(product, delivery, files, settings)
    if settings.masks.band is not None:
        names = [f"{product.name}:{settings.masks.band}"]
        codes = read_codes(delivery, delivery.labels[settings.masks.band], outside=0)
        labels = to_class_ids(codes, settings.masks, settings.classes, names[0])
    if not names:
        return (), ()
    labels[labels == OUTSIDE] = outside_id(settings.masks.outside)
    if (labels == IGNORE).all():
        warnings.append(f"{product.name} has masks ({', '.join(names)}), but no labelled pixel")
    mask = raster.create_pixels(folder / "mask.tif", delivery.grid, 1, "uint8", IGNORE, descriptions=("mask",))
    mask[:, :, 0] = labels
    return tuple(names), tuple(warnings)


def _from_files(
    product: Product, delivery: Delivery, files: tuple[MaskFile, ...], settings: Settings
) -> tuple[np.ndarray, list[str], list[str]]:
    """Union of the mask files on a scene's ground, the names of those that reach it, and warnings."""
    labels = np.full(delivery.grid.shape_yx, OUTSIDE, np.uint8)
    names: list[str] = []
    warnings: list[str] = []
    for file in files:
        values, place = read_file(file, delivery.grid)
        ids = to_class_ids(values, settings.masks, settings.classes, str(file.path))
        here = onto_grid(ids, place, delivery.grid, OUTSIDE)
        if (here == OUTSIDE).all():
            continue
        if conflicts := conflict_px(labels, here):
            warnings.append(
                f"{product.name}: the mask {file.name} differs from {' and '.join(names)} in {conflicts} pixels that "
                f"both label; there it does not count"
            )
        labels = merge(labels, here)
        names.append(file.name)
        if not values.any():
            warnings.append(f"{product.name}: the mask {file.name} is zero everywhere on it ({settings.masks.zero})")
    return labels, names, warnings
