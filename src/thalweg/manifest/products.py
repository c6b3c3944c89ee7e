"""`build/raw/products.json`: what fetch delivered."""

from pathlib import Path
from typing import Literal

from thalweg.manifest import Record, read_record, write_record

INDEX = "products.json"


class ProductFile(Record):
    """One file of a product."""

    path: str
    """Below build/raw."""
    size: int
    sha256: str


class ValidFile(Record):
    """A mask of usable pixels that comes with a product (PlanetScope's UDM2)."""

    file: str
    """Name beside the product's file (in its folder, for `folder`); `{stem}` stands for the stem of the product's."""
    without: str
    """What that stem ends in and the mask's name lacks (`_AnalyticMS_SR`), or empty."""
    band: int
    """1-based."""
    values: tuple[int, ...]
    """Those that mean usable."""


class Product(Record):
    """One delivered product."""

    name: str
    """Product name without `.SAFE`; the scene's name."""
    form: Literal["safe", "raster", "folder", "netcdf"]
    path: str
    """Of the SAFE folder or zip, of the raster, or of the folder, below build/raw."""
    files: tuple[ProductFile, ...]
    bands: dict[str, int | str]
    """As in `fetch.options.products`; empty for `safe`."""
    scale: float | dict[str, float]
    offset: float | dict[str, float]
    nodata: float | None
    date: str | None
    role: Literal["scene", "elevation"] = "scene"
    """What it is for: elevation tiles make no scenes."""
    unit: str = "reflectance"
    """Of the scaled values."""
    crs: str | None = None
    """Of files that carry none."""
    pixel_m: float | None = None
    """Edge of a pixel of pictures without any georeference, which then lie at an arbitrary place."""
    place: int | None = None
    """Number of that place (products/placement.py), or None for the one that the name alone gives."""
    valid: ValidFile | None = None


class Products(Record):
    """All of them, sorted by name."""

    products: tuple[Product, ...]


def read_products(raw: Path) -> tuple[Product, ...]:
    """The products in a raw folder.

    Raises:
        SceneError: The index is missing or broken.
    """
    return read_record(Products, raw / INDEX, "run `dvc repro fetch`").products


def write_products(products: list[Product], raw: Path) -> None:
    """Writes the index, sorted by name."""
    ordered = sorted(products, key=lambda product: product.name)
    write_record(Products(products=tuple(ordered)), raw / INDEX)


def valid_name(valid: ValidFile, stem: str) -> str:
    """File name of the mask that comes with a product of that stem."""
    return valid.file.replace("{stem}", stem.removesuffix(valid.without))
