"""Plain files in the forms in which they are really delivered, from the user's folder to the opened product."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from product_builder import build, grid_params, make_raster, mask_params

from thalweg.errors import ParamsError, ProductError
from thalweg.manifest.products import Product, read_products, write_products
from thalweg.params.fetch import Fetch
from thalweg.params.masks import Vector
from thalweg.products import Delivery, Wanted
from thalweg.products.plain import open_plain
from thalweg.sources import fetch_products

DATA = Path(__file__).parents[4] / "shared/data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
RGB = {"red": 1, "green": 2, "blue": 3}


def fetched(folder: Path, *layouts: dict) -> tuple[Product, ...]:
    """What the source `local` makes of the files below `folder/data`."""
    common = {"scale": 1.0, "offset": 0.0, "nodata": None, "date": None, "more": None}
    options = {"products": [common | layout for layout in layouts]}
    fetch = Fetch(source="local", input=str(folder / "data"), masks="masks/none.yaml", elevation=None, options=options)
    write_products(fetch_products(fetch, folder / "raw", folder / "store"), folder / "raw")
    return read_products(folder / "raw")


def more(**changes) -> dict:
    nothing = {
        "role": "scene",
        "unit": "reflectance",
        "crs": None,
        "pixel_m": None,
        "valid": None,
        "date_in_name": None,
    }
    return nothing | changes


def opened(product: Product, folder: Path, *bands: str, resolution_m: int | None = None) -> Delivery:
    return open_plain(product, folder / "raw", Wanted(bands, (), resolution_m))


def picture(path: Path, planes: np.ndarray) -> Path:
    """A PNG or JPG of (C, H, W) without any georeference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.moveaxis(planes, 0, -1)
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path, quality=100)
    return path


@pytest.mark.parametrize("bands", [4, 8])
def test_planetscope_with_its_udm2(tmp_path, bands):
    numbers = np.arange(bands * 6, dtype=np.uint16).reshape(bands, 2, 3) * 10
    udm = np.zeros((8, 2, 3), np.uint8)
    udm[0] = [[1, 1, 0], [0, 1, 1]]
    scene = "20220601_101112_34_2465_3B"
    make_raster(tmp_path / f"data/{scene}_AnalyticMS_SR.tif", numbers, pixel=3.0, nodata=0)
    make_raster(tmp_path / f"data/{scene}_udm2.tif", udm, pixel=3.0)
    (product,) = fetched(tmp_path, {
        "form": "raster", "pattern": "*.tif", "bands": {f"b{n}": n for n in range(1, bands + 1)}, "scale": 1e-4,
        "more": more(date_in_name=r"^(\d{8})_", valid={
            "file": "{stem}_udm2.tif", "without": "_AnalyticMS_SR", "band": 1, "values": [1]}),
    })  # fmt: skip
    assert (product.name, product.date) == (f"{scene}_AnalyticMS_SR", "2022-06-01")
    assert [file.path for file in product.files] == [
        f"products/{scene}_AnalyticMS_SR.tif",
        f"products/{scene}_udm2.tif",
    ]
    delivery = opened(product, tmp_path, "b4", "b1")
    assert delivery.sensing_time == "2022-06-01"
    layer, values = delivery.udm
    assert (Path(layer.path).name, layer.index, layer.grid, values) == (f"{scene}_udm2.tif", 1, delivery.grid, (1,))
    assert delivery.bands["b4"].nodata == 0
    (scene,) = build(tmp_path, grid_params(resolution_m=None, bands=("b4", "b1"))).values()
    assert scene.valid.tolist() == [[0, 1, 0], [0, 1, 1]], "b1 has no measurement in the first pixel"
    assert scene.image[0, 2].tolist() == [200, 20], "what is unusable is kept"


def test_a_udm2_that_is_missing(tmp_path):
    make_raster(tmp_path / "data/a.tif", np.ones((1, 2, 2), np.uint16))
    valid = {"file": "{stem}_udm2.tif", "without": "", "band": 1, "values": [1]}
    with pytest.raises(ProductError, match=r"a\.tif has no a_udm2\.tif beside it, which more\.valid .* promises"):
        fetched(tmp_path, {"form": "raster", "pattern": "a.tif", "bands": {"b": 1}, "more": more(valid=valid)})


