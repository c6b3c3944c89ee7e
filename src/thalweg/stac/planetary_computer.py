"""Microsoft's Planetary Computer: COGs without an account, behind short-lived signatures.

The trap: pixels are as delivered, so products of baseline 04.00 and later still hold the offset, next to older ones in
the same search, and no item says so. The baseline of the item decides, and the product's XML, which is fetched with the
bands, must agree before the product is delivered.
Source: https://planetarycomputer.microsoft.com/dataset/sentinel-2-l2a (Baseline Change).
"""

from thalweg.manifest.items import ItemFacts
from thalweg.stac.item import OFFSET_DN, FoundItem, Item, WantedAssets, baseline, has_offset, to_asset

TILE = ("s2:mgrs_tile", "")
METADATA_FILE = "MTD_MSIL2A.xml"
_METADATA = "product-metadata"


def read_item(item: Item, wanted: WantedAssets) -> FoundItem:
    """The item with the wanted bands and the product's XML.

    Raises:
        CatalogueError: A band is missing, or no baseline is stated.
    """
    bands = {band: item.asset(band) for band in wanted.bands}
    said = baseline(item.property("s2:processing_baseline"), item)
    offset = OFFSET_DN if has_offset(said) else 0.0
    reason = f"baseline {said} has {f'the offset {offset:g}' if offset else 'no offset'}, pixels are as delivered"
    metadata = to_asset(None, METADATA_FILE, item.asset(_METADATA))
    images = tuple(to_asset(band, f"{band}.tif", asset) for band, asset in bands.items())
    facts = ItemFacts(form="folder", offset=offset, offset_from=f"{reason}; {METADATA_FILE} must agree",
                      assets=(metadata, *images))  # fmt: skip
    return FoundItem(item.to_entry(str(item.property("s2:product_uri")), facts), facts)
