"""The catalogue: filters, pages, what is left out, deleted products; and the answers that real servers gave."""

import datetime
import json
from urllib.parse import unquote

import pytest
from catalogue_builder import FIXTURES, Replay, page, product_name, row, search

from thalweg.copernicus import odata
from thalweg.copernicus.catalogue import Catalogue
from thalweg.copernicus.keys import Wish
from thalweg.copernicus.search import read_area, spans, to_wkt
from thalweg.errors import CatalogueError, NotFoundError, ParamsError

BASE = "http://catalogue.test/odata/v1"
UUID = "c9c0a608-1ed5-41ee-98bb-2346ff1502d2"
real = pytest.mark.skipif(not FIXTURES.is_dir(), reason="../shared/data is not here")


def names(entries):
    return [entry.name for entry in entries]


def three() -> list[dict]:
    return [row(product_name(f"202510{day:02d}")) for day in (1, 4, 7)]


def test_t09_three_pages_by_next_link():
    one, two, last = three()
    session = Replay(page(one, link="http://next/2"), page(two, link="http://next/3"), page(last))
    assert len(Catalogue(session, BASE).search(search())) == 3
    assert session.urls[1:] == ["http://next/2", "http://next/3"]
    assert "%24orderby=ContentDate%2FStart%20asc" in session.urls[0]


def test_t09_next_link_in_a_circle():
    session = Replay(page(row(), link="http://next/2"), page(row(), link="http://next/2"))
    with pytest.raises(CatalogueError, match="next link leads back to http://next/2"):
        Catalogue(session, BASE).search(search())


def test_t10_a_full_window_is_halved_since_what_lies_beyond_is_cut_off():
    one, two, last = three()
    session = Replay(page(one, two), page(one), page(two, last, link=None), page(two), page(last))
    found = Catalogue(session, BASE, window=2).search(search())
    assert sorted(names(found)) == sorted(product_name(f"202510{day:02d}") for day in (1, 4, 7))
    asked = [unquote(url).split("ContentDate/Start ge ")[1][:10] for url in session.urls]
    assert asked == ["2025-01-01", "2025-01-01", "2025-07-02", "2025-07-02", "2025-10-01"]


def test_t10_a_second_that_fills_the_window():
    class Full:
        def json(self, _method, _url):
            return page(row(), row())

    with pytest.raises(CatalogueError, match=r"2 or more products at .*narrow fetch\.options\.search"):
        Catalogue(Full(), BASE, window=2).search(search(dates=(("2025-10-03", "2025-10-03"),)))


def test_t13_nothing_fits_names_the_filter():
    with pytest.raises(CatalogueError, match=r"no product for Collection/Name eq 'SENTINEL-2' and .*'20KNA'.*widen"):
        Catalogue(Replay(page()), BASE).search(search())


@pytest.mark.parametrize("said", [{"ContentLength": 0, "Checksum": []}, {"ContentLength": 0, "Checksum": [{}]},
                                  {"ContentLength": None, "Checksum": None},
                                  {"ContentLength": "?", "Checksum": [{"Algorithm": "MD5", "Value": "cut"}]}])  # fmt: skip
def test_t15_no_size_and_no_checksum(said):
    entry = odata.read_entry(row(**said), BASE)
    assert (entry.size, entry.checksum) == (None, None)


def test_t15_first_checksum_that_can_be_computed_counts():
    said = [{}, {"Algorithm": "BLAKE3", "Value": "AB" * 32}, {"Algorithm": "MD5", "Value": "AB" * 16}]
    assert odata.read_entry(row(Checksum=said), BASE).checksum.model_dump() == {"algorithm": "MD5", "value": "ab" * 16}


@pytest.mark.parametrize("answer", [{"value": {"Id": 1}}, {"detail": "x"}, [], "<html>", None])
def test_t17_an_answer_that_is_no_list(answer):
    with pytest.raises(CatalogueError, match=r"catalogue\.test/odata/v1/Products answered \w+ without a list 'value'"):
        Catalogue(Replay(answer), BASE).search(search())


@pytest.mark.parametrize("answer", [{"Name": "a"}, "x", {"Id": None, "Name": None}])
def test_t17_a_row_that_is_no_product(answer):
    with pytest.raises(CatalogueError, match="lists a product without Id or Name"):
        Catalogue(Replay(page(answer)), BASE).search(search())


