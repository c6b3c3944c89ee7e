"""One variable of a NetCDF-4 file: where its axes, dates and pixels lie, and the reading of its planes by window."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np
from xarray.coding.times import decode_cf_datetime

from thalweg.errors import ProductError
from thalweg.grid import Grid, Window
from thalweg.products.cube_grid import read_place
from thalweg.products.hdf import attributes_of, axis_names, coordinate, opened

_NAMES = {
    "t": ("t", "time", "date", "dates", "times"),
    "y": ("y", "lat", "latitude", "northing"),
    "x": ("x", "lon", "longitude", "easting"),
}


@dataclass(frozen=True)
class Axes:
    """Which axis of a variable is which."""

    t: int | None
    y: int
    x: int
    further: tuple[int, int] | None
    """Axis of bands and the wanted place on it."""
    flipped: tuple[bool, bool]
    """Whether rows run northwards and columns westwards, so that they are turned on reading."""


@dataclass(frozen=True, eq=False)
class Variable:
    """A variable of a file."""

    path: str
    """In the file."""
    axes: Axes
    grid: Grid
    times: np.ndarray | None
    """datetime64[us] along `t`, None where there is no such axis."""
    unsigned: bool
    """Integers are stored as signed ones, but are not."""
    fill: float | None
    """Stored number that means no measurement, as read, i.e. unsigned where so marked."""
    packing: tuple[float, float] | None
    """CF `scale_factor` and `add_offset`."""


def read_variable(path: Path, name: str, crs: str | None) -> Variable:
    """Header of a variable, by its name or that of the group in which it lies alone; `name[label]` picks a band of it.

    Args:
        path: The file.
        name: As the params give it.
        crs: Of files that say none.

    Raises:
        ProductError: There is no such variable, its axes are not those of a cube, or it has no place on the ground.
        RasterError: The file is missing or damaged, or no NetCDF-4.
    """
    with opened(path) as file:
        whole, _, label = name.partition("[")
        dataset = _dataset(file, path, whole)
        names = axis_names(dataset)
        place = {role: next((axis for axis, each in enumerate(names) if each.lower() in known), None)
                 for role, known in _NAMES.items()}  # fmt: skip
        if place["y"] is None or place["x"] is None:
            raise ProductError(f"{path}: {dataset.name} has the axes {', '.join(names)}, but a cube has y and x; "
                               "correct 'bands' under fetch.options.products")  # fmt: skip
        empty = not (dataset.shape[place["y"]] and dataset.shape[place["x"]])
        if dataset.dtype.kind not in "iuf" or empty:
            what = "no pixel" if empty else f"{dataset.dtype} values, not real numbers"
            raise ProductError(f"{path}: {dataset.name} holds {what}; correct 'bands' under fetch.options.products")
        rest = [axis for axis in range(dataset.ndim) if axis not in place.values()]
        further = _further(dataset, path, rest, label.rstrip("]"))
        grid, flipped = read_place(file, path, dataset, (place["y"], place["x"]), crs)
        attributes = attributes_of(dataset)
        unsigned = attributes.get("_Unsigned", "false").lower() == "true" and dataset.dtype.kind == "i"
        packed = "scale_factor" in attributes or "add_offset" in attributes
        return Variable(
            dataset.name,
            Axes(place["t"], place["y"], place["x"], further, flipped),
            grid,
            None if place["t"] is None else _times(path, dataset, place["t"]),
            unsigned,
            _fill(attributes, dataset.dtype, unsigned, f"{path}: {dataset.name}"),
            (float(attributes.get("scale_factor", 1)), float(attributes.get("add_offset", 0))) if packed else None,
        )


def read_plane(path: Path, variable: Variable, at: int | None, window: Window) -> np.ndarray:
    """One date of a variable (h, w) in a window of its grid; NaN for the fill value of unpacked values.

    Raises:
        RasterError: The file is damaged.
    """
    axes, (height, width) = variable.axes, variable.grid.shape_yx
    rows = slice(height - window.row - window.height, height - window.row) if axes.flipped[0] else window.rows
    cols = slice(width - window.col - window.width, width - window.col) if axes.flipped[1] else window.cols
    index: dict[int | None, Any] = {axes.t: at, axes.y: rows, axes.x: cols}
    if axes.further is not None:
        index[axes.further[0]] = axes.further[1]
    with opened(path) as file:
        dataset = file[variable.path]
        plane = np.asarray(dataset[tuple(index[axis] for axis in range(dataset.ndim))])
    plane = plane.T if axes.y > axes.x else plane
    plane = plane[:: -1 if axes.flipped[0] else 1, :: -1 if axes.flipped[1] else 1]
    plane = plane.view(plane.dtype.str.replace("i", "u")) if variable.unsigned else plane
    if variable.packing is None:
        return plane
    scale, offset = variable.packing
    there = np.ones(plane.shape, bool) if variable.fill is None else plane != variable.fill
    return np.where(there, plane * scale + offset, np.nan).astype(np.float32)


def _dataset(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    found = file.get(name)
    if isinstance(found, h5py.Group):
        found = found.get(name.rpartition("/")[2])
    if not isinstance(found, h5py.Dataset):
        known = sorted(each for each in file if not _is_axis(file[each]))
        raise ProductError(
            f"{path} has no variable '{name}', nor a group with a variable of its name; it has {', '.join(known)}; "
            "correct 'bands' under fetch.options.products"
        )
    return found


def _is_axis(found: Any) -> bool:
    return isinstance(found, h5py.Dataset) and bool(found.is_scale)


def _further(dataset: h5py.Dataset, path: Path, rest: list[int], label: str) -> tuple[int, int] | None:
    """The axis of bands, where there is one, and the place of a band on it."""
    if not rest and not label:
        return None
    labels = _labels(dataset, rest[0]) if len(rest) == 1 else []
    if label not in labels:
        raise ProductError(
            f"{path}: {dataset.name} has {dataset.ndim} axes with the bands {', '.join(labels) or '–'}, among which "
            f"'{label}' is none; name one as '{dataset.name.strip('/')}[<band>]' in 'bands' of fetch.options.products"
        )
    return rest[0], labels.index(label)


def _labels(dataset: h5py.Dataset, axis: int) -> list[str]:
    scale = coordinate(dataset, axis)
    if scale is None:
        return [str(number) for number in range(dataset.shape[axis])]
    return [each.decode() if isinstance(each, bytes) else str(each) for each in scale[:]]


def _times(path: Path, dataset: h5py.Dataset, axis: int) -> np.ndarray:
    scale = coordinate(dataset, axis)
    attributes = {} if scale is None else attributes_of(scale)
    if scale is None or "units" not in attributes:
        raise ProductError(
            f"{path}: {dataset.name} has no dates along its axis of time (a coordinate with units such as 'days since "
            "1990-01-01'); deliver a file that has"
        )
    try:
        decoded = decode_cf_datetime(scale[:], attributes["units"], attributes.get("calendar"))
        times = np.asarray(decoded).astype("datetime64[us]")
    except (ValueError, ImportError) as error:  # another calendar would need cftime
        raise ProductError(
            f"{path}: the dates of {dataset.name} ('{attributes['units']}', calendar "
            f"'{attributes.get('calendar', 'standard')}') cannot be read as days of the calendar; deliver them as such"
        ) from error
    if np.isnat(times).any():
        raise ProductError(
            f"{path}: {np.count_nonzero(np.isnat(times))} of the {len(times)} dates of {dataset.name} are missing; "
            "deliver a file with a date for each plane"
        )
    return times


def _fill(attributes: dict[str, Any], dtype: np.dtype, unsigned: bool, where: str) -> float | None:
    stored = attributes.get("_FillValue", attributes.get("missing_value"))
    if isinstance(stored, np.ndarray):
        raise ProductError(
            f"{where} has {stored.size} values that mean missing ({stored}), of which one can be told; say it by "
            "_FillValue alone"
        )
    if stored is None or dtype.kind == "f":
        return None if stored is None or np.isnan(stored) else float(stored)
    bits = 8 * dtype.itemsize
    return float(int(stored) % (1 << bits)) if unsigned else float(stored)
