"""The embedded sample as a source: makes what the store lacks, then links it."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from thalweg import bands, sample
from thalweg.errors import ParamsError
from thalweg.manifest.products import Product
from thalweg.params import Section
from thalweg.sources import describe_files, kept_in_store, link_tree, sha256_of

MASKS = "masks"
"""Folder of the masks below the raw folder."""


class SampleProduct(BaseModel):
    """One product that the embedded sample makes."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    tile: str = Field(pattern=r"^T\d{2}[C-X][A-Z]{2}$")
    """MGRS tile; decides UTM zone and place."""
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    """Sensing date, quoted."""
    baseline: str = Field(pattern=r"^\d{2}\.\d{2}$")
    """Processing baseline, e.g. '05.11'; decides offset, checksum kind and band list."""


class Options(Section):
    """The seeded landscape: `fetch.options` of the source `sample`."""

    section: ClassVar[str] = "fetch"

    seed: int = Field(ge=0)
    """Same seed, same ground; dates differ in season and clouds only."""
    size_60m_px: int = Field(ge=16, le=1830)
    """Edge of each product at 60 m; 1830 is a full tile. The 20 m bands have three times as many pixels."""
    cloud_cover: float = Field(ge=0, le=1)
    """Share of the ground under cloud, about."""
    products: tuple[SampleProduct, ...] = Field(min_length=1)


def deliver(options: Options, given: Path, raw: Path, store: Path) -> list[Product]:  # noqa: ARG001 - its own module
    """Makes the products and masks of the options, one after the other.

    Raises:
        ParamsError: The options name a tile or date that does not exist, or a product twice.
    """
    if len(set(options.products)) < len(options.products):
        raise ParamsError("fetch.options.products names a product twice; remove one of the two from params.yaml")
    for tile in sorted({product.tile for product in options.products}):
        _link_mask(options, tile, raw, store)
    return [_link_product(options, product, raw, store) for product in options.products]


def _link_product(options: Options, wanted: SampleProduct, raw: Path, store: Path) -> Product:
    said = {**wanted.model_dump(), **options.model_dump(include={"seed", "size_60m_px", "cloud_cover"})}
    safe = _stored(store, said, lambda folder: sample.make_product(folder, **said))
    link_tree(safe, raw / safe.name)
    return Product(name=safe.stem, form="safe", path=safe.name, files=describe_files(raw / safe.name, raw), bands={},
                   scale=1.0, offset=0.0, nodata=None, date=None)  # fmt: skip


def _link_mask(options: Options, tile: str, raw: Path, store: Path) -> None:
    said = {"tile": tile, **options.model_dump(include={"seed", "size_60m_px"})}
    mask = _stored(store, said, lambda folder: sample.make_mask(folder, **said))
    link_tree(mask, raw / MASKS / mask.name)


def _stored(store: Path, options: dict[str, object], make: Callable[[Path], Path]) -> Path:
    """The file or folder that `make` makes, from the store if it is there already."""
    return kept_in_store(store, [options, _code_sha256()], make)


def _code_sha256() -> list[str]:
    """Of every file that can change a product's bytes."""
    folder = Path(sample.__file__).parent
    return [sha256_of(path) for path in (*sorted(folder.glob("*.py")), Path(bands.__file__))]
