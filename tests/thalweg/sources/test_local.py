"""Source `local`: forms, sidecars, links, and what wrong input says."""

import zipfile

import numpy as np
import pytest
from product_builder import make_raster

from thalweg.errors import ParamsError, ProductError
from thalweg.layout import Layout, More
from thalweg.params.fetch import Fetch
from thalweg.sources import fetch_products

ONES = np.ones((1, 2, 2), np.uint16)


def options(folder, *kinds) -> Fetch:
    products = [
        {
            "form": form,
            "pattern": pattern,
            "bands": {},
            "scale": 1e-4,
            "offset": 0.0,
            "nodata": None,
            "date": None,
            "more": None,
        }
        for form, pattern in kinds
    ]
    return Fetch(
        source="local", input=str(folder), masks="masks/none.yaml", elevation=None, options={"products": products}
    )


def fetch(tmp_path, *kinds):
    return fetch_products(options(tmp_path / "data", *kinds), tmp_path / "raw", tmp_path / "store")


def make_zip(path, name="S2A_X.SAFE"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/MTD_MSIL2A.xml", "<a/>" * 500)
    return path


def test_rasters_with_sidecars_are_hard_links(tmp_path):
    path = make_raster(tmp_path / "data/x/a.tif", ONES)
    for name in ("a.tif.aux.xml", "a.tfw", "b.tif.aux.xml"):
        (path.parent / name).write_text("x")
    (product,) = fetch(tmp_path, ("raster", "x/a*"))
    assert (product.name, product.form, product.path) == ("a", "raster", "products/a.tif")
    assert [file.path for file in product.files] == ["products/a.tif", "products/a.tif.aux.xml", "products/a.tfw"]
    assert path.samefile(tmp_path / "raw/products/a.tif")


def test_folders_are_delivered_whole(tmp_path):
    make_raster(tmp_path / "data/p1/B02.tif", ONES)
    (tmp_path / "data/p1/B02.tif.aux.xml").write_text("x")
    (tmp_path / "data/PROVENANCE.txt").write_text("not a product")
    (product,) = fetch(tmp_path, ("folder", "*"))
    assert (product.name, product.path) == ("p1", "products/p1")
    assert [file.path for file in product.files] == ["products/p1/B02.tif", "products/p1/B02.tif.aux.xml"]


def test_safe_folders_and_zips(tmp_path):
    make_zip(tmp_path / "data/S2A_Z.zip")
    (tmp_path / "data/S2A_F.SAFE").mkdir()
    (tmp_path / "data/S2A_F.SAFE/MTD_MSIL1C.xml").write_text("x")
    products = fetch(tmp_path, ("safe", "S2*"))
    assert [(product.name, product.path) for product in products] == [
        ("S2A_F", "products/S2A_F.SAFE"),
        ("S2A_Z", "products/S2A_Z.zip"),
    ]


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.mkdir()])
def test_empty_data_says_what_to_put_there(tmp_path, make):
    make(tmp_path / "data")
    with pytest.raises(
        ProductError, match=r"data/ holds no products; put SAFE products or rasters there, .*`dvc add data`"
    ):
        fetch(tmp_path, ("safe", "*"))


def test_pattern_that_finds_nothing(tmp_path):
    make_raster(tmp_path / "data/a.tif", ONES)
    with pytest.raises(
        ProductError,
        match=r"the pattern '\*\.SAFE' finds no SAFE folder or zip below .*data/; correct fetch\.options\.products",
    ):
        fetch(tmp_path, ("safe", "*.SAFE"))


def test_two_products_of_one_name(tmp_path):
    make_raster(tmp_path / "data/x/a.tif", ONES)
    make_raster(tmp_path / "data/y/a.tif", ONES)
    with pytest.raises(ProductError, match=r"two products are named a, the second is .*y/a\.tif; rename one"):
        fetch(tmp_path, ("raster", "*/a.tif"))


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", "x/../../*"])
def test_patterns_stay_below_the_input(tmp_path, pattern):
    make_raster(tmp_path / "data/a.tif", ONES)
    with pytest.raises(ParamsError, match=r"leaves fetch\.input; give a pattern below it"):
        fetch(tmp_path, ("raster", pattern))


def test_truncated_zip(tmp_path):
    path = make_zip(tmp_path / "data/S2A.zip")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ProductError, match=r"S2A\.zip is not a whole zip .*download it again"):
        fetch(tmp_path, ("safe", "*.zip"))


def test_damaged_zip_member(tmp_path):
    path = make_zip(tmp_path / "data/S2A.zip")
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(ProductError, match=r"S2A\.zip: its member S2A_X\.SAFE/MTD_MSIL2A\.xml is damaged"):
        fetch(tmp_path, ("safe", "*.zip"))


@pytest.mark.parametrize("pattern", ["", ".", "**.tif"])
def test_what_is_no_pattern(tmp_path, pattern):
    make_raster(tmp_path / "data/a.tif", ONES)
    with pytest.raises(ParamsError, match=r"is no pattern; give one such as"):
        fetch(tmp_path, ("raster", pattern))


def test_a_link_to_what_is_not_there_is_no_missing_product(tmp_path):
    make_raster(tmp_path / "data/a.tif", ONES)
    (tmp_path / "data/b.tif").symlink_to("/mnt/gone/b.tif")
    with pytest.raises(ProductError, match=r"b\.tif is a link to /mnt/gone/b\.tif, which is not there; mount"):
        fetch(tmp_path, ("raster", "*.tif"))


def test_a_zip_with_a_password(tmp_path):
    path = make_zip(tmp_path / "data/S2A.zip")
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ProductError, match=r"S2A\.zip cannot be unpacked \(.*password.*unpack it into"):
        fetch(tmp_path, ("safe", "*.zip"))


@pytest.mark.parametrize("changes", [
    {"scale": 0.1}, {"offset": 5.0}, {"nodata": -9999.0}, {"bands": {"DEM": 2}}, {"form": "folder", "bands": {"DEM": "a.tif"}},
    {"unit": "ft"}, {"crs": "EPSG:32633"},
])  # fmt: skip
def test_what_is_said_of_a_height_model_and_would_not_be_heard(changes):
    more = {"role": "elevation", "unit": "m", "crs": None, "pixel_m": None, "valid": None, "date_in_name": None}
    tiles = {"form": "raster", "pattern": "*.tif", "bands": {"DEM": 1}, "scale": 1.0, "offset": 0.0, "nodata": None,
             "date": None}  # fmt: skip
    assert Layout(**tiles, more=More(**more)).more.role == "elevation"
    for given in (more, tiles):
        given |= {key: value for key, value in changes.items() if key in given}
    with pytest.raises(ValueError, match="tiles of a height model are read as their own tags say: give form raster"):
        Layout(**tiles, more=More(**more))