def test_sentinel_1_in_decibels(tmp_path):
    planes = np.array([[[-7.5, np.nan]], [[-12.25, -30.0]]], np.float32)
    make_raster(tmp_path / "data/S1A_IW_GRDH_1SDV_20200601T053012.tif", planes)
    (product,) = fetched(tmp_path, {
        "form": "raster", "pattern": "S1*.tif", "bands": {"VV": 1, "VH": 2},
        "more": more(unit="dB", date_in_name=r"_(\d{8})T"),
    })  # fmt: skip
    delivery = opened(product, tmp_path, "VV", "VH")
    assert [(layer.unit, layer.scale, layer.nodata) for layer in delivery.bands.values()] == [("dB", 1.0, None)] * 2
    assert delivery.sensing_time == "2020-06-01"


def test_landsat_with_a_pan_band_and_its_product_name_in_every_file(tmp_path):
    name = "LC08_L1TP_190025_20200601"
    folder = tmp_path / f"data/{name}"
    make_raster(folder / f"{name}_B4.TIF", np.full((1, 4, 4), 9000, np.uint16), pixel=30.0)
    make_raster(
        folder / f"{name}_B8.TIF", np.full((1, 8, 8), 9000, np.uint16), pixel=15.0, origin=(600_007.5, 6_999_992.5)
    )
    (product,) = fetched(tmp_path, {
        "form": "folder", "pattern": "LC*", "bands": {"L4": "{stem}_B4.TIF", "L8": "{stem}_B8.TIF"},
        "scale": {"L4": 2.75e-5, "L8": 2e-5}, "offset": {"L4": -7272.727, "L8": 0.0},
        "more": more(date_in_name=r"_(\d{8})$"),
    })  # fmt: skip
    at_30 = opened(product, tmp_path, "L8", "L4", resolution_m=30)
    assert (at_30.grid, at_30.grid.shape_yx) == (at_30.bands["L4"].grid, (4, 4))
    assert at_30.bands["L8"].grid.shape_yx == (8, 8)
    assert opened(product, tmp_path, "L8", "L4").grid == at_30.bands["L8"].grid
    assert (at_30.bands["L4"].scale, at_30.bands["L8"].offset) == (2.75e-5, 0.0)


def test_earth_search_bands_at_their_own_resolutions(tmp_path):
    bands = {"B02": (6, 10.0), "B05": (3, 20.0), "B01": (1, 60.0)}
    for name, (size, pixel) in bands.items():
        make_raster(tmp_path / f"data/p/{name}.tif", np.full((1, size, size), 100, np.uint16), pixel=pixel)
    (product,) = fetched(tmp_path, {"form": "folder", "pattern": "p", "bands": {name: f"{name}.tif" for name in bands}})
    for resolution_m, size in ((10, 6), (20, 3), (60, 1), (30, 2), (25, 3)):
        delivery = opened(product, tmp_path, *bands, resolution_m=resolution_m)
        assert delivery.grid.shape_yx == (size, size)
        assert delivery.grid.transform == Affine(resolution_m, 0, 600_000, 0, -resolution_m, 7_000_000)
        assert [layer.grid.shape_yx[0] for layer in delivery.bands.values()] == [6, 3, 1]


def test_landcover_ai_orthophotos(tmp_path):
    rgb = np.array([[[255, 0], [51, 102]]] * 3, np.uint8)
    make_raster(tmp_path / "data/images/M-33-20-D-c-4-2.tif", rgb, "EPSG:2180", (300_000.0, 500_000.0), 0.5)
    make_raster(tmp_path / "masks/M-33-20-D-c-4-2.tif", np.array([[[0, 1], [1, 0]]], np.uint8), "EPSG:2180",
                (300_000.0, 500_000.0), 0.5)  # fmt: skip
    fetched(tmp_path, {"form": "raster", "pattern": "images/*.tif", "bands": RGB, "scale": 1 / 255})
    masks = mask_params(patterns=("*.tif",), values={"1": "channel"})
    (scene,) = build(tmp_path, grid_params(resolution_m=None, bands=("red", "blue")), masks).values()
    assert scene.image[:, :, 0].tolist() == [[10000, 0], [2000, 4000]]
    assert scene.valid.all(), "black is a colour"
    assert scene.mask.tolist() == [[0, 1], [1, 0]]
    assert [channel.wavelength_nm for channel in scene.record.channels] == [None, None]
    assert scene.record.georeferenced
    assert scene.grid.crs.to_epsg() == 2180


