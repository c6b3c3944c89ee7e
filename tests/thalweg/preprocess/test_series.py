"""Time series from delivered files to scenes: composites by month, gaps, grouping by tile, and what the record says."""

import weakref
from pathlib import Path

import h5py
import numpy as np
import pyproj
import pytest
import rasterio
from product_builder import build, grid_params, index, make_raster, make_safe, mask_params, valid_params
from series_builder import make_cube, make_patch

from thalweg import sample
from thalweg.errors import DegradedDataWarning, ParamsError, ProductError
from thalweg.grid import Window
from thalweg.manifest.products import write_products
from thalweg.manifest.scene import NODATA
from thalweg.params.grids import SeriesParams
from thalweg.preprocess.validity import Verdict

BANDS = ("B02", "B03", "B04", "B08", "B05", "B11", "B01")
SHARED = Path(__file__).parents[4] / "shared/data"
CUBE = SHARED / "worldcereal_timeseries/worldcereal_preprocessed_inputs.nc"


def series(**changes):
    options = {"by": "product", "start": "01-01", "bins": 12, "frequency": "1MS", "composite": "median", "max_gap": 0}
    return SeriesParams(**(options | changes))


def month_code(band, time, shape):
    """Another number for every band and month: 1201 is December of the second band."""
    return np.full(shape, 100 * int(str(time)[5:7]) + BANDS.index(band) + 1)


def scene_of(folder, dates, plane=month_code, bands=BANDS, masks=None, out="scenes", labels=None, grid=None, **changes):
    """The scene of one patch."""
    path = make_patch(folder / "raw/2019_31TCJ_patch_20_29.nc", dates, plane, labels)
    index(folder / "raw", path, form="netcdf", bands={name: name for name in (*bands, "labels")})
    options = {"resolution_m": 10, "bands": bands, "series": series(**changes)} | (grid or {})
    [scene] = build(folder, grid_params(**options), masks, out=out).values()
    return scene


def values(scene, date, channel):
    """Physical values, NaN where nodata, read by rasterio alone."""
    with rasterio.open(scene.folder / f"image_{date}.tif") as dataset:
        number = dataset.descriptions.index(channel) + 1
        plane = dataset.read(number, masked=True).astype(float).filled(np.nan)
        return plane * dataset.scales[number - 1] + dataset.offsets[number - 1]


EDGES = {
    "B02": [f"2019-{month:02}-01" for month in range(1, 13)],  # midnight of each first
    "B03": ["2019-01-31T23:59:59", "2019-02-28T23:59", "2019-03-31", "2019-04-30", "2019-05-31", "2019-06-30",
            "2019-07-31", "2019-08-31", "2019-09-30", "2019-10-31", "2019-11-30", "2019-12-31T23:59:59"],
    "B04": [f"2019-{month:02}-15T10:30" for month in range(12, 0, -1)],
    "B08": [f"2019-{month:02}-{day:02}" for month in range(1, 13) for day in (2, 3, 20)],
    "B05": [f"2019-{month:02}-07" for month in range(1, 13)],
    "B11": [f"2019-{month:02}-28" for month in range(1, 13)],
    "B01": [f"2019-{month:02}-09" for month in range(1, 13)],
}  # fmt: skip


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    return scene_of(tmp_path_factory.mktemp("year"), EDGES)


def test_every_band_and_month_is_where_it_belongs(year):
    """The seed stored band k // 12, month k % 12 of the wrong axis order, and dropped 1 January."""
    assert year.record.dates == tuple(f"2019-{month:02}-01" for month in range(1, 13))
    for month, date in enumerate(year.record.dates, 1):
        for number, band in enumerate(BANDS, 1):
            plane = values(year, date, band)
            assert plane.shape == (36, 36)
            np.testing.assert_allclose(plane, (100 * month + number) * 1e-4, atol=1e-9, err_msg=f"{band} {date}")


def test_the_channels_of_all_dates_follow_each_other(year):
    names = [channel.name for channel in year.record.channels]
    assert names == [f"t{month:02}/{band}" for month in range(12) for band in BANDS]
    assert year.image.shape == (36, 36, 84)
    assert year.image[5, 7].tolist() == [100 * month + number for month in range(1, 13) for number in range(1, 8)]
    assert year.record.warnings == ()
    assert (year.valid == 1).all()


