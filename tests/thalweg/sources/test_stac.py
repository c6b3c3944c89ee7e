"""Source `stac`: from a recorded search to delivered products, over local HTTP."""

import hashlib
import json

import numpy as np
import pytest
from file_server import serving_files
from product_builder import make_raster
from replay import FIXTURES, loopback_only, needs_fixtures, record, recorded, replaying

from thalweg import bring
from thalweg.errors import CatalogueError, FetchError, LockError, ParamsError, ProductError
from thalweg.http.policy import Policy
from thalweg.manifest.lock import read_lock, write_lock
from thalweg.sources import stac

TILE = "T32TMT"
HASTE = Policy(connect_s=2, read_s=2, stall_s=5, attempts=2, backoff_s=0, backoff_max_s=0)
XML = """<a><PRODUCT_URI>{name}.SAFE</PRODUCT_URI><PROCESSING_BASELINE>05.11</PROCESSING_BASELINE>
<PRODUCT_START_TIME>2019-06-29T21:25:29.024Z</PRODUCT_START_TIME><BOA_QUANTIFICATION_VALUE>10000</BOA_QUANTIFICATION_VALUE>
<BOA_ADD_OFFSET band_id="1">{offset}</BOA_ADD_OFFSET></a>"""


@pytest.fixture(autouse=True)
def _haste(monkeypatch):
    monkeypatch.setattr(bring, "PATIENCE", HASTE)
    with loopback_only():
        yield


def options(url: str, **changes) -> stac.Options:
    search = {"level": "L2A", "tiles": [TILE], "area": None, "dates": [["2020-03-01", "2020-03-05"]], "cloud_cover_max": 100,
              "coverage_min": 0.0, "baseline_min": None, "baseline_rule": "newest", "best": "month"}  # fmt: skip
    search |= changes.pop("search", {})
    said = {"catalogue": "earth_search", "url": f"{url}/v1", "collection": "sentinel-2-l2a", "tokens": None,
            "bands": ["B02"], "resolution_m": 10, "search": search}  # fmt: skip
    return stac.Options.model_validate_json(json.dumps(said | changes))


def lock(chosen: stac.Options, path):
    write_lock(stac.find(chosen).lock, path)
    return path


def tiff(folder, value: int) -> bytes:
    return make_raster(folder / "pixels.tif", np.full((1, 4, 4), value, np.uint16)).read_bytes()


@pytest.fixture
def serve():
    """Address, path → content, paths asked."""
    with serving_files() as files:
        yield files.url, files.content, files.asked


def at(lock_path, url: str):
    """The same lock with all files at another host, as a test can serve them."""
    data = json.loads(lock_path.read_text())
    for product in data["products"]:
        for asset in product["facts"]["assets"]:
            asset["url"] = f"{url}/{product['id']}/{asset['path']}"
    lock_path.write_text(json.dumps(data))


@needs_fixtures
def test_the_lock_states_products_and_offsets():
    with replaying(recorded("earth_search_stac_paged")) as server:
        found = stac.find(options(server.url))
    (product,) = found.lock.products
    assert product.name == "S2A_MSIL2A_20200302T102021_N0500_R065_T32TMT_20230618T173704"
    assert product.facts["offset"] == 0.0
    assert product.facts["offset_from"].startswith("earthsearch:boa_offset_applied is true: already in the pixels")
    assert any("newest processing" in why for _, why in found.left_out)
    assert "tokens" not in found.lock.query


@needs_fixtures
def test_cogs_are_delivered_as_folders_with_the_locked_offset(tmp_path, serve):
    host, files, asked = serve
    with replaying(recorded("earth_search_stac_paged")) as server:
        chosen = options(server.url)
        path = lock(chosen, tmp_path / "x.products.json")
    at(path, host)
    (product,) = read_lock(path, "stac", chosen.query).products
    files[f"/{product.id}/B02.tif"] = content = tiff(tmp_path, 7)
    for run in ("raw", "again"):
        (delivered,) = stac.deliver(chosen, path, tmp_path / run, tmp_path / "store")
        assert (delivered.form, delivered.bands, delivered.scale, delivered.offset, delivered.nodata) == (
            "folder", {"B02": "B02.tif"}, 1e-4, 0.0, 0.0
        )  # fmt: skip
        assert delivered.files[0].sha256 == hashlib.sha256(content).hexdigest()
    assert len(asked) == 1
    assert stac.plan(chosen, path, tmp_path / "store") == {product.name: (0, 0)}
    assert (tmp_path / "again" / delivered.files[0].path).stat().st_nlink == 3


