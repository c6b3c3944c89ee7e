"""Where products come from: one file per provider, whose name is its name in params.yaml, and what they share.

A source keeps what it gets in a store and fills the raw folder with hard links out of it, so that there is one copy.
"""

import errno
import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from thalweg import params
from thalweg.errors import ParamsError, ProductError
from thalweg.manifest.products import Product, ProductFile
from thalweg.params import Section
from thalweg.params.fetch import Fetch

_NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.ENOTSUP)


class Source(Protocol):
    """What each module in this folder offers: a model of its options, and `deliver`."""

    Options: type[Section]
    """Of `fetch.options`."""

    def deliver(self, options: Any, given: Path, raw: Path, store: Path) -> list[Product]:
        """Fills `raw` with the products that the options ask for, as hard links out of `store`.

        Args:
            options: The module's own `Options`.
            given: `fetch.input`, the one path that the source reads and DVC tracks.
            raw: The folder to fill; may not exist yet.
            store: Folder that outlives runs; what it holds already is not fetched again.
        """
        ...


def load(name: str) -> Source:
    """The source of that name.

    Raises:
        ParamsError: There is no such file.
    """
    known = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    if name not in known:
        raise ParamsError(
            f"fetch.source is '{name}', but src/thalweg/sources/ has {', '.join(known)}; correct params.yaml"
        )
    return cast(Source, importlib.import_module(f"{__name__}.{name}"))


def read_options(fetch: Fetch, file: Path = params.PARAMS_FILE) -> Section:
    """The source's own options, validated by its own model.

    Raises:
        ParamsError: There is no such source, or an option does not fit.
    """
    return params.parse(load(fetch.source).Options, fetch.options, "fetch.options", file)


def fetch_products(fetch: Fetch, raw: Path, store: Path) -> list[Product]:
    """All products that the options ask for, delivered into `raw` by their source.

    Raises:
        ParamsError: There is no such source, or its options do not fit.
        ProductError: It delivered nothing.
    """
    raw.mkdir(parents=True, exist_ok=True)
    options = read_options(fetch)
    products = load(fetch.source).deliver(options, Path(fetch.input), raw, store)
    if not products:
        raise ProductError(
            f"source '{fetch.source}' delivered no product from {fetch.input}; "
            "put products there or correct 'fetch' in params.yaml"
        )
    return products


def link_tree(source: Path, target: Path) -> None:
    """Makes `target` the same file or folder as `source` by hard links; copies where the file system has none."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for entry in sorted(source.iterdir()):
            link_tree(entry, target / entry.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(source, target)


def kept_in_store(store: Path, said: object, make: Callable[[Path], Path]) -> Path:
    """The file or folder that `make` makes into a folder, from the store if it is there already.

    It is made beside its place and renamed, so that what an interrupted run leaves is never taken for done.

    Args:
        store: Folder that outlives runs.
        said: Whatever decides the bytes, as JSON can write it.
        make: Makes it into the folder that it is given.
    """
    place = store / hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]
    if not place.is_dir():
        partial = store / f".{place.name}.part"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        make(partial)
        partial.replace(place)
    return next(place.iterdir())


def describe_files(product: Path, raw: Path) -> tuple[ProductFile, ...]:
    """Path below `raw`, size and SHA-256 of a product's file or of all files of its folder, sorted by path."""
    files = [product] if product.is_file() else sorted(path for path in product.rglob("*") if path.is_file())
    return tuple(
        ProductFile(path=file.relative_to(raw).as_posix(), size=file.stat().st_size, sha256=sha256_of(file))
        for file in files
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