def test_the_view_of_all_dates_reads_as_one_array(year):
    whole = np.asarray(year.image)
    assert whole.shape == year.image.shape
    assert whole.dtype == year.image.dtype == np.int16
    piece = year.image[3:9, 4:30]
    assert piece.flags.c_contiguous
    assert np.array_equal(piece, whole[3:9, 4:30])
    assert np.array_equal(year.image[3:9, 4:30, 2:5], whole[3:9, 4:30, 2:5])
    assert np.array_equal(year.image[..., 7], whole[..., 7])
    chosen = np.zeros((36, 36), bool)
    chosen[2, 3:5] = True
    assert np.array_equal(year.image[chosen], whole[chosen])


def test_the_labels_of_the_patch_become_its_mask(tmp_path):
    labels = np.zeros((36, 36), np.int16)
    labels[:6, :6], labels[30:, 30:] = 110, 998
    masks = mask_params(band="labels", values={"110": "channel", "998": "unlabelled"}, zero="background")
    scene = scene_of(tmp_path, {"B02": EDGES["B02"]}, bands=("B02",), masks=masks, labels=labels)
    assert (scene.mask[:6, :6] == 1).all()
    assert (scene.mask[30:, 30:] == 255).all()
    assert (scene.mask == 0).sum() == 36 * 36 - 72


def test_clouds_and_what_is_missing_do_not_count(tmp_path):
    """DN 0 is nodata; of January's three dates one is nodata in a corner and one everywhere."""
    seen = {"2019-01-03": 10, "2019-01-10": 30, "2019-01-20": 0}

    def plane(_, time, shape):
        pixels = np.full(shape, seen[str(time)[:10]])
        if str(time)[:10] == "2019-01-10":
            pixels[:3, :3] = 0
        return pixels

    scene = scene_of(tmp_path, {"B02": list(seen)}, plane, bands=("B02",), bins=1)
    january = values(scene, "2019-01-01", "B02") / 1e-4
    assert january[0, 0] == pytest.approx(10)
    assert january[5, 5] == pytest.approx(20)


@pytest.mark.filterwarnings("ignore::thalweg.errors.DegradedDataWarning")
def test_gaps_are_filled_as_far_as_allowed_and_flagged(tmp_path):
    """Middles of January, February, March: 29.5 days apart each, so February lies half way from 101 to 301."""
    scene = scene_of(tmp_path, {"B02": ["2019-01-05", "2019-03-05", "2019-08-01"]}, bands=("B02",), max_gap=2)
    assert [channel.name for channel in scene.record.channels[:2]] == ["t00/B02", "t00/filled"]
    by_month = {date: values(scene, date, "B02")[4, 4] / 1e-4 for date in scene.record.dates}
    assert by_month["2019-02-01"] == pytest.approx(201)
    filled = [values(scene, date, "filled")[4, 4] for date in scene.record.dates]
    nothing = pytest.approx(np.nan, nan_ok=True)
    assert filled == [0, 1, 0, *[nothing] * 4, 0, *[nothing] * 4]
    assert np.isnan([by_month[f"2019-{month:02}-01"] for month in (4, 5, 6, 7, 9, 12)]).all()
    assert (scene.valid == 1).all()
    assert "9 of 12 bins have no date (2019-02-01" in scene.record.warnings[0]
    assert "dates per bin: 1 0 1 0 0 0 0 1 0 0 0 0" in scene.record.warnings[0]


@pytest.mark.filterwarnings("ignore::thalweg.errors.DegradedDataWarning")
def test_extra_channels_are_made_of_composites(tmp_path):
    """NDVI of the medians 20 and 60, not the median of NDVIs; of February, of what was filled: 40 and 60."""
    shown = {("B04", 1): 20, ("B08", 1): 60, ("B04", 3): 60, ("B08", 3): 60}

    def plane(band, time, shape):
        return np.full(shape, shown[band, int(str(time)[5:7])])

    days = ["2019-01-05", "2019-03-05"]
    grid = {"channels": ("ndvi", "month_sin")}
    scene = scene_of(tmp_path, {"B04": days, "B08": days}, plane, ("B04", "B08"), bins=3, max_gap=1, grid=grid)
    ndvi = [values(scene, date, "ndvi")[0, 0] for date in scene.record.dates]
    assert ndvi == [pytest.approx(0.5), pytest.approx(0.2), pytest.approx(0)]
    sines = [values(scene, date, "month_sin")[0, 0] for date in scene.record.dates]
    assert sines == pytest.approx([0, 0.5, 0.866], abs=1e-4)
    assert [channel.name for channel in scene.record.channels[:5]] == [
        "t00/B04", "t00/B08", "t00/ndvi", "t00/month_sin", "t00/filled"]  # fmt: skip


