"""What an image is, in the words in which fetch records a product: form, bands, scale, offset, nodata."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np

from thalweg import raster
from thalweg.errors import ImageError
from thalweg.manifest.products import Product, ProductFile
from thalweg.params.grids import GridParams
from thalweg.sources import sha256_of

Form = Literal["safe", "raster", "folder", "netcdf"]
_REFLECTANCE = "reflectance"
_CUBES = (".nc", ".nc4", ".h5")


@dataclass(frozen=True)
class Said:
    """What is said of the images beside what they say themselves; of SAFE products nothing need be."""

    bands: Mapping[str, int | str] | None = None
    """Band name → 1-based band of a raster, file of a folder, or variable of a cube; None: by the bands' names."""
    scale: float | None = None
    """Physical value = (stored + offset) × scale; None: the file's own tags."""
    offset: float | None = None
    nodata: float | None = None
    """None: the file's own tag."""
    date: str | None = None
    """Sensing day, ISO."""
    pixel_m: float | None = None
    """Edge of a pixel, metres, of pictures without georeference."""
    resample: bool = False
    """Whether images of another resolution than the model's are brought to it."""
    elevation: tuple[Path, ...] = ()
    """Tiles of a height model, for the channels elevation and slope."""


@dataclass(frozen=True)
class _Values:
    """How stored numbers become physical values."""

    scale: float | dict[str, float]
    offset: float | dict[str, float]


def describe(path: Path, units: Mapping[str, str], grid: GridParams, said: Said,
             role: Literal["scene", "elevation"] = "scene") -> Product:  # fmt: skip
    """A path as a product of a grid.

    Args:
        path: Of an image.
        units: Of bands by name; those that it does not name are reflectance.
        grid: What is to be made of it.
        said: What it does not say itself.
        role: What it is for.

    Raises:
        ImageError: It is no image, or does not say which band is which, or what its numbers mean.
        RasterError: It cannot be read.
    """
    if role == "elevation":
        return _product(path, "raster", {"elevation": 1}, _Values(1.0, 0.0), None, "m", said, role)
    form = _form(path)
    if form == "safe":
        return _product(path, form, {}, _Values(1.0, 0.0), None, "reflectance", said, role)
    if form == "raster":
        _check_raster(path, said)
    wanted = _wanted(path, grid)
    bands = _bands(path, form, wanted, said, _unneeded(grid))
    values = _values(path, form, bands, units, said)
    return _product(path, form, bands, values, said.nodata, units.get(wanted[0], _REFLECTANCE), said, role)


def _form(path: Path) -> Form:
    if path.is_dir():
        return "safe" if any(path.glob("MTD_MSI*.xml")) or any(path.glob("*/MTD_MSI*.xml")) else "folder"
    if path.suffix.lower() == ".zip":
        return "safe"
    return "netcdf" if path.suffix.lower() in _CUBES else "raster"


def name_of(path: Path, form: Form) -> str:
    """The product's, and thus the scene's name."""
    if form == "safe":
        return path.name.removesuffix(".zip").removesuffix(".SAFE")
    return path.name if path.is_dir() else path.stem


def _wanted(path: Path, grid: GridParams) -> tuple[str, ...]:
    """Bands that the image must have: those of the grid, or of what stands beside its scenes."""
    name = path.name if path.is_dir() else path.stem
    return next((rule.bands for rule in grid.further if fnmatchcase(name, rule.products)), grid.bands)


def _unneeded(grid: GridParams) -> tuple[str, ...]:
    return ("SCL",) if grid.valid.scl else ()


def _bands(path: Path, form: Form, wanted: Sequence[str], said: Said,
           optional: Sequence[str]) -> dict[str, int | str]:  # fmt: skip
    if said.bands is not None:
        _check_bands(path, form, wanted, said.bands)
        return dict(said.bands)
    if form == "netcdf":
        return {name: name for name in wanted}
    if form == "folder":
        raise ImageError(
            f"{path} is a folder, but no SAFE product and no scene; say which file is which band by "
            f"--bands {wanted[0]}=FILE,…, of {', '.join(wanted)}"
        )
    with raster.opened(path) as dataset:
        names = [name or f"band {number}" for number, name in enumerate(dataset.descriptions, 1)]
    lacking = [name for name in wanted if name not in names]
    if lacking:
        raise ImageError(
            f"{path} has no band named {', '.join(lacking)}, which the model reads; its {len(names)} bands are "
            f"{', '.join(names)}; say which is which by --bands {wanted[0]}=1,… (band name = 1-based number)"
        )
    return {name: names.index(name) + 1 for name in (*wanted, *(name for name in optional if name in names))}