@pytest.mark.parametrize("tile", ["T20KNA", "20KNA"])
def test_t18_tile_goes_without_its_t(tile):
    start = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
    where = odata.filter_search(search(tiles=(tile,)), None, start, start)
    assert "att/Name eq 'tileId' and att/OData.CSC.StringAttribute/Value eq '20KNA'" in where
    assert "T20KNA" not in where


def test_t18_no_tile():
    with pytest.raises(ParamsError, match=r"search\.tiles: 'T20KIA' is no MGRS tile"):
        Catalogue(Replay(), BASE).search(search(tiles=("T20KIA",)))


def test_filter_of_a_whole_search():
    start = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
    asked = search(tiles=("T20KNA", "T20KNB"), area=(-63.0, -24.0, -62.0, -23.0), cloud_cover_max=20.0)
    assert odata.filter_search(asked, read_area(asked.area), start, start + datetime.timedelta(days=1)) == (
        "Collection/Name eq 'SENTINEL-2' and "
        "Attributes/OData.CSC.StringAttribute/any(att:att/Name eq 'productType' and "
        "att/OData.CSC.StringAttribute/Value eq 'S2MSI2A') and "
        "ContentDate/Start ge 2025-01-01T00:00:00.000Z and ContentDate/Start lt 2025-01-02T00:00:00.000Z and "
        "(Attributes/OData.CSC.StringAttribute/any(att:att/Name eq 'tileId' and "
        "att/OData.CSC.StringAttribute/Value eq '20KNA') or "
        "Attributes/OData.CSC.StringAttribute/any(att:att/Name eq 'tileId' and "
        "att/OData.CSC.StringAttribute/Value eq '20KNB')) and "
        "OData.CSC.Intersects(area=geography'SRID=4326;POLYGON((-62.000000 -24.000000,-62.000000 -23.000000,"
        "-63.000000 -23.000000,-63.000000 -24.000000,-62.000000 -24.000000))') and "
        "Attributes/OData.CSC.DoubleAttribute/any(att:att/Name eq 'cloudCover' and "
        "att/OData.CSC.DoubleAttribute/Value le 20.00)"
    )


def test_last_day_is_included_and_years_are_split():
    found = [
        (f"{start:%Y-%m-%d}", f"{end:%Y-%m-%d}") for start, end in spans(search(dates=(("2023-11-05", "2025-02-28"),)))
    ]
    assert found == [("2023-11-05", "2024-01-01"), ("2024-01-01", "2025-01-01"), ("2025-01-01", "2025-03-01")]


@pytest.mark.parametrize(("changes", "message"), [
    ({"tiles": ()}, "give tiles or an area"),
    ({"dates": (("2025-02-01", "2025-01-01"),)}, "2025-02-01 comes after 2025-01-01"),
    ({"dates": ()}, "at least 1 item"),
])  # fmt: skip
def test_searches_that_ask_nothing(changes, message):
    with pytest.raises(ValueError, match=message):
        search(**changes)


def test_area_from_geojson(tmp_path):
    path = tmp_path / "area.geojson"
    ring = [[-63, -24], [-62, -24], [-62, -23], [-63, -24]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature, feature]}))
    assert read_area(str(path)).area == pytest.approx(0.5)
    assert to_wkt(read_area(str(path))).startswith("POLYGON((-6")
    assert read_area(None) is None


@pytest.mark.parametrize(("content", "message"), [
    ("{", "is no GeoJSON"), ('{"type": "Feature"}', "is no GeoJSON"), (None, "which is not there"),
    ('{"type": "Point", "coordinates": [1, 2]}', "holds no area in degrees"),
    ('{"type": "Polygon", "coordinates": [[[500000, 0], [600000, 0], [600000, 9], [500000, 0]]]}', "EPSG:4326"),
])  # fmt: skip
def test_areas_that_are_none(tmp_path, content, message):
    path = tmp_path / "a.geojson"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ParamsError, match=message):
        read_area(str(path))
    with pytest.raises(ParamsError, match=r"expected west < east"):
        read_area((10.0, 0.0, 9.0, 1.0))


