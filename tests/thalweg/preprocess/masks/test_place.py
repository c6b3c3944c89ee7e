"""Codes onto a grid by nearest: exact against PROJ pixel by pixel, in windows only, whatever lies between."""

import itertools

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_builder import GRID
from pyproj import Transformer

from thalweg.grid import Grid, Window
from thalweg.preprocess.masks import place


def by_proj(target: Grid, source: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Source row and column of each pixel centre, each transformed by PROJ."""
    row, col = np.mgrid[: target.shape_yx[0], : target.shape_yx[1]] + 0.5
    a, b, c, d, e, f = target.transform[:6]
    across = Transformer.from_crs(target.crs_wkt, source.crs_wkt, always_xy=True)
    xs, ys = across.transform(a * col + b * row + c, d * col + e * row + f)
    a, b, c, d, e, f = (~source.transform)[:6]
    return d * xs + e * ys + f, a * xs + b * ys + c


PLACES = {
    "EPSG:32720": (600_000.0, 7_000_000.0, 1.0),
    "EPSG:32721": (15_000.0, 6_998_000.0, 1.0),
    "EPSG:4326": (-62.0, -27.1, 1 / 111_000),
    "EPSG:3857": (-6_901_000.0, -3_135_000.0, 1.0),
    "EPSG:22195": (3_700_000.0, 7_000_000.0, 1.0),
}
"""CRS → a place in it near to GRID, and its units per metre."""


@st.composite
def lattices(draw):
    """Masks on any lattice in any CRS, laid over GRID's ground, turned or not."""
    crs = draw(st.sampled_from(sorted(PLACES)))
    x, y = Transformer.from_crs(GRID.crs_wkt, crs, always_xy=True).transform(600_480.0, 6_999_520.0)
    unit = PLACES[crs][2]
    size = draw(st.floats(7, 130)) * unit
    shift = draw(st.floats(-300, 300)) * unit, draw(st.floats(-300, 300)) * unit
    count = draw(st.integers(3, 40)), draw(st.integers(3, 40))
    turned = Affine.rotation(draw(st.sampled_from((0, 0, 15, 90))))
    centre = Affine.translation(x + shift[0], y + shift[1]) @ turned @ Affine.scale(size, -size)
    return Grid(crs, centre @ Affine.translation(-count[1] / 2, -count[0] / 2), count)


@given(lattices(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_a_mask_keeps_its_ids_and_lies_where_proj_says(source, seed):
    codes = np.random.default_rng(seed).integers(0, 250, source.shape_yx, np.uint8)
    result = place.onto_grid(codes, source, GRID, 254)
    assert set(np.unique(result)) <= {*np.unique(codes), 254}
    rows, cols = by_proj(GRID, source)
    certain = (abs(rows - np.round(rows)) > 0.01) & (abs(cols - np.round(cols)) > 0.01)  # not within 1/100 of an edge
    inside = (rows >= 0) & (rows < source.shape_yx[0]) & (cols >= 0) & (cols < source.shape_yx[1])
    row, col = (np.where(inside, axis, 0).astype(int) for axis in (rows, cols))
    assert (result == np.where(inside, codes[row, col], 254))[certain].all()


@pytest.mark.parametrize(("scene", "source"), [
    (Grid("EPSG:32632", Affine(10, 0, 600_000, 0, -10, 0), (300, 500)), Grid("EPSG:4326", Affine(1 / 12000, 0, 6, 0, -1 / 12000, 3), (36000, 36000))),
    (Grid("EPSG:32720", Affine(60, 0, 600_000, 0, -60, 7_000_000), (600, 600)), Grid("EPSG:4326", Affine(5e-4, 0, -63, 0, -5e-4, -26), (4000, 4000))),
    (Grid("EPSG:32633", Affine(20, 0, 399_960, 0, -20, 7_900_000), (400, 300)), Grid("EPSG:3035", Affine(10, 0, 4_400_000, 0, -10, 5_400_000), (20000, 20000))),
    (Grid("EPSG:32720", Affine(300, 0, 300_000, 0, -300, 7_000_000), (300, 300)), Grid("EPSG:32721", Affine(300, 0, -400_000, 0, -300, 7_100_000), (1200, 1200))),
], ids=["equator", "chaco", "arctic", "far off its zone"])  # fmt: skip
def test_positions_err_by_less_than_a_hundredth_of_a_pixel(scene, source):
    wanted = by_proj(scene, source)
    for got, exact in zip(place.source_px(scene, source), wanted, strict=True):
        assert np.abs(got - exact).max() < 0.01


def test_a_conformal_map_is_not_trusted_by_its_cells_centres():
    """A harmonic plane: the mean of four corners is exact at the centre, but nowhere along the edges."""
    row, col = np.mgrid[:5, :5].astype(float)
    assert place._misfit(col**2 - row**2) == 1.0


def test_same_grid_is_passed_on():
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert place.onto_grid(codes, GRID, GRID, 254) is codes


def test_one_pixel_less_and_a_sub_pixel_offset_move_no_label():
    codes = np.arange(15 * 15, dtype=np.uint8).reshape(15, 15)
    source = Grid(GRID.crs_wkt, GRID.transform @ Affine.translation(0.2, -0.2), (15, 15))
    result = place.onto_grid(codes, source, GRID, 254)
    assert (result[:15, :15] == codes).all()
    assert (result[15] == 254).all()
    assert (result[:, 15] == 254).all()


@pytest.mark.parametrize("shift", [0.0, 1e-9, -1e-9])
def test_a_centre_on_the_edge_between_four_pixels_falls_to_the_lower_right_one(shift):
    """30 m codes under 60 m pixels; headers that differ by rounding give the same mask."""
    codes = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)
    source = Grid(GRID.crs_wkt, Affine(30, 0, 600_000 + shift, 0, -30, 7_000_000 - shift), (32, 32))
    assert (place.onto_grid(codes, source, GRID, 9999) == codes[1::2, 1::2]).all()


def test_blocks_and_quarters_meet(monkeypatch):
    source = Grid("EPSG:4326", Affine(2e-4, 0, -62.01, 0, -2e-4, -27.1), (120, 140))
    codes = np.random.default_rng(3).integers(0, 200, source.shape_yx, np.uint8)
    whole = place.onto_grid(codes, source, GRID, 254)
    monkeypatch.setattr(place, "_BLOCK_PX", 5)
    monkeypatch.setattr(place, "_MOST_PX", 40)
    read: list[Window] = []
    values, inside = place.read_onto(
        lambda window: (read.append(window), codes[None, window.rows, window.cols])[1], source, GRID
    )
    assert (np.where(inside, values[0], 254) == whole).all()
    assert (whole != 254).any()
    assert max(window.height * window.width for window in read) <= 40


def test_nothing_is_read_for_a_scene_elsewhere():
    source = Grid("EPSG:4326", Affine(2e-4, 0, 10, 0, -2e-4, 50), (120, 140))
    values, inside = place.read_onto(lambda window: pytest.fail(f"{window} was read"), source, GRID)
    assert not inside.any()
    assert values.shape == (1, 16, 16)


def test_ground_that_has_no_place_in_the_masks_crs():
    """The north pole in Mercator."""
    pole = Grid("EPSG:3413", Affine(1000, 0, -8000, 0, -1000, 8000), (17, 17))
    mercator = Grid("EPSG:3857", Affine(1e5, 0, -2e7, 0, -1e5, 2e7), (400, 400))
    assert (place.onto_grid(np.ones((400, 400), np.uint8), mercator, pole, 254) == 254).all()


def test_antimeridian_bounds_span_the_circle():
    grid = Grid("EPSG:32701", Affine(60, 0, 99_960, 0, -60, 8_200_000), (1830, 1830))
    west, _, east, _ = place.lonlat_bounds(grid)
    assert (west, east) == (-180.0, 180.0)


@pytest.mark.parametrize("west", [179.985, -180.015])
def test_degrees_across_the_antimeridian(west):
    x, y = Transformer.from_crs(4326, 32660, always_xy=True).transform(179.99, 10)
    scene = Grid("EPSG:32660", Affine(10, 0, x, 0, -10, y), (300, 300))
    degrees = Grid("EPSG:4326", Affine(1e-4, 0, west, 0, -1e-4, 10.002), (400, 400))
    codes = np.tile(np.arange(400, dtype=np.uint16), (400, 1))
    result = place.onto_grid(codes, degrees, scene, 9999)
    cols = by_proj(scene, degrees)[1]
    cols = cols - 360e4 * np.round((cols - 200) / 360e4)
    certain = abs(cols - np.round(cols)) > 0.01
    assert (result == np.floor(cols).astype(int))[certain].all()


def test_interpolated_positions_do_not_depend_on_the_block():
    source = Grid("EPSG:4326", Affine(5e-4, 0, -63, 0, -5e-4, -26), (4000, 4000))
    scene = Grid(GRID.crs_wkt, GRID.transform, (300, 300))
    rows, cols = place.source_px(scene, source)
    for row, col in itertools.product((0, 117), repeat=2):
        part = scene.crop(Window(row, col, 50, 50))
        for whole, cut in zip((rows, cols), place.source_px(part, source), strict=True):
            assert np.abs(whole[row : row + 50, col : col + 50] - cut).max() < 0.004
