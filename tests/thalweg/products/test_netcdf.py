"""NetCDF cubes in both layouts: dates, places and digital numbers of each plane, and what is said of broken ones."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from product_builder import index
from series_builder import make_cube, make_patch

from thalweg.errors import ProductError, RasterError
from thalweg.grid import Window
from thalweg.products import Wanted
from thalweg.products.netcdf import open_netcdf

CODES = {"B02": 2, "B05": 5, "B01": 1, "B08": 8}
SHARED = Path(__file__).parents[4] / "shared/data/worldcereal_timeseries/worldcereal_preprocessed_inputs.nc"


def code(band, time, shape):
    """Another number for every band and day."""
    return np.full(shape, 1000 * CODES[band] + (time.astype("datetime64[D]") - np.datetime64("2019-01-01")).astype(int))


@pytest.fixture(scope="module")
def patch(tmp_path_factory):
    dates = {
        "B02": ["2019-01-01", "2019-03-05T10:30:21", "2019-12-31"],
        "B05": ["2019-03-05T10:30:25", "2019-01-01"],
        "B01": ["2019-07-01"],
    }
    labels = np.arange(36 * 36, dtype=np.int16).reshape(36, 36)
    raw = tmp_path_factory.mktemp("raw")
    make_patch(raw / "2019_31TCJ_patch_20_29.nc", dates, code, labels)
    return raw


def opened(raw, name, bands, wanted, labels=(), resolution=10, **changes):
    [product] = index(raw, raw / name, form="netcdf", bands=bands, **changes)
    return open_netcdf(product, raw, Wanted(wanted, labels, resolution))


def sen4agrinet(patch, wanted=("B02", "B05", "B01"), **changes):
    bands = {name: name for name in (*CODES, "labels")}
    return opened(patch, "2019_31TCJ_patch_20_29.nc", bands, wanted, **changes)


def read(delivery, band):
    layer = delivery.bands[band]
    return layer.read(layer.grid.full)


def test_there_is_a_delivery_per_date_of_any_band(patch):
    dates = sen4agrinet(patch)
    assert [date.sensing_time for date in dates] == [
        "2019-01-01T00:00:00Z", "2019-03-05T10:30:21Z", "2019-07-01T00:00:00Z", "2019-12-31T00:00:00Z"]  # fmt: skip


def test_each_plane_is_that_of_its_band_and_date(patch):
    """The seed scrambled bands and months; dates within a file need not be in order. Day 63 is 5 March."""
    january, march, july, december = sen4agrinet(patch)
    assert (read(january, "B02") == 2000).all()
    assert (read(january, "B05") == 5000).all()
    assert (read(march, "B02") == 2063).all()
    assert (read(march, "B05") == 5063).all()
    assert (read(july, "B01") == 1181).all()
    assert (read(december, "B02") == 2364).all()


def test_a_date_without_a_band_has_no_measurement_of_it(patch):
    january, _, july, _ = sen4agrinet(patch)
    assert np.isnan(read(january, "B01")).all()
    assert np.isnan(read(july, "B02")).all()
    assert read(july, "B02").shape == (36, 36)


def test_bands_lie_on_their_own_pixels_of_the_same_ground(patch):
    date = sen4agrinet(patch)[0]
    assert date.grid.crs_wkt == "EPSG:32631"
    assert date.grid.shape_yx == (36, 36)
    assert date.bands["B05"].grid.shape_yx == (18, 18)
    assert date.bands["B01"].grid.transform.a == 60
    assert {layer.grid.bounds for layer in date.bands.values()} == {(300_000, 4_599_660, 300_360, 4_600_020)}


def test_a_scene_may_have_the_pixels_of_a_coarser_band(patch):
    assert sen4agrinet(patch, resolution=20)[0].grid.shape_yx == (18, 18)
    assert sen4agrinet(patch, wanted=("B02",), resolution=20)[0].grid.shape_yx == (18, 18)


def test_windows_are_read_alone(patch):
    layer = sen4agrinet(patch, labels=("labels",))[1].labels["labels"]
    expected = np.arange(36 * 36).reshape(36, 36)[3:7, 30:36]
    assert np.array_equal(layer.read(Window(3, 30, 4, 6)), expected)


def test_scale_and_offset_may_differ_by_band(patch):
    date = sen4agrinet(patch, scale={"B02": 1e-4, "B05": 2e-4, "B01": 1.0, "B08": 1.0}, offset=-7.0)[0]
    assert date.bands["B05"].scale == 2e-4
    assert date.bands["B01"].offset == -7


def test_two_acquisitions_of_one_day_are_two_dates(tmp_path):
    make_patch(tmp_path / "p.nc", {"B02": ["2019-05-05T10:00", "2019-05-05T10:10"], "B05": ["2019-05-05T10:10:04"]},
               lambda band, time, shape: np.full(shape, int(str(time)[14:16])))  # fmt: skip
    one, other = opened(tmp_path, "p.nc", {"B02": "B02", "B05": "B05"}, ("B02", "B05"))
    assert (read(one, "B02")[0, 0], read(other, "B02")[0, 0]) == (0, 10)
    assert np.isfinite(read(one, "B05")).all()
    assert np.isnan(read(other, "B05")).all()


def cube(days=("2020-11-01", "2020-12-01"), **variables):
    shape = (len(days), 4, 6)
    planes = {
        name: (("t", "y", "x"), np.arange(np.prod(shape), dtype=dtype).reshape(shape))
        for name, dtype in variables.items()
    }
    return xr.Dataset(planes, coords={"t": np.array(days, "datetime64[ns]")})


def test_a_flat_cube_lies_where_its_coordinates_say(tmp_path):
    make_cube(tmp_path / "c.nc", cube(red=np.uint16))
    dates = opened(tmp_path, "c.nc", {"B04": "red"}, ("B04",))
    assert dates[0].grid.bounds == (300_000, 4_599_980, 300_060, 4_600_020)
    assert dates[0].grid.crs_wkt == "EPSG:32631"
    assert read(dates[1], "B04").tolist() == np.arange(24, 48).reshape(4, 6).tolist()


def test_a_cube_whose_rows_run_northwards_is_turned(tmp_path):
    make_cube(tmp_path / "up.nc", cube(red=np.int16))
    make_cube(tmp_path / "down.nc", cube(red=np.int16), north_up=False)
    one, other = (opened(tmp_path, name, {"B04": "red"}, ("B04",))[0] for name in ("up.nc", "down.nc"))
    assert one.grid == other.grid
    window = Window(1, 2, 2, 3)
    assert np.array_equal(one.bands["B04"].read(window), other.bands["B04"].read(window))


def test_axes_may_come_in_any_order(tmp_path):
    make_cube(tmp_path / "c.nc", cube(red=np.int16).transpose("x", "t", "y"))
    assert read(opened(tmp_path, "c.nc", {"B04": "red"}, ("B04",))[1], "B04").tolist() == (
        np.arange(24, 48).reshape(4, 6).tolist())  # fmt: skip


def test_a_variable_may_hold_its_bands_along_an_axis(tmp_path):
    whole = cube(red=np.int16, nir=np.int16).assign(nir=lambda planes: planes["nir"] + 100)
    stacked = whole.to_dataarray("bands").to_dataset(name="all")
    make_cube(tmp_path / "c.nc", stacked)
    dates = opened(tmp_path, "c.nc", {"B08": "all[nir]"}, ("B08",))
    assert read(dates[0], "B08")[0].tolist() == [100, 101, 102, 103, 104, 105]
    with pytest.raises(ProductError, match=r"bands red, nir, among which 'blue' is none.*'all\[<band>\]'"):
        opened(tmp_path, "c.nc", {"B02": "all[blue]"}, ("B02",))


def test_packed_values_are_unpacked_and_their_fill_is_no_measurement(tmp_path):
    planes = cube(red=np.int16)
    planes["red"].encoding = {"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": np.int16(-1), "dtype": "int16"}
    planes["red"] = planes["red"].astype(float).where(planes["red"] != 3)
    planes["red"].encoding = {"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": np.int16(-1), "dtype": "int16"}
    make_cube(tmp_path / "c.nc", planes)
    first = read(opened(tmp_path, "c.nc", {"B04": "red"}, ("B04",))[0], "B04")
    assert first[0, :3].tolist() == [0, 1, 2]
    assert np.isnan(first[0, 3])


def test_unsigned_numbers_kept_in_signed_ones_are_read_as_such(tmp_path):
    make_cube(tmp_path / "c.nc", cube(red=np.int16) * 0 - 2)
    with h5py.File(tmp_path / "c.nc", "a") as file:
        file["red"].attrs["_Unsigned"] = "true"
        file["red"].attrs["_FillValue"] = np.int16(-1)
    date = opened(tmp_path, "c.nc", {"B04": "red"}, ("B04",), nodata=None)[0]
    assert read(date, "B04")[0, 0] == 65534
    assert date.bands["B04"].nodata == 65535


def test_a_band_without_dates_is_there_on_all_of_them(tmp_path):
    planes = cube(red=np.int16)
    make_cube(tmp_path / "c.nc", planes.assign(height=(("y", "x"), np.full((4, 6), 7, np.int16))))
    dates = opened(tmp_path, "c.nc", {"B04": "red", "dem": "height"}, ("B04", "dem"))
    assert [read(date, "dem")[0, 0] for date in dates] == [7, 7]
    alone = opened(tmp_path, "c.nc", {"dem": "height"}, ("dem",), date="2020-06-01")
    assert [date.sensing_time for date in alone] == ["2020-06-01"]


def _without_place(path):
    with h5py.File(path, "a") as file:
        del file["labels/labels"].attrs["crs"]


def _without_units(path):
    with h5py.File(path, "a") as file:
        del file["B02/time"].attrs["units"]


def _other_calendar(path):
    with h5py.File(path, "a") as file:
        file["B02/time"].attrs["calendar"] = "360_day"


def _missing_date(path):
    with h5py.File(path, "a") as file:
        file["B02/time"][0] = np.iinfo(np.int64).min


def _transform(*numbers):
    def damage(path):
        with h5py.File(path, "a") as file:
            file["labels/labels"].attrs["transform"] = np.array(numbers, float)

    return damage


def _crs(path):
    with h5py.File(path, "a") as file:
        file["labels/labels"].attrs["crs"] = "+init=epsg:99999"


def _several_fills(path):
    with h5py.File(path, "a") as file:
        file["B02/B02"].attrs["missing_value"] = np.array([1, 2], np.uint16)


def _replaced(values):
    def damage(path):
        with h5py.File(path, "a") as file:
            del file["B02/B02"]
            file["B02/B02"] = values

    return damage


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_missing_date, "1 of the 1 dates of /B02/B02 are missing"),
        (_transform(10, 0, 300_000), r"'transform' of /labels/labels \(10, 0, 300000\) lays no pixels on the ground"),
        (_transform(0, 0, 0, 0, 0, 0), r"\(0, 0, 0, 0, 0, 0\) lays no pixels"),
        (_transform(10, 0, np.nan, 0, -10, 0), r"\(10, 0, nan, 0, -10, 0\) lays no pixels"),
        (_crs, r"names a CRS that is none \('\+init=epsg:99999'\)"),
        (_several_fills, r"has 2 values that mean missing \(\[1 2\]\)"),
        (_replaced(np.full((1, 3, 3), b"x")), r"/B02/B02 holds \|S1 values, not real numbers"),
        (_replaced(np.zeros((1, 0, 3), np.int16)), "/B02/B02 holds no pixel"),
        (_without_place, r"no place on the ground: neither coordinates x and y, nor a variable with .* 'transform'"),
        (_without_units, r"/B02/B02 has no dates along its axis of time .* 'days since 1990-01-01'"),
        (_other_calendar, r"calendar '360_day'\) cannot be read as days"),
    ],
)
def test_a_patch_that_lacks_what_it_needs_is_refused(tmp_path, damage, says):
    path = make_patch(tmp_path / "p.nc", {"B02": ["2019-05-05"]}, code)
    damage(path)
    with pytest.raises(ProductError, match=says):
        opened(tmp_path, "p.nc", {"B02": "B02"}, ("B02",))


def test_a_cube_without_any_date_is_refused(tmp_path):
    make_cube(tmp_path / "c.nc", cube(red=np.int16).isel(t=[]))
    with pytest.raises(ProductError, match="B04 have no date at all"):
        opened(tmp_path, "c.nc", {"B04": "red"}, ("B04",))


def test_a_cube_without_crs_takes_that_of_the_params(tmp_path):
    make_cube(tmp_path / "c.nc", cube(red=np.int16))
    with h5py.File(tmp_path / "c.nc", "a") as file:
        del file["crs"]
    with pytest.raises(ProductError, match=r"has coordinates, but the file has no CRS .* more\.crs"):
        opened(tmp_path, "c.nc", {"B04": "red"}, ("B04",))
    assert opened(tmp_path, "c.nc", {"B04": "red"}, ("B04",), crs="EPSG:25831")[0].grid.crs_wkt == "EPSG:25831"


def test_uneven_coordinates_are_no_grid(tmp_path):
    make_cube(tmp_path / "c.nc", cube(red=np.int16))
    with h5py.File(tmp_path / "c.nc", "a") as file:
        file["x"][2] += 1
    with pytest.raises(ProductError, match=r"coordinates /x are not evenly spaced"):
        opened(tmp_path, "c.nc", {"B04": "red"}, ("B04",))


def test_a_missing_variable_is_named_with_those_that_are_there(patch):
    with pytest.raises(ProductError, match=r"no variable 'B99', nor a group .* it has B01, B02, B05, labels, parcels"):
        opened(patch, "2019_31TCJ_patch_20_29.nc", {"B99": "B99"}, ("B99",))
    with pytest.raises(ProductError, match=r"needs the name of a variable for band 'B08', but its list gives None"):
        opened(patch, "2019_31TCJ_patch_20_29.nc", {"B02": "B02"}, ("B08",))


def test_labels_that_change_with_time_are_refused(tmp_path):
    make_cube(tmp_path / "c.nc", cube(red=np.int16, crop=np.int16))
    with pytest.raises(ProductError, match=r"labels 'crop' change with time \(2 dates\)"):
        opened(tmp_path, "c.nc", {"B04": "red", "crop": "crop"}, ("B04",), ("crop",))


def test_a_truncated_or_classic_file_says_so(patch, tmp_path):
    whole = (patch / "2019_31TCJ_patch_20_29.nc").read_bytes()
    (tmp_path / "cut.nc").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "old.nc").write_bytes(b"CDF\x01" + bytes(100))
    with pytest.raises(RasterError, match=r"cut\.nc cannot be read .*; deliver it again"):
        opened(tmp_path, "cut.nc", {"B02": "B02"}, ("B02",))
    with pytest.raises(RasterError, match=r"old\.nc cannot be read .*`nccopy -k nc4`"):
        opened(tmp_path, "old.nc", {"B02": "B02"}, ("B02",))


def test_a_damaged_chunk_raises_when_it_is_read(tmp_path):
    planes = cube(red=np.int16)
    planes["red"].encoding = {"zlib": True, "chunksizes": (1, 4, 6)}
    path = make_cube(tmp_path / "c.nc", planes)
    with h5py.File(path) as file:
        chunk = file["red"].id.get_chunk_info(1)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    dates = opened(tmp_path, "c.nc", {"B04": "red"}, ("B04",))
    assert read(dates[0], "B04").max() == 23
    with pytest.raises(RasterError, match=r"c\.nc cannot be read"):
        read(dates[1], "B04")


@pytest.mark.skipif(not SHARED.is_file(), reason="the real WorldCereal cube lies in ../shared, which is not here")
def test_the_real_worldcereal_cube(tmp_path):
    (tmp_path / SHARED.name).symlink_to(SHARED)
    bands = {"B02": "S2-L2A-B02", "VV": "S1-SIGMA0-VV"}
    dates = opened(tmp_path, SHARED.name, bands, ("B02", "VV"), nodata=65535.0)
    assert [date.sensing_time[:7] for date in dates] == [
        "2020-11", "2020-12", *(f"2021-{month:02}" for month in range(1, 11))]  # fmt: skip
    assert dates[0].grid.bounds == (664_000, 5_611_120, 665_000, 5_612_120)
    with h5py.File(SHARED) as file:
        for number, date in enumerate(dates):
            assert np.array_equal(read(date, "VV"), file["S1-SIGMA0-VV"][number].astype(np.uint16))


def test_cubes_are_found_in_a_folder_and_linked(patch, tmp_path):
    from thalweg.layout import Layout, link_found

    kind = Layout(form="netcdf", pattern="*.nc", bands={"B02": "B02"}, scale=1e-4, offset=0.0, nodata=0.0, date=None,
                  more=None)  # fmt: skip
    (tmp_path / "raw").mkdir()
    [product] = link_found((kind,), patch, tmp_path / "raw")
    assert product.name == "2019_31TCJ_patch_20_29"
    assert product.form == "netcdf"
    assert len(open_netcdf(product, tmp_path / "raw", Wanted(("B02",), (), 10))) == 3
