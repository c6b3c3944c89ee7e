"""Where the pixels of a NetCDF variable lie: coordinates and a CF grid mapping, or attributes `crs` and `transform`.

Source: CF conventions 1.11, sections 4 and 5.6, https://cfconventions.org.
"""

import re
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError

from thalweg.errors import ProductError
from thalweg.grid import Grid
from thalweg.products.hdf import attributes_of, coordinate

_UNEVEN_PX = 0.01
_AFFINE = (6, 9)
"""Numbers of an affine transform, without and with its last row."""


def read_place(
    file: h5py.File, path: Path, dataset: h5py.Dataset, axes: tuple[int, int], crs: str | None
) -> tuple[Grid, tuple[bool, bool]]:
    """Where the pixels lie, and whether rows and columns run the other way."""
    shape_yx = dataset.shape[axes[0]], dataset.shape[axes[1]]
    rows, cols = coordinate(dataset, axes[0]), coordinate(dataset, axes[1])
    if rows is not None and cols is not None:
        text = _mapping(file, dataset) or crs
        if text is None:
            raise ProductError(
                f"{path}: {dataset.name} has coordinates, but the file has no CRS (a grid mapping); say it by more.crs "
                "of fetch.options.products"
            )
        (top, height), (left, width) = _ticks(path, rows), _ticks(path, cols)
        flipped = height > 0, width < 0
        top, left = (
            (top + height * shape_yx[0] if flipped[0] else top),
            (left + width * shape_yx[1] if flipped[1] else left),
        )
        return Grid(_crs(path, text), Affine(abs(width), 0, left, 0, -abs(height), top), shape_yx), flipped
    placed = _placed(file, dataset)
    if placed is None:
        raise ProductError(
            f"{path}: {dataset.name} has no place on the ground: neither coordinates x and y, nor a variable with the "
            "attributes 'crs' and 'transform'; deliver a file that has"
        )
    attributes = attributes_of(placed)
    numbers = np.asarray(attributes["transform"], float).ravel()
    shown = ", ".join(f"{number:g}" for number in numbers)
    transform = Affine(*numbers[:6]) if numbers.size in _AFFINE else Affine.scale(0)
    if not np.isfinite(numbers).all() or transform.determinant == 0:
        raise ProductError(
            f"{path}: the attribute 'transform' of {placed.name} ({shown}) lays no pixels on the ground; "
            "it should be the six numbers a, b, c, d, e, f of an affine transform"
        )
    step = Affine.scale(placed.shape[-1] / shape_yx[1], placed.shape[-2] / shape_yx[0])
    return Grid(_crs(path, str(attributes["crs"])), transform @ step, shape_yx), (False, False)


def _placed(file: h5py.File, dataset: h5py.Dataset) -> h5py.Dataset | None:
    """The variable that says where the file lies: the wanted one, else the first of the file with such attributes."""
    found: list[h5py.Dataset] = []

    def look(_: str, each: Any) -> None:
        if isinstance(each, h5py.Dataset) and each.ndim >= 2 and {"crs", "transform"} <= set(each.attrs):
            found.append(each)

    file.visititems(look)
    return next((each for each in found if each.name == dataset.name), found[0] if found else None)


def _mapping(file: h5py.File, dataset: h5py.Dataset) -> str | None:
    """The CRS of a CF grid mapping, as WKT or whatever it is called."""
    named = attributes_of(dataset).get("grid_mapping")
    for name in (named, "crs", "spatial_ref"):
        for group in (dataset.parent, file):
            attributes = attributes_of(group[name]) if name is not None and name in group else {}
            if text := attributes.get("crs_wkt") or attributes.get("spatial_ref"):
                return str(text)
    return attributes_of(dataset).get("crs") or attributes_of(file).get("crs")


def _ticks(path: Path, scale: h5py.Dataset) -> tuple[float, float]:
    """Outer edge of the first pixel and the signed pixel size, from the coordinates of pixel centres."""
    centres = np.asarray(scale[:], float)
    step = (centres[-1] - centres[0]) / max(len(centres) - 1, 1)
    even = centres[0] + step * np.arange(len(centres))
    if len(centres) < 2 or step == 0 or np.abs(centres - even).max() > _UNEVEN_PX * abs(step):
        raise ProductError(
            f"{path}: the coordinates {scale.name} are not evenly spaced, so that they are no pixel grid; "
            "resample the cube to one"
        )
    return float(centres[0] - step / 2), float(step)


def _crs(path: Path, text: str) -> str:
    old = re.fullmatch(r"\+?init=epsg:(\d+)", text.strip(), re.IGNORECASE)
    try:
        crs = CRS.from_user_input(f"EPSG:{old[1]}" if old else text)
    except CRSError as error:
        raise ProductError(f"{path} names a CRS that is none ('{text[:60]}'); say the right one by more.crs") from error
    epsg = crs.to_epsg()
    return f"EPSG:{epsg}" if epsg else crs.to_wkt()