@needs_fixtures
@pytest.mark.parametrize(("stated", "fits"), [(-1000, True), (0, False)])
def test_planetary_computer_signs_and_the_xml_must_agree(tmp_path, serve, stated, fits):
    host, files, asked = serve
    raw = json.loads((FIXTURES / "odc_stac/S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.json").read_text())
    raw["properties"]["s2:processing_baseline"] = "05.11"
    landing, slash, empty = recorded("cdse_stac_empty_search")
    page = record("POST", empty["request"]["uri"], empty["response"]["body"] | {"features": [raw]})
    with replaying([landing, slash, page]) as server:
        chosen = options(server.url, catalogue="planetary_computer", tokens=f"{host}/token",
                         search={"tiles": ["T06VVN"], "dates": [["2019-06-01", "2019-06-30"]]})  # fmt: skip
        path = lock(chosen, tmp_path / "x.products.json")
    at(path, host)
    (product,) = read_lock(path, "stac", chosen.query).products
    assert (product.facts["offset"], product.tile) == (-1000.0, "T06VVN")
    files["/token/sentinel-2-l2a"] = b'{"token": "sig=s3cret", "msft:expiry": "2999-01-01T00:00:00Z"}'
    files[f"/{product.id}/B02.tif"] = tiff(tmp_path, 7)
    files[f"/{product.id}/MTD_MSIL2A.xml"] = XML.format(name=product.name, offset=stated).encode()
    if not fits:
        with pytest.raises(
            ProductError, match=r"states the offset 0 for B02, but the lock -1000 \(baseline 05\.11 has"
        ):
            stac.deliver(chosen, path, tmp_path / "raw", tmp_path / "store")
        return
    (delivered,) = stac.deliver(chosen, path, tmp_path / "raw", tmp_path / "store")
    assert (delivered.offset, delivered.bands) == (-1000.0, {"B02": "B02.tif"})
    assert sum(path.startswith("/token") for path in asked) == 1
    assert all(path.endswith("?sig=s3cret") for path in asked if not path.startswith("/token"))
    assert "s3cret" not in path.read_text()
    count = len(asked)
    stac.deliver(chosen, path, tmp_path / "again", tmp_path / "store")
    assert len(asked) == count  # nobody is asked for a signature where nothing is missing


@needs_fixtures
def test_a_missing_file_costs_no_other(tmp_path, serve):
    host, files, _ = serve
    with replaying(recorded("earth_search_stac_paged")) as server:
        chosen = options(server.url, search={"tiles": [], "area": [9.0, 47.0, 10.0, 48.0]})
        path = lock(chosen, tmp_path / "x.products.json")
    at(path, host)
    first, *others = read_lock(path, "stac", chosen.query).products
    for product in others:
        files[f"/{product.id}/B02.tif"] = tiff(tmp_path, 7)
    with pytest.raises(
        FetchError, match=rf"1 of {len(others) + 1} files could not be fetched, the others are kept; .*{first.id}"
    ):
        stac.deliver(chosen, path, tmp_path / "raw", tmp_path / "store")
    assert len(list((tmp_path / "store").rglob("B02.tif"))) == len(others) > 1


@needs_fixtures
def test_an_error_page_is_no_tiff(tmp_path, serve):
    host, files, _ = serve
    with replaying(recorded("earth_search_stac_paged")) as server:
        chosen = options(server.url)
        path = lock(chosen, tmp_path / "x.products.json")
    at(path, host)
    (product,) = read_lock(path, "stac", chosen.query).products
    files[f"/{product.id}/B02.tif"] = b"<?xml version='1.0'?><Error>AccessDenied</Error>"
    with pytest.raises(FetchError, match=r"begins with .*instead of"):
        stac.deliver(chosen, path, tmp_path / "raw", tmp_path / "store")


