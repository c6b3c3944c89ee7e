"""Image and validity: any band list at any of Sentinel-2's grids, extra channels, units, other products beside."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from bands_builder import add_10m, make_l1c
from product_builder import (
    BANDS_60M,
    CLASSES,
    build,
    copy_safe,
    grid_params,
    index,
    make_raster,
    make_safe,
    mask_params,
    valid_params,
)
from rasterio.warp import Resampling, reproject

from thalweg import raster
from thalweg.bands import SENTINEL2
from thalweg.errors import DegradedDataWarning, ProductError
from thalweg.grid import Grid
from thalweg.manifest.products import ValidFile, read_products, write_products
from thalweg.params.grids import Further
from thalweg.preprocess import pixels
from thalweg.preprocess.channels import formulas_of
from thalweg.preprocess.store import ROOMS
from thalweg.products import Wanted
from thalweg.products.plain import open_plain

BANDS_20M = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12")
BANDS_12 = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
NODATA = -32768


@pytest.fixture(scope="module")
def level2(tmp_path_factory):
    """A raw folder with one L2A product that has images at 10, 20 and 60 m."""
    folder = tmp_path_factory.mktemp("level2")
    safe = copy_safe(make_safe(folder / "made"), folder / "raw")
    add_10m(safe)
    index(folder / "raw", safe)
    return folder


@pytest.fixture(scope="module")
def level1(tmp_path_factory):
    """A raw folder with one L1C product."""
    folder = tmp_path_factory.mktemp("level1")
    safe, _ = make_l1c(folder / "raw")
    index(folder / "raw", safe)
    return folder


def read_image(safe: Path, band: str, metres: int) -> tuple[np.ndarray, Grid]:
    """Reflectance by rasterio alone, NaN where not measured, of the image nearest to a resolution from below."""
    paths = {}
    for path in safe.rglob(f"*_{band}*.jp2"):
        ending = path.stem.rsplit("_", 1)[1]
        paths[int(ending[:-1]) if ending[:-1].isdigit() else SENTINEL2[band].native_m] = path
    chosen = max((m for m in paths if m <= metres), default=min(paths))
    with rasterio.open(paths[chosen]) as dataset:
        numbers = dataset.read(1).astype(float)
        place = Grid("EPSG:32720", dataset.transform, dataset.shape)
    return np.where(numbers == 0, np.nan, (numbers - 1000) / 10_000), place


def expected(values: np.ndarray, place: Grid, target: Grid) -> np.ndarray:
    """Another way to the same: blocks of pixels by numpy, interpolation by GDAL."""
    times = round(target.transform.a / place.transform.a)
    if times >= 1:
        blocks = values.reshape(target.shape_yx[0], times, target.shape_yx[1], times)
        with np.errstate(invalid="ignore"):
            known = np.isfinite(blocks).mean((1, 3)) >= 0.5
            total = np.nansum(blocks, (1, 3)) / np.isfinite(blocks).sum((1, 3))
        return np.where(known, total, np.nan)
    result, near = np.full(target.shape_yx, np.nan), np.full(target.shape_yx, np.nan)
    where = {"src_transform": place.transform, "dst_transform": target.transform, "src_crs": place.crs_wkt,
             "dst_crs": target.crs_wkt, "src_nodata": np.nan, "dst_nodata": np.nan}  # fmt: skip
    reproject(values, result, resampling=Resampling.bilinear, **where)
    reproject(values, near, resampling=Resampling.nearest, **where)
    return np.where(np.isfinite(near), result, np.nan)


def check(folder: Path, metres: int, bands: tuple[str, ...], name: str) -> None:
    (scene,) = build(folder, grid_params(resolution_m=metres, bands=bands), out=f"{name}_{metres}").values()
    edge = 32 * 60 // metres
    assert scene.image.shape == (edge, edge, len(bands))
    assert [channel.name for channel in scene.record.channels] == list(bands)
    safe = next((folder / "raw").glob("*.SAFE"))
    there = np.ones((edge, edge), bool)
    for number, band in enumerate(bands):
        wanted = expected(*read_image(safe, band, metres), scene.grid)
        got = scene.image[:, :, number].astype(float)
        there &= np.isfinite(wanted)
        assert ((got == NODATA) == np.isnan(wanted)).all(), band
        assert np.nanmax(np.abs(got - wanted * 10_000)) < 0.51 + 1e-3, band
    assert (scene.valid == there).all()


@pytest.mark.parametrize(("metres", "bands"), [(60, BANDS_60M), (20, BANDS_20M), (10, BANDS_12), (20, BANDS_12)])
def test_l2a_on_every_grid(level2, metres, bands):
    check(level2, metres, bands, f"l2a{len(bands)}")


@pytest.mark.parametrize("metres", [10, 20, 60])
def test_l1c_with_all_thirteen_bands_on_every_grid(level1, metres):
    check(level1, metres, tuple(SENTINEL2), "l1c")


def test_a_grid_of_a_resolution_that_nobody_delivers(level2):
    """30 m: the tile in whole pixels; 20 m images nest two to three."""
    (scene,) = build(level2, grid_params(resolution_m=30, bands=("B02", "B05")), out="g30").values()
    assert scene.grid.shape_yx == (64, 64)
    values, place = read_image(next((level2 / "raw").glob("*.SAFE")), "B02", 30)
    fine, _ = read_image(next((level2 / "raw").glob("*.SAFE")), "B05", 20)
    assert place.transform.a == 20
    inner = scene.image[1, 1, 1] / 10_000
    block = fine[1:3, 1:3]  # rows 30 to 60 m: the lower half of the second and all of the third
    weights = np.array([[1, 2], [2, 4]]) / 9
    assert inner == pytest.approx((block * weights).sum(), abs=1e-4) or np.isnan(block).any()
    assert np.isfinite(values).any()


def test_codes_are_nearest_at_every_resolution(level2):
    grid = grid_params(resolution_m=10, bands=("B02",), scl=(5,))
    (scene,) = build(level2, grid, out="scl").values()
    with rasterio.open(next((level2 / "raw").rglob("*_SCL_20m.jp2"))) as dataset:
        codes = np.kron(dataset.read(1), np.ones((2, 2), int))
    assert (scene.valid == ((scene.image[:, :, 0] != NODATA) & (codes != 5))).all()


def test_stripes_of_any_height_give_the_same_scene(level2, monkeypatch):
    grid = grid_params(resolution_m=20, bands=BANDS_12, channels=("NDVI",), resampling="cubic")
    (once,) = build(level2, grid, out="once").values()
    monkeypatch.setattr(pixels, "_STRIPE_ROWS", 1)
    monkeypatch.setattr(pixels, "_CHUNK_BYTES", 9_000)
    monkeypatch.setattr("thalweg.preprocess.decode._LEAST_ROWS", 7)
    (again,) = build(copy_of(level2), grid, out="again").values()
    assert np.array_equal(once.image, again.image)
    assert np.array_equal(once.valid, again.valid)


def copy_of(folder: Path) -> Path:
    """The same raw folder without its store."""
    home = folder.parent / f"{folder.name}_copy"
    home.mkdir(exist_ok=True)
    if not (home / "raw").exists():
        (home / "raw").symlink_to(folder / "raw")
    return home


def test_windows_of_read_physical_are_parts_of_the_scene(level2):
    grid = grid_params(resolution_m=20, bands=("B02", "B05", "B09"))
    (scene,) = build(level2, grid, out="physical").values()
    (product,) = read_products(level2 / "raw")
    from thalweg.products.safe import open_safe

    delivery = open_safe(product, level2 / "raw", Wanted(grid.bands, (), 20))
    settings = pixels.Settings("g", grid, mask_params(), CLASSES, formulas_of(grid))
    window = scene.grid.full._replace(row=31, height=17)
    stripe = pixels.read_physical(delivery, settings, window)
    stored, _ = pixels.to_stored(stripe.planes, scene.record.channels, "int16")
    assert np.array_equal(stored, scene.image[31:48])
    assert np.array_equal(stripe.good, scene.valid[31:48])


def test_float_images(level2):
    grid = grid_params(resolution_m=20, bands=("B02", "B09"), dtype="float32", channels=("NDSI", "month_sin"))
    grid = grid.model_copy(update={"channels": ("nd(B02,B09)", "month_sin")})
    (scene,) = build(level2, grid, out="float").values()
    (whole,) = build(level2, grid.model_copy(update={"dtype": "int16"}), out="int").values()
    assert (scene.image.dtype, scene.record.dtype) == (np.float32, "float32")
    assert {channel.scale for channel in scene.record.channels} == {1.0}
    there = whole.image != NODATA
    assert ((scene.image != NODATA) == there).all()
    assert np.abs(scene.image - whole.image * 1e-4)[there].max() <= 0.51e-4
    with raster.opened(scene.folder / "image.tif") as dataset:
        assert (dataset.nodata, dataset.dtypes[0]) == (NODATA, "float32")


def test_month_is_that_of_the_sensing_time(level2):
    """October is nine months after January: 270°, sine −1, cosine 0."""
    grid = grid_params(bands=("B02",), channels=("month_sin", "month_cos"))
    (scene,) = build(level2, grid, out="month").values()
    assert scene.record.sensing_time.startswith("2025-10-03")
    assert (scene.image[:, :, 1] == -10_000).all()
    assert (scene.image[:, :, 2] == 0).all()


PLAIN = grid_params(resolution_m=None, bands=("B03",))
EDGE = 40


def place_raster(raw: Path, name: str, planes: np.ndarray, date: str | None = None, unit: str = "reflectance", **how):
    """A further raster product in a raw folder, its bands b1, b2, …."""
    path = make_raster(raw / f"{name}.tif", planes, **how)
    before = read_products(raw) if (raw / "products.json").exists() else ()
    (product,) = index(raw, path, form="raster", bands={f"b{n + 1}": n + 1 for n in range(len(planes))},
                       scale=1.0, nodata=None, date=date, unit=unit)  # fmt: skip
    write_products([*before, product], raw)


def with_optical(tmp_path: Path, date: str | None = "2024-05-10") -> np.ndarray:
    values = np.random.default_rng(3).integers(100, 900, (1, EDGE, EDGE)).astype(np.uint16)
    path = make_raster(tmp_path / "raw/scene.tif", values)
    (product,) = index(tmp_path / "raw", path, form="raster", bands={"B03": 1}, date=date)
    write_products([product], tmp_path / "raw")
    return values


def radar(tmp_path: Path, name: str, value: float, date: str | None, **how) -> None:
    planes = np.full((2, EDGE, EDGE), value, np.float32)
    planes[1] -= 7
    place_raster(tmp_path / "raw", name, planes, date, "dB", **how)


def rule(**changes) -> Further:
    options = {"products": "S1*", "bands": ("b1", "b2"), "resampling": "bilinear", "within_days": 6, "missing": "error"}
    return Further(**(options | changes))


def test_radar_beside_by_the_date_rule(tmp_path):
    """Of three dates the nearest counts; where it has nodata, the next within six days does."""
    with_optical(tmp_path)
    radar(tmp_path, "S1_far", -5.0, "2024-05-20")
    radar(tmp_path, "S1_next", -20.0, "2024-05-13")
    planes = np.full((2, EDGE, EDGE), -10.0, np.float32)
    planes[:, :3] = np.nan
    place_raster(tmp_path / "raw", "S1_near", planes, "2024-05-11", "dB")
    scenes = build(tmp_path, PLAIN.model_copy(update={"further": (rule(),)}))
    assert set(scenes) == {"scene"}
    channels = scenes["scene"].record.channels
    assert [(c.name, c.unit, c.scale) for c in channels] == [
        ("B03", "reflectance", 1e-4), ("b1", "dB", 0.01), ("b2", "dB", 0.01)]  # fmt: skip
    image = scenes["scene"].image
    assert (image[3:, :, 1] == -1000).all()
    assert (image[:3, :, 1] == -2000).all()
    assert (image[:3, :, 2] == -2700).all()
    assert (scenes["scene"].valid == 1).all()


def test_radar_on_other_pixels_in_another_zone(tmp_path):
    from pyproj import Transformer

    with_optical(tmp_path)
    x, y = Transformer.from_crs(32720, 32721, always_xy=True).transform(600_200, 6_999_800)
    ramp = np.broadcast_to(np.arange(100, dtype=np.float32), (2, 100, 100)) * -0.25
    place_raster(tmp_path / "raw", "S1", ramp.copy(), "2024-05-10", "dB", crs="EPSG:32721", origin=(x - 500, y + 500))
    (scene,) = build(tmp_path, PLAIN.model_copy(update={"further": (rule(),)})).values()
    col, row = np.meshgrid(np.arange(EDGE) + 0.5, np.arange(EDGE) + 0.5)
    there = Transformer.from_crs(32720, 32721, always_xy=True).transform(*(scene.grid.transform @ (col, row)))
    wanted = -0.25 * ((there[0] - (x - 500)) / 10 - 0.5)
    assert np.abs(scene.image[:, :, 1] * 0.01 - wanted).max() < 0.011


def test_missing_radar_is_an_error_or_nodata(tmp_path):
    with_optical(tmp_path)
    radar(tmp_path, "S1_far", -5.0, "2024-06-20")
    strict = PLAIN.model_copy(update={"further": (rule(),)})
    with pytest.raises(
        ProductError, match=r"scene: no product 'S1\*' lies on its ground within 6 days of it, .*b1, b2"
    ):
        build(tmp_path, strict)
    lenient = PLAIN.model_copy(update={"further": (rule(missing="nodata"),)})
    with pytest.warns(DegradedDataWarning, match=r"no product 'S1\*' lies on its ground .*so that b1, b2 are nodata"):
        (scene,) = build(tmp_path, lenient, out="lenient").values()
    assert (scene.image[:, :, 1:] == NODATA).all()
    assert (scene.valid == 1).all()
    assert scene.record.channels[1].unit == "dB"
    anytime = PLAIN.model_copy(update={"further": (rule(within_days=None),)})
    (scene,) = build(tmp_path, anytime, out="anytime").values()
    assert (scene.image[:, :, 1] == -500).all()


def test_radar_elsewhere_or_without_date_or_of_two_units(tmp_path):
    with_optical(tmp_path)
    radar(tmp_path, "S1_a", -5.0, "2024-05-10", origin=(700_000.0, 7_000_000.0))
    grid = PLAIN.model_copy(update={"further": (rule(),)})
    with pytest.raises(ProductError, match=r"no product 'S1\*' lies on its ground"):
        build(tmp_path, grid)
    radar(tmp_path, "S1_b", -5.0, None)
    with pytest.raises(ProductError, match=r"S1_b states no sensing day \(None\), which within_days .* needs"):
        build(tmp_path, grid)
    place_raster(tmp_path / "raw", "S1_c", np.zeros((2, 4, 4), np.float32), "2024-05-10", "1")
    with pytest.raises(ProductError, match=r"the products 'S1\*' are given in 1 and dB, but a channel has one unit"):
        build(tmp_path, grid)
    with pytest.raises(ProductError, match=r"no delivered product is named 'S3\*', whose bands b1 the grid adds"):
        build(tmp_path, PLAIN.model_copy(update={"further": (rule(products="S3*", bands=("b1",)),)}))


def test_another_radar_product_builds_the_scene_anew(tmp_path):
    with_optical(tmp_path)
    radar(tmp_path, "S1_a", -5.0, "2024-05-12")
    grid = PLAIN.model_copy(update={"further": (rule(),)})
    (first,) = build(tmp_path, grid).values()
    radar(tmp_path, "S1_far", -5.0, "2025-05-12")
    (same,) = build(tmp_path, grid, out="same").values()
    assert (first.folder / "image.tif").samefile(same.folder / "image.tif")
    radar(tmp_path, "S1_b", -9.0, "2024-05-10")
    (other,) = build(tmp_path, grid, out="other").values()
    assert (other.image[:, :, 1] == -900).all()


def test_unit_without_a_step_needs_float(tmp_path):
    with_optical(tmp_path)
    place_raster(tmp_path / "raw", "S1", np.full((2, EDGE, EDGE), 4e5, np.float32), "2024-05-10", "Pa")
    grid = PLAIN.model_copy(update={"further": (rule(),)})
    with pytest.raises(ProductError, match=r"b1 has the unit 'Pa', for which int16 has no step .*float32"):
        build(tmp_path, grid)
    (scene,) = build(tmp_path, grid.model_copy(update={"dtype": "float32"}), out="float").values()
    assert (scene.image[:, :, 1] == 4e5).all()


def test_which_products_make_scenes(tmp_path):
    with_optical(tmp_path)
    radar(tmp_path, "other", -5.0, "2024-05-12")
    assert set(build(tmp_path, PLAIN.model_copy(update={"products": "sc*"}))) == {"scene"}
    with pytest.raises(ProductError, match=r"none of the 2 delivered products \(other, scene\) makes a scene: .*'x\*'"):
        build(tmp_path, PLAIN.model_copy(update={"products": "x*"}), out="none")


def heights(tmp_path: Path, name: str = "dem", **how) -> None:
    """A plane that rises 1 m for every 10 m to the east."""
    planes = np.broadcast_to(100 + np.arange(80, dtype=np.float32), (1, 80, 80)).copy()
    raw = tmp_path / "raw"
    path = make_raster(raw / f"{name}.tif", planes, origin=(599_800.0, 7_000_200.0), **how)
    before = read_products(raw)
    (tile,) = index(
        raw, path, form="raster", bands={"elevation": 1}, scale=1.0, nodata=None, unit="m", role="elevation"
    )
    write_products([*before, tile], raw)


def test_elevation_and_slope(tmp_path):
    """Ten columns east of the model's corner stands 100 + 20 + 0.. m; the slope is atan(0.1) = 5.71°."""
    with_optical(tmp_path)
    grid = PLAIN.model_copy(update={"channels": ("elevation", "sqrt(B03)", "slope")})
    with pytest.raises(ProductError, match="the channel elevation needs a height model, but none is delivered"):
        build(tmp_path, grid)
    heights(tmp_path)
    scenes = build(tmp_path, grid)
    assert set(scenes) == {"scene"}
    image, channels = scenes["scene"].image, scenes["scene"].record.channels
    assert [(c.name, c.unit, c.scale) for c in channels[1:]] == [
        ("elevation", "m", 0.5), ("sqrt(B03)", "1", 1e-4), ("slope", "degree", 0.01)]  # fmt: skip
    assert (image[:, :, 1] == 2 * (120 + np.arange(EDGE))).all()
    assert np.abs(image[:, :, 3] - 571).max() <= 1


