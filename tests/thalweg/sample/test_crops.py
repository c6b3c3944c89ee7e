"""The crop world: curves by hand, declarations by share, rare look-alikes, and files in Sen4AgriNet's form."""

import h5py
import numpy as np
import pytest
import xarray as xr

from thalweg.elevation import elevation_on
from thalweg.grid import Grid
from thalweg.raster import transform_from
from thalweg.sample import crops
from thalweg.sample.crops import kinds, relief, seasons
from thalweg.sample.crops.fields import Habits, fields
from thalweg.sample.spectra import SPECTRA, index_of

NAMES = [crop.name for crop in kinds.CROPS]
WORLD = {
    "seed": 1,
    "edge_px": 60,
    "revisit_days": 15,
    "missing": 0.3,
    "cloud_cover": 0.2,
    "imbalance": 1.0,
    "spread": 1.0,
}
PLACE = {"year": 2019, "tile": "31TCJ", "patch_x": 8, "patch_y": 10, "label_noise": 0.0, "undeclared": 0.0}


def stand(*names, delay=0.0, vigour=1.0, pale=0.0):
    """Average parcels of some crops."""
    count = len(names)
    return seasons.Stand(np.array([NAMES.index(name) for name in names]), np.full(count, delay), np.full(count, vigour),
                         np.full(count, pale))  # fmt: skip


@pytest.mark.parametrize(
    ("crop", "day", "leaves", "straw", "blossom"),
    [
        ("wheat", 80, 0.46, 0, 0),  # 0.92 / (1 + e⁰)
        ("wheat", 92, 0.6725, 0, 0),  # 0.92 / (1 + e⁻¹) − 0.92 / (1 + e^(80/9))
        ("wheat", 172, 0.4596, 0.4598, 0),  # half has withered and stands
        ("wheat", 195, 0.0663, 0.4268, 0),  # 0.92 / (1 + e^(23/9)); of the straw, half is cut
        ("wheat", 230, 0.0015, 0, 0),
        ("maize", 80, 0.0011, 0, 0),  # 0.90 / (1 + e^(80/12))
        ("rapeseed", 112, 0.5045, 0.0026, 0.4127),  # (0.93 / (1 + e⁻⁴·⁵) − 0.93 / (1 + e^(53/9))) × 0.55 and × 0.45
    ],
)
def test_covers_of_a_day_by_hand(crop, day, leaves, straw, blossom):
    assert [float(each[0]) for each in seasons.cover(stand(crop), day)] == pytest.approx(
        [leaves, straw, blossom], abs=3e-4
    )


def test_a_late_parcel_is_the_same_later_and_bare_ground_is_soil():
    early, late = stand("maize", "peas"), stand("maize", "peas", delay=12.0)
    assert np.allclose(seasons.reflectance(early, 200), seasons.reflectance(late, 212))
    bare = seasons.reflectance(stand("maize"), 1)[0]
    assert np.allclose(bare, SPECTRA[index_of("soil")], atol=1e-4)


def test_rare_crops_resemble_a_common_one():
    """Mean distance over the year of average parcels: the look-alike is the nearest of all."""
    year = np.stack([seasons.reflectance(stand(*NAMES), day) for day in range(1, 366, 10)])
    apart = np.sqrt(((year[:, :, None] - year[:, None]) ** 2).mean(axis=(0, 3)))
    np.fill_diagonal(apart, np.inf)
    nearest = {name: NAMES[int(place)] for name, place in zip(NAMES, apart.argmin(axis=1), strict=True)}
    assert {name: nearest[name] for name in ("rye", "oats", "sorghum")} == {
        "rye": "wheat", "oats": "barley", "sorghum": "maize"}  # fmt: skip
    share = dict(zip(NAMES, kinds.shares(1.0), strict=True))
    assert all(share[name] < 0.5 * share[nearest[name]] for name in ("rye", "oats", "sorghum"))


