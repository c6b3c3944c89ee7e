"""Source `copernicus` against the stand-in: only wanted bands, verified, once; and what it says when it cannot."""

import io
import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from product_builder import make_safe
from standin import LOGIN, PASSWORD, Standin, faults
from standin.download import zip_of

from thalweg import params
from thalweg.errors import (
    CatalogueError,
    CredentialsError,
    DegradedDataWarning,
    FetchError,
    LockError,
    ParamsError,
)
from thalweg.manifest.lock import write_lock
from thalweg.manifest.products import write_products
from thalweg.sources import copernicus

BANDS = {"R60m": ("B02", "B03", "SCL")}


@pytest.fixture(scope="module")
def safes(tmp_path_factory):
    """Two products of baseline 05.11 and one of 02.14."""
    folder = tmp_path_factory.mktemp("made")
    return [make_safe(folder), make_safe(folder, tile="T20KNB"), make_safe(folder, "02.14", tile="T20KPA")]


@pytest.fixture(autouse=True)
def account(monkeypatch, tmp_path):
    monkeypatch.setenv("COPERNICUS_LOGIN", LOGIN)
    monkeypatch.setenv("COPERNICUS_PASS", PASSWORD)
    monkeypatch.setenv("COPERNICUS_S3_KEY", "key")
    monkeypatch.setenv("COPERNICUS_S3_SECRET", "very-secret")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def cdse(safes):
    with Standin(list(safes[:2])) as standin:
        yield standin


def options(cdse, **changes) -> copernicus.Options:
    said = {
        "search": None, "products": [safe.stem for safe in cdse.products], "groups": [], "bands": BANDS, "whole_zip": False,
        "backend": "https", "hosts": cdse.hosts._asdict(),
        "patience": {"connections": 4, "connect_s": 2.0, "read_s": 2.0, "stall_s": 5.0, "attempts": 3,
                     "backoff_s": 0.01, "backoff_max_s": 0.05},
    }  # fmt: skip
    return params.parse(copernicus.Options, said | changes, "fetch.options", Path("params.yaml"))


def locked(cdse, tmp_path, **changes) -> tuple[copernicus.Options, Path]:
    chosen = options(cdse, **changes)
    path = tmp_path / "recipe.products.json"
    write_lock(copernicus.find(chosen).lock, path)
    return chosen, path


def deliver(chosen, given, tmp_path, raw="raw"):
    return copernicus.deliver(chosen, given, tmp_path / raw, tmp_path / "store")


def same(product, raw, safe):
    """Whether every delivered file is the original's, byte by byte."""
    return all((raw / file.path).read_bytes() == (safe.parent / file.path).read_bytes() for file in product.files)


def test_only_wanted_bands_move_and_once(cdse, safes, tmp_path):
    chosen, given = locked(cdse, tmp_path)
    products = deliver(chosen, given, tmp_path)
    assert [product.name for product in products] == sorted(safe.stem for safe in safes[:2])
    for product in products:
        names = {
            Path(file.path).name.rpartition("_")[0][-3:] or file.path
            for file in product.files
            if file.path.endswith("jp2")
        }
        assert names == {"B02", "B03", "SCL"}
        assert len(product.files) == 6
        assert same(product, tmp_path / "raw", next(safe for safe in safes if safe.stem == product.name))
        assert (tmp_path / "raw" / product.files[0].path).samefile(tmp_path / "store" / product.files[0].path)
    moved = cdse.sent_bytes("$value")
    assert moved == sum(file.size for product in products for file in product.files)
    assert cdse.max_concurrent <= 4
    assert cdse.identity.issued == ["password"]
    assert deliver(chosen, given, tmp_path, "again") == products
    assert cdse.sent_bytes("$value") == moved


def test_a_complete_store_needs_neither_account_nor_network(cdse, tmp_path, monkeypatch):
    chosen, given = locked(cdse, tmp_path)
    first = deliver(chosen, given, tmp_path)
    asked = len(cdse.requests)
    monkeypatch.delenv("COPERNICUS_LOGIN")
    monkeypatch.delenv("COPERNICUS_PASS")
    monkeypatch.chdir(tmp_path)
    assert deliver(chosen, given, tmp_path, "again") == first
    assert len(cdse.requests) == asked
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(CredentialsError, match="COPERNICUS_LOGIN and COPERNICUS_PASS not set"):
        deliver(chosen, given, tmp_path, "third")


