"""An item's common ground: properties and assets read with errors that name the item, checksums, baselines."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shapely.errors import ShapelyError
from shapely.geometry import shape

from thalweg.copernicus.odata import Entry
from thalweg.errors import CatalogueError
from thalweg.manifest.items import ItemFacts, LockedAsset

OFFSET_DN = -1000.0
"""Radiometric offset of Sentinel-2 L2A. Source: ESA, processing baseline 04.00 (25 January 2022)."""
OFFSET_SINCE = (4, 0)
_CODES = {"1220": ("sha256", 64), "1620": ("sha3-256", 64), "1114": ("sha1", 40), "d50110": ("md5", 32),
          "d50120": ("sha3-256", 64)}  # fmt: skip
"""Multihash prefix → algorithm and digits. `d50120` says MD5 with 32 bytes, which MD5 has not: CDSE writes SHA3-256 so.

Source: https://github.com/multiformats/multicodec (sha2-256 0x12, sha3-256 0x16, sha1 0x11, md5 0xd5).
"""


@dataclass(frozen=True)
class WantedAssets:
    """What a recipe wants of each item."""

    bands: tuple[str, ...]
    """Sentinel-2 band names and `SCL`."""
    resolution_m: int
    """Of the product's files; catalogues of COGs have each band at its own alone."""


@dataclass(frozen=True)
class FoundItem:
    """An item that a search found."""

    entry: Entry
    facts: ItemFacts


@dataclass(frozen=True)
class Item:
    """A STAC item as its JSON."""

    raw: Mapping[str, Any]
    catalogue: str

    @property
    def id(self) -> str:
        """In its catalogue."""
        return str(self.raw.get("id", "?"))

    def property(self, name: str) -> Any:
        """One property.

        Raises:
            CatalogueError: It is missing or null.
        """
        value = self.raw.get("properties", {}).get(name)
        if value is None:
            raise CatalogueError(
                f"{self.catalogue}: item {self.id} has no property '{name}'; leave it out by narrowing "
                "fetch.options.search"
            )
        return value

    def to_entry(self, name: str, facts: ItemFacts) -> Entry:
        """The item as the rules of a search see it.

        Args:
            name: Product name as its producer wrote it, with or without `.SAFE`.
            facts: Its files; the size is known where each file's is.

        Raises:
            CatalogueError: Its footprint is none.
        """
        sizes = [asset.size for asset in facts.assets]
        known = [size for size in sizes if size is not None]
        cloud = self.optional("eo:cloud_cover")
        try:
            footprint = shape(self.raw["geometry"])
        except (ShapelyError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise CatalogueError(
                f"{self.catalogue}: item {self.id} has no footprint ({type(error).__name__}); leave it out by "
                "narrowing fetch.options.search"
            ) from error
        return Entry(id=self.id, name=name.removesuffix(".SAFE"), size=sum(known) if len(known) == len(sizes) else None,
                     online=True, s3_path=None, checksum=None, footprint=footprint,
                     cloud_cover=None if cloud is None else float(cloud), deletion=None)  # fmt: skip

    def optional(self, name: str) -> Any:
        """One property, or None."""
        return self.raw.get("properties", {}).get(name)

    def asset(self, key: str) -> Mapping[str, Any]:
        """One asset.

        Raises:
            CatalogueError: It is not there.
        """
        assets = self.raw.get("assets", {})
        if key not in assets:
            raise CatalogueError(
                f"{self.catalogue}: item {self.id} has no asset '{key}', it has {', '.join(sorted(assets)) or 'none'}; "
                "correct fetch.options.bands or resolution_m"
            )
        found: Mapping[str, Any] = assets[key]
        return found


def checksum(asset: Mapping[str, Any]) -> str | None:
    """`file:checksum`, a multihash, as `<algorithm>:<hexadecimal>`; None where there is none or its kind is unknown."""
    stated = str(asset.get("file:checksum", "")).lower()
    for prefix, (algorithm, digits) in _CODES.items():
        if stated.startswith(prefix) and len(stated) == len(prefix) + digits:
            return f"{algorithm}:{stated[len(prefix) :]}"
    return None


def to_asset(band: str | None, path: str, asset: Mapping[str, Any]) -> LockedAsset:
    """An asset whose `href` is its address, as the lock holds it: without a query, which may be a signature."""
    url = str(asset["href"]).partition("?")[0]
    return LockedAsset(band=band, path=path, url=url, size=asset.get("file:size"), checksum=checksum(asset))


def baseline(text: object, item: Item) -> str:
    """A baseline as `05.11`, whether it was written `05.11`, `5.11` or `N0511`.

    Raises:
        CatalogueError: It is neither.
    """
    match = re.fullmatch(r"N?(\d{1,2})\.?(\d{2})", str(text))
    if match is None:
        raise CatalogueError(
            f"{item.catalogue}: item {item.id} states the baseline {text!r}, so its offset is unknown; leave it out by "
            "narrowing fetch.options.search"
        )
    return f"{int(match[1]):02d}.{match[2]}"


def has_offset(baseline_text: str) -> bool:
    """Whether a product of this baseline was delivered with the offset."""
    return tuple(int(part) for part in baseline_text.split(".")) >= OFFSET_SINCE