def test_shares_follow_zipf():
    assert np.allclose(kinds.shares(0.0), 1 / 14)
    share = kinds.shares(1.0)
    assert share[0] == pytest.approx(1 / sum(1 / rank for rank in range(1, 15)))
    assert share[0] / share[13] == pytest.approx(14)


def land(**changes):
    """Thousands of parcels: 24 km at one pixel in 60 m."""
    habits = Habits(**({"seed": 1, "year": 2019, "tile": "31TCJ", "imbalance": 1.0, "spread": 1.0, "label_noise": 0.2,
                        "undeclared": 0.1} | changes))  # fmt: skip
    xs, ys = 400_000 + 60.0 * np.arange(400)[None, :], 4_800_000 - 60.0 * np.arange(400)[:, None]
    return fields(habits, xs, ys, relief.heights(1, 32631, xs, ys))


def test_declarations_are_wrong_and_missing_by_their_shares():
    there = land()
    grown, declared = there.grown, there.declared
    known = declared > 0
    assert len(grown) > 8000
    assert 1 - known.mean() == pytest.approx(0.1, abs=0.01)
    assert (declared != grown)[known].mean() == pytest.approx(0.2, abs=0.015)
    honest = land(label_noise=0.0, undeclared=0.0)
    assert np.array_equal(honest.declared, honest.grown)
    assert np.array_equal(honest.grown, grown)
    liars = land(label_noise=1.0, undeclared=0.0)
    assert (liars.declared != liars.grown).all()


def test_crops_are_as_common_as_asked_and_change_from_year_to_year():
    there, after = land(), land(year=2020)
    assert np.array_equal(there.parcel, after.parcel)
    assert (there.grown != after.grown).mean() > 0.5
    found = np.bincount(there.stand.kind, minlength=14) / len(there.grown)
    assert np.allclose(found, kinds.shares(1.0), atol=0.015)
    even = np.bincount(land(imbalance=0.0).stand.kind, minlength=14) / len(there.grown)
    assert np.allclose(even, 1 / 14, atol=0.012)


def test_higher_parcels_are_later():
    """Four days per 122 m, whatever else differs."""
    habits = Habits(1, 2019, "31TCJ", 1.0, 0.0, 0.0, 0.0)
    xs, ys = 400_000 + 10.0 * np.arange(100)[None, :], 4_800_000 - 10.0 * np.arange(100)[:, None]
    low, high = (fields(habits, xs, ys, np.full((100, 100), metres)).stand.delay for metres in (100.0, 344.0))
    assert np.allclose(high - low, 8.0)


@pytest.fixture(scope="module")
def patch(tmp_path_factory):
    return crops.make_patch(tmp_path_factory.mktemp("crops"), crops.World(**WORLD), crops.Place(**PLACE))


def test_the_same_world_is_the_same_bytes(patch, tmp_path):
    again = crops.make_patch(tmp_path, crops.World(**WORLD), crops.Place(**PLACE))
    assert patch.name == again.name == "2019_31TCJ_patch_08_10.nc"
    assert again.read_bytes() == patch.read_bytes()
    other = crops.make_patch(tmp_path, crops.World(**WORLD | {"seed": 2}), crops.Place(**PLACE))
    assert other.read_bytes() != patch.read_bytes()


