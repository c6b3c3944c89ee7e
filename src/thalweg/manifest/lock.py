"""`recipes/<name>.products.json`: the products that a search found, frozen, so that every run fetches exactly these.

It is in git and a dep of fetch. It holds facts of the catalogue only: no credential, no token, no signed address.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from thalweg.errors import LockError, SceneError
from thalweg.manifest import Record, read_record, write_record

ENDING = ".products.json"


class LockedChecksum(Record):
    """What the provider states of a file's content."""

    algorithm: str
    """`MD5`, `BLAKE3`, `SHA3-256`, …, as the provider writes it."""
    value: str
    """Hexadecimal."""


class LockedProduct(Record):
    """One product as the catalogue described it on the day of the lock."""

    id: str
    """The provider's own."""
    name: str = Field(pattern=r"^\w[\w.+-]*$")
    """Without `.SAFE`; one name, so that a lock cannot write elsewhere."""
    tile: str | None
    """MGRS tile, `T20KNA`."""
    sensing_time: str
    """ISO 8601, UTC."""
    baseline: str | None
    """Processing baseline, `05.11`."""
    level: str | None
    """`L2A` or `L1C`."""
    cloud_cover: float | None
    """Percent of the measured pixels, as the provider states it."""
    coverage: float | None
    """Share of the tile (of its part in the searched area) that the footprint covers, 0 … 1."""
    size: int | None
    """Bytes of the whole product; None where the catalogue does not know."""
    s3_path: str | None
    """`/eodata/…/<name>.SAFE`; cannot be told from the name."""
    checksum: LockedChecksum | None
    """Of the whole zip; many older products have none."""
    facts: dict[str, Any]
    """What only one source needs: assets, offsets, …"""


class Lock(Record):
    """A search and what it found, sorted by name."""

    source: str
    """As `fetch.source`."""
    query: dict[str, Any]
    """What was asked: `fetch.options.search` and `fetch.options.products`; fetch refuses a lock of another question."""
    products: tuple[LockedProduct, ...]


def read_lock(path: Path, source: str, query: dict[str, Any]) -> Lock:
    """The lock that a source was given.

    Args:
        path: `fetch.input`.
        source: Name of the source that reads it.
        query: What params.yaml asks for now.

    Raises:
        LockError: The file is missing, empty or broken, belongs to another source, or answers another question.
    """
    remedy = "run `thalweg lock`"
    try:
        lock = read_record(Lock, path, remedy)
    except SceneError as error:
        raise LockError(str(error)) from error
    if lock.source != source:
        raise LockError(f"{path} is a lock of source '{lock.source}', but fetch.source is '{source}'; {remedy}")
    if not lock.query and not lock.products:
        raise LockError(f"{path} names no product yet; {remedy} once (it needs no account), then commit the file")
    if lock.query != query:
        changed = sorted(key for key in {*lock.query, *query} if lock.query.get(key) != query.get(key))
        raise LockError(
            f"{path} answers another question than params.yaml asks now (fetch.options.{', '.join(changed)} differs); "
            f"{remedy} to search again, or undo the change"
        )
    return lock


def write_lock(lock: Lock, path: Path) -> None:
    """Writes a lock, products sorted by name, whole or not at all."""
    ordered = tuple(sorted(lock.products, key=lambda product: product.name))
    write_record(lock.model_copy(update={"products": ordered}), path)


@dataclass(frozen=True)
class Found:
    """What a source's search finds: the lock that it would write, and what a person wants to know beside it."""

    lock: Lock
    left_out: tuple[tuple[str, str], ...]
    """Product name, why it is not taken."""
    bytes_moved: dict[str, int]
    """Product name → bytes that a fetch into an empty store would move, about."""