@pytest.mark.filterwarnings("ignore:.*without georeference", "ignore:.*zero everywhere")
def test_landcover_ai_chips_without_georeference(tmp_path):
    for number in range(2):
        picture(tmp_path / f"data/output/M-33-7_{number}.jpg", np.full((3, 16, 16), 51 * (number + 1), np.uint8))
        picture(tmp_path / f"data/output/M-33-7_{number}_m.png", np.full((1, 16, 16), number, np.uint8))
    products = fetched(tmp_path, {
        "form": "raster", "pattern": "output/*.jpg", "bands": RGB, "scale": 1 / 255, "more": more(pixel_m=0.25),
    })  # fmt: skip
    assert [product.name for product in products] == ["M-33-7_0", "M-33-7_1"]
    masks = mask_params(patterns=("output/*_m.png",), match="name", values={"1": "channel"})
    grid = grid_params(resolution_m=None, bands=("red", "green", "blue"), pack=10)
    scenes = build(tmp_path, grid, masks, masks_input=tmp_path / "data")
    for number, scene in enumerate(scenes.values()):
        assert (scene.mask == number).all()
        assert scene.record.masks == (f"output/M-33-7_{number}_m.png",)
        assert (scene.image == 2000 * (number + 1)).all()
        assert not scene.record.georeferenced
        assert scene.grid.pixel_m_yx == pytest.approx((0.25, 0.25), rel=1e-5)
        assert any("its distance from other scenes means nothing" in text for text in scene.record.warnings)
    one, other = scenes.values()
    assert one.grid.crs_wkt != other.grid.crs_wkt


@pytest.mark.parametrize("ending", ["tfw", "TFW"])
def test_potsdam_tiles_with_a_world_file(tmp_path, ending):
    path = tmp_path / "data/top_potsdam_2_10_IRRG.tif"
    path.parent.mkdir()
    with rasterio.open(path, "w", driver="GTiff", width=2, height=2, count=3, dtype="uint8") as dataset:
        dataset.write(np.full((3, 2, 2), 255, np.uint8))
    path.with_suffix(f".{ending}").write_text("0.05\n0.0\n0.0\n-0.05\n366676.225\n5808649.475\n")
    layout = {"form": "raster", "pattern": "*_IRRG.tif", "bands": {"nir": 1, "red": 2, "green": 3}, "scale": 1 / 255}
    (product,) = fetched(tmp_path, layout | {"more": more(crs="EPSG:32633")})
    delivery = opened(product, tmp_path, "nir")
    assert delivery.grid.crs_wkt == "EPSG:32633"
    assert delivery.grid.transform.almost_equals(Affine(0.05, 0, 366676.2, 0, -0.05, 5808649.5), 1e-6)
    assert delivery.georeferenced
    shutil.rmtree(tmp_path / "raw")
    (silent,) = fetched(tmp_path, layout)
    with pytest.raises(ProductError, match=r"has a geotransform \(a world file\) but no CRS; say it by more\.crs"):
        opened(silent, tmp_path, "nir")


def test_potsdam_tiles_with_labels_in_colours(tmp_path):
    colours = np.array([[[255, 255], [0, 0]], [[0, 255], [0, 255]], [[0, 0], [255, 255]]], np.uint8)
    for name, planes in (("data/IRRG/top_potsdam_2_10_IRRG.tif", np.full((3, 2, 2), 255, np.uint8)),
                         ("masks/top_potsdam_2_10_label.tif", colours)):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        with rasterio.open(path, "w", driver="GTiff", width=2, height=2, count=3, dtype="uint8") as dataset:
            dataset.write(planes)
        path.with_suffix(".tfw").write_text("0.05\n0.0\n0.0\n-0.05\n366676.225\n5808649.475\n")
    fetched(tmp_path, {
        "form": "raster", "pattern": "IRRG/*.tif", "bands": {"nir": 1}, "scale": 1 / 255, "more": more(crs="EPSG:32633"),
    })  # fmt: skip
    masks = mask_params(
        patterns=("*_label.tif",), crs="EPSG:32633", zero="unlabelled",
        values={"#ff0000": "channel", "#ffff00": "background", "#0000ff": "unlabelled", "#00ffff": "channel"},
    )  # fmt: skip
    (scene,) = build(tmp_path, grid_params(resolution_m=None, bands=("nir",)), masks).values()
    assert scene.mask.tolist() == [[1, 0], [255, 1]]
    assert (scene.image == 10_000).all()


