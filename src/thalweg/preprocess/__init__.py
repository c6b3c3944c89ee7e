"""Delivered products to analysis-ready scenes on one grid: reflectance, validity, masks by ground position."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from thalweg import indices
from thalweg.classes import IGNORE
from thalweg.errors import DegradedDataWarning, MaskError, ProductError
from thalweg.manifest.products import Product, read_products
from thalweg.manifest.scene import Scene
from thalweg.params.classes import Classes
from thalweg.params.grids import GridParams
from thalweg.params.masks import Masks
from thalweg.preprocess.masks import MaskFile, lonlat_bounds, meanings, overlapping, read_mask_files
from thalweg.preprocess.pixels import SCL, Settings
from thalweg.preprocess.scene import build_scene
from thalweg.preprocess.store import fingerprint, link_folder, stored
from thalweg.products import Delivery, Wanted
from thalweg.products.plain import open_plain
from thalweg.products.safe import open_safe

_OPENERS = {"safe": open_safe, "raster": open_plain, "folder": open_plain}


@dataclass(frozen=True)
class _Order:
    """One scene to be built."""

    product: Product
    delivery: Delivery
    files: tuple[MaskFile, ...]


def build_scenes(
    raw: Path,
    masks_input: Path,
    grid_name: str,
    grid: GridParams,
    masks: Masks,
    classes: Classes,
    target: Path,
    store: Path,
    track: Callable[[list[Any]], Iterable[Any]] = iter,
) -> None:
    """Builds the scenes of one grid, each once for all time in the store, and links them into `target`.

    Args:
        raw: What fetch delivered.
        masks_input: Folder of the masks.
        grid_name: Key under `grids`.
        grid: The grid.
        masks: What labels mean and where they lie.
        classes: The legend.
        target: Folder to make: `<scene>/` per product.
        store: Finished scenes by fingerprint.
        track: Shows progress while it passes the scenes on one by one.

    Raises:
        ProductError: There is no product, or one is incomplete or inconsistent.
        MaskError: No mask lies on any scene, none labels anything, or one holds a value that no class has.
        RasterError: A file cannot be read to its end.
        ParamsError: An extra channel has no formula, or a mask value no class.
    """
    settings = Settings(grid_name, grid, masks, classes, indices.parse_all(grid.channels, grid.bands))
    meanings(masks, classes)
    files = read_mask_files(masks, masks_input)
    orders = _orders(raw, settings, files)
    _check_placement(orders, files)
    target.mkdir(parents=True)
    for order in track(orders):
        folder = stored(store, _key(order, settings), partial(_build, order, settings))
        link_folder(folder, target / order.product.name)
    scenes = [Scene(target / order.product.name) for order in orders]
    for scene in scenes:
        for text in scene.record.warnings:
            warnings.warn(text, DegradedDataWarning, stacklevel=2)
    _check_labels(scenes, settings)


def _build(order: _Order, settings: Settings, folder: Path) -> None:
    build_scene(order.product, order.delivery, order.files, settings, folder)


def _orders(raw: Path, settings: Settings, files: tuple[MaskFile, ...]) -> list[_Order]:
    products = read_products(raw)
    if not products:
        raise ProductError(f"{raw} lists no product; correct 'fetch' in params.yaml, then run `dvc repro`")
    codes = {*((SCL,) if settings.grid.valid.scl else ()), *((settings.masks.band,) if settings.masks.band else ())}
    wanted = Wanted(settings.grid.bands, tuple(sorted(codes)), settings.grid.resolution_m)
    orders = []
    for product in products:
        delivery = _OPENERS[product.form](product, raw, wanted)
        orders.append(_Order(product, delivery, overlapping(files, delivery.grid)))
    return orders


def _key(order: _Order, settings: Settings) -> str:
    return fingerprint(
        {
            "product": order.product.model_dump(),
            "grid": [settings.grid_name, settings.grid.model_dump()],
            "masks": settings.masks.model_dump(exclude={"input", "patterns"}),
            "classes": settings.classes.names,
            "files": [
                (file.name, file.sha256, file.grid.crs_wkt, tuple(file.grid.transform)) for file in order.files
            ],  # a sidecar may move a mask without touching its file
        }
    )


def _check_placement(orders: list[_Order], files: tuple[MaskFile, ...]) -> None:
    placed = {file.name for order in orders for file in order.files}
    strays = [file for file in files if file.name not in placed]
    if files and not placed:
        name, place = _nearest(files[0], orders)
        raise MaskError(
            f"none of the {len(files)} masks lies on any scene: {files[0].path} covers "
            f"{_words(files[0].lonlat_bounds)}, the nearest scene {name} {_words(place)}; correct the mask's CRS "
            "(`gdal_edit.py -a_srs`) or fetch the product that belongs to it"
        )
    if strays:
        listed = ", ".join(file.name for file in strays[:5]) + (", …" if len(strays) > 5 else "")
        warnings.warn(
            f"{len(strays)} of {len(files)} masks lie on no scene: {listed}", DegradedDataWarning, stacklevel=3
        )


def _nearest(file: MaskFile, orders: list[_Order]) -> tuple[str, tuple[float, float, float, float]]:
    west, south, east, north = file.lonlat_bounds
    places = {order.product.name: lonlat_bounds(order.delivery.grid) for order in orders}
    far = {
        name: abs(box[0] + box[2] - west - east) + abs(box[1] + box[3] - south - north) for name, box in places.items()
    }
    name = min(far, key=lambda name: (far[name], name))
    return name, places[name]


def _check_labels(scenes: list[Scene], settings: Settings) -> None:
    configured = bool(settings.masks.patterns) or settings.masks.band is not None
    if configured and not any(scene.mask is not None and (scene.mask != IGNORE).any() for scene in scenes):
        raise MaskError(
            f"no scene of the grid {settings.grid_name} has a labelled pixel, though masks are configured; "
            "check masks.zero, masks.values and the masks themselves"
        )


def _words(box: tuple[float, float, float, float]) -> str:
    return f"lon {box[0]:.3f} to {box[2]:.3f}, lat {box[1]:.3f} to {box[3]:.3f}"
