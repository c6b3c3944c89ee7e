"""Pixel positions by lattice against projecting every pixel."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from thalweg.grid import Grid, Window
from thalweg.split.position import STEP_PX, ecef, locate, lonlat, pixels_in

GEOD = Geod(ellps="WGS84")
GRIDS = [
    ("EPSG:32633", 20.0, (500_000.0, 6_700_000.0)),
    ("EPSG:32720", 60.0, (700_020.0, 7_000_000.0)),
    ("EPSG:3857", 30.0, (1_500_000.0, 6_000_000.0)),
    ("EPSG:4326", 2e-4, (10.0, 50.0)),
]


@pytest.mark.parametrize(("crs", "pixel", "origin"), GRIDS)
def test_lattice_lonlat_is_exact_at_nodes_and_far_below_a_pixel_between(crs, pixel, origin):
    grid = Grid(crs, Affine(pixel, 0, origin[0], 0, -pixel, origin[1]), (400, 300))
    window = Window(-20, 30, 333, 280)
    lon, lat = lonlat(grid, window)
    rows, cols = np.mgrid[-20:313, 30:310] + 0.5
    want_lon, want_lat = grid.lonlat(rows, cols)
    _, _, error_m = GEOD.inv(lon.ravel(), lat.ravel(), want_lon.ravel(), want_lat.ravel())
    assert np.max(error_m) < 0.02 * min(grid.pixel_m_yx)
    nodes = (slice(20, None, STEP_PX), slice(34, None, STEP_PX))  # rows and columns that are multiples of the step
    np.testing.assert_allclose(lon[nodes], want_lon[nodes], atol=1e-11)
    np.testing.assert_allclose(lat[nodes], want_lat[nodes], atol=1e-11)


@given(st.integers(-100, 300), st.integers(-100, 300), st.integers(1, 150), st.integers(1, 150))
def test_a_position_does_not_depend_on_the_window(row, col, height, width):
    grid = Grid("EPSG:32633", Affine(20, 0, 300_000, 0, -20, 6_700_000), (400, 300))
    lon, lat = lonlat(grid, Window(row, col, height, width))
    lon_alone, lat_alone = lonlat(grid, Window(row + height - 1, col + width - 1, 1, 1))
    assert lon[-1, -1] == pytest.approx(lon_alone.item(), abs=1e-12)
    assert lat[-1, -1] == pytest.approx(lat_alone.item(), abs=1e-12)


def test_longitudes_pass_180_without_a_jump():
    grid = Grid("EPSG:32601", Affine(60, 0, 290_000, 0, -60, 1_000_000), (100, 600))
    lon, _ = lonlat(grid, grid.full)
    assert np.abs(np.diff(lon, axis=1)).max() < 0.01
    assert lon.max() - lon.min() < 1


def test_pixels_in_another_zone_match_the_exact_projection():
    here = Grid("EPSG:32720", Affine(60, 0, 700_020, 0, -60, 7_000_000), (300, 300))
    there = Grid("EPSG:32721", Affine(20, 0, 100_000, 0, -20, 7_000_000), (900, 900))
    rows, cols = pixels_in(here, here.full, there)
    want = locate(here, *(np.mgrid[0:300, 0:300] + 0.5), there)
    assert max(np.abs(rows - want[0]).max(), np.abs(cols - want[1]).max()) < 0.05
    x, y = Transformer.from_crs(32720, 32721, always_xy=True).transform(700_020 + 60 * 10.5, 7_000_000 - 60 * 20.5)
    assert want[0][20, 10] == pytest.approx((7_000_000 - y) / 20, abs=1e-6)
    assert want[1][20, 10] == pytest.approx((x - 100_000) / 20, abs=1e-6)


def test_a_single_pixel_has_a_position():
    grid = Grid("EPSG:32720", Affine(60, 0, 700_020, 0, -60, 7_000_000), (1, 1))
    lon, lat = lonlat(grid, grid.full)
    want = grid.lonlat(np.array(0.5), np.array(0.5))
    assert (lon.item(), lat.item()) == pytest.approx((want[0].item(), want[1].item()))


def test_chords_are_ground_distances():
    lon, lat = np.array([10.0, 10.01]), np.array([60.0, 60.005])
    chord_m = np.linalg.norm(np.diff(ecef(lon, lat), axis=0))
    assert chord_m == pytest.approx(GEOD.inv(lon[0], lat[0], lon[1], lat[1])[2], rel=1e-6)


@pytest.mark.parametrize("west", [179.99, -180.01])
def test_a_raster_in_degrees_across_the_antimeridian(west):
    """UTM's side of it is given in longitudes of one sign, whichever turn the other raster counts in."""
    other = Grid("EPSG:4326", Affine(1e-4, 0, west, 0, -1e-4, -17.0), (100, 200))
    x, y = Transformer.from_crs(4326, 32701, always_xy=True).transform(-179.995, -17.001)
    grid = Grid("EPSG:32701", Affine(10, 0, x, 0, -10, y), (4, 4))
    rows, cols = locate(grid, np.array([0.0]), np.array([0.0]), other)
    np.testing.assert_allclose((rows[0], cols[0]), (10, 150), atol=1e-3)
