"""Source `copernicus`: exactly the products of a lock from the Copernicus Data Space, and of them only wanted bands.

`thalweg lock` searches and writes `fetch.input`; fetch takes what that names, verified by size and checksum, and says
if the catalogue has since deleted or replaced a product. A successor is named, never taken.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from thalweg.copernicus.account import Account
from thalweg.copernicus.choose import choose, lock_entry
from thalweg.copernicus.hosts import Hosts, Patience
from thalweg.copernicus.keys import Wish, parse_wish
from thalweg.copernicus.manifest_safe import MANIFEST
from thalweg.copernicus.search import Search, read_area
from thalweg.copernicus.store import Piece, fetch_pieces, list_pieces, measure, safe_folder
from thalweg.copernicus.volumes import about_bytes
from thalweg.errors import (
    CatalogueError,
    CredentialsError,
    DegradedDataWarning,
    DiskSpaceError,
    FetchError,
    NotFoundError,
    ThalwegError,
    UnreachableError,
)
from thalweg.http.disk import check_space
from thalweg.http.progress import watch
from thalweg.manifest.lock import Found, Lock, LockedProduct, read_lock
from thalweg.manifest.products import Product
from thalweg.params import Section
from thalweg.sources import describe_files, link_tree

SOURCE = "copernicus"
Folder = Literal["R10m", "R20m", "R60m", "L1C"]


class Options(Section):
    """Products of the Copernicus Data Space: `fetch.options` of the source `copernicus`."""

    section: ClassVar[str] = "fetch"

    search: Search | None
    """What `thalweg lock` looks for, or null where products are named."""
    products: tuple[str, ...] | dict[str, tuple[str, ...]]
    """Products by name, id, or key of tile and discriminator (`T20KNA_20251003T174955`), besides those of the
    search: a list, or named lists of which `groups` are taken."""
    groups: tuple[str, ...]
    """The named lists under `products` that are taken; empty where it is a plain list."""
    bands: dict[Folder, tuple[str, ...]]
    """Folder → bands, `SCL` among them: `R60m: [B01, …, SCL]`; `L1C` for products of that level. Read unless
    `whole_zip`."""
    whole_zip: bool
    """Take each product whole, as the zip that the server makes of it."""
    backend: Literal["https", "s3"]
    """`https` with login and password; `s3` with S3 keys, which resumes files that broke off."""
    hosts: Hosts
    patience: Patience

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        known = tuple(self.products) if isinstance(self.products, dict) else ()
        if strange := [group for group in self.groups if group not in known]:
            raise ValueError(f"groups names '{strange[0]}', but products has {', '.join(known) or 'no named lists'}")
        if self.search is None and not self.named:
            raise ValueError("give a search or products (and groups, where products are named lists)")
        if self.whole_zip and self.backend == "s3":
            raise ValueError("the S3 store has no zips; set backend to https or whole_zip to false")
        if not self.whole_zip and not any(self.bands.values()):
            raise ValueError("bands names no band; give some or set whole_zip")
        return self

    @property
    def wanted(self) -> Mapping[str, Sequence[str]]:
        """Bands by folder; empty for the whole zip."""
        return {} if self.whole_zip else {folder: names for folder, names in self.bands.items() if names}

    @property
    def named(self) -> tuple[str, ...]:
        """All products that are named, each once."""
        if not isinstance(self.products, dict):
            return self.products
        return tuple(dict.fromkeys(text for group in self.groups for text in self.products[group]))

    @property
    def query(self) -> dict[str, Any]:
        """What the lock answers: lists that are not taken do not matter."""
        return {**self.model_dump(mode="json", include={"search"}), "products": list(self.named)}


def deliver(options: Options, given: Path, raw: Path, store: Path) -> list[Product]:
    """Fetches what the store lacks of the locked products, then links it.

    Args:
        options: Which bands, and from where.
        given: The lock.
        raw: Folder to fill.
        store: Holds each product as `<name>.SAFE/` with the files fetched so far, or as `<name>.zip`.

    Raises:
        LockError: The lock is missing or answers another question than the options ask.
        DiskSpaceError: What is missing does not fit on the disk.
        FetchError: Some products could not be had; the others are in the store.
    """
    lock = read_lock(given, SOURCE, options.query)
    account = Account(options.hosts, options.patience, options.backend, store)
    failures: dict[str, ThalwegError] = {}
    pieces: dict[str, list[Piece]] = {}
    for product in lock.products:
        try:
            pieces[product.name] = list_pieces(product, options.wanted, account.way, store)
        except ThalwegError as error:
            failures[product.name] = _explained(error, product, account)
    missing = {name: [one for one in some if not one.is_there] for name, some in pieces.items()}
    coming = [one for some in missing.values() for one in some]
    if coming:
        check_space(store, sum(one.missing_bytes for one in coming))
    with watch(len(coming), sum(one.expected.size or 0 for one in coming)) as progress:
        for product in lock.products:
            try:
                if missing.get(product.name):
                    _check_currency(product, account)
                    fetch_pieces(missing[product.name], account.way, options.patience.connections, progress)
            except ThalwegError as error:
                failures[product.name] = _explained(error, product, account)
    _raise_together(failures, len(lock.products))
    return [_link(product, pieces[product.name], raw, store) for product in lock.products]


def find(options: Options) -> Found:
    """What `thalweg lock` would freeze: the search and the named products. Needs no account.

    Raises:
        CatalogueError: The catalogue has nothing that fits, or a named product is not there.
        ParamsError: A tile, area or product name does not exist.
    """
    catalogue = Account(options.hosts, options.patience, options.backend, Path(".cache/products")).catalogue
    locked: dict[str, LockedProduct] = {}
    left_out: tuple[tuple[str, str], ...] = ()
    if options.search is not None:
        area = read_area(options.search.area)
        chosen = choose(catalogue.search(options.search), options.search, area)
        left_out = chosen.left_out
        locked = {one.entry.id: lock_entry(one.entry, area) for one in chosen.taken}
    for text in options.named:
        entry = catalogue.find(parse_wish(text))
        if not entry.online:
            raise CatalogueError(f"{entry.name} is offline; order it in the Data Workspace, then run `thalweg lock`")
        locked.setdefault(entry.id, lock_entry(entry))
    if not locked:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out[:3])
        raise CatalogueError(f"none of {len(left_out)} products fits ({reasons}); widen fetch.options.search")
    products = tuple(sorted(locked.values(), key=lambda product: product.name))
    moved = {product.name: about_bytes(product, options.wanted) for product in products}
    return Found(Lock(source=SOURCE, query=options.query, products=products), left_out, moved)


def plan(options: Options, given: Path, store: Path) -> dict[str, tuple[int, int]]:
    """Product name → bytes that a fetch would move now, and bytes of all wanted files. Needs no account.

    Raises:
        LockError: The lock is missing or answers another question.
        ProductError: A product lacks a wanted band.
    """
    lock = read_lock(given, SOURCE, options.query)
    account = Account(options.hosts, options.patience, options.backend, store)
    return {product.name: _planned(product, options, account, store) for product in lock.products}


_OF_ALL = (DiskSpaceError, CredentialsError)
"""What would befall every other product too."""


def _planned(product: LockedProduct, options: Options, account: Account, store: Path) -> tuple[int, int]:
    _check_currency(product, account)
    return measure(product, options.wanted, account.way, store)


def _check_currency(product: LockedProduct, account: Account) -> None:
    """Says if the catalogue has replaced a product.

    Raises:
        CatalogueError: It has deleted it, or put it offline.
    """
    catalogue = account.catalogue
    entry, successors = catalogue.current(product)
    if entry is None:
        raise CatalogueError(catalogue.explain_absence(Wish("id", product.id)))
    if not entry.online:
        raise CatalogueError(f"{product.name} has gone offline; order it in the Data Workspace, then run again")
    if successors:
        warnings.warn(
            f"{product.name} has been succeeded by {', '.join(successors)}; the locked product is fetched, `thalweg "
            "lock` would take the new one",
            DegradedDataWarning,
            stacklevel=2,
        )


def _explained(error: ThalwegError, product: LockedProduct, account: Account) -> ThalwegError:
    """The error, or why the product is not there any more; errors that concern every product are raised at once."""
    if isinstance(error, _OF_ALL):
        raise error
    if isinstance(error, NotFoundError):
        try:
            account.catalogue.find(Wish("id", product.id))
        except (CatalogueError, UnreachableError) as why:
            return why
    return error


def _raise_together(failures: Mapping[str, ThalwegError], count: int) -> None:
    if failures:
        said = "; ".join(f"{name}: {error}" for name, error in failures.items())
        raise FetchError(
            f"{len(failures)} of {count} products could not be fetched, the others are in the store: {said}"
        )


def _link(product: LockedProduct, pieces: Sequence[Piece], raw: Path, store: Path) -> Product:
    folder = safe_folder(product, store)
    zipped = pieces[0].is_whole_zip
    place = raw / (f"{product.name}.zip" if zipped else folder.name)
    if zipped:
        link_tree(pieces[0].target, place)
    else:
        for file in (folder / MANIFEST, *(piece.target for piece in pieces)):
            link_tree(file, place / file.relative_to(folder))
    return Product(name=product.name, form="safe", path=place.name, files=describe_files(place, raw), bands={},
                   scale=1.0, offset=0.0, nodata=None, date=None)  # fmt: skip
