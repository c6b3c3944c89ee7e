"""Element 84's Earth Search: COGs without an account.

The trap: in `sentinel-2-l2a` the offset was removed from the pixels of most items of baseline 04.00 and later
(`earthsearch:boa_offset_applied: true`), while `raster:bands` of the same assets still states an offset of −0.1;
whoever applies that darkens everything by 1000. The flag is believed, and the lock states the contradiction. In
`sentinel-2-c1-l2a` the pixels are as delivered, and `raster:bands` is right.
Source: issues 24, 56, 66 and 71 of Element84/earth-search, 41 of the same for collection 1.
"""

from collections.abc import Mapping
from typing import Any

from thalweg.errors import CatalogueError
from thalweg.manifest.items import SCALE, ItemFacts
from thalweg.stac.item import (
    OFFSET_DN,
    FoundItem,
    Item,
    WantedAssets,
    baseline,
    has_offset,
    to_asset,
)

TILE = ("grid:code", "MGRS-")
"""Property that names the tile, and what stands before its name."""
_KEYS = {
    "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge1", "B06": "rededge2",
    "B07": "rededge3", "B08": "nir", "B8A": "nir08", "B09": "nir09", "B11": "swir16", "B12": "swir22", "SCL": "scl",
}  # fmt: skip


def read_item(item: Item, wanted: WantedAssets) -> FoundItem:
    """The item with the wanted bands.

    Raises:
        CatalogueError: A band is missing, or the offset cannot be concluded.
    """
    bands = {band: item.asset(_KEYS.get(band, band)) for band in wanted.bands}
    offset, reason = conclude_offset(item, {band: asset for band, asset in bands.items() if band != "SCL"})
    assets = tuple(to_asset(band, f"{band}.tif", asset) for band, asset in bands.items())
    facts = ItemFacts(form="folder", offset=offset, offset_from=reason, assets=assets)
    return FoundItem(item.to_entry(str(item.property("s2:product_uri")), facts), facts)


def conclude_offset(item: Item, bands: Mapping[str, Mapping[str, Any]]) -> tuple[float, str]:
    """Offset still to be applied to the pixels, digital numbers, and why.

    Raises:
        CatalogueError: The metadata leave it open.
    """
    said = baseline(item.property("s2:processing_baseline"), item)
    applied = item.optional("earthsearch:boa_offset_applied")
    stated = {_stated(asset) for asset in bands.values()}
    if applied is True:
        contradiction = f"; raster:bands states {_words(stated)}, which is ignored" if stated - {0.0, None} else ""
        return 0.0, f"earthsearch:boa_offset_applied is true: already in the pixels{contradiction}"
    if not has_offset(said):
        return 0.0, f"baseline {said} has no offset"
    if stated == {OFFSET_DN}:
        return OFFSET_DN, f"baseline {said}, boa_offset_applied is {applied}, raster:bands states {OFFSET_DN:g}"
    raise CatalogueError(
        f"{item.catalogue}: item {item.id} of baseline {said} states boa_offset_applied {applied} and the offset "
        f"{_words(stated)} in raster:bands, so nobody knows whether {OFFSET_DN:g} is still to be applied; take another "
        "product, or the catalogue cdse, whose products state it in their XML"
    )


def _stated(asset: Mapping[str, Any]) -> float | None:
    """Offset of `raster:bands` (STAC 1.0) or `bands` (STAC 1.1) in digital numbers."""
    first = (asset.get("raster:bands") or asset.get("bands") or [{}])[0]
    offset = first.get("offset", first.get("raster:offset", asset.get("raster:offset")))
    return None if offset is None else round(float(offset) / SCALE, 3)


def _words(stated: set[float | None]) -> str:
    return " and ".join(sorted("none" if offset is None else f"{offset:g}" for offset in stated)) or "none"
