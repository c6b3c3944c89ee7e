"""CDSE's own STAC: the product's files one by one at 10, 20 or 60 m, with an account, delivered as a SAFE folder.

The traps: `raster:offset` −0.1 stands at every asset of every baseline, at AOT and WVP too, so it is not read; the
product's XML, which comes along, says the offset when the product is read. The address of MTD_TL.xml has an empty node
name, so addresses are made from product id and path. XML checksums say MD5 with 32 bytes and are SHA3-256.
Source: template stac_s2l2a.py of eu-cdse/eometadatatool; recorded items.
"""

import re
from pathlib import PurePosixPath

from thalweg.errors import CatalogueError
from thalweg.manifest.items import ItemFacts, LockedAsset
from thalweg.stac.item import FoundItem, Item, WantedAssets, checksum

TILE = ("grid:code", "MGRS-")
HOST = "https://download.dataspace.copernicus.eu/odata/v1"
_METADATA = ("safe_manifest", "product_metadata", "granule_metadata")
_OFFSET_FROM = (
    "MTD_MSIL2A.xml when the product is read; the item's raster:offset is the same for every baseline and is not used"
)
_PRODUCT_ID = re.compile(r"Products\(([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\)")


def read_item(item: Item, wanted: WantedAssets) -> FoundItem:
    """The item with its metadata and the wanted bands.

    Raises:
        CatalogueError: A band is missing at that resolution, or a file's place is not stated as it should be.
    """
    keys = [(None, key) for key in _METADATA] + [(band, f"{band}_{wanted.resolution_m}m") for band in wanted.bands]
    facts = ItemFacts(form="safe", offset=None, offset_from=_OFFSET_FROM,
                      assets=tuple(_asset(item, band, key) for band, key in keys))  # fmt: skip
    return FoundItem(item.to_entry(item.id, facts), facts)


def node_url(product_id: str, path: str) -> str:
    """Address of one file by Nodes; names stand unquoted. Source: CDSE documentation, OData, Listing product nodes."""
    nodes = "".join(f"/Nodes({name})" for name in PurePosixPath(path).parts)
    return f"{HOST}/Products({product_id}){nodes}/$value"


def _asset(item: Item, band: str | None, key: str) -> LockedAsset:
    asset = item.asset(key)
    address = str(asset.get("alternate", {}).get("https", {}).get("href", ""))
    product, path = _PRODUCT_ID.search(address), PurePosixPath(str(asset.get("file:local_path", "")))
    if product is None or not path.parts or path.parts[0] != f"{item.id}.SAFE" or ".." in path.parts:
        raise CatalogueError(
            f"{item.catalogue}: item {item.id} does not say where its asset '{key}' lies (address {address!r}, path "
            f"{path.as_posix()!r}); fetch the product by source copernicus"
        )
    return LockedAsset(band=band, path="/".join(path.parts[1:]), url=node_url(product[1], path.as_posix()),
                       size=asset.get("file:size"), checksum=checksum(asset))  # fmt: skip
