"""The stage `fetch` hands over build/raw whole, with its index."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from product_builder import make_raster

from stages import fetch
from thalweg.errors import ParamsError
from thalweg.manifest.products import read_products

PARAMS = """
fetch:
  source: {source}
  input: src/thalweg/sample
  masks: masks.yaml
  elevation: {elevation}
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
    (tmp_path / "params.yaml").write_text(PARAMS.format(source="sample", elevation="null"))
    (tmp_path / "masks.yaml").write_text("{source: none, licence: none, classes: {}, masks: []}")
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
    (project / "params.yaml").write_text(PARAMS.format(source="moon", elevation="null"))
    with pytest.raises(ParamsError, match=r"fetch\.source is 'moon'"):
        fetch.main()
    assert read_products(Path("build/raw"))


def test_masks_of_a_catalogue_are_fetched_with_the_products(project):
    (project / "mine.tif").write_bytes(b"II mask")
    (project / "masks.yaml").write_text(
        f"source: here\nlicence: MIT\nclasses: {{}}\nmasks:\n- name: mine.tif\n  url: {(project / 'mine.tif').as_uri()}\n"
        f"  size: 7\n  sha256: {hashlib.sha256(b'II mask').hexdigest()}\n"
        "  grid: {crs: 'EPSG:32720', pixel_m: 60, left_top: [0, 0], shape_yx: [2, 2]}\n  note: ''\n"
    )
    fetch.main()
    assert {path.name for path in (project / "build/raw/masks").iterdir()} == {"T20KNA.tif", "mine.tif"}


def test_heights_lie_beside_the_products_of_any_source(project):
    name = "Copernicus_DSM_COG_10_S22_00_W063_00_DEM"
    make_raster(
        project / f"dem/{name}/{name}.tif",
        np.ones((1, 2, 2), np.float32),
        crs="EPSG:4326",
        origin=(-63, -21),
        pixel=0.5,
    )
    asked = f"{{bucket: '{(project / 'dem').as_uri()}', tiles: [S22W063]}}"
    (project / "params.yaml").write_text(PARAMS.format(source="sample", elevation=asked))
    fetch.main()
    tile, scene = read_products(Path("build/raw"))
    assert (tile.name, tile.role, tile.unit, tile.path) == (name, "elevation", "m", f"dem/{name}.tif")
    assert scene.role == "scene"
    assert (project / "build/raw" / tile.path).stat().st_size == tile.files[0].size