def test_spacenet_like_pictures_with_footprints_in_geojson(tmp_path):
    make_raster(tmp_path / "data/RGB-PanSharpen_AOI_2_Vegas_img1.tif", np.full((3, 8, 8), 300, np.uint16), "EPSG:4326",
                (-115.3, 36.2), 2.7e-6)  # fmt: skip
    west, north, edge = -115.3, 36.2, 2.7e-6
    ring = [(west + col * edge, north - row * edge) for col, row in ((2, 3), (6, 3), (6, 5), (2, 5), (2, 3))]
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/buildings_AOI_2_Vegas_img1.geojson").write_text(json.dumps({
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}],
    }))  # fmt: skip
    fetched(tmp_path, {"form": "raster", "pattern": "*_img*.tif", "bands": RGB, "scale": 1e-4})
    masks = mask_params(patterns=("*.geojson",), values={"1": "channel"}, outside="background",
                        vector=Vector(layer=None, attribute=None, buffer_m=0.0, all_touched=False))  # fmt: skip
    (scene,) = build(tmp_path, grid_params(resolution_m=None, bands=("red", "green", "blue")), masks).values()
    expected = np.zeros((8, 8), np.uint8)
    expected[3:5, 2:6] = 1
    assert scene.mask.tolist() == expected.tolist()
    assert (scene.image == 300).all()


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_pictures_with_a_world_file(tmp_path, name):
    path = picture(tmp_path / f"data/{name}", np.full((3, 4, 5), 51, np.uint8))
    path.with_suffix({".png": ".pgw", ".jpg": ".jgw"}[path.suffix]).write_text("2\n0\n0\n-2\n500001\n5800001\n")
    (product,) = fetched(tmp_path, {"form": "raster", "pattern": "a.*g", "bands": RGB, "scale": 1 / 255,
                                    "more": more(crs="EPSG:25833")})  # fmt: skip
    assert len(product.files) == 2
    (scene,) = build(tmp_path, grid_params(resolution_m=None, bands=("red",))).values()
    assert scene.grid.bounds == (500_000, 5_799_994, 500_010, 5_800_002)
    assert scene.record.crs == "EPSG:25833"
    assert (scene.image == 2000).all()


def test_the_world_file_is_missing(tmp_path):
    picture(tmp_path / "data/a.png", np.ones((3, 4, 5), np.uint8))
    (product,) = fetched(tmp_path, {"form": "raster", "pattern": "a.png", "bands": RGB, "more": more(crs="EPSG:25833")})
    with pytest.raises(OSError, match=r"a\.png has a CRS but no geotransform, .*; put its world file beside it"):
        opened(product, tmp_path, "red")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
def test_any_dtype_and_band_count(tmp_path, dtype):
    planes = np.arange(11 * 4, dtype=dtype).reshape(11, 2, 2)
    planes[10, 0, 0] = np.nan if dtype.startswith("float") else 17
    make_raster(tmp_path / "data/a.tif", planes, nodata=None if dtype.startswith("float") else 17)
    fetched(tmp_path, {"form": "raster", "pattern": "a.tif", "bands": {"z": 11}, "scale": 0.01})
    (scene,) = build(tmp_path, grid_params(resolution_m=None, bands=("z",))).values()
    assert scene.image[:, :, 0].tolist() == [[-32768, 4100], [4200, 4300]]
    assert scene.valid.tolist() == [[0, 1], [1, 1]]


def test_complex_radar_is_refused(tmp_path):
    make_raster(tmp_path / "data/slc.tif", np.ones((1, 2, 2), np.complex64))
    (product,) = fetched(tmp_path, {"form": "raster", "pattern": "*.tif", "bands": {"VV": 1}})
    with pytest.raises(ProductError, match=r"slc\.tif holds complex64 values, not real numbers; bring it to amplitude"):
        opened(product, tmp_path, "VV")