def test_another_band_moves_that_band_alone(cdse, tmp_path):
    chosen, given = locked(cdse, tmp_path)
    deliver(chosen, given, tmp_path)
    before = len(cdse.seen("$value"))
    more = options(cdse, bands={"R60m": ("B02", "B03", "B04", "SCL")})
    deliver(more, given, tmp_path, "more")
    assert len(cdse.seen("$value")) - before == 2  # of two products
    fewer = deliver(options(cdse, bands={"R60m": ("B04",)}), given, tmp_path, "fewer")
    assert len(fewer[0].files) == 4


def test_damage_in_the_store_is_mended(cdse, tmp_path):
    chosen, given = locked(cdse, tmp_path)
    products = deliver(chosen, given, tmp_path)
    path = next((tmp_path / "store").rglob("*B02_60m.jp2"))
    path.unlink()  # raw keeps its link to the good bytes
    path.write_bytes(b"rot")
    assert deliver(chosen, given, tmp_path, "again") == products


def test_preprocess_takes_a_product_with_some_of_its_files(cdse, tmp_path):
    from product_builder import build, grid_params

    chosen, given = locked(cdse, tmp_path)
    write_products(deliver(chosen, given, tmp_path), tmp_path / "raw")
    scenes = build(tmp_path, grid_params(bands=("B02", "B03"), scl=(3, 8)))
    assert len(scenes) == 2
    with pytest.raises(
        Exception, match=r"has no band B04, at no resolution; it has B02, B03; deliver the missing file"
    ):
        build(tmp_path, grid_params(bands=("B04",)), out="more")


def test_t16_offline(cdse, tmp_path):
    chosen, given = locked(cdse, tmp_path)
    cdse.catalogue.rows[0]["Online"] = False
    with pytest.raises(CatalogueError, match=r"is offline; order it in the Data Workspace"):
        copernicus.find(chosen)
    with pytest.raises(FetchError, match=r"1 of 2 products .*has gone offline"):
        deliver(chosen, given, tmp_path)


def test_t35_wanted_band_that_a_baseline_lacks(safes, tmp_path):
    with Standin([safes[0], safes[2]]) as cdse:
        chosen, given = locked(cdse, tmp_path, bands={"R20m": ["B01"]})
        with pytest.raises(FetchError, match=rf"1 of 2 products .*{safes[2].stem} has no B01 in R20m \(only in R60m\)"):
            deliver(chosen, given, tmp_path)
        assert len(list((tmp_path / "store").rglob("*B01_20m.jp2"))) == 1
        with pytest.raises(Exception, match="has no B01 in R20m, there it has"):
            copernicus.plan(chosen, given, tmp_path / "empty")


def test_t36_manifest_that_lists_a_file_without_its_path(cdse, tmp_path):
    chosen, given = locked(cdse, tmp_path)
    original = (cdse.products[0] / "manifest.safe").read_bytes()
    broken = original.replace(b"href=", b"hxxx=")
    cdse.fault(lambda record: "manifest.safe)/$value" in record.path, faults.says(broken), times=None)
    with pytest.raises(FetchError, match=r"manifest\.safe lists a file without its path"):
        deliver(chosen, given, tmp_path)


def test_t37_listing_without_result(cdse, tmp_path):
    chosen, given = locked(cdse, tmp_path)
    cdse.fault("/Nodes", faults.says(b'{"value": []}'), times=None)
    with pytest.raises(FetchError, match=r"answered without a list 'result' of nodes"):
        deliver(chosen, given, tmp_path)


def test_t37_names_go_unquoted(cdse, tmp_path):
    chosen, given = locked(cdse, tmp_path)
    deliver(chosen, given, tmp_path)
    assert all("Nodes('" not in record.path for record in cdse.requests)


# Deleted, replaced ---------------------------------------------------------------------------------------------------


def test_t22_a_product_that_was_deleted(cdse, safes, tmp_path):
    chosen, given = locked(cdse, tmp_path)
    cdse.catalogue.delete(safes[0].name)
    with pytest.raises(
        FetchError, match=rf"1 of 2 .*has deleted {safes[0].stem} \(Duplicated product, .*succeeded by nothing"
    ):
        deliver(chosen, given, tmp_path)
    assert (tmp_path / "store" / safes[1].name).is_dir()


