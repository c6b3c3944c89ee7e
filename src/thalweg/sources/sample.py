"""The embedded sample as a source: makes what the store lacks, then links it."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from thalweg import bands, sample
from thalweg.errors import ParamsError
from thalweg.manifest.products import Product
from thalweg.params.fetch import Fetch, Sample, SampleProduct
from thalweg.sources import describe_files, link_tree, sha256_of

MASKS = "masks"
"""Folder of the masks below the raw folder."""


def deliver(options: Fetch, raw: Path, store: Path) -> list[Product]:
    """Makes the products and masks of the section `fetch.sample`, one after the other.

    Raises:
        ParamsError: The section is missing, or names a tile or date that does not exist, or a product twice.
    """
    chosen = options.sample
    if chosen is None:
        raise ParamsError("params.yaml has no options under 'fetch.sample'; add them, or choose another fetch.source")
    if len(set(chosen.products)) < len(chosen.products):
        raise ParamsError("fetch.sample.products names a product twice; remove one of the two from params.yaml")
    for tile in sorted({product.tile for product in chosen.products}):
        _link_mask(chosen, tile, raw, store)
    return [_link_product(chosen, product, raw, store) for product in chosen.products]


def _link_product(chosen: Sample, wanted: SampleProduct, raw: Path, store: Path) -> Product:
    options = {**wanted.model_dump(), **chosen.model_dump(include={"seed", "size_60m_px", "cloud_cover"})}
    safe = _stored(store, options, lambda folder: sample.make_product(folder, **options))
    link_tree(safe, raw / safe.name)
    return Product(name=safe.stem, form="safe", path=safe.name, files=describe_files(raw / safe.name, raw), bands={},
                   scale=1.0, offset=0.0, nodata=None, date=None)  # fmt: skip


def _link_mask(chosen: Sample, tile: str, raw: Path, store: Path) -> None:
    options = {"tile": tile, **chosen.model_dump(include={"seed", "size_60m_px"})}
    mask = _stored(store, options, lambda folder: sample.make_mask(folder, **options))
    link_tree(mask, raw / MASKS / mask.name)


def _stored(store: Path, options: dict[str, object], make: Callable[[Path], Path]) -> Path:
    """The file or folder that `make` makes into a folder, from the store if it is there already.

    It is made beside its place and renamed, so that what an interrupted run leaves is never taken for done.
    """
    said = json.dumps([options, _code_sha256()], sort_keys=True)
    place = store / hashlib.sha256(said.encode()).hexdigest()[:32]
    if not place.is_dir():
        partial = store / f".{place.name}.part"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        make(partial)
        partial.replace(place)
    return next(place.iterdir())


def _code_sha256() -> list[str]:
    """Of every file that can change a product's bytes."""
    folder = Path(sample.__file__).parent
    return [sha256_of(path) for path in (*sorted(folder.glob("*.py")), Path(bands.__file__))]
