"""Products found in a folder by patterns: how each kind lies there, is read and is linked into build/raw.

Shared by the sources whose files the params describe: `local` and `archive`.
"""

import datetime
import re
import zipfile
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pyproj import CRS
from pyproj.exceptions import CRSError

from thalweg.errors import ParamsError, ProductError
from thalweg.manifest.products import Product, ValidFile, valid_name
from thalweg.sources import describe_files, link_tree

_SIDECARS_OF_NAME = (".aux.xml", ".ovr", ".msk")
_SIDECARS_OF_STEM = (".tfw", ".tifw", ".tiffw", ".wld", ".j2w", ".jp2w", ".pgw", ".pngw", ".jgw", ".jpgw", ".jpegw",
                     ".prj", ".aux")  # fmt: skip
"""World files, in GDAL's spellings: first and last letter of the ending and a w, the whole ending and a w, or wld."""
_TESTED_BYTES = 200_000_000
"""Zips up to this size have every member's CRC checked at fetch; larger ones when their bands are read."""


_MONTH = r"\d{4}-\d\d"
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Scale = Annotated[_Finite, Field(gt=0)]


class More(BaseModel):
    """What only some kinds of files need said."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    role: Literal["scene", "elevation"]
    """`elevation`: tiles of a height model (GeoTIFF, `.hgt`, `.hgt.zip`), for the channels elevation and slope."""
    unit: str
    """Of scaled values: `reflectance`, `dB`, `m`, `1`."""
    crs: str | None
    """CRS of files that carry none (PNG and JPG with a world file), or null."""
    pixel_m: float | None = Field(gt=0)
    """Edge of a pixel, metres, of pictures without any georeference, which then lie at an arbitrary place; or null."""
    valid: ValidFile | None
    """A mask of usable pixels that comes with each product: `{file: "{stem}_udm2.tif", band: 1, values: [1]}`."""
    date_in_name: str | None
    """Regular expression whose group 1 is the date (YYYYMMDD or YYYY-MM-DD) in a product's name; or null."""

    @field_validator("crs")
    @classmethod
    def _known(cls, crs: str | None) -> str | None:
        if crs is not None:
            try:
                CRS.from_user_input(crs)
            except CRSError as error:
                raise ValueError(f"'{crs}' is no CRS; give one such as EPSG:32633") from error
        return crs

    @field_validator("date_in_name")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        try:
            groups = 1 if pattern is None else re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"'{pattern}' is no regular expression ({error})") from error
        if groups != 1:
            raise ValueError(
                f"'{pattern}' has {groups} groups, not the one that is the date; give one such as _(\\d{{8}})_"
            )
        return pattern

    @model_validator(mode="after")
    def _one_place(self) -> "More":
        if self.crs is not None and self.pixel_m is not None:
            raise ValueError("crs is for files with a world file, pixel_m for pictures without; give one of them")
        return self