def test_a_product_that_was_succeeded_is_fetched_all_the_same(cdse, safes, tmp_path):
    chosen, given = locked(cdse, tmp_path)
    newer = re.sub(r"_N0511_(.*)_\d{8}T\d{6}$", r"_N0600_\1_20270101T000000", safes[0].stem)
    cdse.catalogue.add(f"{newer}.SAFE")
    with pytest.warns(DegradedDataWarning, match=rf"{safes[0].stem} has been succeeded by {newer}; the locked"):
        products = deliver(chosen, given, tmp_path)
    assert newer not in {product.name for product in products}


def test_t22_a_file_that_is_not_there_though_its_product_is(cdse, tmp_path):
    chosen, given = locked(cdse, tmp_path)
    cdse.fault("B02_60m.jp2", faults.status(404))
    with pytest.raises(FetchError, match="answered 404"):
        deliver(chosen, given, tmp_path)
    assert len(deliver(chosen, given, tmp_path, "again")) == 2


# Whole zips ----------------------------------------------------------------------------------------------------------


def test_whole_zip(cdse, tmp_path):
    from product_builder import build, grid_params

    chosen, given = locked(cdse, tmp_path, whole_zip=True, bands={})
    products = deliver(chosen, given, tmp_path)
    assert [Path(product.path).suffix for product in products] == [".zip", ".zip"]
    write_products(products, tmp_path / "raw")
    assert len(build(tmp_path, grid_params())) == 2
    moved = cdse.sent_bytes("$value")
    assert deliver(chosen, given, tmp_path, "again") == products
    assert cdse.sent_bytes("$value") == moved


@pytest.mark.parametrize(("damage", "message"), [
    (lambda content, name: content[:-30], r"is not a whole zip"),
    (lambda content, name: flipped(content, b"_B02_60m.jp2", 400), r"member .*B02_60m\.jp2 is damaged"),
    (lambda content, name: with_member(content, f"{name}.SAFE/../../evil"), r"member 'S2.*/evil' lies outside"),
    (lambda content, name: with_member(content, "/etc/evil"), r"member '/etc/evil' lies outside"),
    (lambda content, name: without(content, "MTD_MSIL2A.xml"), r"has neither MTD_MSIL2A\.xml nor MTD_MSIL1C\.xml"),
    (lambda content, name: without(content, "manifest.safe"), r"has no manifest\.safe, so nothing verifies it"),
    (lambda content, name: without(content, "B05_20m.jp2"), r"B05_20m\.jp2 has no bytes, its manifest says"),
])  # fmt: skip
def test_t39_zips_that_the_catalogue_cannot_vouch_for(safes, tmp_path, damage, message):
    with Standin([safes[0]]) as cdse:
        cdse.catalogue.rows[0] |= {"ContentLength": 0, "Checksum": [{}]}  # T15
        chosen, given = locked(cdse, tmp_path, whole_zip=True, bands={})
        bad = damage(zip_of(safes[0]), safes[0].stem)
        cdse.fault("$value", faults.says(bad))
        with pytest.raises(FetchError, match=message):
            deliver(chosen, given, tmp_path)
        assert not list((tmp_path / "store").glob("*.zip"))
        assert [path.suffix for path in (tmp_path / "store").glob("*.bad")] == [".bad"]
        assert len(deliver(chosen, given, tmp_path, "again")) == 1


def test_t39_zips_against_the_catalogues_size_and_sum(cdse, safes, tmp_path):
    chosen, given = locked(cdse, tmp_path, whole_zip=True, bands={}, products=[safes[0].stem])
    cdse.fault("$value", faults.Fault(flip=5000), times=2)
    with pytest.raises(FetchError, match="has another MD5 than the promised"):
        deliver(chosen, given, tmp_path)
    cdse.fault("$value", faults.Fault(flip=5000), times=1)
    assert len(deliver(chosen, given, tmp_path, "again")) == 1


def flipped(content: bytes, near: bytes, beyond: int) -> bytes:
    place = content.index(near) + beyond
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def with_member(content: bytes, name: str) -> bytes:
    held = io.BytesIO(content)
    with zipfile.ZipFile(held, "a") as archive:
        archive.writestr(name, b"evil")
    return held.getvalue()


