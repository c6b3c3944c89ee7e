"""Source `stac`: Sentinel-2 L2A from Earth Search or Planetary Computer without an account, or from CDSE's own STAC.

`thalweg lock` searches and writes `fetch.input`: items, their files, and the offset that is still to be applied, with
the reason. `fetch` reads that file alone and asks no catalogue. Earth Search and Planetary Computer have COGs at each
band's own resolution, without checksums; CDSE has the product's files at 10, 20 and 60 m, each with size and checksum.
"""

from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from pydantic import Field

from thalweg import bring
from thalweg.copernicus.choose import choose, lock_entry
from thalweg.copernicus.search import Search, read_area
from thalweg.errors import CatalogueError, ParamsError
from thalweg.manifest.items import SCALE, read_facts
from thalweg.manifest.lock import Found, Lock, read_lock
from thalweg.manifest.products import Product
from thalweg.params import Section
from thalweg.sources import describe_files, link_tree
from thalweg.stac import cdse, earth_search, planetary_computer
from thalweg.stac.files import carrier, check_offset, fetch_assets, missing
from thalweg.stac.item import FoundItem, Item, WantedAssets
from thalweg.stac.search import Question, iter_items

SOURCE = "stac"


class Options(Section):
    """Items of a STAC catalogue: `fetch.options` of the source `stac`."""

    section: ClassVar[str] = "fetch"

    catalogue: Literal["earth_search", "planetary_computer", "cdse"]
    """File name in src/thalweg/stac/."""
    url: str = Field(pattern=r"^https?://\S+[^/]$")
    """Landing page: `https://earth-search.aws.element84.com/v1`, `https://planetarycomputer.microsoft.com/api/stac/v1`,
    `https://stac.dataspace.copernicus.eu/v1`."""
    collection: str
    """`sentinel-2-l2a`, or Earth Search's `sentinel-2-c1-l2a`."""
    tokens: str | None
    """Where the right to read is had: Planetary Computer's `https://planetarycomputer.microsoft.com/api/sas/v1/token`,
    CDSE's identity server; null for Earth Search, which needs none."""
    bands: tuple[str, ...] = Field(min_length=1)
    """Sentinel-2 band names, and `SCL`."""
    resolution_m: Literal[10, 20, 60]
    """Which of the product's files CDSE gives; the others have each band at its own resolution alone, whatever stands
    here, and the grid brings bands of several resolutions together."""
    search: Search
    """As for the source `copernicus`; level L2A."""

    @property
    def query(self) -> dict[str, Any]:
        """What the lock answers: all but where tokens are had, which changes no product."""
        return self.model_dump(mode="json", exclude={"tokens"})


class _Catalogue(Protocol):
    """What each file in src/thalweg/stac/ offers."""

    TILE: tuple[str, str]
    """Property that names the MGRS tile, and what stands before its name."""

    def read_item(self, item: Item, wanted: WantedAssets) -> FoundItem:
        """The item with the wanted bands, or a CatalogueError."""


_CATALOGUES: dict[str, _Catalogue] = {
    "earth_search": earth_search,
    "planetary_computer": planetary_computer,
    "cdse": cdse,
}


def find(options: Options) -> Found:
    """What `thalweg lock` would freeze: what is taken, and why each offset is what it is.

    Raises:
        CatalogueError: The catalogue cannot be searched, nothing fits, or an item leaves its offset open.
        ParamsError: The options do not fit each other, or the area cannot be read.
    """
    items, unread = _items(options)
    area = read_area(options.search.area)
    facts = {one.entry.id: one.facts for one in items}
    chosen = choose([one.entry for one in items], options.search, area)
    left_out = (*unread, *chosen.left_out)
    if not chosen.taken:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out[:3]) or "nothing was found"
        raise CatalogueError(
            f"{options.url} has no item of {options.collection} that fits ({reasons}); widen fetch.options.search"
        )
    products = tuple(
        lock_entry(one.entry, area).model_copy(update={"facts": facts[one.entry.id].model_dump(mode="json")})
        for one in chosen.taken
    )
    moved = {product.name: product.size or 0 for product in products}
    return Found(Lock(source=SOURCE, query=options.query, products=products), left_out, moved)


def plan(options: Options, given: Path, store: Path) -> dict[str, tuple[int, int]]:
    """Product name → bytes that a fetch would move now, and bytes of all wanted files, as far as the catalogue knows.

    Raises:
        LockError: The lock is missing or answers another question.
    """
    planned = {}
    for product in read_lock(given, SOURCE, options.query).products:
        assets = read_facts(product).assets
        todo = missing({_folder(options, product.name, store): assets})
        planned[product.name] = sum(asset.size or 0 for asset, _ in todo), sum(asset.size or 0 for asset in assets)
    return planned


def deliver(options: Options, given: Path, raw: Path, store: Path) -> list[Product]:
    """Fetches the files of the lock that the store lacks and links them into `raw`.

    Args:
        options: What the lock must answer.
        given: `fetch.input`, the lock.
        raw: Folder to fill.
        store: Folder that outlives runs.

    Raises:
        LockError: The lock is missing, broken, or answers another question.
        FetchError: Some files could not be had; all others are kept.
        ProductError: A product's XML states another offset than the lock.
        CredentialsError: CDSE does not take the account.
    """
    locked = {product.name: product for product in read_lock(given, SOURCE, options.query).products}
    facts = {name: read_facts(product) for name, product in locked.items()}
    carry = carrier(options.catalogue, options.collection, options.tokens, store)
    folders = {name: _folder(options, name, store) for name in facts}
    fetch_assets({folders[name]: said.assets for name, said in facts.items()}, carry)
    products = []
    for name, said in facts.items():
        check_offset(folders[name], name, said)
        target = raw / (f"{name}.SAFE" if said.form == "safe" else f"products/{name}")
        for asset in said.assets:
            link_tree(folders[name] / asset.path, target / asset.path)
        bands = {asset.band: asset.path for asset in said.assets if asset.band and said.form == "folder"}
        products.append(Product(
            name=name, form=said.form, path=target.relative_to(raw).as_posix(), files=describe_files(target, raw),
            bands=dict(bands), scale=1.0 if said.form == "safe" else SCALE, offset=said.offset or 0.0,
            nodata=None if said.form == "safe" else 0.0, date=locked[name].sensing_time,
        ))  # fmt: skip
    return products


def _folder(options: Options, name: str, store: Path) -> Path:
    """Of a product in the store: catalogues and collections differ in their pixels."""
    return store / SOURCE / options.catalogue / options.collection / name


def _items(options: Options) -> tuple[list[FoundItem], list[tuple[str, str]]]:
    """Items of the search, and those that cannot be used with the reason: one odd item must not cost the others."""
    if options.search.level != "L2A":
        raise ParamsError("fetch.options.search.level is L1C, but source stac has L2A; use source copernicus")
    catalogue = _CATALOGUES[options.catalogue]
    wanted = WantedAssets(options.bands, options.resolution_m)
    found, unread = [], []
    for raw in iter_items(Question(options.url, options.collection, catalogue.TILE, options.search), bring.PATIENCE):
        item = Item(raw, options.catalogue)
        try:
            found.append(catalogue.read_item(item, wanted))
        except CatalogueError as error:
            unread.append((item.id, str(error)))
    return found, unread