def _check_bands(path: Path, form: Form, wanted: Sequence[str], given: Mapping[str, int | str]) -> None:
    lacking = [name for name in wanted if name not in given]
    if lacking:
        raise ImageError(
            f"--bands says nothing of {', '.join(lacking)}, which the model reads; add {lacking[0]}=… (it names "
            f"{', '.join(given)})"
        )
    if form != "raster":
        return
    with raster.opened(path) as dataset:
        count = dataset.count
    for name, number in given.items():
        if not isinstance(number, int) or not 1 <= number <= count:
            raise ImageError(
                f"--bands says {name}={number}, but {path} is one raster of {count} bands; give a number from 1 to "
                f"{count}"
            )


def _check_raster(path: Path, said: Said) -> None:
    """What only a raster itself shows to be wrong in what is said of it."""
    with raster.opened(path) as dataset:
        dtype, placed = np.dtype(dataset.dtypes[0]), dataset.crs is not None or bool(dataset.gcps[0])
    if said.nodata is not None and dtype.kind in "iu" and not _holds(dtype, said.nodata):
        raise ImageError(
            f"--nodata {said.nodata:g} is no value that {path} can hold ({dtype}); give the one that stands for no "
            "measurement there, or leave it out"
        )
    if not placed and said.pixel_m is None:
        raise ImageError(
            f"{path} has no CRS, so its place on the ground is unknown; set one with `gdal_edit.py -a_srs EPSG:… "
            f"{path}`, or say --pixel-m for a picture that shall have none"
        )


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    return value.is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


def _values(path: Path, form: Form, bands: Mapping[str, int | str], units: Mapping[str, str], said: Said) -> _Values:
    if said.scale is not None or form != "raster":
        return _Values(1.0 if said.scale is None else said.scale, said.offset or 0.0)
    with raster.opened(path) as dataset:
        numbers = {name: int(number) for name, number in bands.items() if 1 <= int(number) <= dataset.count}
        scales = {name: float(dataset.scales[number - 1]) for name, number in numbers.items()}
        offsets = {name: float(dataset.offsets[number - 1]) for name, number in numbers.items()}
        whole = np.dtype(dataset.dtypes[0]).kind in "iu"
    untold = all(scale == 1 for scale in scales.values()) and not any(offsets.values())
    if untold and whole and units.get(next(iter(bands)), _REFLECTANCE) == _REFLECTANCE:
        raise ImageError(
            f"{path} holds {dataset.dtypes[0]} without a scale, but the model reads reflectance; say "
            "--scale 0.0001 (and --offset -1000 for Sentinel-2 numbers since baseline 04.00), or tag the file with "
            "`gdal_edit.py -scale … -offset …`"
        )
    if said.offset is not None:
        return _Values(scales, said.offset)
    return _Values(scales, {name: offsets[name] / scale for name, scale in scales.items()})


def _product(path: Path, form: Form, bands: dict[str, int | str], values: _Values, nodata: float | None, unit: str,
             said: Said, role: Literal["scene", "elevation"]) -> Product:  # fmt: skip
    return Product(
        name=name_of(path, form), form=form, path=str(path.absolute()), files=_files(path), bands=bands,
        scale=values.scale, offset=values.offset, nodata=nodata, date=said.date, role=role, unit=unit,
        pixel_m=said.pixel_m)  # fmt: skip


def _files(path: Path) -> tuple[ProductFile, ...]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    start = path.parent
    return tuple(
        ProductFile(path=os.fspath(file.relative_to(start)), size=file.stat().st_size, sha256=sha256_of(file))
        for file in files
    )