def test_floats_are_kept_as_they_are(tmp_path):
    grid = {"dtype": "float32"}
    scene = scene_of(tmp_path, {"B02": EDGES["B02"]}, bands=("B02",), grid=grid)
    assert scene.image.dtype == np.float32
    assert scene.image[3, 3, 11] == np.float32(1201 * 1e-4)


def test_dates_outside_the_bins_are_counted(tmp_path):
    dates = {"B02": ["2018-12-31T23:59", "2019-01-01", "2019-02-01"]}
    with pytest.warns(DegradedDataWarning, match=r"2 of 3 dates lie outside the bins \(2019-01-01 to 2019-02-01\)"):
        scene_of(tmp_path, dates, bands=("B02",), bins=1, start="2019-01-01")


def test_a_series_without_any_date_in_its_bins_is_refused(tmp_path):
    with pytest.raises(ProductError, match=r"none of its 12 dates .* lies in the bins, 2017-01-01 to 2018-01-01"):
        scene_of(tmp_path, {"B02": EDGES["B02"]}, bands=("B02",), start="2017-01-01")


def test_a_cube_needs_a_series(tmp_path):
    with pytest.raises(ProductError, match=r"patch_20_29 has 12 dates, but the grid makes one image .* 'series'"):
        scene_of(tmp_path, {"B02": EDGES["B02"]}, bands=("B02",), grid={"series": None})


def test_every_composite_method_can_be_asked_for(tmp_path):
    """Three dates of one month; NDVI 0, 0.5, 1/3; medoid of the points (10, 10), (10, 30), (20, 40): the second."""
    shown = {5: (10, 10), 6: (10, 30), 7: (20, 40)}
    days = [f"2019-01-{day:02}" for day in shown]

    def plane(band, time, shape):
        return np.full(shape, shown[int(str(time)[8:10])][band == "B08"])

    expected = {"median": (10, 30), "mean": (13, 27), "first": (10, 10), "max_ndvi": (10, 30), "medoid": (10, 30)}
    for method, spectrum in expected.items():
        scene = scene_of(tmp_path / method, {"B04": days, "B08": days}, plane, ("B04", "B08"), bins=1, composite=method)
        assert tuple(scene.image[0, 0]) == spectrum, method
    with pytest.raises(ParamsError, match="max_ndvi needs the bands B04 and B08"):
        scene_of(tmp_path / "x", {"B08": days}, plane, ("B08",), bins=1, composite="max_ndvi")


# --- products of one tile


def test_plain_rasters_on_one_grid_are_one_scene(tmp_path):
    planes = {"2020-01-05": 100, "2020-01-25": 300, "2020-02-02": 500}
    for date, number in planes.items():
        make_raster(tmp_path / f"raw/planet_{date}.tif", np.full((1, 8, 8), number, np.uint16))
    make_raster(
        tmp_path / "raw/other_2020-01-07.tif", np.full((1, 8, 8), 7, np.uint16), origin=(700_000.0, 7_000_000.0)
    )
    products = [index(tmp_path / "raw", path, form="raster", bands={"B04": 1}, date=path.stem[-10:])[0]
                for path in sorted((tmp_path / "raw").glob("*.tif"))]  # fmt: skip
    write_products(products, tmp_path / "raw")
    grid = grid_params(resolution_m=10, bands=("B04",), series=series(by="tile", bins=2))
    with pytest.warns(DegradedDataWarning, match="1 of 2 bins have no date"):
        scenes = build(tmp_path, grid)
    assert list(scenes) == ["EPSG32720_600000_7000000_10_8x8", "EPSG32720_700000_7000000_10_8x8"]
    one, other = scenes.values()
    assert one.image[0, 0].tolist() == [200, 500]
    assert other.image[0, 0].tolist() == [7, NODATA]
    assert len(one.record.sources) == 3
    assert one.record.product == "planet_2020-01-05, planet_2020-01-25, planet_2020-02-02"