def test_scene_without_a_date_has_no_month(tmp_path):
    with_optical(tmp_path, date=None)
    with pytest.raises(ProductError, match="scene states no sensing date, which the channel month_cos needs"):
        build(tmp_path, PLAIN.model_copy(update={"channels": ("month_cos",)}))


def test_bands_of_a_folder_at_two_resolutions(tmp_path):
    """Landsat's panchromatic band beside its others: brought onto the others' pixels by area."""
    fine = np.random.default_rng(3).integers(1, 900, (1, 16, 16)).astype(np.uint16)
    make_raster(tmp_path / "raw/p/B8.tif", fine, pixel=15.0)
    make_raster(tmp_path / "raw/p/B4.tif", fine[:, :8, :8], pixel=30.0)
    index(tmp_path / "raw", tmp_path / "raw/p", form="folder", bands={"pan": "B8.tif", "red": "B4.tif"})
    grid = grid_params(resolution_m=30, bands=("red", "pan"))
    (scene,) = build(tmp_path, grid).values()
    assert (scene.image[:, :, 0] == fine[0, :8, :8]).all()
    assert np.abs(scene.image[:, :, 1] - fine[0].reshape(8, 2, 8, 2).mean((1, 3))).max() <= 0.5
    (sharp,) = build(tmp_path, grid_params(resolution_m=15, bands=("red", "pan")), out="sharp").values()
    assert (sharp.image[:, :, 1] == fine[0]).all()


