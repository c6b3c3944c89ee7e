"""Which pixels of a scene can be used, beside nodata and saturation: scene classes, cloud masks, cloud probability.

Every rule is a union: a pixel is unusable as soon as one rule says so. Clouds and their shadows are widened, whichever
rule finds them: the SCL classes 3, 8, 9 and 10 as far as `valid.scl` lists them, the product's own clouds, the cloud
probability, and all that a delivered mask of usable pixels leaves out. Other classes (snow, water, no data) are not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from thalweg.errors import ParamsError, ProductError
from thalweg.grid import Grid, Window
from thalweg.params.grids import Valid
from thalweg.preprocess.widen import widen
from thalweg.products import Delivery, Layer
from thalweg.products.codes import Codes, read_codes

SCL = "SCL"
CLOUDS_AND_SHADOWS = (3, 8, 9, 10)
"""SCL: cloud shadow, cloud of medium and of high probability, thin cirrus."""
_LAST_CLASS = 11
_NO_DATA = 0
_USABLE, _UNUSABLE, _CLOUDY, _STRANGE = range(4)
_STRIPE_ROWS = 512
Rule = Callable[[Window], tuple[np.ndarray, np.ndarray | None]]
"""Window → unusable pixels (h, w) bool, and those of them that are widened; None: all."""


@dataclass(frozen=True)
class Verdict:
    """What the rules say of a scene."""

    usable: np.ndarray | None
    """(H, W) bool; None where there is no rule."""
    warnings: tuple[str, ...]


def usable(delivery: Delivery, valid: Valid, grid: Grid) -> np.ndarray | None:
    """Pixels (H, W) bool of a scene that no rule excludes; None where there is no rule.

    Args:
        delivery: One date of a scene, with its codes and masks.
        valid: The rules.
        grid: The scene's.

    Raises:
        ProductError: The product lacks what a rule needs, or a mask of it is damaged.
        ParamsError: Clouds shall be widened, but no rule finds any.
        RasterError: A file cannot be read to its end.
    """
    return judge(delivery, valid, grid).usable


def judge(delivery: Delivery, valid: Valid, grid: Grid) -> Verdict:
    """As `usable`, with what is strange about the masks."""
    strange = _Strange()
    rules = list(_rules(delivery, valid, grid, strange))
    if valid.cloud_buffer_m and not (_widens(valid) or delivery.udm):
        raise ParamsError(
            f"cloud_buffer_m is {valid.cloud_buffer_m:g}, but no rule of this grid finds clouds: list SCL classes "
            f"({', '.join(map(str, CLOUDS_AND_SHADOWS))}) in valid.scl, or set product_masks or cloud_probability, "
            "or the buffer to 0, in params.yaml"
        )
    if not rules:
        return Verdict(None, ())
    result = np.ones(grid.shape_yx, bool)
    clouds = np.zeros(grid.shape_yx, bool) if valid.cloud_buffer_m else None
    for window in _stripes(grid):
        for rule in rules:
            unusable, widened = rule(window)
            result[window.rows] &= ~unusable
            if clouds is not None:
                clouds[window.rows] |= unusable if widened is None else widened
    if clouds is not None:
        widen(result, clouds, grid.pixel_m_yx, valid.cloud_buffer_m)
    return Verdict(result, strange.words(delivery.product))


def _stripes(grid: Grid) -> Iterator[Window]:
    height, width = grid.shape_yx
    return (Window(row, 0, min(_STRIPE_ROWS, height - row), width) for row in range(0, height, _STRIPE_ROWS))


def _widens(valid: Valid) -> bool:
    listed = bool(set(valid.scl) & set(CLOUDS_AND_SHADOWS))
    return listed or valid.product_masks or valid.cloud_probability is not None


@dataclass
class _Strange:
    """Codes that are no SCL class."""

    counts: dict[str, int] = field(default_factory=dict)

    def count(self, codes: np.ndarray) -> None:
        """Adds the pixels of each code."""
        for code, pixels in zip(*np.unique(codes, return_counts=True), strict=True):
            self.counts[f"{code:g}"] = self.counts.get(f"{code:g}", 0) + int(pixels)

    def words(self, product: str) -> tuple[str, ...]:
        """A caution that tells them, if there are any."""
        if not self.counts:
            return ()
        codes = ", ".join(f"{code} ({pixels} pixels)" for code, pixels in sorted(self.counts.items()))
        return (f"{product}: SCL holds codes that are no class: {codes}; these pixels count as unusable",)


def _rules(delivery: Delivery, valid: Valid, grid: Grid, strange: _Strange) -> Iterator[Rule]:
    if valid.scl and SCL in delivery.labels:
        yield _by_scl(delivery.labels[SCL], valid.scl, grid, strange)
    elif valid.product_masks:
        yield _by_clouds(delivery, grid)
    elif valid.scl:
        raise ProductError(
            f"{delivery.product} has no SCL image; set valid.product_masks to true to use its own cloud masks instead, "
            "or valid.scl to [], in params.yaml"
        )
    if valid.cloud_probability is not None:
        yield _by_probability(delivery, valid.cloud_probability, grid)
    if delivery.udm is not None:
        yield _by_mask(*delivery.udm, grid)


def _by_scl(layer: Layer, classes: tuple[int, ...], grid: Grid, strange: _Strange) -> Rule:
    codes = read_codes(layer)
    kinds = _kinds(np.arange(256), classes)[codes] if codes.dtype == np.uint8 else _kinds(codes, classes)
    strange.count(codes[kinds == _STRANGE])
    here = Codes(kinds, layer.grid, grid, _UNUSABLE if _NO_DATA in classes else _USABLE)

    def rule(window: Window) -> tuple[np.ndarray, np.ndarray]:
        found = here.on(window)
        return found > 0, found == _CLOUDY

    return rule


def _kinds(codes: np.ndarray, classes: tuple[int, ...]) -> np.ndarray:
    """What each code means, uint8."""
    kinds = np.full(codes.shape, _STRANGE, np.uint8)
    kinds[np.isin(codes, np.arange(_LAST_CLASS + 1))] = _USABLE
    kinds[np.isin(codes, classes)] = _UNUSABLE
    kinds[np.isin(codes, [code for code in classes if code in CLOUDS_AND_SHADOWS])] = _CLOUDY
    return kinds


def _by_clouds(delivery: Delivery, grid: Grid) -> Rule:
    draw = delivery.clouds
    if draw is None:
        raise ProductError(
            f"{delivery.product} has no cloud mask of its own (MSK_CLASSI or MSK_CLOUDS in QI_DATA) to stand in for "
            "SCL; deliver it whole, or set valid.product_masks to false in params.yaml"
        )

    def rule(window: Window) -> tuple[np.ndarray, None]:
        return draw(grid.crop(window)), None

    return rule


def _by_probability(delivery: Delivery, percent: int, grid: Grid) -> Rule:
    layer = delivery.cloud_probability
    if layer is None:
        raise ProductError(
            f"{delivery.product} has no cloud probability (MSK_CLDPRB in QI_DATA, which only L2A has); deliver it "
            "whole, or set valid.cloud_probability to null in params.yaml"
        )
    codes = Codes(read_codes(layer), layer.grid, grid, 0)

    def rule(window: Window) -> tuple[np.ndarray, None]:
        return codes.on(window) >= percent, None

    return rule


def _by_mask(layer: Layer, values: tuple[int, ...], grid: Grid) -> Rule:
    outside = next(value for value in range(len(values) + 1) if value not in values)
    codes = Codes(read_codes(layer), layer.grid, grid, outside)
    return lambda window: (~np.isin(codes.on(window), values), None)
