"""Time series in NetCDF-4 files: the product of each date that any wanted band was measured on.

Two layouts are read. *Groups*: a group per band that holds a variable of its own name with its own dates and size, all
on the ground that one variable's attributes `crs` and `transform` say (Sen4AgriNet). *Flat*: variables with the
coordinates x and y at pixel centres and a CF grid mapping (openEO, xarray). Only headers are read on opening; pixels
come window by window.

Source: CF conventions 1.11, sections 2.5.1, 4.4, 5.6 and 8.1, https://cfconventions.org; Sen4AgriNet, Sykas et al.
2022, doi:10.1109/JSTARS.2022.3164771.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from thalweg.errors import ProductError
from thalweg.grid import Window
from thalweg.manifest.products import Product
from thalweg.products import Delivery, Layer, Wanted
from thalweg.products.cube import Variable, read_plane, read_variable
from thalweg.products.lattice import check_extents, scene_grid, snapped
from thalweg.products.plain import of_band

Moment = tuple[np.datetime64, int]
"""Day, and which of the acquisitions of that day: bands of one acquisition may differ by seconds."""


@dataclass(frozen=True, eq=False)
class Plane:
    """What one date of a variable looks like, for `Layer.read`."""

    path: Path
    variable: Variable
    at: int | None
    """Its place along the time axis; None where the variable has no such axis."""

    def __call__(self, window: Window) -> np.ndarray:
        """Digital numbers (h, w)."""
        return read_plane(self.path, self.variable, self.at, window)


def _absent(window: Window) -> np.ndarray:
    """A date without an acquisition of a band."""
    return np.full((window.height, window.width), np.nan, np.float32)


def open_netcdf(product: Product, raw: Path, wanted: Wanted) -> tuple[Delivery, ...]:
    """Opens a NetCDF cube: one delivery per date, in order of time; a band that a date lacks has no measurement there.

    Digital numbers are those that any reader of NetCDF gives: unsigned where the file says so, unpacked where it has
    `scale_factor` and `add_offset`.

    Args:
        product: As fetch recorded it; `bands` are names of variables or groups, `variable[label]` where a variable has
            a further axis of bands.
        raw: The raw folder.
        wanted: Bands, label bands and resolution.

    Raises:
        ProductError: A band is not in the list or the file, has no dates or no place on the ground, or labels change
            with time.
        RasterError: The file is missing or damaged, or no NetCDF-4.
    """
    path = raw / product.path
    found = {name: _find(product, path, name) for name in (*wanted.bands, *wanted.labels)}
    grids = {name: variable.grid for name, variable in found.items()}
    check_extents(product.name, grids)
    grid = scene_grid(product.name, grids, wanted.resolution_m)
    for name in wanted.labels:
        _check_label(product, name, found[name])
    layers = {
        name: _layer(product, name, number, path, replace(variable, grid=snapped(variable.grid, grid)))
        for number, (name, variable) in enumerate(found.items(), 1)
    }
    dated = {name: _moments(times) for name in wanted.bands if (times := found[name].times) is not None}
    labels = {name: layers[name] for name in wanted.labels}
    moments: list[Moment | None] = [*sorted({moment for band in dated.values() for moment in band})]
    if dated and not moments:
        raise ProductError(f"{path}: {', '.join(dated)} have no date at all; deliver a file that has, or take it out")
    return tuple(
        Delivery(
            product=product.name,
            baseline=None,
            sensing_time=_sensed(product, found, dated, moment),
            grid=grid,
            bands={
                name: _at(layers[name], dated[name].get(moment)) if moment and name in dated else layers[name]
                for name in wanted.bands
            },
            labels=labels,
            warnings=(),
            verify=_nothing_stated,
        )
        for moment in moments or [None]
    )


def _find(product: Product, path: Path, name: str) -> Variable:
    place = product.bands.get(name)
    if not isinstance(place, str):
        raise ProductError(
            f"{product.name}: form 'netcdf' needs the name of a variable for band '{name}', but its list gives "
            f"{place!r}; correct 'bands' under fetch.options.products"
        )
    return read_variable(path, place, product.crs)


def _layer(product: Product, name: str, number: int, path: Path, variable: Variable) -> Layer:
    """A band at no date in particular."""
    return Layer(
        path=str(path),
        index=number,
        grid=variable.grid,
        scale=of_band(product, name, "scale", product.scale),
        offset=of_band(product, name, "offset", product.offset),
        nodata=variable.fill if product.nodata is None else product.nodata,
        saturated=None,
        unit=product.unit,
        read=Plane(path, variable, None if variable.times is None else 0),
    )


def _at(layer: Layer, number: int | None) -> Layer:
    """A band at one of its dates, or without a measurement."""
    if number is None or not isinstance(layer.read, Plane):
        return replace(layer, read=_absent)
    return replace(layer, read=replace(layer.read, at=number))


def _moments(times: np.ndarray) -> dict[Moment, int]:
    """Moment → place along the axis of time."""
    seen: Counter[np.datetime64] = Counter()
    places: dict[Moment, int] = {}
    for place in np.argsort(times, kind="stable"):
        day = times[place].astype("datetime64[D]")
        places[day, seen[day]] = int(place)
        seen[day] += 1
    return places


def _sensed(
    product: Product, found: dict[str, Variable], dated: dict[str, dict[Moment, int]], moment: Moment | None
) -> str | None:
    """The first time at which a band was measured, ISO 8601; the product's own date where no band has any."""
    if moment is None:
        return product.date
    times = [found[name].times[at[moment]] for name, at in dated.items() if moment in at]  # type: ignore[index]
    return f"{np.datetime_as_string(min(times), unit='s')}Z"


def _check_label(product: Product, name: str, variable: Variable) -> None:
    if variable.times is not None and len(variable.times) > 1:
        raise ProductError(
            f"{product.name}: the labels '{name}' change with time ({len(variable.times)} dates), but a scene has one "
            "mask; take a variable without dates"
        )


def _nothing_stated() -> None:
    """A cube states no checksum; a damaged chunk raises when it is read."""
