"""One scene: image.tif, valid.tif, mask.tif and scene.json from an opened product and the masks on its ground."""

import math
from pathlib import Path

from thalweg.errors import ProductError
from thalweg.manifest.products import Product
from thalweg.manifest.scene import SCHEMA, SceneRecord, write_scene_record
from thalweg.preprocess.masks import SceneMasks, write_mask
from thalweg.preprocess.pixels import Settings, Written, write_pixels
from thalweg.preprocess.series import write_pixels as write_series
from thalweg.products import Delivery


def build_scene(
    product: Product, dates: tuple[Delivery, ...], masks: SceneMasks, settings: Settings, folder: Path
) -> None:
    """Writes one scene folder.

    Args:
        product: As fetch recorded it; of a tile's dates, one with the scene's name and the files of all.
        dates: The same, opened for this grid: one, or all of a time series.
        masks: What decides its labels.
        settings: The grid and what labels mean.
        folder: Empty folder to fill.

    Raises:
        ProductError: A file's bytes are not what the product states, or its scale cannot be right.
        RasterError: A file cannot be decoded to its end.
        MaskError: A mask holds a value that no class has.
    """
    delivery = dates[0]
    for date in dates:
        for one in (date, *(found for other in date.beside for found in other.deliveries)):
            one.verify()
    pixels = _write_pixels(dates, settings, folder)
    _check_clipped(product, pixels, delivery)
    names, warnings = write_mask(product.name, delivery, masks, folder)
    if pixels.valid_fraction == 0:
        warnings = (f"{product.name} has no valid pixel on the grid {settings.grid_name}", *warnings)
    grid = delivery.grid
    transform = grid.transform
    record = SceneRecord(
        schema_version=SCHEMA,
        name=product.name,
        grid=settings.grid_name,
        preparation=settings.grid.model_dump(mode="json", exclude={"products", "pack"}),
        product=", ".join(dict.fromkeys(date.product for date in dates)),
        baseline=", ".join(sorted({date.baseline for date in dates if date.baseline})) or None,
        offsets_applied=_offsets(dates),
        sensing_time=delivery.sensing_time,
        crs=grid.crs_wkt,
        transform=(transform.a, transform.b, transform.c, transform.d, transform.e, transform.f),
        shape_yx=grid.shape_yx,
        georeferenced=delivery.georeferenced,
        dtype=settings.grid.dtype,
        dates=pixels.dates,
        prior=settings.masks.prior,
        channels=pixels.channels,
        masks=names,
        labelled=bool(names),
        valid_fraction=pixels.valid_fraction,
        clipped=pixels.clipped,
        sources={file.path: file.sha256 for file in product.files},
        warnings=(*dict.fromkeys(text for date in dates for text in date.warnings), *pixels.warnings, *warnings),
    )
    write_scene_record(record, folder)


def _write_pixels(dates: tuple[Delivery, ...], settings: Settings, folder: Path) -> Written:
    series = settings.grid.series
    if series is None:
        return write_pixels(dates[0], settings, folder)
    return write_series(dates, settings, series, folder)


def _offsets(dates: tuple[Delivery, ...]) -> dict[str, float]:
    """Per band; where the dates of a series differ, per band and day."""
    found = {(band, layer.offset) for date in dates for band, layer in date.bands.items()}
    if len(found) == len(dates[0].bands):
        return {band: layer.offset for band, layer in dates[0].bands.items()}
    return {f"{band} {(date.sensing_time or '')[:10]}": layer.offset
            for date in dates for band, layer in date.bands.items()}  # fmt: skip


def _check_clipped(product: Product, pixels: Written, delivery: Delivery) -> None:
    """Half a band beyond int16 is no bright scene, but digital numbers taken for reflectance."""
    for band in dict.fromkeys(channel.name.rpartition("/")[2] for channel in pixels.channels):
        clipped = sum(count for name, count in pixels.clipped.items() if name.rpartition("/")[2] == band)
        if 2 * clipped <= math.prod(delivery.grid.shape_yx) * max(len(pixels.dates), 1):
            continue
        if band not in delivery.bands:
            raise ProductError(
                f"{product.name}: {clipped} pixels of the channel {band} lie beyond what int16 can hold of it; set the "
                "grid's dtype to float32 in params.yaml, or drop that channel"
            )
        raise ProductError(
            f"{product.name}: {clipped} pixels of {band} lie beyond a reflectance of ±3.2767, which "
            "a scene cannot hold; correct the product's scale and offset (in params.yaml under fetch.local.products, "
            "of `thalweg predict` by --scale and --offset)"
        )
