"""The OData catalogue: searches page by page, single products, deleted ones and their successors. Needs no account."""

import datetime
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from shapely.geometry.base import BaseGeometry

from thalweg.copernicus import odata
from thalweg.copernicus.keys import ProductName, Wish, parse_name
from thalweg.copernicus.odata import Entry
from thalweg.copernicus.search import Search, read_area, spans
from thalweg.errors import CatalogueError, NotFoundError
from thalweg.manifest.lock import LockedProduct

_SHORTEST = datetime.timedelta(seconds=1)


class Asks(Protocol):
    """What the catalogue needs of `thalweg.http.session.Session`."""

    def json(self, method: str, url: str) -> Any:
        """The decoded answer.

        Raises:
            NotFoundError: The server answers 404.
        """
        ...


class Catalogue:
    """Questions to the catalogue behind one base address.

    Args:
        session: Asks over HTTP, with its own patience.
        base: `https://catalogue.dataspace.copernicus.eu/odata/v1`.
        window: Rows that one walk over the pages may reach.
    """

    def __init__(self, session: Asks, base: str, window: int = odata.WINDOW) -> None:
        self._session, self._base, self._window = session, base, window

    def search(self, search: Search) -> list[Entry]:
        """Every product that a search may take, once each.

        Raises:
            CatalogueError: Nothing fits; the message names the filter.
            ParamsError: A tile or the area does not exist.
        """
        area = read_area(search.area)
        found: dict[str, Entry] = {}
        filters = []
        for start, end in spans(search):
            filters.append(odata.filter_search(search, area, start, end))
            found.update((entry.id, entry) for entry in self._between(search, area, start, end))
        if not found:
            raise CatalogueError(
                f"the catalogue has no product for {' or '.join(filters)}; widen fetch.options.search in params.yaml"
            )
        return list(found.values())

    def find(self, wish: Wish) -> Entry:
        """The one product that a name, id or key means.

        Raises:
            CatalogueError: There is none, or a key means several; if it was deleted, the message says when, why and
                what succeeds it.
        """
        found = self._by_id(wish.value) if wish.kind == "id" else self._list(_filter_of(wish))
        if not found:
            raise CatalogueError(self.explain_absence(wish))
        if len({entry.id for entry in found}) > 1:
            names = ", ".join(sorted(entry.name for entry in found))
            raise CatalogueError(f"'{wish.value}' means several products: {names}; name one by its full name or id")
        return found[0]

    def explain_absence(self, wish: Wish) -> str:
        """Why a product is not there, as the catalogue of deleted products tells it, and what succeeds it.

        A successor is named, never taken.
        """
        deleted = self._deleted(wish)
        if deleted is None:
            return (
                f"the catalogue has no product '{wish.value}', and none was deleted under it; correct "
                "fetch.options.products, or run `thalweg lock`"
            )
        successors = ", ".join(self.successors(deleted)) or "nothing so far"
        return (
            f"the catalogue has deleted {deleted.name} ({deleted.deletion}); it is succeeded by {successors}; run "
            "`thalweg lock` to take that, or give the product from a copy of your own with source 'local'"
        )

    def current(self, product: LockedProduct) -> tuple[Entry | None, list[str]]:
        """A locked product as the catalogue has it now, None if it is gone, and what has succeeded it."""
        same = self._processings(product.name)
        entry = next((one for one in same if one.id == product.id), None)
        return entry or next(iter(self._by_id(product.id)), None), _newer(same, product.id, product.name)

    def successors(self, entry: Entry) -> list[str]:
        """Names of newer processings of the same acquisition, the newest first."""
        return _newer(self._processings(entry.name), entry.id, entry.name)

    def _processings(self, name: str) -> list[Entry]:
        parts = parse_name(name)
        return self._list(odata.filter_acquisition(parts.tile, parts.level, parts.sensing))

    def _between(
        self, search: Search, area: BaseGeometry | None, start: datetime.datetime, end: datetime.datetime
    ) -> list[Entry]:
        """All products of a span; a span that fills the window is halved, since what lies beyond is cut off silently.

        Raises:
            CatalogueError: A second alone fills the window.
        """
        found = self._list(odata.filter_search(search, area, start, end))
        if len(found) < self._window:
            return found
        if end - start <= _SHORTEST:
            raise CatalogueError(
                f"the catalogue has {len(found)} or more products at {odata.instant(start)}, the most it lists; "
                "narrow fetch.options.search by tiles or area"
            )
        middle = start + (end - start) / 2
        middle -= datetime.timedelta(microseconds=middle.microsecond)
        return [*self._between(search, area, start, middle), *self._between(search, area, middle, end)]

    def _list(self, where: str, entity: str = "Products") -> list[Entry]:
        return [entry for page in self._iter_pages(odata.products_url(self._base, where, entity)) for entry in page]

    def _iter_pages(self, url: str) -> Iterator[list[Entry]]:
        seen: set[str] = set()
        link: str | None = url
        while link is not None:
            if link in seen:
                raise CatalogueError(f"the catalogue's next link leads back to {link}; try again later")
            seen.add(link)
            page, link = odata.read_page(self._session.json("GET", link), link)
            yield page
            link = link if page else None

    def _by_id(self, product_id: str) -> list[Entry]:
        url = f"{self._base}/Products({product_id})?%24expand=Attributes"
        try:
            return [odata.read_entry(self._session.json("GET", url), url)]
        except NotFoundError:
            return []

    def _deleted(self, wish: Wish) -> Entry | None:
        where = f"Id eq '{wish.value}'" if wish.kind == "id" else _filter_of(wish)
        found = self._list(where, "DeletedProducts")
        return found[0] if found else None


_FILTERS: dict[str, Callable[[str], str]] = {"name": odata.filter_name, "key": odata.filter_key}


def _filter_of(wish: Wish) -> str:
    return _FILTERS[wish.kind](wish.value)


def _newer(entries: list[Entry], product_id: str, name: str) -> list[str]:
    mine = parse_name(name)
    others = {one.name: parse_name(one.name) for one in entries if one.id != product_id}
    newer = {
        other: parts for other, parts in others.items()
        if parts.acquisition == mine.acquisition and _age(parts) > _age(mine)
    }  # fmt: skip
    return sorted(newer, key=lambda one: _age(newer[one]), reverse=True)


def _age(name: ProductName) -> tuple[int, str]:
    return name.baseline_number, name.discriminator