def test_a_patch_has_the_form_of_sen4agrinet(patch):
    with h5py.File(patch) as file:
        assert sorted(file) == sorted([*(f"B{n:02}" for n in range(1, 13)), "B8A", "labels", "parcels", "truth"])
        sizes = {band: file[band][band].shape[1:] for band in ("B02", "B05", "B01", "B10")}
    assert sizes == {"B02": (60, 60), "B05": (30, 30), "B01": (10, 10), "B10": (10, 10)}
    root = xr.open_dataset(patch)
    assert root.attrs["patch_year"] == "2019"
    band = xr.open_dataset(patch, group="B08")
    assert band["B08"].dims == ("time", "y", "x")
    assert band["B08"].dtype == np.uint16
    assert int(band["B08"].min()) >= 1
    days = band["time"].values.astype("datetime64[D]")
    assert set(np.diff(days).astype(int)) > {15}  # irregular: some dates are missing
    assert {str(day)[:4] for day in days} == {"2019"}
    labels = xr.open_dataset(patch, group="labels")["labels"]
    assert labels.attrs["crs"] == "+init=epsg:32631"
    left, top = crops.Place(**PLACE).square.ulx + 8 * 3660, crops.Place(**PLACE).square.uly - 10 * 3660
    assert list(labels.attrs["transform"]) == [10, 0, left, 0, -10, top]
    parcels = xr.open_dataset(patch, group="parcels")["parcels"].values
    assert parcels.shape == labels.shape == (60, 60)
    for number in np.unique(parcels):
        assert len(np.unique(labels.values[parcels == number])) == 1
    assert (labels.values[parcels == 0] == 0).all()


def test_fields_are_seen_to_follow_their_curve(tmp_path):
    """NDVI in April and August: wheat is green and then cut, maize is not sown yet and then green."""
    world = crops.World(
        **WORLD | {"cloud_cover": 0.0, "missing": 0.0, "edge_px": 120, "revisit_days": 30, "spread": 0.0}
    )
    path = crops.make_patch(tmp_path, world, crops.Place(**PLACE))
    red, nir = (xr.open_dataset(path, group=band)[band].astype(float) for band in ("B04", "B08"))
    ndvi = (nir - red) / (nir + red)
    crop = xr.open_dataset(path, group="truth")["truth"].values
    months = ndvi["time"].dt.month.values
    curve = {
        code: [float(ndvi.values[months == month][:, crop == code].mean()) for month in (4, 8)] for code in (110, 120)
    }
    assert curve[110][0] > curve[110][1] + 0.2
    assert curve[120][1] > curve[120][0] + 0.2


def test_clouds_are_seen_as_bright(tmp_path):
    clear, cloudy = (
        xr.open_dataset(crops.make_patch(tmp_path / str(cover), crops.World(**WORLD | {"cloud_cover": cover}),
                                         crops.Place(**PLACE)), group="B02")["B02"].values
        for cover in (0.0, 0.6)
    )  # fmt: skip
    assert (clear > 3500).mean() == 0
    assert 0.3 < (cloudy > 3500).mean() < 0.9


def test_not_all_dates_can_be_missing(tmp_path):
    path = crops.make_patch(tmp_path, crops.World(**WORLD | {"missing": 1.0}), crops.Place(**PLACE))
    assert xr.open_dataset(path, group="B01").sizes["time"] == 1


def test_the_height_model_is_that_of_the_world(tmp_path):
    place = crops.Place(**PLACE)
    bounds = place.bounds(366)
    tiles = [crops.make_heights(tmp_path, seed=1, epsg=32631, south=south, west=west)
             for south, west in sorted(crops.tiles_under(32631, bounds))]  # fmt: skip
    assert all(path.stat().st_size == 2 * 1201 * 1201 for path in tiles)
    grid = Grid("EPSG:32631", transform_from([60.0, 0.0, bounds[0], 0.0, -60.0, bounds[3]]), (61, 61))
    found = elevation_on(tuple(tiles), grid, grid.full)
    xs, ys = bounds[0] + 30 + 60.0 * np.arange(61)[None, :], bounds[3] - 30 - 60.0 * np.arange(61)[:, None]
    assert np.abs(found - relief.heights(1, 32631, xs, ys)).max() < 3
    assert np.ptp(found) > 10


def test_neighbouring_tiles_share_an_edge(tmp_path):
    one, east = (np.frombuffer(crops.make_heights(tmp_path, seed=1, epsg=32631, south=43, west=west).read_bytes(), ">i2")
                 .reshape(1201, 1201) for west in (1, 2))  # fmt: skip
    assert np.array_equal(one[:, -1], east[:, 0])
