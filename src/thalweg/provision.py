"""`thalweg search`, `lock` and `fetch --dry-run`: what a recipe's source would fetch, before it does."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from thalweg import sources
from thalweg.errors import ParamsError
from thalweg.http.disk import MARGIN, free_bytes
from thalweg.manifest.lock import ENDING, Found, write_lock
from thalweg.params.fetch import Fetch

STORE = Path(".cache/products")


class Searching(Protocol):
    """What a source offers besides `deliver` if its products are found by a search and frozen in a lock."""

    def find(self, options: Any) -> Found:
        """What `thalweg lock` would freeze. Needs no account."""
        ...

    def plan(self, options: Any, given: Path, store: Path) -> dict[str, tuple[int, int]]:
        """Product name → bytes that a fetch would move now, and bytes of all wanted files. Needs no account."""
        ...


def find_products(fetch: Fetch, params_file: Path) -> Found:
    """Asks the catalogue of the recipe's source.

    Raises:
        ParamsError: The source has no catalogue, or its options do not fit.
        CatalogueError: Nothing fits.
    """
    return _searching(fetch).find(sources.read_options(fetch, params_file))


def freeze(fetch: Fetch, params_file: Path) -> tuple[Path, Found]:
    """Searches and writes the lock that `fetch.input` names.

    Raises:
        ParamsError: `fetch.input` is no name for a lock, or as `find_products`.
        CatalogueError: Nothing fits.
    """
    path = Path(fetch.input)
    if not path.name.endswith(ENDING):
        raise ParamsError(f"fetch.input is '{path}', expected the lock recipes/<name>{ENDING}; correct {params_file}")
    found = find_products(fetch, params_file)
    write_lock(found.lock, path)
    return path, found


def plan_fetch(fetch: Fetch, params_file: Path) -> dict[str, tuple[int, int]]:
    """Product name → bytes that fetch would move now, and bytes of all wanted files.

    Raises:
        ParamsError: The source moves nothing over the network, or its options do not fit.
        LockError: The lock is missing or answers another question.
    """
    options = sources.read_options(fetch, params_file)
    return _searching(fetch).plan(options, Path(fetch.input), STORE)


def iter_found(found: Found, verbose: bool) -> Iterator[str]:
    """Lines of a table of what a search takes, and of what it leaves out and why."""
    products = found.lock.products
    wide = max((len(one.name) for one in products), default=4)
    yield f"{'name':<{wide}}  date        cloud %  cover %  baseline  size MB  moves MB"
    for one in products:
        yield (
            f"{one.name:<{wide}}  {one.sensing_time[:10]}  {_number(one.cloud_cover):>7}  "
            f"{_number(one.coverage, 100):>7}  {one.baseline or '?':>8}  {_megabytes(one.size):>7}  "
            f"{_megabytes(found.bytes_moved.get(one.name)):>8}"
        )
    moved = _megabytes(sum(found.bytes_moved.values()))
    yield f"{len(products)} products, about {moved} MB to move; {len(found.left_out)} left out"
    if verbose:
        yield from (f"left out {name}: {reason}" for name, reason in found.left_out)


def iter_plan(needs: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Lines of a table of bytes per product, and the disk that the fetch needs and finds."""
    wide = max((len(name) for name in needs), default=4)
    yield f"{'name':<{wide}}  moves MB  on disk MB"
    for name, (missing, total) in needs.items():
        yield f"{name:<{wide}}  {_megabytes(missing):>8}  {_megabytes(total):>10}"
    missing, total = (sum(pair[part] for pair in needs.values()) for part in (0, 1))
    free = free_bytes(STORE)
    verdict = "enough" if free > missing + MARGIN else "NOT enough: make room before you fetch"
    yield (
        f"{len(needs)} products: {_megabytes(missing)} MB to move, {_megabytes(total)} MB on disk in the end; "
        f"{_megabytes(free)} MB are free, {verdict}"
    )


def _searching(fetch: Fetch) -> Searching:
    source = sources.load(fetch.source)
    if not all(hasattr(source, name) for name in ("find", "plan")):
        raise ParamsError(
            f"source '{fetch.source}' has no catalogue to search, so there is nothing to lock or to plan; "
            "`dvc repro fetch` delivers it"
        )
    return cast(Searching, source)


def _number(value: float | None, factor: float = 1) -> str:
    return "?" if value is None else f"{value * factor:.1f}"


def _megabytes(count: int | None) -> str:
    return f"{count / 1e6:.1f}" if count else ("?" if count is None else "0.0")