def test_a_saturated_pixel_spoils_the_mean_that_it_is_part_of(tmp_path):
    from dataclasses import replace

    fine = np.full((1, 8, 8), 500, np.uint16)
    fine[0, 5, 2] = 65535
    path = make_raster(tmp_path / "raw/p.tif", fine)
    (product,) = index(tmp_path / "raw", path, form="raster", bands={"B03": 1})
    delivery = open_plain(product, tmp_path / "raw", Wanted(("B03",), (), 20))
    bright = {"B03": replace(delivery.bands["B03"], saturated=65535.0)}
    grid = grid_params(resolution_m=20, bands=("B03",), valid=valid_params())
    settings = pixels.Settings("g", grid, mask_params(), CLASSES, ())
    stripe = pixels.read_physical(replace(delivery, bands=bright), settings, delivery.grid.full)
    good = np.ones((4, 4), bool)
    good[2, 1] = False
    assert (stripe.good == good).all()


def test_code_that_decides_a_scene_is_in_its_fingerprint():
    from import_graph import closure

    for name in closure("thalweg.preprocess"):
        room = name.removeprefix("thalweg.").replace(".", "/")
        free = ("errors", "params", "manifest/products", "thalweg", "preprocess")
        assert room.startswith((*free, *ROOMS)) or f"{room}/__init__" in ROOMS, name


