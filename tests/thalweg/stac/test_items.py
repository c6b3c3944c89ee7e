"""Recorded items of three catalogues: files, checksums, and the offset trap of each."""

import copy
import json

import pytest
from replay import FIXTURES, needs_fixtures

from thalweg.copernicus.choose import lock_entry
from thalweg.copernicus.keys import parse_name
from thalweg.errors import CatalogueError, LockError
from thalweg.manifest.items import read_facts
from thalweg.stac import cdse, earth_search, planetary_computer
from thalweg.stac.item import Item, WantedAssets, baseline, checksum, has_offset, to_asset

GROUND = {"type": "Polygon", "coordinates": [[[9, 47], [10, 47], [10, 48], [9, 48], [9, 47]]]}
TEN = WantedAssets(("B02", "B08"), 10)


def features(path: str) -> list[dict]:
    data = json.loads((FIXTURES / path).read_text())
    body = data.get("response", {}).get("body", data)
    return body.get("features", [body])


def made(**properties) -> Item:
    """An Earth Search item, made up."""
    said = {"s2:product_uri": "S2A_MSIL2A_20230101T101010_N0509_R022_T32TMT_20230101T120000.SAFE",
            "grid:code": "MGRS-32TMT", "datetime": "2023-01-01T10:10:10Z", "s2:processing_baseline": "05.09",
            "eo:cloud_cover": 3.5, "s2:nodata_pixel_percentage": 25}  # fmt: skip
    asset = {"href": "https://x/B02.tif", "proj:transform": [10, 0, 0, 0, -10, 0], "raster:bands": [{"offset": -0.1}]}
    return Item(
        {"id": "i", "geometry": GROUND, "properties": said | properties, "assets": {"blue": asset, "nir": asset}},
        "earth_search",
    )


@needs_fixtures
def test_earth_search_offset_is_in_the_pixels_though_the_bands_deny_it():
    items = [earth_search.read_item(Item(raw, "earth_search"), TEN)
             for raw in features("earth_search_stac_paged/01_POST_v1_search.json")]  # fmt: skip
    facts = {parse_name(item.entry.name).baseline: item.facts for item in items}
    assert set(facts) == {"02.14", "05.00"}
    assert {item.facts.offset for item in items} == {0.0}
    assert facts["05.00"].offset_from == ("earthsearch:boa_offset_applied is true: already in the pixels; "
                                          "raster:bands states -1000, which is ignored")  # fmt: skip
    assert facts["02.14"].offset_from == "baseline 02.14 has no offset"
    assert [asset.path for asset in facts["05.00"].assets] == ["B02.tif", "B08.tif"]
    assert items[0].facts.assets[0].url.endswith("/32/T/MT/2020/3/S2A_32TMT_20200305_1_L2A/B02.tif")
    assert items[0].entry.name == "S2A_MSIL2A_20200305T103021_N0500_R108_T32TMT_20230630T022413"


def test_earth_search_collection_1_still_has_the_offset_in_its_pixels():
    facts = earth_search.read_item(made(**{"earthsearch:boa_offset_applied": False}), TEN).facts
    assert (facts.offset, facts.offset_from) == (
        -1000.0, "baseline 05.09, boa_offset_applied is False, raster:bands states -1000"
    )  # fmt: skip


def test_earth_search_item_that_leaves_the_offset_open_is_refused():
    item = made()
    item.raw["assets"]["nir"] = item.raw["assets"]["nir"] | {"raster:bands": [{"offset": 0}]}
    with pytest.raises(
        CatalogueError, match=r"states boa_offset_applied None and the offset -1000 and 0 in raster:bands"
    ):
        earth_search.read_item(item, TEN)


def test_clouds_name_and_footprint_are_taken_over():
    item = earth_search.read_item(made(**{"earthsearch:boa_offset_applied": True}), TEN)
    assert (item.entry.cloud_cover, item.entry.online, item.entry.size) == (3.5, True, None)
    assert item.entry.name == "S2A_MSIL2A_20230101T101010_N0509_R022_T32TMT_20230101T120000"
    assert item.entry.footprint.bounds == (9, 47, 10, 48)


def test_bands_come_at_their_own_resolution_whatever_is_wanted():
    item = made(**{"earthsearch:boa_offset_applied": True})
    assert earth_search.read_item(item, WantedAssets(("B02",), 60)) == earth_search.read_item(
        item, WantedAssets(("B02",), 10)
    )


def test_a_missing_band_names_those_there_are():
    with pytest.raises(
        CatalogueError, match=r"item i has no asset 'scl', it has blue, nir; correct fetch\.options\.bands"
    ):
        earth_search.read_item(made(), WantedAssets(("SCL",), 20))


def test_a_missing_property_is_named():
    with pytest.raises(CatalogueError, match=r"item i has no property 's2:product_uri'; leave it out"):
        earth_search.read_item(made(**{"s2:product_uri": None, "earthsearch:boa_offset_applied": True}), TEN)


