"""Blocks: the same ground is the same block, blocks have the size asked for, and tables look up what they hold."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from thalweg.grid import Grid, Window
from thalweg.manifest.chips import PARTS
from thalweg.split.blocks import BlockTable, Lattice, decode, encode, ranked

GEOD = Geod(ellps="WGS84")


def _pixel_at(crs: str, lon: float, lat: float, pixel: float) -> Grid:
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    return Grid(crs, Affine(pixel, 0, x - pixel / 2, 0, -pixel, y + pixel / 2), (1, 1))


@given(lon=st.floats(-179.9, 179.9), lat=st.floats(-75, 75), block_m=st.sampled_from([500.0, 3600.0, 20_000.0]))
def test_block_of_a_pixel_does_not_depend_on_the_crs(lon, lat, block_m):
    lattice = Lattice(block_m)
    zone = int((lon + 180) // 6) + 1
    base = 32600 if lat >= 0 else 32700
    west, south, east, north = lattice.box(
        *(int(v.item()) for v in lattice.cells(_pixel_at("EPSG:4326", lon, lat, 1e-4), Window(0, 0, 1, 1)))
    )
    edge = min(lon - west, east - lon, lat - south, north - lat)
    if edge < 1e-7:
        return  # on a border the last digits decide
    found = {tuple(int(v.item()) for v in lattice.cells(_pixel_at(crs, lon, lat, 20), Window(0, 0, 1, 1)))
             for crs in (f"EPSG:{base + zone}", f"EPSG:{base + zone % 60 + 1}", "EPSG:3857")}  # fmt: skip
    assert len(found) == 1
    assert edge > 0


@pytest.mark.parametrize("lat", [0.0, -27.3, 48.0, 69.0])
def test_blocks_have_the_edge_that_is_asked_for(lat):
    lattice = Lattice(3600)
    row, col = (int(v.item()) for v in lattice.cells(_pixel_at("EPSG:4326", 15.0, lat, 1e-4), Window(0, 0, 1, 1)))
    west, south, east, north = lattice.box(row, col)
    _, _, height_m = GEOD.inv(west, south, west, north)
    _, _, width_m = GEOD.inv(west, (south + north) / 2, east, (south + north) / 2)
    assert height_m == pytest.approx(3600, rel=0.007)
    assert width_m == pytest.approx(3600, rel=0.007)


def test_columns_go_round_the_earth_without_a_seam():
    lattice = Lattice(3600)
    row, last = (int(v.item()) for v in lattice.cells(_pixel_at("EPSG:4326", 179.9999, 10, 1e-6), Window(0, 0, 1, 1)))
    assert last == lattice.columns(np.array([row]))[0] - 1
    assert lattice.box(row, last)[2] == pytest.approx(180)
    grid = Grid("EPSG:32601", Affine(60, 0, 160_000, 0, -60, 1_000_000), (8, 600))
    _, cols = lattice.cells(grid, grid.full)
    assert cols.max() > 5000
    assert cols.min() == 0


@given(st.lists(st.tuples(st.integers(-5000, 5000), st.integers(0, 12_000)), min_size=1, max_size=30))
def test_codes_keep_row_and_column_and_their_order(cells):
    rows, cols = np.array(cells, np.int64).T
    assert [tuple(cell) for cell in zip(*decode(encode(rows, cols)), strict=True)] == cells
    assert np.array_equal(np.argsort(encode(rows, cols), kind="stable"), np.lexsort((cols, rows)))


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9))
def test_ranked_is_unique_with_inverse(seed, height, width):
    codes = np.random.default_rng(seed).integers(0, 4, (height, width))
    distinct, place = ranked(codes)
    want, inverse = np.unique(codes, return_inverse=True)
    assert np.array_equal(distinct, want)
    assert np.array_equal(place, inverse.reshape(codes.shape))


def test_table_gives_the_part_of_the_block_and_unused_elsewhere():
    grid = Grid("EPSG:32633", Affine(100, 0, 500_000, 0, -100, 5_000_000), (60, 60))
    lattice = Lattice(2000)
    codes = np.unique(encode(*lattice.cells(grid, grid.full)))
    table = BlockTable(lattice, codes[:2], np.ones((2, 1)), np.array([PARTS["train"], PARTS["test"]], np.uint8))
    parts = table.parts_at(grid, grid.full)
    pixel_codes = encode(*lattice.cells(grid, grid.full))
    assert np.array_equal(parts == PARTS["train"], pixel_codes == codes[0])
    assert np.array_equal(parts == PARTS["test"], pixel_codes == codes[1])
    assert np.array_equal(parts == PARTS["unused"], ~np.isin(pixel_codes, codes[:2]))
