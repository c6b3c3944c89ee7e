"""The channels of a scene: bands, then extra channels by name, then bands of other products on the same ground."""

import datetime
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from thalweg import indices
from thalweg.bands import wavelength_nm
from thalweg.elevation import elevation_on, slope_on
from thalweg.errors import ProductError
from thalweg.grid import Grid, Window
from thalweg.indices import Formula
from thalweg.manifest.scene import Channel
from thalweg.params.grids import GridParams
from thalweg.preprocess.radiometry import step_of
from thalweg.products import Delivery

OF_TIME = ("month_sin", "month_cos")
OF_GROUND = {"elevation": "m", "slope": "degree"}
"""Channels from the height model, and their units."""


def formulas_of(grid: GridParams) -> tuple[Formula, ...]:
    """The formulas among a grid's extra channels.

    Raises:
        ParamsError: A channel is unknown, or reads a band that the grid does not have.
    """
    known = (*OF_TIME, *OF_GROUND)
    return indices.parse_all(tuple(name for name in grid.channels if name not in known), grid.bands)


def channels_of(delivery: Delivery, grid: GridParams, formulas: tuple[Formula, ...]) -> tuple[Channel, ...]:
    """The channels of a product's image, in order.

    Raises:
        ProductError: A band's unit has no step in int16.
    """
    scales = {formula.name: formula.scale for formula in formulas}
    made = [_channel(name, delivery.bands[name].unit, grid, delivery) for name in grid.bands]
    for name in grid.channels:
        channel = _channel(name, OF_GROUND.get(name, "1"), grid, delivery)
        scale = channel.scale if grid.dtype == "float32" else scales.get(name, channel.scale)
        made.append(channel.model_copy(update={"scale": scale, "wavelength_nm": None}))
    made += [_channel(name, other.unit, grid, delivery) for other in delivery.beside for name in other.bands]
    return tuple(made)


def _channel(name: str, unit: str, grid: GridParams, delivery: Delivery) -> Channel:
    scale = step_of(unit, grid.dtype, f"{delivery.product}: {name}")
    return Channel(name=name, wavelength_nm=wavelength_nm(name), scale=scale, offset=0.0, unit=unit)


def extra_planes(names: tuple[str, ...], formulas: tuple[Formula, ...], bands: Mapping[str, np.ndarray],
                 given: Mapping[str, np.ndarray | float], shape: tuple[int, int]) -> list[np.ndarray]:  # fmt: skip
    """The extra channels, each (h, w) float32, NaN where a band that they read is not measured.

    Args:
        names: As in the params.
        formulas: Those among them, parsed.
        bands: Physical values (h, w) of the bands that they read, by name, NaN where not measured.
        given: The others, by name: planes (h, w), or numbers.
        shape: (h, w).
    """
    by_name = {formula.name: formula for formula in formulas}
    return [
        _formula_plane(by_name[name], bands)
        if name in by_name
        else np.broadcast_to(np.asarray(given[name], np.float32), shape)
        for name in names
    ]


def _formula_plane(formula: Formula, bands: Mapping[str, np.ndarray]) -> np.ndarray:
    there = np.logical_and.reduce([np.isfinite(bands[band]) for band in formula.bands])
    known = {band: np.where(there, bands[band], np.float32(0)) for band in formula.bands}
    return np.where(there, indices.compute(formula, known), np.float32(np.nan))


def of_ground(names: tuple[str, ...], heights: tuple[Path, ...], grid: Grid, window: Window) -> dict[str, np.ndarray]:
    """The channels among `names` that come from the height model, each (h, w) float32, NaN where it has none."""
    makers = {"elevation": elevation_on, "slope": slope_on}
    return {name: makers[name](heights, grid, window) for name in names if name in makers}


def of_time(names: tuple[str, ...], moment: str | None, product: str) -> dict[str, float]:
    """The channels among `names` that say the season: the month as an angle, January 0°, April 90°.

    Args:
        names: Extra channels.
        moment: ISO date or time, or year and month.
        product: For the message.

    Raises:
        ProductError: One is wanted, and the time is not known to the month.
    """
    wanted = [name for name in names if name in OF_TIME]
    if not wanted:
        return {}
    month = month_of(moment)
    if month is None:
        raise ProductError(
            f"{product} states no sensing date, which the channel {wanted[0]} needs; give it one by 'date' or "
            "'more.date_in_name' under fetch.options.products in params.yaml, or drop that channel"
        )
    angle = 2 * math.pi * (month - 1) / 12
    values = {"month_sin": math.sin(angle), "month_cos": math.cos(angle)}
    return {name: values[name] for name in wanted}


def month_of(moment: str | None) -> int | None:
    """Month 1 to 12 of `2020-09`, `2020-09-30` or an ISO time; None where it says none."""
    try:
        return datetime.date.fromisoformat(f"{(moment or '')[:7]}-01").month
    except ValueError:
        return None


def day_of(moment: str | None) -> datetime.date | None:
    """Day of `2020-09-30` or an ISO time; None where it says none."""
    try:
        return datetime.date.fromisoformat((moment or "")[:10])
    except ValueError:
        return None