@pytest.mark.parametrize("ground", [None, {}, {"type": "Polygon"}, {"type": "Blob", "coordinates": []}])
def test_an_item_without_a_footprint(ground):
    item = made(**{"earthsearch:boa_offset_applied": True})
    item.raw["geometry"] = ground
    with pytest.raises(CatalogueError, match=r"item i has no footprint \(\w+\); leave it out"):
        earth_search.read_item(item, TEN)


@needs_fixtures
@pytest.mark.parametrize(("said", "offset"), [("02.12", 0.0), ("04.00", -1000.0), ("05.11", -1000.0)])
def test_planetary_computer_goes_by_the_baseline_and_brings_the_xml(said, offset):
    (raw,) = features("odc_stac/S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.json")
    raw["properties"]["s2:processing_baseline"] = said
    item = planetary_computer.read_item(Item(raw, "planetary_computer"), TEN)
    assert item.facts.offset == offset
    assert item.entry.name == "S2B_MSIL2A_20190629T212529_N0212_R043_T06VVN_20201006T080531"
    assert [(asset.band, asset.path) for asset in item.facts.assets] == [
        (None, "MTD_MSIL2A.xml"), ("B02", "B02.tif"), ("B08", "B08.tif")
    ]  # fmt: skip


@needs_fixtures
def test_cdse_is_a_safe_whose_own_xml_says_the_offset():
    raw = features("cdse_stac_s2_search/02_POST_v1_search.json")[0]
    item = cdse.read_item(Item(raw, "cdse"), WantedAssets(("B02", "SCL"), 20))
    assert (item.facts.form, item.facts.offset) == ("safe", None)
    assert item.entry.size == 68907 + 54927 + 626559 + 33798962 + 2171670
    assert "raster:offset is the same for every baseline" in item.facts.offset_from
    files = {asset.path: asset for asset in item.facts.assets}
    granule = "GRANULE/L2A_T32TNT_A017394_20200705T101917"
    assert list(files) == ["manifest.safe", "MTD_MSIL2A.xml", f"{granule}/MTD_TL.xml",
                           f"{granule}/IMG_DATA/R20m/T32TNT_20200705T101559_B02_20m.jp2",
                           f"{granule}/IMG_DATA/R20m/T32TNT_20200705T101559_SCL_20m.jp2"]  # fmt: skip
    assert files["manifest.safe"].checksum == "md5:108cfc203aac53c43f9fd5a8592179bb"
    assert files["MTD_MSIL2A.xml"].checksum.startswith("sha3-256:5ac69d926071ff02")
    # the recorded address of this file has an empty node: …/Nodes()/Nodes(GRANULE)/…
    assert files[f"{granule}/MTD_TL.xml"].url == (
        "https://download.dataspace.copernicus.eu/odata/v1/Products(8e7057cf-af5f-46de-868e-fe5a8faa2d9c)"
        "/Nodes(S2B_MSIL2A_20200705T101559_N0500_R065_T32TNT_20230530T175912.SAFE)/Nodes(GRANULE)"
        "/Nodes(L2A_T32TNT_A017394_20200705T101917)/Nodes(MTD_TL.xml)/$value"
    )


@needs_fixtures
@pytest.mark.parametrize("place", ["../evil.jp2", "/etc/passwd", "other.SAFE/x.jp2", ""])
def test_cdse_files_stay_in_their_product(place):
    raw = copy.deepcopy(features("cdse_stac_s2_search/02_POST_v1_search.json")[0])
    raw["assets"]["B02_20m"]["file:local_path"] = place
    with pytest.raises(CatalogueError, match=r"does not say where its asset 'B02_20m' lies .* source copernicus"):
        cdse.read_item(Item(raw, "cdse"), WantedAssets(("B02",), 20))


def test_multihashes():
    assert checksum({"file:checksum": "1220" + "AB" * 32}) == "sha256:" + "ab" * 32
    assert checksum({"file:checksum": "d50120" + "ab" * 32}) == "sha3-256:" + "ab" * 32
    assert checksum({"file:checksum": "1e20" + "ab" * 32}) is None
    assert checksum({}) is None


def test_baselines():
    item = made()
    assert [baseline(text, item) for text in ("05.11", "5.11", "N0511")] == ["05.11"] * 3
    assert [has_offset(text) for text in ("03.01", "04.00", "05.10", "99.99")] == [False, True, True, True]
    with pytest.raises(CatalogueError, match=r"item i states the baseline 'new', so its offset is unknown"):
        baseline("new", item)


def test_an_item_survives_the_lock_and_a_broken_one_says_where():
    item = earth_search.read_item(made(**{"earthsearch:boa_offset_applied": True}), TEN)
    product = lock_entry(item.entry).model_copy(update={"facts": item.facts.model_dump(mode="json")})
    assert read_facts(product) == item.facts
    with pytest.raises(LockError, match=r"its lock does not fit at 'facts\.form' .*; run `thalweg lock`"):
        read_facts(product.model_copy(update={"facts": product.facts | {"form": "cube"}}))


def test_a_signature_in_an_address_stays_out_of_the_lock():
    locked = to_asset("B02", "B02.tif", {"href": "https://x.example.org/B02.tif?sig=secret"})
    assert locked.url == "https://x.example.org/B02.tif"
