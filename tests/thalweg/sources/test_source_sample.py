"""The sample as a source: links out of a store, and nothing made twice or half."""

import pytest
import rasterio

from thalweg import sample, sources
from thalweg.errors import ParamsError
from thalweg.params.fetch import Fetch


def fetch_options(*dates, **changes):
    products = [{"tile": "T20KNA", "date": date, "baseline": "05.11"} for date in dates or ("2025-10-03",)]
    options = {"seed": 2, "size_60m_px": 16, "cloud_cover": 0.0, "products": products} | changes
    return Fetch(source="sample", input="src/thalweg/sample", masks="masks/none.yaml", elevation=None, options=options)


def inodes(folder):
    return {str(path.relative_to(folder)): path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def test_products_are_links_into_the_store(tmp_path):
    [product] = sources.fetch_products(fetch_options(), tmp_path / "raw", tmp_path / "store")
    assert product.form == "safe"
    assert product.path == f"{product.name}.SAFE"
    [stored] = (tmp_path / "store").glob(f"*/{product.path}")
    assert inodes(tmp_path / "raw" / product.path) == inodes(stored)
    assert {file.path: file.size for file in product.files} == {
        str(path.relative_to(tmp_path / "raw")): path.stat().st_size
        for path in (tmp_path / "raw" / product.path).rglob("*") if path.is_file()
    }  # fmt: skip
    with rasterio.open(tmp_path / "raw/masks/T20KNA.tif") as mask:
        assert mask.shape == (16, 16)


def test_what_the_store_holds_is_not_made_again(tmp_path, monkeypatch):
    first = sources.fetch_products(fetch_options(), tmp_path / "raw", tmp_path / "store")
    made = []
    monkeypatch.setattr(sample, "make_product", lambda *given, **options: made.append(options))
    monkeypatch.setattr(sample, "make_mask", lambda *given, **options: made.append(options))
    assert sources.fetch_products(fetch_options(), tmp_path / "again", tmp_path / "store") == first
    assert not made
    assert inodes(tmp_path / "again") == inodes(tmp_path / "raw")


def test_another_date_makes_that_product_alone(tmp_path):
    sources.fetch_products(fetch_options(), tmp_path / "raw", tmp_path / "store")
    before = {path.name for path in (tmp_path / "store").iterdir()}
    both = sources.fetch_products(fetch_options("2025-10-03", "2025-12-02"), tmp_path / "two", tmp_path / "store")
    assert len(both) == 2
    assert len({path.name for path in (tmp_path / "store").iterdir()} - before) == 1


def test_an_interrupted_making_is_made_again(tmp_path, monkeypatch):
    def interrupted(folder, **_options):
        (folder / "half.SAFE").mkdir(parents=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sample, "make_product", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sources.fetch_products(fetch_options(), tmp_path / "raw", tmp_path / "store")
    [product] = sources.fetch_products(fetch_options(), tmp_path / "other", tmp_path / "store2")
    [again] = sources.fetch_products(fetch_options(), tmp_path / "again", tmp_path / "store")
    assert again == product
    assert not list((tmp_path / "store").glob(".*"))


def test_a_product_named_twice(tmp_path):
    with pytest.raises(ParamsError, match="names a product twice"):
        sources.fetch_products(fetch_options("2025-10-03", "2025-10-03"), tmp_path / "raw", tmp_path / "store")


def test_an_option_that_does_not_exist(tmp_path):
    with pytest.raises(ParamsError, match=r"unknown key 'fetch\.options\.sead' \(did you mean 'seed'\?\)"):
        sources.fetch_products(fetch_options(sead=1), tmp_path / "raw", tmp_path / "store")