@pytest.mark.parametrize(("pattern", "found"), [(r"_(\d{8})", "20201399"), (r"_(\d{9})", "nothing")])
def test_a_date_that_the_name_does_not_hold(tmp_path, pattern, found):
    make_raster(tmp_path / "data/a_20201399.tif", np.ones((1, 2, 2), np.uint8))
    layout = {"form": "raster", "pattern": "*.tif", "bands": {"b": 1}, "more": more(date_in_name=pattern)}
    with pytest.raises(ProductError, match=rf"a_20201399: more\.date_in_name '.*' finds '{found}' in the name"):
        fetched(tmp_path, layout)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scale": {"red": 1.0}}, "scale names red, but bands are red, green, blue; name each band once"),
        ({"date": "2020-01", "more": more(date_in_name="(x)")}, "given by 'date' and by 'more.date_in_name'"),
        ({"more": more(date_in_name="x")}, "'x' has 0 groups, not the one that is the date"),
        ({"date": "03.10.2025"}, "'03.10.2025' is no date; give one such as 2025-10-03, or 2025-10"),
        ({"date": "2025-13"}, "'2025-13' is no date"),
        ({"date": "20251003"}, "'20251003' is no date with hyphens"),
        ({"scale": float("inf")}, "finite number"),
        ({"offset": {"red": 1.0, "green": float("nan"), "blue": 0.0}}, "finite number"),
        ({"more": more(date_in_name="(")}, r"'\(' is no regular expression"),
        ({"more": more(crs="EPSG:1")}, "'EPSG:1' is no CRS; give one such as EPSG:32633"),
        ({"more": more(crs="EPSG:4326", pixel_m=1.0)}, "pixel_m for pictures without; give one of them"),
        ({"more": more(valid={"file": "udm.tif", "without": "", "band": 1, "values": [1]})}, "is one name for all"),
    ],
)
def test_layouts_that_cannot_be_meant(tmp_path, changes, says):
    make_raster(tmp_path / "data/a.tif", np.ones((3, 2, 2), np.uint8))
    with pytest.raises(ParamsError, match=says):
        fetched(tmp_path, {"form": "raster", "pattern": "*.tif", "bands": RGB} | changes)


@real
def test_real_sen1floods11_chip_with_its_hand_labels(tmp_path):
    (tmp_path / "data").symlink_to(DATA / "sen1floods11_sample")
    names = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
    bands = {name: number for number, name in enumerate(names, 1)}
    fetched(tmp_path, {"form": "raster", "pattern": "S2/*.tif", "bands": bands, "scale": 1e-4})
    masks = mask_params(patterns=("Labels/*.tif",), values={"1": "channel", "-1": "unlabelled"})
    grid = grid_params(resolution_m=None, bands=("B12", "B03"))
    (scene,) = build(tmp_path, grid, masks, masks_input=tmp_path / "data").values()
    with rasterio.open(DATA / "sen1floods11_sample/S2/Spain_7370579_S2Hand.tif") as dataset:
        numbers = np.moveaxis(dataset.read([13, 3]), 0, -1).astype(int)
    with rasterio.open(DATA / "sen1floods11_sample/Labels/Spain_7370579_LabelHand.tif") as dataset:
        labels = dataset.read(1)
    assert np.array_equal(scene.image, np.where(numbers == 0, -32768, numbers))
    assert np.array_equal(scene.mask, np.where(labels == -1, 255, labels))
    assert scene.record.sensing_time is None


@real
def test_real_sentinel_1_chip_in_decibels(tmp_path):
    (tmp_path / "data").symlink_to(DATA / "sen1floods11_sample")
    fetched(tmp_path, {"form": "raster", "pattern": "S1/*.tif", "bands": {"VV": 1, "VH": 2}, "more": more(unit="dB")})
    (scene,) = build(tmp_path, grid_params(resolution_m=None, bands=("VV", "VH"))).values()
    with rasterio.open(DATA / "sen1floods11_sample/S1/Spain_7370579_S1Hand.tif") as dataset:
        decibels = np.moveaxis(dataset.read(), 0, -1).astype(float)
    measured = np.isfinite(decibels)
    assert {(channel.unit, channel.scale) for channel in scene.record.channels} == {("dB", 0.01)}
    assert np.array_equal(np.asarray(scene.image) != -32768, measured)
    assert np.abs(scene.image * 0.01 - decibels)[measured].max() <= 0.005 + 1e-6


@real
def test_real_bands_in_a_folder_and_a_model_of_heights_beside_them(tmp_path):
    (tmp_path / "data").symlink_to(DATA / "dem_and_landcover")
    bands = {name: f"ref_input_S2_{name}.tif" for name in ("B02", "B11")}
    fetched(tmp_path, {"form": "folder", "pattern": "belgium_s2_srtm", "bands": bands, "scale": 1e-4})
    (scene,) = build(tmp_path, grid_params(resolution_m=20, bands=("B02", "B11"), resampling="average")).values()
    assert scene.grid.shape_yx == (512, 256)
    with rasterio.open(DATA / "dem_and_landcover/belgium_s2_srtm/ref_input_S2_B11.tif") as dataset:
        numbers = dataset.read(1).astype(float)
    means = numbers.reshape(512, 2, 256, 2).mean((1, 3))
    whole = (numbers.reshape(512, 2, 256, 2) != 65535).all((1, 3))
    assert np.abs(scene.image[:, :, 1] - means)[whole].max() <= 0.5 + 1e-3
