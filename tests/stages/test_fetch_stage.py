"""The stage `fetch` hands over build/raw whole, with its index."""

from pathlib import Path

import pytest

from stages import fetch
from thalweg.errors import ParamsError
from thalweg.manifest.products import read_products

PARAMS = """
fetch:
  source: {source}
  input: src/thalweg/sample
  options:
    seed: 1
    size_60m_px: 16
    cloud_cover: 0.0
    products:
      - {{tile: T20KNA, date: "2025-10-03", baseline: "05.11"}}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS.format(source="sample"))
    return tmp_path


def test_raw_holds_products_masks_and_index(project):
    fetch.main()
    [product] = read_products(Path("build/raw"))
    assert (project / "build/raw" / product.path / "manifest.safe").is_file()
    assert (project / "build/raw/masks/T20KNA.tif").is_file()
    assert list((project / ".cache/products").iterdir())


def test_the_index_is_the_same_each_time(project):
    fetch.main()
    before = (project / "build/raw/products.json").read_bytes()
    fetch.main()
    assert (project / "build/raw/products.json").read_bytes() == before


def test_an_unknown_source_leaves_what_was_there(project):
    fetch.main()
    (project / "params.yaml").write_text(PARAMS.format(source="moon"))
    with pytest.raises(ParamsError, match=r"fetch\.source is 'moon'"):
        fetch.main()
    assert read_products(Path("build/raw"))