def single_bands(folder, rasters):
    """Plain rasters of one value: name → (value, date, options of `make_raster`)."""
    products = []
    for name, (number, date, options) in rasters.items():
        path = make_raster(folder / f"raw/{name}.tif", np.full((1, 8, 8), number, np.uint16), **options)
        products += index(folder / "raw", path, form="raster", bands={"B04": 1}, date=date)
    write_products(products, folder / "raw")


MONTH = grid_params(resolution_m=None, bands=("B04",), series=series(by="tile", start="2020-01-01", bins=1))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"crs": "EPSG:4326", "origin": (-62.1, -24.3), "pixel": 1e-4},
         {"crs": "EPSG:4326", "origin": (-62.3, -24.2), "pixel": 1e-4}),
        ({"pixel": 10.0}, {"pixel": 20.0}),
        ({"origin": (600_000.0, 7_000_000.0)}, {"origin": (600_000.4, 7_000_000.0)}),
        ({"crs": "+proj=laea +lat_0=-24 +lon_0=-62"}, {"crs": "+proj=laea +lat_0=-25 +lon_0=-62"}),
    ],
    ids=["degrees", "pixels", "part of a pixel", "crs"],
)  # fmt: skip
def test_no_place_is_taken_for_another(tmp_path, one, other):
    """Names of places that were rounded to whole units let one scene replace another without a word."""
    single_bands(tmp_path, {"a": (100, "2020-01-05", one), "b": (200, "2020-01-06", other)})
    assert sorted(int(scene.image[0, 0, 0]) for scene in build(tmp_path, MONTH).values()) == [100, 200]


def test_a_place_is_known_again_for_all_rounding(tmp_path):
    """A ten-millionth of a metre apart, and one CRS in two spellings."""
    spelt = pyproj.CRS(32720).to_wkt()
    single_bands(tmp_path, {
        "a": (100, "2020-01-05", {}),
        "b": (200, "2020-01-06", {"origin": (600_000.000_000_1, 7_000_000.0)}),
        "c": (600, "2020-01-07", {"crs": spelt}),
    })  # fmt: skip
    [scene] = build(tmp_path, MONTH).values()
    assert scene.image[0, 0].tolist() == [200]


def test_a_scene_was_sensed_when_its_first_date_was(tmp_path):
    """By time, not by name, and with the hour of any zone: 23:30 two hours east of Greenwich is the day's 21:30."""
    single_bands(tmp_path, {
        "z": (100, "2020-01-05T23:30:00+02:00", {}), "a": (500, "2020-01-05T22:00:00Z", {}), "b": (300, "2020-01-06", {}),
    })  # fmt: skip
    first = MONTH.model_copy(update={"series": series(by="tile", start="2020-01-01", bins=1, composite="first")})
    [scene] = build(tmp_path, first).values()
    assert scene.image[0, 0].tolist() == [100]
    assert scene.record.sensing_time == "2020-01-05T23:30:00+02:00"
    assert scene.record.product == "z, a, b"


@pytest.mark.parametrize(
    ("date", "says"),
    [
        (None, "b states no sensing date, but a series needs one; give it by 'date'"),
        ("2020-13-01", "b states '2020-13-01', which is no day"),
        ("2020-01", "b states '2020-01', which is no day"),
        ("2021-01-05", r"b: none of its 1 dates .* lies in the bins, 2020-01-01 to 2020-02-01"),
    ],
)
def test_dates_are_judged_before_any_pixel_is_read(tmp_path, date, says):
    elsewhere = {"origin": (700_000.0, 7_000_000.0)}
    single_bands(tmp_path, {"a": (100, "2020-01-05", {}), "b": (200, date, elsewhere)})
    with pytest.raises(ProductError, match=says):
        build(tmp_path, MONTH)
    assert not (tmp_path / "store").exists()


def test_a_series_that_cannot_be_is_refused_before_products_are_opened(tmp_path):
    for options, says in (
        ({"composite": "max_ndvi"}, "needs the bands B04 and B08"),
        ({"frequency": "-1MS"}, "forwards"),
    ):
        with pytest.raises(ParamsError, match=says):
            build(tmp_path, grid_params(bands=("B04",), series=series(**options)))


