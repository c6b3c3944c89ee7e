"""Delivered products to analysis-ready scenes on one grid: reflectance, validity, masks by ground position."""

import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from thalweg.classes import IGNORE
from thalweg.errors import DegradedDataWarning, MaskError, ProductError
from thalweg.grid import Grid
from thalweg.manifest.products import Product, read_products
from thalweg.manifest.rounds import RoundFolder
from thalweg.manifest.scene import Scene, read_scenes
from thalweg.params.classes import Classes
from thalweg.params.grids import GridParams
from thalweg.params.masks import Masks
from thalweg.preprocess.channels import formulas_of
from thalweg.preprocess.further import scene_products, surroundings
from thalweg.preprocess.gather import Gathered, check_labels, gather
from thalweg.preprocess.masks import SceneMasks, find_masks, mask_identity
from thalweg.preprocess.pack import Member, build_packs
from thalweg.preprocess.pixels import Settings
from thalweg.preprocess.scene import build_scene
from thalweg.preprocess.series import check_series
from thalweg.preprocess.store import fingerprint, link_all
from thalweg.preprocess.validity import SCL
from thalweg.products import Delivery, Wanted
from thalweg.products.netcdf import open_netcdf
from thalweg.products.placement import settle
from thalweg.products.plain import open_plain
from thalweg.products.safe import open_safe

_OPENERS = {"safe": open_safe, "raster": open_plain, "folder": open_plain, "netcdf": open_netcdf}


@dataclass(frozen=True)
class _Order:
    """One scene to be built."""

    scene: Gathered
    masks: SceneMasks

    @property
    def product(self) -> Product:
        """Named as the scene."""
        return self.scene.product

    @property
    def delivery(self) -> Delivery:
        """Of a series, its first date."""
        return self.scene.delivery


def build_scenes(
    raw: Path,
    masks_input: Path,
    grid_name: str,
    grid: GridParams,
    masks: Masks,
    classes: Classes,
    target: Path,
    store: Path,
    earlier: RoundFolder | None = None,
    track: Callable[[list[Any]], Iterable[Any]] = iter,
    executor: Executor | None = None,
) -> None:
    """Builds the scenes of one grid, each once for all time in the store, and links them into `target`.

    Args:
        raw: What fetch delivered.
        masks_input: Folder of the masks.
        grid_name: Key under `grids`.
        grid: The grid.
        masks: What labels mean and where they lie.
        classes: The legend.
        target: Folder to make: `<scene>/` per product, or `<pack>/` where `grid.pack` is more than 1.
        store: Finished scenes by fingerprint.
        earlier: What an earlier round of training hands over.
        track: Shows progress while it passes the scenes on one by one.
        executor: Builds scenes, or packs, elsewhere: in any order, some of them twice; None: here, one by one.

    Raises:
        ProductError: There is no product, or one is incomplete or inconsistent.
        MaskError: No mask lies on any scene, none labels anything, or one holds a value that no class has.
        RasterError: A file cannot be read to its end.
        ParamsError: An extra channel has no formula, or a mask value no class.
    """
    check_series(grid)
    settings = Settings(grid_name, grid, masks, classes, formulas_of(grid))
    orders = _orders(raw, settings, masks_input, earlier)
    target.mkdir(parents=True)
    if grid.pack > 1:
        build_packs([_member(order, settings) for order in orders], grid.pack, target, store, track, executor)
    else:
        link_all([(order.product.name, _key(order, settings), partial(_build, order, settings)) for order in orders],
                 target, store, track, executor)  # fmt: skip
    scenes = list(read_scenes(target).values())
    for scene in scenes:
        for text in scene.record.warnings:
            warnings.warn(text, DegradedDataWarning, stacklevel=2)
    _check_labels(scenes, settings)


def plan_scenes(raw: Path, grid: GridParams) -> dict[str, Grid]:
    """The scenes that `build_scenes` would make of a grid, by name, and where they lie; reads headers alone.

    Raises:
        ProductError: There is no product, or one is incomplete or inconsistent.
        RasterError: A header cannot be read.
    """
    check_series(grid)
    return {scene.product.name: scene.delivery.grid for scene in _gathered(raw, grid, None)}


def _member(order: _Order, settings: Settings) -> Member:
    shape_yx = order.delivery.grid.shape_yx
    return Member(order.product.name, shape_yx, _key(order, settings), partial(_build, order, settings))


def _build(order: _Order, settings: Settings, folder: Path) -> None:
    build_scene(order.product, order.scene.dates(), order.masks, settings, folder)


def _orders(raw: Path, settings: Settings, masks_input: Path, earlier: RoundFolder | None) -> list[_Order]:
    scenes = _gathered(raw, settings.grid, settings.masks.band)
    grids = {scene.product.name: scene.delivery.grid for scene in scenes}
    masks = find_masks(settings.masks, settings.classes, masks_input, grids, earlier)
    return [_Order(scene, masks[scene.product.name]) for scene in scenes]


def _gathered(raw: Path, grid: GridParams, band: str | None) -> list[Gathered]:
    """What makes the scenes of a grid, with a band of labels or none."""
    products = settle(read_products(raw))
    if not products:
        raise ProductError(f"{raw} lists no product; correct 'fetch' in params.yaml, then run `dvc repro`")
    codes = {*((SCL,) if grid.valid.scl else ()), *((band,) if band else ())}
    optional = (SCL,) if grid.valid.product_masks and band != SCL else ()
    wanted = Wanted(grid.bands, tuple(sorted(codes)), grid.resolution_m, optional)
    around = surroundings(products, grid, raw, lambda product, wanted: _open(product, raw, wanted)).around
    check_labels(band, grid.series)
    return gather(
        scene_products(products, grid),
        lambda product: [around(delivery) for delivery in _open(product, raw, wanted)],
        grid.series,
    )


def _open(product: Product, raw: Path, wanted: Wanted) -> tuple[Delivery, ...]:
    """A product, one delivery per date."""
    opened = _OPENERS[product.form](product, raw, wanted)
    return opened if isinstance(opened, tuple) else (opened,)


def _key(order: _Order, settings: Settings) -> str:
    return fingerprint(
        {
            "product": order.product.model_dump(),
            "beside": [product.model_dump() for product in order.scene.beside],
            "formulas": [formula.text for formula in settings.formulas],
            "grid": [settings.grid_name, settings.grid.model_dump()],
            "masks": settings.masks.model_dump(exclude={"input", "patterns"}),
            "classes": settings.classes.names,
            "files": mask_identity(order.masks),
        }
    )


def _check_labels(scenes: list[Scene], settings: Settings) -> None:
    configured = bool(settings.masks.patterns) or settings.masks.band is not None
    if configured and not any(scene.mask is not None and (scene.mask != IGNORE).any() for scene in scenes):
        raise MaskError(
            f"no scene of the grid {settings.grid_name} has a labelled pixel, though masks are configured; "
            "check masks.zero, masks.values and the masks themselves"
        )
