"""Source `local`: the user's own products and rasters below one folder, linked, never moved or changed."""

import zipfile
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from thalweg.errors import ParamsError, ProductError
from thalweg.manifest.products import Product
from thalweg.params import Section
from thalweg.sources import describe_files, link_tree

_SIDECARS_OF_NAME = (".aux.xml", ".ovr", ".msk")
_SIDECARS_OF_STEM = (".tfw", ".tifw", ".wld", ".j2w", ".jp2w", ".prj", ".aux")
_TESTED_BYTES = 200_000_000
"""Zips up to this size have every member's CRC checked at fetch; larger ones when their bands are read."""


class LocalProducts(BaseModel):
    """One kind of product under `input`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    form: Literal["safe", "raster", "folder"]
    """`safe`: Sentinel-2 SAFE folders or zips; `raster`: one GeoTIFF/JP2 per product that holds all bands;
    `folder`: one folder per product with a file per band."""
    pattern: str
    """Glob below `input` of the SAFE folders or zips, of the rasters, or of the folders."""
    bands: dict[str, int | str]
    """Empty for `safe`; for `raster` band name → 1-based band number; for `folder` band name → file name."""
    scale: float = Field(gt=0)
    """Reflectance (or the channel's unit) per digital number; ignored for `safe`, whose XML says it."""
    offset: float
    """Added to the digital number before scaling; 0 where the offset is already applied; ignored for `safe`."""
    nodata: float | None
    """Digital number that means no measurement; null to trust the file's own tag; ignored for `safe`."""
    date: str | None
    """Sensing date of products that carry none, quoted, or null."""


class Options(Section):
    """The user's own files: `fetch.options` of the source `local`."""

    section: ClassVar[str] = "fetch"

    products: tuple[LocalProducts, ...] = Field(min_length=1)


def deliver(options: Options, given: Path, raw: Path, store: Path) -> list[Product]:  # noqa: ARG001
    """Links every product that `fetch.options.products` describes from `given` into `raw/products`.

    Args:
        options: What to look for.
        given: `fetch.input`, the folder to look in.
        raw: Folder to fill.
        store: Not needed: the user's files are already on this machine.

    Raises:
        ProductError: The folder is missing or empty, a pattern finds no product, two products have one name, or a zip
            is not whole.
        ParamsError: A pattern leaves the folder.
    """
    folder = given
    if not folder.is_dir() or not any(path for path in folder.iterdir() if path.name != ".gitignore"):
        raise ProductError(
            f"{folder}/ holds no products; put SAFE products or rasters there, describe them under "
            "fetch.options.products in params.yaml, and track them with `dvc add data` (or set fetch.source to sample)"
        )
    products: dict[str, Product] = {}
    for kind in options.products:
        for path in _found(kind, folder):
            name = _product_name(path, kind)
            if name in products:
                raise ProductError(
                    f"two products are named {name}, the second is {path}; rename one or narrow the patterns in "
                    "fetch.options.products"
                )
            products[name] = _link(path, name, kind, raw)
    return list(products.values())


def _found(kind: LocalProducts, folder: Path) -> list[Path]:
    pattern = PurePosixPath(kind.pattern)
    if pattern.is_absolute() or ".." in pattern.parts:
        raise ParamsError(
            f"fetch.options.products: the pattern '{kind.pattern}' leaves fetch.input; give a pattern below it"
        )
    if not pattern.parts or any("**" in part and part != "**" for part in pattern.parts):
        raise ParamsError(
            f"fetch.local.products: '{kind.pattern}' is no pattern; give one such as '*.SAFE' or '**/*.tif'"
        )
    matches = sorted(folder.glob(kind.pattern))
    for path in matches:
        if not path.exists():
            raise ProductError(
                f"{path} is a link to {path.readlink()}, which is not there; mount that disk or remove the link"
            )
    found = [path for path in matches if _is_product(path, kind)]
    if not found:
        raise ProductError(
            f"the pattern '{kind.pattern}' finds no {_KINDS[kind.form]} below {folder}/; "
            "correct fetch.options.products in params.yaml"
        )
    for path in found:
        if kind.form == "safe" and path.is_file():
            _check_zip(path)
    return found


_KINDS = {"safe": "SAFE folder or zip", "raster": "raster", "folder": "folder"}


def _is_product(path: Path, kind: LocalProducts) -> bool:
    if kind.form == "folder":
        return path.is_dir()
    if kind.form == "raster":
        return path.is_file() and not path.name.endswith((*_SIDECARS_OF_NAME, *_SIDECARS_OF_STEM))
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


def _product_name(path: Path, kind: LocalProducts) -> str:
    if kind.form == "folder":
        return path.name
    return path.name.removesuffix(".zip").removesuffix(".SAFE") if kind.form == "safe" else path.stem


def _link(path: Path, name: str, kind: LocalProducts, raw: Path) -> Product:
    target = raw / "products" / path.name
    sidecars = _sidecars(path) if kind.form == "raster" else []
    for file in (path, *sidecars):
        link_tree(file, target.parent / file.name)
    return Product(
        name=name,
        form=kind.form,
        path=target.relative_to(raw).as_posix(),
        files=tuple(
            described for file in (path, *sidecars) for described in describe_files(target.parent / file.name, raw)
        ),
        bands=kind.bands,
        scale=kind.scale,
        offset=kind.offset,
        nodata=kind.nodata,
        date=kind.date,
    )


def _sidecars(path: Path) -> list[Path]:
    names = [path.name + ending for ending in _SIDECARS_OF_NAME] + [path.stem + ending for ending in _SIDECARS_OF_STEM]
    return [path.parent / name for name in names if (path.parent / name).is_file()]
