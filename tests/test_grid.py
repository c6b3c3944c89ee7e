"""Grids, windows and ground metres."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from thalweg.grid import Grid, Window, iter_windows

UTM = Grid("EPSG:32720", Affine(60, 0, 499980, 0, -60, 7600000), (100, 50))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.data())
def test_windows_cover_every_pixel_and_stay_inside_where_they_fit(height, width, size, data):
    stride = data.draw(st.integers(1, size))
    seen = np.zeros((max(height, size), max(width, size)), int)
    for window in iter_windows((height, width), size, stride):
        assert window.height == window.width == size
        assert window.row + size <= max(height, size)
        assert window.col + size <= max(width, size)
        seen[window.rows, window.cols] += 1
    assert seen[:height, :width].min() >= 1


def test_windows_without_overlap_cover_once():
    assert [tuple(w) for w in iter_windows((4, 6), 2, 2)] == [
        (0, 0, 2, 2), (0, 2, 2, 2), (0, 4, 2, 2), (2, 0, 2, 2), (2, 2, 2, 2), (2, 4, 2, 2)]  # fmt: skip


def test_last_window_moves_back_to_the_edge():
    assert [w.row for w in iter_windows((5, 2), 2, 2)] == [0, 2, 3]


def test_clip_keeps_the_inside_and_empties_the_outside():
    assert Window(-2, 3, 5, 5).clip((10, 6)) == (0, 3, 3, 3)
    assert Window(20, 0, 5, 5).clip((10, 6)).height == 0


def test_bounds_and_crop():
    assert UTM.bounds == (499980, 7594000, 502980, 7600000)
    assert UTM.crop(Window(10, 5, 4, 4)).bounds == (500280, 7599160, 500520, 7599400)


def test_pixel_metres_on_the_central_meridian_of_utm():
    # scale factor 0.9996: 60 m on the map are 60.024 m on the ground
    assert UTM.pixel_m_yx == pytest.approx((60.024, 60.024), abs=2e-3)


def test_web_mercator_metres_are_not_ground_metres():
    x, y = 1_500_000.0, 6_446_275.0  # 50.0 degrees north: cos = 0.643
    height_m, width_m = Grid("EPSG:3857", Affine(10, 0, x, 0, -10, y), (2, 2)).pixel_m_yx
    assert width_m == pytest.approx(6.43, abs=0.03)
    assert height_m == pytest.approx(6.43, abs=0.03)


def test_lonlat_of_the_central_meridian():
    lon, lat = UTM.lonlat(np.array([0.0]), np.array([20 / 60]))
    assert lon[0] == pytest.approx(-63.0, abs=1e-9)
    assert -21.71 < lat[0] < -21.70


def test_bounds_hold_all_corners_of_a_turned_raster():
    turned = Affine.translation(600_000, 7_000_000) @ Affine.rotation(45) @ Affine.scale(10, -10)
    west, south, east, north = Grid("EPSG:32720", turned, (100, 100)).bounds
    half = 1000 / 2**0.5
    assert (west, east) == pytest.approx((600_000, 600_000 + 2 * half))
    assert (south, north) == pytest.approx((7_000_000 - half, 7_000_000 + half))