def test_verdicts_of_a_bin_are_held_packed(tmp_path, monkeypatch):
    """A byte per pixel and date of a full tile would be 1.4 GB for twelve dates."""
    single_bands(tmp_path, {name: (100, f"2020-01-0{day}", {}) for day, name in enumerate("abc", 1)})
    judged, alive = [], []

    def judge(_, __, grid):
        alive.append(sum(ref() is not None for ref in judged))
        usable = np.ones(grid.shape_yx, bool)
        judged.append(weakref.ref(usable))
        return Verdict(usable, ())

    monkeypatch.setattr("thalweg.preprocess.series.judge", judge)
    build(tmp_path, MONTH)
    assert len(alive) == 3
    assert max(alive) <= 1


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Three dates of a tile of the sample, of two baselines and with clouds, and a grid of their months."""
    root = tmp_path_factory.mktemp("stack")
    dates = {"2025-10-03": "05.11", "2025-10-18": "02.14", "2025-11-07": "05.11"}
    safes = [sample.make_product(root / "raw", tile="T20KNA", date=date, baseline=baseline, seed=3, size_60m_px=32,
                                 cloud_cover=0.2) for date, baseline in dates.items()]  # fmt: skip
    index(root / "raw", *safes)
    grid = grid_params(bands=("B02", "B8A"), valid=valid_params(scl=(0, 1, 3, 8, 9, 10)),
                       series=series(by="tile", bins=2, start="2025-10-01"))  # fmt: skip
    return safes, build(root, grid)


def test_safe_products_of_a_tile_are_composed_by_month(stack):
    """Read straight by rasterio: (DN + offset) / 10 000 of each date, clouds out by SCL, then numpy's median."""
    safes, scenes = stack
    assert list(scenes) == ["T20KNA"]
    scene = scenes["T20KNA"]
    assert scene.record.dates == ("2025-10-01", "2025-11-01")
    assert scene.record.baseline == "02.14, 05.11"
    assert scene.record.offsets_applied["B02 2025-10-03"] == -1000
    assert scene.record.offsets_applied["B02 2025-10-18"] == 0
    seen = []
    for safe, offset in zip(safes, (-1000, 0, -1000), strict=True):
        [band], [classes] = safe.rglob("*B8A_60m.jp2"), safe.rglob("*SCL_60m.jp2")
        with rasterio.open(band) as dataset, rasterio.open(classes) as codes:
            digital = dataset.read(1).astype(float)
            out = np.isin(codes.read(1), (0, 1, 3, 8, 9, 10)) | (digital == 0) | (digital == 65535)
        seen.append(np.where(out, np.nan, (digital + offset) * 1e-4))
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        october = np.nanmedian(seen[:2], axis=0)
    assert 0 < np.isnan(seen[0]).mean() < 1
    np.testing.assert_allclose(values(scene, "2025-10-01", "B8A"), october, atol=0.51e-4)
    np.testing.assert_allclose(values(scene, "2025-11-01", "B8A"), seen[2], atol=0.51e-4)
    assert np.array_equal(scene.valid == 1, np.isfinite(october) | np.isfinite(seen[2]))


def test_labels_of_each_date_cannot_label_a_tile(tmp_path):
    index(tmp_path / "raw", make_safe(tmp_path / "raw"))
    with pytest.raises(ParamsError, match=r"masks\.band is SCL, .* series\.by 'tile'"):
        build(tmp_path, grid_params(series=series(by="tile")), mask_params(band="SCL", values={}, other="background"))


def test_a_new_date_costs_its_tile_alone(tmp_path):
    paths = [make_raster(tmp_path / f"raw/{place}_{date}.tif", np.full((1, 6, 6), 5, np.uint16),
                         origin=(600_000.0 + 5_000 * place, 7_000_000.0))
             for place in (0, 1) for date in ("2020-01-05", "2020-02-05")]  # fmt: skip

    def given(*chosen):
        write_products([index(tmp_path / "raw", path, form="raster", bands={"B04": 1}, date=path.stem[-10:])[0]
                        for path in chosen], tmp_path / "raw")  # fmt: skip
        return build(tmp_path, grid_params(resolution_m=10, bands=("B04",), series=series(by="tile", bins=2)),
                     out=f"scenes{len(chosen)}")  # fmt: skip

    with pytest.warns(DegradedDataWarning):
        given(*paths[:3])
    before = {path.name for path in (tmp_path / "store").iterdir()}
    given(*paths)
    after = {path.name for path in (tmp_path / "store").iterdir()}
    assert len(before) == 2
    assert len(after - before) == 1