def test_what_a_mask_beside_a_further_product_calls_unusable_is_not_measured(tmp_path):
    """The nearest date has clouds in its upper rows, by a mask at half its resolution; the next date fills them."""
    with_optical(tmp_path)
    radar(tmp_path, "S1_next", -20.0, "2024-05-13")
    radar(tmp_path, "S1_near", -10.0, "2024-05-11")
    codes = np.ones((1, EDGE // 2, EDGE // 2), np.uint8)
    codes[:, :4] = 0
    make_raster(tmp_path / "raw/S1_near_udm.tif", codes, pixel=20.0)
    valid = ValidFile(file="{stem}_udm.tif", without="", band=1, values=(1,))
    write_products(
        [one.model_copy(update={"valid": valid}) if one.name == "S1_near" else one
         for one in read_products(tmp_path / "raw")], tmp_path / "raw")  # fmt: skip
    (scene,) = build(tmp_path, PLAIN.model_copy(update={"further": (rule(),)})).values()
    assert (scene.image[:8, :, 1] == -2000).all()
    assert (scene.image[8:, :, 1] == -1000).all()
    assert (scene.valid == 1).all()


def test_an_index_beyond_int16_is_refused_and_float_holds_it(level2, tmp_path):
    """The red-edge position is some 720 nm, of which steps of 0.001 hold ±32.767."""
    copy = copy_safe(next((level2 / "raw").glob("*.SAFE")), tmp_path / "raw")
    index(tmp_path / "raw", copy)
    bands = ("B04", "B05", "B06", "B07")
    with pytest.raises(ProductError, match=r"pixels of the channel S2REP lie beyond what int16 can hold .*float32"):
        build(tmp_path, grid_params(bands=bands, channels=("S2REP",)))
    (scene,) = build(tmp_path, grid_params(bands=bands, channels=("S2REP",), dtype="float32"), out="floats").values()
    assert 600 < np.median(scene.image[:, :, 4][scene.valid > 0]) < 800
