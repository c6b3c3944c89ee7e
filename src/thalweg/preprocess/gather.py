"""Which products make a scene: each its own, or all dates of one tile together, as a time series."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from thalweg.errors import ParamsError, ProductError
from thalweg.grid import Grid
from thalweg.manifest.products import Product
from thalweg.params.grids import SeriesParams
from thalweg.preprocess.series import bins_of, time_of
from thalweg.products import Delivery
from thalweg.products.lattice import snapped

Opened = Callable[[Product], Sequence[tuple[Delivery, tuple[Product, ...]]]]
"""A product's dates, each with the products that stand beside it."""
_MGRS_TILE = re.compile(r"(?:^|_)(T\d{2}[A-Z]{3})(?:_|$)")


@dataclass(frozen=True)
class Gathered:
    """What one scene is made of."""

    product: Product
    """Its only product; of several, one with the scene's name and the files of all."""
    delivery: Delivery
    """Its first date."""
    beside: tuple[Product, ...]
    """All others that decide its bytes."""
    dates: Callable[[], tuple[Delivery, ...]]
    """Opens all its dates again: of ten thousand cubes, they are not all held in memory."""


def gather(products: Sequence[Product], opened: Opened, series: SeriesParams | None) -> list[Gathered]:
    """The scenes that products make, in order of the products.

    With `series.by: tile`, products on one pixel grid are a scene, named by the MGRS tile in their names, or by the
    place of the grid's upper left corner, its pixel and its shape where the names have none or two grids lie in one
    tile.

    Raises:
        ProductError: A product has several dates, but the grid is no series; or of a series, a date is not known, or
            none lies in the bins.
        ParamsError: A band of labels shall label dates of several products.
    """
    if series is None:
        return [_single(product, opened) for product in products]
    if series.by == "product":
        return [_scene(product.name, (product,), opened, series) for product in products]
    return [_scene(name, group, opened, series) for name, group in _by_place(products, opened).items()]


def check_labels(band: str | None, series: SeriesParams | None) -> None:
    """A scene has one mask, so that labels which come with each date cannot label a tile's dates.

    Raises:
        ParamsError: They shall.
    """
    if band is not None and series is not None and series.by == "tile":
        raise ParamsError(
            f"masks.band is {band}, which each product has of its own, but with series.by 'tile' the products of a "
            "tile are one scene with one mask; use mask files, or series.by 'product'"
        )


def _single(product: Product, opened: Opened) -> Gathered:
    found = opened(product)
    if len(found) > 1:
        raise ProductError(
            f"{product.name} has {len(found)} dates, but the grid makes one image per scene; set its 'series' in "
            "params.yaml, or give this product to another grid"
        )
    (delivery, beside), *_ = found
    return Gathered(product, delivery, beside, lambda: (delivery,))


def _scene(name: str, group: Sequence[Product], opened: Opened, series: SeriesParams) -> Gathered:
    found = _opened(group, opened)
    bins_of([delivery for delivery, _ in found], series)  # what is wrong with dates shows before pixels are read
    beside = {other.name: other for _, others in found for other in others}.values()
    if len(group) == 1 and name == group[0].name:
        return Gathered(group[0], found[0][0], tuple(beside), partial(_reopened, group, opened))
    files = tuple(file for product in group for file in product.files)
    whole = group[0].model_copy(update={"name": name, "files": files})
    return Gathered(whole, found[0][0], (*group, *beside), partial(_reopened, group, opened))


def _reopened(group: Sequence[Product], opened: Opened) -> tuple[Delivery, ...]:
    return tuple(delivery for delivery, _ in _opened(group, opened))


def _opened(group: Sequence[Product], opened: Opened) -> list[tuple[Delivery, tuple[Product, ...]]]:
    """All dates, in order of time."""
    found = [date for product in group for date in opened(product)]
    return sorted(found, key=lambda date: (time_of(date[0]), date[0].product))


def _by_place(products: Sequence[Product], opened: Opened) -> dict[str, list[Product]]:
    places: dict[Grid, list[Product]] = {}
    for product in products:
        grid = opened(product)[0][0].grid
        places.setdefault(next((known for known in places if snapped(grid, known) is known), grid), []).append(product)
    tiles = [_tile(group) for group in places.values()]
    return {
        tile if tile is not None and tiles.count(tile) == 1 else _place(grid): group
        for tile, (grid, group) in zip(tiles, places.items(), strict=True)
    }


def _tile(group: Sequence[Product]) -> str | None:
    found = {match[1] if (match := _MGRS_TILE.search(product.name)) else None for product in group}
    return found.pop() if len(found) == 1 else None


def _place(grid: Grid) -> str:
    """Words for a grid that no other has, whichever other grids there are."""
    a, b, left, d, e, top = grid.transform[:6]
    edges = (a,) if a == -e and b == d == 0 else (a, b, d, e)
    numbers = "_".join(f"{number:.12g}" for number in (left, top, *edges))
    named = re.fullmatch(r"[A-Za-z]+:\d+", grid.crs_wkt)
    crs = grid.crs_wkt.replace(":", "") if named else f"crs{hashlib.sha256(grid.crs_wkt.encode()).hexdigest()[:8]}"
    height, width = grid.shape_yx
    return f"{crs}_{numbers}_{height}x{width}"