def without(content: bytes, ending: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(held, "w") as target:
        for info in source.infolist():
            if not info.filename.endswith(ending):
                target.writestr(info, source.read(info))
    return held.getvalue()


# S3 ------------------------------------------------------------------------------------------------------------------


def test_s3_backend_signs_and_resumes(cdse, safes, tmp_path):
    cdse.ranges = True
    chosen, given = locked(cdse, tmp_path, backend="s3")
    cdse.fault(lambda record: record.path.startswith("/eodata") and "B02_60m" in record.path, faults.Fault(cut=1500))
    products = deliver(chosen, given, tmp_path)
    assert all(
        same(product, tmp_path / "raw", next(s for s in safes if s.stem == product.name)) for product in products
    )
    [resumed] = [one for one in cdse.seen("B02_60m") if one.headers.get("Range")]
    assert resumed.headers["Range"] == "bytes=1500-"
    assert cdse.identity.issued == []
    assert not [one for one in cdse.requests if "very-secret" in one.path or "very-secret" in str(one.headers)]


# Locks and options ---------------------------------------------------------------------------------------------------


def test_locks_that_do_not_fit(cdse, tmp_path):
    chosen, given = locked(cdse, tmp_path)
    with pytest.raises(LockError, match=r"x\.products\.json is missing; run `thalweg lock`"):
        deliver(chosen, tmp_path / "x.products.json", tmp_path)
    fewer = options(cdse, products=[cdse.products[0].stem])
    with pytest.raises(
        LockError, match=r"answers another question .*fetch\.options\.products differs.*run `thalweg lock`"
    ):
        deliver(fewer, given, tmp_path)
    said = json.loads(given.read_text()) | {"source": "stac"}
    given.write_text(json.dumps(said))
    with pytest.raises(LockError, match=r"is a lock of source 'stac', but fetch\.source is 'copernicus'"):
        deliver(chosen, given, tmp_path)


@pytest.mark.parametrize(("changes", "message"), [
    ({"products": []}, "give a search or products"),
    ({"whole_zip": True, "backend": "s3"}, "the S3 store has no zips"),
    ({"bands": {}}, "bands names no band"),
    ({"bands": {"R30m": ["B02"]}}, r"R30m"),
])  # fmt: skip
def test_options_that_ask_nothing(cdse, changes, message):
    with pytest.raises(ParamsError, match=message):
        options(cdse, **changes)


def test_a_search_frozen_and_fetched(cdse, safes, tmp_path):
    asked = {"level": "L2A", "tiles": ["T20KNA"], "area": None, "dates": [["2025-10-01", "2025-10-31"]],
             "cloud_cover_max": 100.0, "coverage_min": 0.0, "baseline_min": None, "baseline_rule": "newest",
             "best": "month"}  # fmt: skip
    chosen, given = locked(cdse, tmp_path, search=asked, products=[])
    assert [product.name for product in deliver(chosen, given, tmp_path)] == [safes[0].stem]
    with pytest.raises(CatalogueError, match="has no product for"):
        copernicus.find(options(cdse, search=asked | {"tiles": ["T33TVM"]}, products=[]))
    with pytest.raises(CatalogueError, match=r"none of 1 products fits \(.*baseline 05\.11, wanted at least 06\.00"):
        copernicus.find(options(cdse, search=asked | {"baseline_min": "06.00"}, products=[]))


def test_what_a_fetch_would_move_to_the_byte(cdse, tmp_path):
    chosen, given = locked(cdse, tmp_path)
    planned = copernicus.plan(chosen, given, tmp_path / "store")
    assert not cdse.sent_bytes("$value")
    deliver(chosen, given, tmp_path)
    assert sum(missing for missing, _ in planned.values()) == cdse.sent_bytes("$value")
    after = copernicus.plan(chosen, given, tmp_path / "store")
    assert {missing for missing, _ in after.values()} == {0}


def test_named_lists_are_taken_by_group_and_the_others_do_not_matter(cdse, tmp_path):
    one, two = (safe.stem for safe in cdse.products)
    lists = {"train": [one], "again": [one], "test": [two]}
    chosen, given = locked(cdse, tmp_path, products=lists, groups=["train", "again"])
    assert [product.name for product in deliver(chosen, given, tmp_path)] == [one]
    other = options(cdse, products=lists | {"test": []}, groups=["train", "again"])
    assert deliver(other, given, tmp_path, "raw2")
    with pytest.raises(ParamsError, match=r"groups names 'val', but products has train, again, test"):
        options(cdse, products=lists, groups=["val"])
    with pytest.raises(ParamsError, match="give a search or products"):
        options(cdse, products=lists, groups=[])