@needs_fixtures
def test_a_lock_of_another_question(tmp_path):
    with replaying(recorded("earth_search_stac_paged")) as server:
        path = lock(options(server.url), tmp_path / "x.products.json")
        other = options(server.url, bands=["B03"])
    with pytest.raises(LockError, match=r"answers another question .*fetch\.options\.bands differs"):
        stac.deliver(other, path, tmp_path / "raw", tmp_path / "store")


@needs_fixtures
def test_a_search_without_an_answer_says_why():
    with (
        replaying(recorded("earth_search_stac_paged")) as server,
        pytest.raises(
            CatalogueError, match=r"no item of sentinel-2-l2a that fits \(S2A_.*: clouds .*wanted at most 1\.0 %"
        ),
    ):
        stac.find(options(server.url, search={"cloud_cover_max": 1}))


@needs_fixtures
def test_bands_are_taken_at_their_own_resolutions_and_the_grid_brings_them_together():
    with replaying(recorded("earth_search_stac_paged")) as server:
        found = stac.find(options(server.url, bands=["B02", "B05", "B01"], resolution_m=20))
    files = [asset["path"] for asset in found.lock.products[0].facts["assets"]]
    assert files == ["B02.tif", "B05.tif", "B01.tif"]


def test_level_1c_is_for_another_source():
    with pytest.raises(ParamsError, match=r"search\.level is L1C, but source stac has L2A; use source copernicus"):
        stac.find(options("http://127.0.0.1:9", search={"level": "L1C"}))


@pytest.mark.parametrize("catalogue", ["planetary_computer", "cdse"])
def test_catalogues_that_need_tokens_say_where_they_are_had(tmp_path, catalogue):
    from thalweg.stac.files import carrier

    with pytest.raises(
        ParamsError, match=rf"tokens is null, but catalogue {catalogue} gives nothing without; set it to https://"
    ):
        carrier(catalogue, "sentinel-2-l2a", None, tmp_path)


def test_cdse_products_are_safe_folders_whose_xml_says_the_offset(tmp_path, serve, monkeypatch):
    from product_builder import make_safe

    from thalweg.http.session import Session
    from thalweg.manifest.lock import Lock, LockedProduct
    from thalweg.products import Wanted
    from thalweg.products.safe import open_safe
    from thalweg.stac import files as stac_files

    host, files, _ = serve
    monkeypatch.setattr(stac_files, "_with_account", lambda _identity: Session(HASTE, bring.connections(tmp_path)))
    safe = make_safe(tmp_path / "made")
    wanted = [path for path in sorted(safe.rglob("*")) if path.name in ("manifest.safe", "MTD_MSIL2A.xml", "MTD_TL.xml")
              or path.name.endswith(("B02_60m.jp2", "SCL_60m.jp2"))]  # fmt: skip
    assets = []
    for path in wanted:
        place = path.relative_to(safe).as_posix()
        files[f"/{place}"] = path.read_bytes()
        assets.append({"band": "B02" if "B02" in place else "SCL" if "SCL" in place else None, "path": place,
                       "url": f"{host}/{place}", "size": path.stat().st_size,
                       "checksum": f"sha3-256:{hashlib.sha3_256(path.read_bytes()).hexdigest()}"})  # fmt: skip
    chosen = options(host, catalogue="cdse", tokens=f"{host}/token", bands=["B02", "SCL"], resolution_m=60)
    facts = {"form": "safe", "offset": None, "offset_from": "its XML", "assets": assets}
    product = LockedProduct(id="i", name=safe.stem, tile="T20KNA", sensing_time="2025-10-03T00:00:00Z", baseline="05.11",
                            level="L2A", cloud_cover=0.0, coverage=1.0, size=None, s3_path=None, checksum=None,
                            facts=facts)  # fmt: skip
    write_lock(Lock(source="stac", query=chosen.query, products=(product,)), tmp_path / "x.products.json")
    (delivered,) = stac.deliver(chosen, tmp_path / "x.products.json", tmp_path / "raw", tmp_path / "store")
    assert (delivered.form, delivered.path, delivered.bands) == ("safe", safe.name, {})
    opened = open_safe(delivered, tmp_path / "raw", Wanted(("B02",), ("SCL",), 60))
    assert opened.bands["B02"].offset == -1000.0
    opened.verify()