# One product ---------------------------------------------------------------------------------------------------------


def test_find_by_name_id_and_key():
    name = product_name()
    session = Replay(page(row()), row(), page(row()))
    catalogue = Catalogue(session, BASE)
    for wish in (Wish("name", name), Wish("id", UUID), Wish("key", "T20KNA_20251003T174955")):
        assert catalogue.find(wish).name == name
    assert f"Name%20eq%20%27{name}.SAFE%27" in session.urls[0]
    assert session.urls[1] == f"{BASE}/Products({UUID})?%24expand=Attributes"
    assert "contains%28Name%2C%27_T20KNA_20251003T174955%27%29" in session.urls[2]


def test_a_key_that_means_two_products():
    two = page(row(), row(product_name("20251001")))
    with pytest.raises(
        CatalogueError, match=r"'T20KNA_20251003T174955' means several products: S2B_.*, S2B_.*full name"
    ):
        Catalogue(Replay(two), BASE).find(Wish("key", "T20KNA_20251003T174955"))


def test_t22_a_deleted_product_and_its_successor():
    old, new = product_name(baseline="0400"), product_name(baseline="0510", made="20260101T000000")
    gone = row(old, DeletionDate="2026-01-02T00:00:00Z", DeletionCause="Duplicated product")
    for wish in (Wish("name", old), Wish("id", UUID)):
        missing = page() if wish.kind == "name" else NotFoundError("404")
        session = Replay(missing, page(gone), page(row(old), row(new)))
        with pytest.raises(
            CatalogueError, match=rf"has deleted {old} \(Duplicated product, 2026-01-02.*succeeded by {new}"
        ):
            Catalogue(session, BASE).find(wish)
        assert session.urls[1].startswith(f"{BASE}/DeletedProducts?")


def test_t22_a_product_that_never_was():
    with pytest.raises(CatalogueError, match=r"no product 'S2B_.*none was deleted under it"):
        Catalogue(Replay(page(), page()), BASE).find(Wish("name", product_name()))


def test_successors_are_newer_processings_of_the_same_acquisition():
    mine = odata.read_entry(row(product_name(baseline="0400")), BASE)
    others = [row(product_name(baseline=number, made=made), Id=f"{number}{made}")
              for number, made in (("0209", "20260101T000000"), ("0510", "20260101T000000"), ("0400", "20260101T000000"))]  # fmt: skip
    other_day = row(product_name("20251004", baseline="0511"))
    found = Catalogue(Replay(page(*others, other_day)), BASE).successors(mine)
    assert found == [
        product_name(baseline="0510", made="20260101T000000"),
        product_name(baseline="0400", made="20260101T000000"),
    ]


# Recorded answers of real servers ------------------------------------------------------------------------------------


@real
def test_recorded_pages_of_the_real_catalogue():
    pages = [
        json.loads((FIXTURES / f"cdsetool/query/mock/sentinel_1/odata_page_{n}.json").read_text()) for n in range(1, 6)
    ]
    session = Replay(*pages)
    found = Catalogue(session, BASE).search(search())
    assert len(found) == len({entry.id for entry in found}) == 47 == pages[0]["@odata.count"]
    assert session.urls[1] == pages[0]["@odata.nextLink"]
    assert found[0].checksum.model_dump() == {"algorithm": "MD5", "value": "23383d85c5231487ce13d1c10aeb8e7b"}
    assert found[0].size == 728976


@real
def test_recorded_sentinel_2_products():
    recorded = json.loads((FIXTURES / "eodag/cop_dataspace_search.json").read_text())
    entries, link = odata.read_page(recorded, BASE)
    assert link.endswith("expand=Assets")
    entry = entries[0]
    assert entry.name == "S2A_MSIL1C_20200808T010311_N0500_R045_T54PXA_20230413T212505"
    assert (entry.size, entry.online, entry.cloud_cover) == (224105657, True, pytest.approx(95.1367, abs=1e-4))
    assert entry.s3_path.startswith("/eodata/Sentinel-2/MSI/L1C_N0500/2020/08/08/")
    assert entry.footprint.bounds == pytest.approx((142.324, 13.473, 142.944, 14.224), abs=0.05)
