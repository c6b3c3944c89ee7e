"""Planes onto other pixels: values by hand, no bleeding of nodata, and stripes that leave no trace."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from thalweg.grid import Grid, Window
from thalweg.preprocess.resample import Lattice, between
from thalweg.preprocess.warp import Warp

METHODS = ("nearest", "bilinear", "cubic", "average")
NAN = np.nan


def grid(pixel: float, shape: tuple[int, int], left: float = 0.0, top: float = 0.0) -> Grid:
    return Grid("EPSG:32720", Affine(pixel, 0, 600_000 + left, 0, -pixel, 7_000_000 - top), shape)


def whole(place: Lattice | Warp, source: np.ndarray, target: Grid) -> np.ndarray:
    full = Window(0, 0, *source.shape)
    return place.resample(np.asarray(source, np.float32), full, target.full)


def onto(source: Grid, target: Grid, method: str, values: list | np.ndarray) -> np.ndarray:
    place = between(source, target, method)
    assert place is not None
    return whole(place, np.asarray(values, np.float32), target)


def test_bilinear_onto_half_the_pixels_by_hand():
    got = onto(grid(20, (1, 3)), grid(10, (2, 6)), "bilinear", [[0, 4, 8]])
    assert got.tolist() == [[0, 1, 3, 5, 7, 8]] * 2  # a quarter pixel off each centre; the border goes on


def test_cubic_onto_half_the_pixels_by_hand():
    """Keys at a distance of 1/4: −0.0703125, 0.8671875, 0.2265625, −0.0234375 (worked out by hand from eq. 15)."""
    got = onto(grid(20, (1, 4)), grid(10, (2, 8)), "cubic", [[0, 0, 64, 0]])
    assert got[0, 3:7].tolist() == [64 * 0.2265625, 64 * 0.8671875, 64 * 0.8671875, 64 * 0.2265625]
    assert (got[0, 1], got[0, 2]) == (64 * -0.0234375, 64 * -0.0703125)


def test_to_coarser_pixels_every_method_but_nearest_is_the_mean_by_area():
    values = np.arange(36).reshape(6, 6)
    means = [[7, 10], [25, 28]]  # of the 3 × 3 blocks
    for method in ("bilinear", "cubic", "average"):
        assert onto(grid(20, (6, 6)), grid(60, (2, 2)), method, values).tolist() == means
    assert onto(grid(20, (6, 6)), grid(60, (2, 2)), "nearest", values).tolist() == [
        [7, 10],
        [25, 28],
    ]  # the middle ones


def test_pixels_that_do_not_nest_share_by_area():
    """60 m from 40 m: the second target pixel has half of the second source pixel and all of the third."""
    got = onto(grid(40, (1, 3)), grid(60, (1, 2)), "average", [[1, 4, 10]])
    np.testing.assert_allclose(got, [[(40 * 1 + 20 * 4) / 60, (20 * 4 + 40 * 10) / 60]])


def test_nodata_neither_grows_nor_shrinks_nor_bleeds():
    values = [[NAN, 100.0, 200.0]]
    got = onto(grid(20, (1, 3)), grid(10, (2, 6)), "bilinear", values)
    np.testing.assert_allclose(got[0], [NAN, NAN, 100, 125, 175, 200])  # the third mixes with nothing at all
    got = onto(grid(20, (1, 3)), grid(10, (2, 6)), "cubic", values)
    assert np.isnan(got[0]).tolist() == [True, True, False, False, False, False]
    assert (got[0, 2:] >= 100).all()


def test_half_of_the_area_must_be_measured():
    values = np.array([[1.0, NAN, 5.0, NAN], [NAN, 3.0, NAN, NAN]])
    got = onto(grid(10, (2, 4)), grid(20, (1, 2)), "average", values)
    np.testing.assert_array_equal(got, [[2.0, NAN]])


def test_source_that_covers_a_part():
    got = onto(grid(10, (2, 2), left=20), grid(10, (2, 4)), "bilinear", [[1, 2], [3, 4]])
    np.testing.assert_array_equal(got, [[NAN, NAN, 1, 2], [NAN, NAN, 3, 4]])


def test_shared_lattice_is_taken_as_it_is():
    values = np.random.default_rng(3).random((8, 8)).astype(np.float32)
    got = onto(grid(10, (8, 8)), grid(10, (3, 3), left=20, top=30), "cubic", values)
    assert (got == values[3:6, 2:5]).all()


def test_codes_keep_their_values_by_nearest():
    codes = np.random.default_rng(3).integers(0, 12, (7, 7))
    got = onto(grid(60, (7, 7)), grid(20, (21, 21)), "nearest", codes)
    assert (got == np.kron(codes, np.ones((3, 3)))).all()


PIXELS = st.sampled_from([(10, 20), (20, 10), (10, 60), (60, 20), (20, 20), (40, 60), (60, 35)])


@settings(max_examples=60, deadline=None)
@given(
    PIXELS, st.sampled_from(METHODS), st.integers(0, 2**31), st.integers(1, 7), st.floats(0, 0.5), st.integers(-9, 9)
)
def test_stripes_leave_no_trace(pixels, method, seed, rows, missing, shift):
    rng = np.random.default_rng(seed)
    source = grid(pixels[0], (40, 30), left=shift)
    values = rng.random((40, 30)).astype(np.float32)
    values[rng.random((40, 30)) < missing] = NAN
    target = grid(pixels[1], (17, 13))
    place = between(source, target, method)
    once = whole(place, values, target)
    for row in range(0, 17, rows):
        window = Window(row, 0, min(rows, 17 - row), 13)
        at = place.source_window(window)
        part = place.resample(values[at.rows, at.cols], at, window)
        assert np.array_equal(part, once[window.rows], equal_nan=True)


@settings(max_examples=40, deadline=None)
@given(PIXELS, st.sampled_from(METHODS), st.integers(0, 2**31), st.floats(0, 0.6))
def test_a_constant_stays_and_means_stay_within_their_neighbours(pixels, method, seed, missing):
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((24, 24)) < missing, np.float32(NAN), np.float32(0.25))
    got = onto(grid(pixels[0], (24, 24)), grid(pixels[1], (19, 19)), method, values)
    np.testing.assert_allclose(got[np.isfinite(got)], 0.25, rtol=1e-5)


MIDDLE = Transformer.from_crs(32720, 32721, always_xy=True).transform(780_500, 6_999_400)
OVER = Grid("EPSG:32721", Affine(20, 0, MIDDLE[0] - 1500, 0, -20, MIDDLE[1] + 1500), (150, 150))
"""The same ground in the neighbouring zone."""
HOME = Grid("EPSG:32720", Affine(20, 0, 780_000, 0, -20, 7_000_000), (60, 50))


def test_warp_positions_are_within_a_thousandth_of_a_pixel():
    warp = Warp(OVER, HOME, "bilinear")
    rows, cols = warp._positions(HOME.full, 1)
    col, row = np.meshgrid(np.arange(50) + 0.5, np.arange(60) + 0.5)
    x, y = HOME.transform @ (col, row)
    x, y = Transformer.from_crs(32720, 32721, always_xy=True).transform(x, y)
    true_cols, true_rows = ~OVER.transform @ (x, y)
    assert np.abs(rows - true_rows).max() < 1e-3
    assert np.abs(cols - true_cols).max() < 1e-3


def test_warped_plane_of_ground_coordinates():
    """Values that grow with easting and northing come out where they belong, by every method."""
    col, row = np.meshgrid(np.arange(150) + 0.5, np.arange(150) + 0.5)
    x, y = OVER.transform @ (col, row)
    x, y = Transformer.from_crs(32721, 32720, always_xy=True).transform(x, y)
    col, row = np.meshgrid(np.arange(50) + 0.5, np.arange(60) + 0.5)
    here_x, here_y = HOME.transform @ (col, row)
    for method, most in (("nearest", 16), ("bilinear", 0.1), ("cubic", 0.1), ("average", 16)):
        for plane, here in ((x - 780_000, here_x - 780_000), (y - 6_999_000, here_y - 6_999_000)):
            got = whole(Warp(OVER, HOME, method), plane, HOME)
            assert np.isfinite(got).all()
            assert np.abs(got - here).max() < most, method


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(METHODS), st.integers(1, 30), st.integers(0, 2**31))
def test_warped_stripes_leave_no_trace(method, rows, seed):
    rng = np.random.default_rng(seed)
    values = rng.random((150, 150)).astype(np.float32)
    values[rng.random((150, 150)) < 0.2] = NAN
    warp = Warp(OVER, HOME, method)
    once = whole(warp, values, HOME)
    for row in range(0, 60, rows):
        window = Window(row, 0, min(rows, 60 - row), 50)
        at = warp.source_window(window)
        part = warp.resample(values[at.rows, at.cols], at, window)
        assert np.array_equal(part, once[window.rows], equal_nan=True)


def test_warp_to_coarser_pixels_is_a_mean_by_area():
    fine = Grid("EPSG:32721", Affine(5, 0, MIDDLE[0] - 1500, 0, -5, MIDDLE[1] + 1500), (600, 600))
    checks = np.indices((600, 600)).sum(0) % 2
    got = whole(Warp(fine, HOME, "bilinear"), checks, HOME)
    assert np.abs(got - 0.5).max() < 0.15  # interpolation would give 0 or 1


def test_nothing_of_a_source_that_lies_elsewhere():
    far = Grid("EPSG:32721", Affine(20, 0, 600_000, 0, -20, 7_001_500), (10, 10))
    at = Warp(far, HOME, "bilinear").source_window(HOME.full)
    assert at.height * at.width == 0


@pytest.mark.parametrize("turn", [0.0, 0.1])
def test_a_turned_grid_takes_a_warp(turn):
    turned = Grid("EPSG:32720", Affine(20, turn, 0, 0, -20, 0), (5, 5))
    assert (between(turned, grid(20, (5, 5)), "nearest") is None) == bool(turn)


def degrees(west: float, columns: int) -> Grid:
    """A raster of whole degrees from 60° north to 60° south."""
    return Grid("EPSG:4326", Affine(1, 0, west, 0, -1, 60), (120, columns))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("west", "columns"), [(-180, 360), (0, 360), (170, 20), (-190, 20)])
def test_the_ground_across_the_antimeridian(method, west, columns):
    """Each column holds its own longitude, 0 to 360, so that a pixel's value says where it was taken."""
    source = degrees(west, columns)
    values = np.tile((west + np.arange(columns) + 0.5) % 360, (120, 1)).astype(np.float32)
    x, y = Transformer.from_crs(4326, 32760, always_xy=True).transform(178.2, -17.0)
    target = Grid("EPSG:32760", Affine(6000, 0, x, 0, -6000, y), (40, 64))
    warp = Warp(source, target, method)
    at = warp.source_window(target.full)
    got = warp.resample(values[at.rows, at.cols], at, target.full)
    rows, cols = np.mgrid[:40, :64] + 0.5
    lon = target.lonlat(rows, cols)[0] % 360
    assert lon.min() < 179
    assert lon.max() > 181
    np.testing.assert_allclose(got, np.floor(lon) + 0.5, atol=0.51)  # half a source pixel
    parts = [warp.resample(values[at.rows, at.cols], at, Window(row, 0, 8, 64)) for row in range(0, 40, 8)]
    assert np.array_equal(got, np.concatenate(parts))


def test_longitudes_that_are_counted_to_360():
    target = Grid("EPSG:32720", Affine(1000, 0, 500_000, 0, -1000, 7_000_000), (8, 8))  # 63° west
    warp = Warp(degrees(200, 150), target, "nearest")
    at = warp.source_window(target.full)
    values = np.tile(200 + np.arange(150), (120, 1)).astype(np.float32)[at.rows, at.cols]
    assert set(np.unique(warp.resample(values, at, target.full))) == {297}
