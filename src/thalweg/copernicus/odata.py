"""Questions to the OData catalogue as text, and its answers as records: no network here.

Source: Copernicus Data Space documentation, APIs/OData.
"""

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from thalweg.copernicus.keys import bare_tile
from thalweg.copernicus.search import Search, to_wkt
from thalweg.errors import CatalogueError
from thalweg.manifest.lock import LockedChecksum

PAGE = 1000
"""Most rows that one answer may have."""
WINDOW = 10_000
"""Rows after which the catalogue stops giving a next link, without a word."""
_COLLECTION = "Collection/Name eq 'SENTINEL-2'"
_DIGITS = {"MD5": 32, "SHA3-256": 64, "SHA256": 64, "SHA-256": 64}
"""Checksums that the standard library computes; the catalogue also states BLAKE3, always beside MD5."""


@dataclass(frozen=True)
class Entry:
    """One product as the catalogue describes it."""

    id: str
    name: str
    """Without `.SAFE`."""
    size: int | None
    """Bytes; None where the catalogue says 0."""
    online: bool
    s3_path: str | None
    checksum: LockedChecksum | None
    footprint: BaseGeometry | None
    """Degrees."""
    cloud_cover: float | None
    """Percent."""
    deletion: str | None
    """Why and when it was deleted; None for a product that is there."""


def filter_search(search: Search, area: BaseGeometry | None, start: datetime.datetime, end: datetime.datetime) -> str:
    """The `$filter` of a search over the half-open span of time [start, end)."""
    parts = [
        _COLLECTION,
        _attribute("String", "productType", "eq", f"'S2MSI{search.level[1:]}'"),
        f"ContentDate/Start ge {instant(start)}",
        f"ContentDate/Start lt {instant(end)}",
    ]
    if search.tiles:
        tiles = [_attribute("String", "tileId", "eq", f"'{bare_tile(tile)}'") for tile in search.tiles]
        parts.append(f"({' or '.join(tiles)})" if len(tiles) > 1 else tiles[0])
    if area is not None:
        parts.append(f"OData.CSC.Intersects(area=geography'SRID=4326;{to_wkt(area)}')")
    if search.cloud_cover_max < 100:
        parts.append(_attribute("Double", "cloudCover", "le", f"{search.cloud_cover_max:.2f}"))
    return " and ".join(parts)


def filter_name(name: str) -> str:
    """The `$filter` of one product by its name, with or without `.SAFE`."""
    return f"Name eq '{name.removesuffix('.SAFE')}.SAFE'"


def filter_key(key: str) -> str:
    """The `$filter` of the products of level 2A that a key of tile and discriminator may mean."""
    tile, _, _ = key.partition("_")
    tiles = _attribute("String", "tileId", "eq", f"'{bare_tile(tile)}'")
    return f"{_COLLECTION} and {tiles} and contains(Name,'MSIL2A') and contains(Name,'_{key}')"


def filter_acquisition(tile: str, level: str, sensing: datetime.datetime) -> str:
    """The `$filter` of all processings of one acquisition."""
    minute = datetime.timedelta(minutes=1)
    tiles = _attribute("String", "tileId", "eq", f"'{bare_tile(tile)}'")
    return (
        f"{_COLLECTION} and {tiles} and "
        f"contains(Name,'MSI{level}_{sensing:%Y%m%dT%H%M%S}_') and "
        f"ContentDate/Start ge {instant(sensing - minute)} and ContentDate/Start lt {instant(sensing + minute)}"
    )


def products_url(base: str, where: str, entity: str = "Products") -> str:
    """The address of the first page of an answer, ordered so that paging loses nothing."""
    query = {"$filter": where, "$orderby": "ContentDate/Start asc", "$top": str(PAGE), "$expand": "Attributes"}
    return f"{base}/{entity}?{urlencode(query, quote_via=quote)}"


def instant(time: datetime.datetime) -> str:
    """`2025-10-03T00:00:00.000Z`: a bare literal, since a prefix is an error and no time means midnight."""
    return f"{time.astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"


def read_page(answer: Any, url: str) -> tuple[list[Entry], str | None]:
    """The products of one page, and the address of the next or None.

    Raises:
        CatalogueError: The answer is no page of products.
    """
    rows = answer.get("value") if isinstance(answer, Mapping) else None
    if not isinstance(rows, list):
        raise CatalogueError(
            f"{_short(url)} answered {type(answer).__name__} without a list 'value' ({str(answer)[:120]}); the service "
            "is disturbed or fetch.options.hosts.catalogue is wrong, try again later"
        )
    link = answer.get("@odata.nextLink")
    return [read_entry(row, url) for row in rows], link if isinstance(link, str) else None


def read_entry(row: Any, url: str) -> Entry:
    """One product.

    Raises:
        CatalogueError: It lacks its id or name.
    """
    if not isinstance(row, Mapping) or not isinstance(row.get("Id"), str) or not isinstance(row.get("Name"), str):
        raise CatalogueError(f"{_short(url)} lists a product without Id or Name ({str(row)[:120]}); try again later")
    said = row.get("Attributes")
    attributes = {item.get("Name"): item.get("Value") for item in said or [] if isinstance(item, Mapping)}
    cloud, size = attributes.get("cloudCover"), row.get("ContentLength")
    return Entry(
        id=row["Id"],
        name=row["Name"].removesuffix(".SAFE"),
        size=size if isinstance(size, int) and size > 0 else None,
        online=row.get("Online") is not False,
        s3_path=row.get("S3Path") or None,
        checksum=_checksum(row.get("Checksum")),
        footprint=_footprint(row.get("GeoFootprint")),
        cloud_cover=float(cloud) if isinstance(cloud, int | float) else None,
        deletion=f"{row.get('DeletionCause') or 'no cause given'}, {row['DeletionDate']}"
        if row.get("DeletionDate") else None,
    )  # fmt: skip


def _checksum(said: Any) -> LockedChecksum | None:
    """The first that is whole and can be computed; older products have `[]` or `[{}]`."""
    for item in said if isinstance(said, list) else []:
        algorithm, value = (item.get("Algorithm"), item.get("Value")) if isinstance(item, Mapping) else (None, None)
        digits = _DIGITS.get(str(algorithm).upper())
        if isinstance(value, str) and digits and re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", value):
            return LockedChecksum(algorithm=str(algorithm), value=value.lower())
    return None


def _footprint(said: Any) -> BaseGeometry | None:
    try:
        found = shape(said) if isinstance(said, dict) else None
    except (ValueError, KeyError, TypeError, AttributeError, ShapelyError):
        return None
    return found if found is None or found.is_valid else found.buffer(0)


def _attribute(kind: str, name: str, operator: str, value: str) -> str:
    return (
        f"Attributes/OData.CSC.{kind}Attribute/any(att:att/Name eq '{name}' and "
        f"att/OData.CSC.{kind}Attribute/Value {operator} {value})"
    )


def _short(url: str) -> str:
    return url.partition("?")[0]
