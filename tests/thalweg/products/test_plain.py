"""Plain rasters: one file with all bands, or a folder with a file per band."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from product_builder import build, grid_params, index, make_raster, mask_params
from rasterio.enums import ColorInterp

from thalweg import raster
from thalweg.errors import ProductError, RasterError
from thalweg.manifest.products import Product
from thalweg.products import Wanted
from thalweg.products.plain import open_plain

DATA = Path(__file__).parents[4] / "shared/data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
NUMBERS = np.array([[[0, 100], [2000, 40000]], [[50, 300], [7, 8]]], np.uint16)
PLAIN = grid_params(resolution_m=None, bands=("B04", "B03"))


def test_raster_bands_scale_offset_and_nodata(tmp_path):
    path = make_raster(tmp_path / "raw/a.tif", NUMBERS)
    index(tmp_path / "raw", path, form="raster", bands={"B03": 1, "B04": 2}, offset=-100.0, date="2020-09")
    (scene,) = build(tmp_path, PLAIN).values()
    assert [channel.name for channel in scene.record.channels] == ["B04", "B03"]
    assert scene.image[:, :, 1].tolist() == [[-32768, 0], [1900, 32767]]
    assert scene.image[:, :, 0].tolist() == [[-50, 200], [-93, -92]]
    assert scene.valid.tolist() == [[0, 1], [1, 1]]
    assert scene.record.clipped == {"B04": 0, "B03": 1}
    assert (scene.record.sensing_time, scene.record.offsets_applied) == ("2020-09", {"B04": -100.0, "B03": -100.0})


def test_nodata_null_trusts_the_file(tmp_path):
    path = make_raster(tmp_path / "raw/a.tif", NUMBERS, nodata=100)
    index(tmp_path / "raw", path, form="raster", bands={"B03": 1, "B04": 2}, nodata=None)
    (scene,) = build(tmp_path, PLAIN).values()
    assert scene.valid.tolist() == [[1, 0], [1, 1]]


def test_float_reflectance(tmp_path):
    path = make_raster(tmp_path / "raw/a.tif", np.array([[[np.nan, 0.25]], [[0.5, 0.125]]], np.float32))
    index(tmp_path / "raw", path, form="raster", bands={"B03": 1, "B04": 2}, scale=1.0, nodata=None)
    (scene,) = build(tmp_path, PLAIN).values()
    assert scene.image[0].tolist() == [[5000, -32768], [1250, 2500]]


def test_folder_with_a_file_per_band(tmp_path):
    for number, band in enumerate(("B03", "B04")):
        make_raster(tmp_path / f"raw/p/{band}.tif", NUMBERS[number : number + 1])
    index(tmp_path / "raw", tmp_path / "raw/p", form="folder", bands={"B03": "B03.tif", "B04": "B04.tif"})
    (scene,) = build(tmp_path, PLAIN).values()
    assert scene.image[:, :, 0].tolist() == [[50, 300], [7, 8]]
    assert set(scene.record.sources) == {"p/B03.tif", "p/B04.tif"}


def test_bands_on_different_grids(tmp_path):
    make_raster(tmp_path / "raw/p/B03.tif", NUMBERS[:1])
    make_raster(tmp_path / "raw/p/B04.tif", NUMBERS[1:], pixel=20.0)
    index(tmp_path / "raw", tmp_path / "raw/p", form="folder", bands={"B03": "B03.tif", "B04": "B04.tif"})
    with pytest.raises(
        ProductError, match=r"p: band B03 \(2 × 2 pixels of 10 .* lies on another grid than B04 \(2 × 2 pixels of 20"
    ):
        build(tmp_path, PLAIN)


def test_degrees_have_no_resolution_in_metres(tmp_path):
    path = make_raster(tmp_path / "raw/a.tif", NUMBERS, crs="EPSG:4326", origin=(10.0, 50.0), pixel=1e-4)
    index(tmp_path / "raw", path, form="raster", bands={"B03": 1, "B04": 2})
    with pytest.raises(
        ProductError,
        match=r"a: band B03 .* lies in degrees .* the grid's 60 is no pixel size; set its resolution_m to null",
    ):
        build(tmp_path, grid_params(bands=("B03",)))


@pytest.mark.parametrize("what", ["scale", "offset"])
def test_scale_and_offset_name_every_band(tmp_path, what):
    path = make_raster(tmp_path / "raw/a.tif", NUMBERS)
    index(tmp_path / "raw", path, form="raster", bands={"B03": 1, "B04": 2}, **{what: {"B04": 1.0}})
    with pytest.raises(ProductError, match=f"a: {what} is given for B04, but not for band 'B03'; name every band"):
        build(tmp_path, PLAIN)


def test_scale_and_offset_per_band(tmp_path):
    path = make_raster(tmp_path / "raw/a.tif", NUMBERS)
    index(tmp_path / "raw", path, form="raster", bands={"B03": 1, "B04": 2}, nodata=None,
          scale={"B03": 1e-3, "B04": 1e-4}, offset={"B03": 0.0, "B04": 10.0})  # fmt: skip
    (scene,) = build(tmp_path, PLAIN).values()
    assert scene.image[0, 1].tolist() == [310, 1000]
    assert scene.record.offsets_applied == {"B04": 10.0, "B03": 0.0}


def test_band_that_the_list_lacks(tmp_path):
    path = make_raster(tmp_path / "raw/a.tif", NUMBERS)
    index(tmp_path / "raw", path, form="raster", bands={"B03": 1, "B04": 2})
    with pytest.raises(ProductError, match=r"a has no band 'B11' in its list \(B03, B04\); correct 'bands'"):
        build(tmp_path, grid_params(resolution_m=None, bands=("B11",)))


def test_list_that_names_a_band_too_many(tmp_path):
    path = make_raster(tmp_path / "raw/a.tif", NUMBERS)
    index(tmp_path / "raw", path, form="raster", bands={"B03": 1, "B04": 3})
    with pytest.raises(ProductError, match=r"a\.tif has 2 bands, but its list names band 3"):
        build(tmp_path, PLAIN)


@pytest.mark.parametrize(
    ("form", "place", "needs"),
    [
        ("raster", "B03.tif", "a 1-based band number"),
        ("folder", 1, "the name of a file"),
        ("folder", "../x.tif", "the name of a file"),
    ],
)
def test_band_list_of_the_wrong_kind(tmp_path, form, place, needs):
    path = make_raster(tmp_path / "raw/a.tif", NUMBERS)
    index(tmp_path / "raw", path, form=form, bands={"B03": place})
    with pytest.raises(ProductError, match=f"form '{form}' needs {needs}"):
        build(tmp_path, grid_params(resolution_m=None, bands=("B03",)))


def test_missing_file_of_a_folder(tmp_path):
    make_raster(tmp_path / "raw/p/B03.tif", NUMBERS[:1])
    index(tmp_path / "raw", tmp_path / "raw/p", form="folder", bands={"B03": "B03.tif", "B04": "B04.tif"})
    with pytest.raises(RasterError, match=r"p/B04\.tif is missing; deliver the file again"):
        build(tmp_path, PLAIN)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_raster_without_crs(tmp_path):
    import rasterio

    path = tmp_path / "raw/a.tif"
    path.parent.mkdir()
    with rasterio.open(path, "w", driver="GTiff", width=2, height=2, count=1, dtype="uint16") as dataset:
        dataset.write(NUMBERS[:1])
    index(tmp_path / "raw", path, form="raster", bands={"B03": 1})
    with pytest.raises(RasterError, match=r"a\.tif has no CRS, .*gdal_edit\.py -a_srs"):
        build(tmp_path, grid_params(resolution_m=None, bands=("B03",)))


def test_labels_from_a_band(tmp_path):
    for number, band in enumerate(("B03", "SCL")):
        make_raster(tmp_path / f"raw/p/{band}.tif", NUMBERS[number : number + 1])
    index(tmp_path / "raw", tmp_path / "raw/p", form="folder", bands={"B03": "B03.tif", "SCL": "SCL.tif"})
    masks = mask_params(band="SCL", values={"7": "background", "8": "channel", "50": "unlabelled", "300": "channel"})
    (scene,) = build(tmp_path, grid_params(resolution_m=None, bands=("B03",)), masks).values()
    assert scene.mask.tolist() == [[255, 1], [0, 1]]
    assert scene.record.masks == ("p:SCL",)
    assert scene.image[:, :, 0].tolist() == [[-32768, 100], [2000, 32767]]


@real
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_real_jp2_without_crs():
    product = Product(
        name="p",
        form="raster",
        path="preview_B04_no_crs.jp2",
        files=(),
        bands={"B04": 1},
        scale=1e-4,
        offset=0.0,
        nodata=0,
        date=None,
    )
    with pytest.raises(RasterError, match=r"preview_B04_no_crs\.jp2 has no CRS"):
        open_plain(product, DATA / "jp2_edge_cases", Wanted(("B04",), (), None))


@real
def test_real_crs_in_sidecars_only():
    name = "S2A_33TWM_20230818_0_L2A"
    bands = {"B02": "B02.tif", "SCL": "SCL.tif"}
    product = Product(
        name=name, form="folder", path=name, files=(), bands=bands, scale=1e-4, offset=0.0, nodata=0, date=None
    )
    delivery = open_plain(product, DATA / "s2_l2a_120m_SCL", Wanted(("B02",), ("SCL",), 120))
    assert (delivery.grid.crs_wkt, delivery.grid.shape_yx) == ("EPSG:32633", (915, 915))
    assert raster.read_band(Path(delivery.labels["SCL"].path)).max() == 12


def test_the_mask_or_alpha_of_a_file_says_where_nothing_was_measured(tmp_path):
    seen = np.array([[255, 0], [255, 255]], np.uint8)
    alpha = make_raster(tmp_path / "raw/alpha.tif", np.stack([np.full((2, 2), 51, np.uint8), seen]))
    with rasterio.open(alpha, "r+") as dataset:
        dataset.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
    inside = make_raster(tmp_path / "raw/inside.tif", np.full((1, 2, 2), 51, np.uint8))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(inside, "r+") as dataset:
        dataset.write_mask(seen)
    index(tmp_path / "raw", alpha, inside, form="raster", bands={"B03": 1}, scale=1 / 255, nodata=None)
    for scene in build(tmp_path, grid_params(resolution_m=None, bands=("B03",))).values():
        assert scene.image[:, :, 0].tolist() == [[2000, -32768], [2000, 2000]], scene.name
        assert scene.valid.tolist() == [[1, 0], [1, 1]], scene.name