class Layout(BaseModel):
    """One kind of product in a folder."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    form: Literal["safe", "raster", "folder", "netcdf"]
    """`safe`: Sentinel-2 SAFE folders or zips; `raster`: one GeoTIFF/JP2 per product that holds all bands;
    `folder`: one folder per product with a file per band; `netcdf`: one time series per file, a variable per band."""
    pattern: str
    """Glob below the folder of the SAFE folders or zips, of the rasters, or of the folders."""
    bands: dict[str, int | str]
    """Empty for `safe`; for `raster` band name → 1-based band number; for `folder` band name → file name."""
    scale: _Scale | dict[str, _Scale]
    """Reflectance (or the channel's unit) per digital number; ignored for `safe`, whose XML says it."""
    offset: _Finite | dict[str, _Finite]
    """Added to the digital number before scaling; 0 where the offset is already applied; ignored for `safe`."""
    nodata: float | None
    """Digital number that means no measurement; null to trust the file's own tag; ignored for `safe`."""
    date: str | None
    """Sensing date of products that carry none, quoted (`2025-10-03`, or `2025-10` where the day is not known), or
    null."""
    more: More | None
    """null where nothing of it is needed: scenes of reflectance, georeferenced."""

    @field_validator("date")
    @classmethod
    def _real(cls, date: str | None) -> str | None:
        try:
            if date is not None:
                datetime.datetime.fromisoformat(f"{date}-01" if re.fullmatch(_MONTH, date) else date)
        except ValueError as error:
            raise ValueError(f"'{date}' is no date; give one such as 2025-10-03, or 2025-10") from error
        if date is not None and not re.match(_MONTH, date):
            raise ValueError(f"'{date}' is no date with hyphens; give one such as 2025-10-03, or 2025-10")
        return date

    @model_validator(mode="after")
    def _complete(self) -> "Layout":
        for field, given in (("scale", self.scale), ("offset", self.offset)):
            if isinstance(given, dict) and set(given) != set(self.bands):
                raise ValueError(
                    f"{field} names {', '.join(given) or 'no band'}, but bands are {', '.join(self.bands) or 'none'}; "
                    "name each band once, or give one number for all"
                )
        if self.more is not None and self.more.date_in_name is not None and self.date is not None:
            raise ValueError("the date is given by 'date' and by 'more.date_in_name'; give one of them")
        if self.more is not None and self.more.role == "elevation" and not self._as_the_tiles_say():
            raise ValueError(
                "tiles of a height model are read as their own tags say: give form raster, band 1, scale 1, offset 0, "
                "nodata null, and of more the unit m and nothing else; `gdal_edit.py` tags them (-a_scale, -a_nodata)"
            )
        if self.form == "raster" and self.valid is not None and "{stem}" not in self.valid.file:
            raise ValueError(f"more.valid.file '{self.valid.file}' is one name for all products; put {{stem}} into it")
        return self

    def _as_the_tiles_say(self) -> bool:
        told = (self.form, *self.bands.values(), self.scale, self.offset, self.nodata)
        more = self.more
        return told == ("raster", 1, 1.0, 0.0, None) and more is not None and (
            (more.unit, more.crs, more.pixel_m, more.valid) == ("m", None, None, None))  # fmt: skip

    @property
    def valid(self) -> ValidFile | None:
        """The mask of usable pixels that comes with each product."""
        return None if self.more is None else self.more.valid


def link_found(layouts: tuple[Layout, ...], folder: Path, raw: Path) -> list[Product]:
    """Links every product that the layouts describe from `folder` into `raw/products`.

    Raises:
        ProductError: A pattern finds no product, two products have one name, or a zip is not whole.
        ParamsError: A pattern leaves the folder.
    """
    products: dict[str, Product] = {}
    for kind in layouts:
        for path in _found(kind, folder):
            name = _product_name(path, kind)
            if name in products:
                raise ProductError(
                    f"two products are named {name}, the second is {path}; rename one or narrow the patterns in "
                    "fetch.options.products"
                )
            products[name] = _link(path, name, kind, raw)
    return list(products.values())


def _found(kind: Layout, folder: Path) -> list[Path]:
    pattern = PurePosixPath(kind.pattern)
    if pattern.is_absolute() or ".." in pattern.parts:
        raise ParamsError(
            f"fetch.options.products: the pattern '{kind.pattern}' leaves fetch.input; give a pattern below it"
        )
    if not pattern.parts or any("**" in part and part != "**" for part in pattern.parts):
        raise ParamsError(
            f"fetch.options.products: '{kind.pattern}' is no pattern; give one such as '*.SAFE' or '**/*.tif'"
        )
    matches = sorted(folder.glob(kind.pattern))
    for path in matches:
        if not path.exists():
            raise ProductError(
                f"{path} is a link to {path.readlink()}, which is not there; mount that disk or remove the link"
            )
    found = [path for path in matches if _is_product(path, kind)]
    if kind.form == "raster" and kind.valid is not None:
        masks = {path.parent / valid_name(kind.valid, path.stem) for path in found}
        found = [path for path in found if path not in masks]
    if not found:
        raise ProductError(
            f"the pattern '{kind.pattern}' finds no {_KINDS[kind.form]} below {folder}/; "
            "correct fetch.options.products in params.yaml"
        )
    for path in found:
        if kind.form == "safe" and path.is_file():
            _check_zip(path)
    return found


_KINDS = {"safe": "SAFE folder or zip", "raster": "raster", "folder": "folder", "netcdf": "NetCDF file"}


def _is_product(path: Path, kind: Layout) -> bool:
    if kind.form == "folder":
        return path.is_dir()
    if kind.form == "raster":
        return path.is_file() and not path.name.lower().endswith((*_SIDECARS_OF_NAME, *_SIDECARS_OF_STEM))
    if kind.form == "netcdf":
        return path.is_file()
    return path.suffix == ".zip" if path.is_file() else any(path.glob("MTD_MSI*.xml"))


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip() if path.stat().st_size <= _TESTED_BYTES else None
    except zipfile.BadZipFile as error:
        raise ProductError(f"{path} is not a whole zip ({error}); download it again") from error
    except (RuntimeError, NotImplementedError) as error:  # a password, or an unknown compression
        raise ProductError(f"{path} cannot be unpacked ({error}); unpack it into {path.parent}/ yourself") from error
    if damaged is not None:
        raise ProductError(f"{path}: its member {damaged} is damaged; download the zip again")


def _product_name(path: Path, kind: Layout) -> str:
    if kind.form == "folder":
        return path.name
    return path.name.removesuffix(".zip").removesuffix(".SAFE") if kind.form == "safe" else path.stem


def _link(path: Path, name: str, kind: Layout, raw: Path) -> Product:
    target = raw / "products" / path.name
    files = (path, *_beside(path, kind))
    for file in files:
        link_tree(file, target.parent / file.name)
    return Product(
        name=name,
        form=kind.form,
        path=target.relative_to(raw).as_posix(),
        files=tuple(described for file in files for described in describe_files(target.parent / file.name, raw)),
        bands=kind.bands,
        scale=kind.scale,
        offset=kind.offset,
        nodata=kind.nodata,
        date=_date(name, kind),
        **({} if kind.more is None else kind.more.model_dump(include={"role", "unit", "crs", "pixel_m"})),
        valid=kind.valid,
    )


def _date(name: str, kind: Layout) -> str | None:
    """ISO day out of a product's name, or the layout's own date."""
    if kind.more is None or kind.more.date_in_name is None:
        return kind.date
    match = re.search(kind.more.date_in_name, name)
    found = (match and match[1]) or "nothing"
    try:
        return datetime.date.fromisoformat(found).isoformat()
    except ValueError as error:
        raise ProductError(
            f"{name}: more.date_in_name '{kind.more.date_in_name}' finds '{found}' in the name, which is no date "
            "YYYYMMDD or YYYY-MM-DD; correct fetch.options.products in params.yaml"
        ) from error


def _beside(path: Path, kind: Layout) -> list[Path]:
    """Files that belong to a raster: sidecars that GDAL reads, and the mask of usable pixels with its own."""
    if kind.form != "raster":
        return []
    if kind.valid is None:
        return _sidecars(path)
    mask = path.parent / valid_name(kind.valid, path.stem)
    if not mask.is_file():
        raise ProductError(
            f"{path} has no {mask.name} beside it, which more.valid of fetch.options.products promises; put it there "
            "or correct params.yaml"
        )
    return [*_sidecars(path), mask, *_sidecars(mask)]


def _sidecars(path: Path) -> list[Path]:
    names = [path.name + ending for ending in _SIDECARS_OF_NAME]
    names += [path.stem + spelt for ending in _SIDECARS_OF_STEM for spelt in (ending, ending.upper())]
    return [path.parent / name for name in names if (path.parent / name).is_file()]