# --- windows do not show


def test_windows_of_a_bin_do_not_show(tmp_path, monkeypatch):
    """Columns and rows of a few pixels give what one window gives, resampled bands included."""

    def noise(band, time, shape):
        return np.random.default_rng(BANDS.index(band) * 400 + int(str(time)[5:7])).integers(1, 5000, shape)

    dates = {band: ["2019-01-05", "2019-01-15", "2019-03-20"] for band in ("B02", "B05", "B01")}
    options = {"bands": ("B02", "B05", "B01"), "bins": 3, "max_gap": 1}
    with pytest.warns(DegradedDataWarning):
        whole = scene_of(tmp_path / "whole", dates, noise, **options)
    monkeypatch.setattr("thalweg.preprocess.series._DECODED_BYTES", 0)
    monkeypatch.setattr("thalweg.preprocess.series._LEAST_COLS", 7)
    monkeypatch.setattr("thalweg.preprocess.series._STRIPE_ROWS", 5)
    monkeypatch.setattr("thalweg.preprocess.series._CHUNK_BYTES", 3 * 4 * 3 * 7 * 2)
    monkeypatch.setattr("thalweg.preprocess.gaps._SERIES_BYTES", 3000)
    with pytest.warns(DegradedDataWarning):
        parts = scene_of(tmp_path / "parts", dates, noise, **options)
    assert np.array_equal(np.asarray(whole.image), np.asarray(parts.image))
    assert np.array_equal(whole.valid, parts.valid)


# --- in thousands


def test_patches_share_a_pack_and_read_as_if_alone(tmp_path):
    """Of two years: the dates of a pack's members may differ, their bins may not."""
    names = ("2019_31TCJ_patch_00_00", "2019_31TCJ_patch_00_01", "2020_31TDG_patch_07_11")

    def plane(band, time, shape):
        return month_code(band, time, shape) + 5000 * (int(str(time)[:4]) - 2019)

    for name in names:
        days = [day.replace("2019", name[:4]) for day in EDGES["B04"]]
        make_patch(tmp_path / f"raw/{name}.nc", {"B02": days, "B05": days}, plane)
    paths = sorted((tmp_path / "raw").glob("*.nc"))
    index(tmp_path / "raw", *paths, form="netcdf", bands={"B02": "B02", "B05": "B05"})
    grid = grid_params(resolution_m=10, bands=("B02", "B05"), series=series(), pack=10)
    scenes = build(tmp_path, grid)
    assert tuple(scenes) == names
    assert len({scene.folder for scene in scenes.values()}) == 1
    assert len(list(scenes[names[0]].folder.iterdir())) == 14  # images of 12 bins, valid.tif, pack.json
    for name, scene in scenes.items():
        assert scene.record.dates[0] == f"{name[:4]}-01-01"
        more = 5000 * (name[:4] == "2020")
        expected = [100 * month + band + more for month in range(1, 13) for band in (1, 5)]
        assert (np.asarray(scene.image) == expected).all()


# --- real cubes


