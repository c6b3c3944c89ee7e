"""Which delivered products make scenes of a grid, and which stand beside them: other sensors, a height model."""

import datetime
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from pyproj import Transformer

from thalweg.elevation import tile_grid
from thalweg.errors import ProductError
from thalweg.grid import Grid
from thalweg.manifest.products import Product
from thalweg.params.grids import Further, GridParams
from thalweg.preprocess.channels import OF_GROUND, day_of
from thalweg.products import Beside, Delivery, Wanted

Open = Callable[[Product, Wanted], tuple[Delivery, ...]]
"""Opens a product: one delivery per date."""


@dataclass(frozen=True)
class _Companions:
    """All products of one entry of `further`, opened."""

    rule: Further
    unit: str
    opened: tuple[tuple[Product, Delivery], ...]


@dataclass(frozen=True)
class Surroundings:
    """What may stand beside a scene."""

    grid: GridParams
    companions: tuple[_Companions, ...]
    heights: tuple[tuple[Product, Path, Grid], ...]

    def around(self, delivery: Delivery) -> tuple[Delivery, tuple[Product, ...]]:
        """A scene's product with what lies on its ground, and the products of that.

        Raises:
            ProductError: A further product is missing where the params call that an error, or a date is not known.
        """
        chosen = [(one, _nearest(one.rule, one.opened, delivery)) for one in self.companions]
        tiles = [(product, path) for product, path, place in self.heights if share_ground(place, delivery.grid)]
        warnings = [
            f"{delivery.product}: {_lack(one.rule)}, so that {', '.join(one.rule.bands)} are nodata"
            for one, found in chosen
            if not found
        ]
        if self.heights and not tiles:
            warnings.append(f"{delivery.product}: no tile of the height model lies on its ground")
        whole = replace(
            delivery,
            beside=tuple(
                Beside(one.rule.bands, one.unit, one.rule.resampling, tuple(other for _, other in found))
                for one, found in chosen
            ),
            heights=tuple(path for _, path in tiles),
            warnings=(*delivery.warnings, *warnings),
        )
        used = [product for _, found in chosen for product, _ in found] + [product for product, _ in tiles]
        return whole, tuple({product.name: product for product in used}.values())


def scene_products(products: tuple[Product, ...], grid: GridParams) -> tuple[Product, ...]:
    """The products that make scenes of a grid: named by its glob, of no other role, and not among its `further`.

    Raises:
        ProductError: There is none.
    """
    further = tuple(rule.products for rule in grid.further)
    chosen = tuple(
        product
        for product in products
        if product.role == "scene"
        and fnmatchcase(product.name, grid.products)
        and not any(fnmatchcase(product.name, pattern) for pattern in further)
    )
    if not chosen:
        names = ", ".join(product.name for product in products[:5]) + (", …" if len(products) > 5 else "")
        raise ProductError(
            f"none of the {len(products)} delivered products ({names}) makes a scene: the grid's 'products' is "
            f"'{grid.products}'; correct it under grids in params.yaml, or 'fetch'"
        )
    return chosen


def surroundings(products: tuple[Product, ...], grid: GridParams, raw: Path, open_product: Open) -> Surroundings:
    """Opens what may stand beside the scenes of a grid.

    Raises:
        ProductError: No product is of a kind that the grid asks for, or such products differ in their unit.
        RasterError: One cannot be read.
    """
    companions = tuple(_companions(products, rule, grid, open_product) for rule in grid.further)
    return Surroundings(grid, companions, _heights(products, grid, raw))


def share_ground(one: Grid, other: Grid) -> bool:
    """Whether two grids may overlap: their bounds do, in the CRS of the first."""
    if one.crs_wkt == other.crs_wkt:
        bounds = other.bounds
    else:
        bounds = Transformer.from_crs(other.crs, one.crs, always_xy=True).transform_bounds(*other.bounds)
    west, south, east, north = one.bounds
    if not all(math.isfinite(bound) for bound in bounds) or bounds[0] > bounds[2]:  # across the antimeridian
        return True
    turns = (-360, 0, 360) if one.crs.is_geographic else (0,)  # 298° is 62° west
    beside = any(bounds[0] + turn < east and west < bounds[2] + turn for turn in turns)
    return beside and bounds[1] < north and south < bounds[3]


def _companions(products: tuple[Product, ...], rule: Further, grid: GridParams, open_product: Open) -> _Companions:
    kin = [product for product in products if product.role == "scene" and fnmatchcase(product.name, rule.products)]
    if not kin:
        raise ProductError(
            f"grids: no delivered product is named '{rule.products}', whose bands {', '.join(rule.bands)} the grid "
            "adds as channels; deliver them, or correct 'further' in params.yaml"
        )
    if len(units := sorted({product.unit for product in kin})) > 1:
        raise ProductError(
            f"grids: the products '{rule.products}' are given in {' and '.join(units)}, but a channel has one unit; "
            "correct 'more.unit' under fetch.options.products in params.yaml"
        )
    opened = []
    for product in kin:
        metres = grid.resolution_m if product.form == "safe" else None
        opened += [(product, delivery) for delivery in open_product(product, Wanted(rule.bands, (), metres))]
    return _Companions(rule, units[0], tuple(opened))


def _nearest(
    rule: Further, opened: tuple[tuple[Product, Delivery], ...], scene: Delivery
) -> list[tuple[Product, Delivery]]:
    near = [(_days(rule, delivery, scene), product.name, product, delivery)
            for product, delivery in opened if share_ground(delivery.grid, scene.grid)]  # fmt: skip
    limit = math.inf if rule.within_days is None else rule.within_days
    found = sorted((one for one in near if one[0] <= limit), key=lambda one: one[:2])
    if not found and rule.missing == "error":
        raise ProductError(
            f"{scene.product}: {_lack(rule)}, of which the grid takes {', '.join(rule.bands)}; deliver one, widen "
            "within_days, or set missing to nodata under grids.further in params.yaml"
        )
    return [(product, delivery) for _, _, product, delivery in found]


def _lack(rule: Further) -> str:
    when = "" if rule.within_days is None else f" within {rule.within_days} days of it"
    return f"no product '{rule.products}' lies on its ground{when}"


def _days(rule: Further, delivery: Delivery, scene: Delivery) -> int:
    """Days between two products; 0 where the rule takes any date."""
    if rule.within_days is None:
        return 0
    return abs((_day(delivery) - _day(scene)).days)


def _day(delivery: Delivery) -> datetime.date:
    day = day_of(delivery.sensing_time)
    if day is None:
        raise ProductError(
            f"{delivery.product} states no sensing day ({delivery.sensing_time}), which within_days under "
            "grids.further needs; give it one by 'date' or 'more.date_in_name' under fetch.options.products"
        )
    return day


def _heights(products: tuple[Product, ...], grid: GridParams, raw: Path) -> tuple[tuple[Product, Path, Grid], ...]:
    wanted = [name for name in grid.channels if name in OF_GROUND]
    tiles = [product for product in products if product.role == "elevation"]
    if wanted and not tiles:
        raise ProductError(
            f"the channel {wanted[0]} needs a height model, but none is delivered; set fetch.elevation in params.yaml, "
            "or give tiles the role elevation ('more' under fetch.options.products)"
        )
    if not wanted:
        return ()
    return tuple((product, raw / product.path, tile_grid(raw / product.path)) for product in tiles)