@pytest.mark.skipif(not CUBE.is_file(), reason="the real WorldCereal cube lies in ../shared, which is not here")
def test_the_real_worldcereal_cube_becomes_a_scene(tmp_path):
    """Equal to h5py's own reading: uint16 kept in int16, 65535 nodata, reflectance × 10 000, one date per month."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/belgium.nc").symlink_to(CUBE)
    bands = {f"B{number:02}": f"S2-L2A-B{number:02}" for number in (2, 3, 4, 5, 6, 7, 8, 11, 12)}
    index(tmp_path / "raw", tmp_path / "raw/belgium.nc", form="netcdf", bands=bands, nodata=65535.0)
    grid = grid_params(resolution_m=10, bands=tuple(bands), series=series(start="2020-11-01"))
    [scene] = build(tmp_path, grid).values()
    assert scene.grid.bounds == (664_000, 5_611_120, 665_000, 5_612_120)
    assert scene.record.dates[0] == "2020-11-01"
    assert scene.record.dates[-1] == "2021-10-01"
    with h5py.File(CUBE) as file:
        for number, variable in enumerate(bands.values()):
            raw = file[variable][:].view(np.uint16).astype(int)
            stored = np.stack([scene.image[:, :, 9 * month + number] for month in range(12)])
            there = raw != 65535
            assert np.array_equal(stored[there], np.minimum(raw, 32767)[there])
            assert (stored[~there] == NODATA).all()


@pytest.mark.skipif(not CUBE.is_file(), reason="the real WorldCereal cube lies in ../shared, which is not here")
@pytest.mark.parametrize(
    ("frequency", "bins", "method"), [("QS-NOV", 4, "median"), ("2MS", 6, "mean"), ("1MS", 12, "median")]
)
def test_composites_of_the_real_cube_are_xarrays_own(tmp_path, frequency, bins, method):
    """`resample` of xarray over the same dates, of bins that both begin on 1 November 2020."""
    import xarray as xr

    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/belgium.nc").symlink_to(CUBE)
    bands = {"B02": "S2-L2A-B02", "B08": "S2-L2A-B08"}
    index(tmp_path / "raw", tmp_path / "raw/belgium.nc", form="netcdf", bands=bands, nodata=65535.0)
    how = series(start="2020-11-01", frequency=frequency, bins=bins, composite=method)
    [scene] = build(tmp_path, grid_params(resolution_m=10, bands=tuple(bands), dtype="float32", series=how)).values()
    cube = xr.open_dataset(CUBE, mask_and_scale=False)
    for number, variable in enumerate(bands.values()):
        digital = cube[variable].astype("uint16")
        physical = digital.where(digital != 65535).astype("float64") * 1e-4
        resampled = physical.resample(t=frequency, closed="left", label="left")
        expected = resampled.median(skipna=True) if method == "median" else resampled.mean(skipna=True)
        assert [str(day)[:10] for day in expected["t"].values] == list(scene.record.dates)
        for place in range(bins):
            found = np.asarray(scene.image[:, :, 2 * place + number], np.float64)
            there = np.where(found == NODATA, np.nan, found)
            np.testing.assert_allclose(there, expected.values[place], atol=1e-6, err_msg=f"{variable} {place}")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real eo-learn patch lies in ../shared, which is not here")
def test_composites_of_the_real_eo_learn_patch(tmp_path):
    """68 dates of NDVI in Slovenia with the cloud mask of each: medians and maxima per quarter by a plain loop."""
    import json
    import warnings

    import xarray as xr

    home = SHARED / "eolearn_testeopatch/TestEOPatch"
    ndvi = np.load(home / "data/NDVI.npy")[..., 0].astype(np.float32)
    clear = np.load(home / "mask/IS_VALID.npy")[..., 0].astype(bool)
    times = np.array([text[:19] for text in json.loads((home / "timestamps.json").read_text())], "datetime64[ns]")
    shown = np.where(clear & np.isfinite(ndvi), ndvi, np.nan)
    make_cube(tmp_path / "raw/slovenia.nc", xr.Dataset({"ndvi": (("t", "y", "x"), shown)}, coords={"t": times}))
    index(tmp_path / "raw", tmp_path / "raw/slovenia.nc", form="netcdf", bands={"ndvi": "ndvi"}, scale=1.0, unit="1")
    grid = grid_params(
        resolution_m=10, bands=("ndvi",), dtype="float32", series=series(start="2015-07-01", bins=10, frequency="QS")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegradedDataWarning)
        [scene] = build(tmp_path, grid).values()
    quarters = times.astype("datetime64[M]").astype(int) // 3 - (2015 - 1970) * 4 - 2
    assert set(quarters) <= set(range(10))
    for number in range(10):
        dates = shown[quarters == number]
        image = scene.image[:, :, number]
        for row, col in np.random.default_rng(number).integers(0, 100, (40, 2)):
            there = sorted(value for value in dates[:, row, col] if np.isfinite(value))
            middle = (there[(len(there) - 1) // 2] + there[len(there) // 2]) / 2 if there else NODATA
            assert image[row, col] == pytest.approx(middle, abs=1e-6)


def test_a_window_of_a_series_is_the_planes_one_behind_the_other(year):
    window = Window(2, 3, 5, 4)
    planes = [rasterio.open(year.folder / f"image_{date}.tif") for date in year.record.dates]
    try:
        stacked = np.concatenate([np.moveaxis(dataset.read(), 0, -1) for dataset in planes], axis=-1)
    finally:
        for dataset in planes:
            dataset.close()
    assert np.array_equal(year.image[window.rows, window.cols], stacked[window.rows, window.cols])
