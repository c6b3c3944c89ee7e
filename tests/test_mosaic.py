"""Placing scenes on one map."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from thalweg import raster
from thalweg.errors import EnsembleError
from thalweg.grid import Grid, Window, iter_blocks
from thalweg.maps import PROB_NODATA
from thalweg.mosaic import footprint, iter_mosaic, map_grid


def grid(
    row: int = 0, col: int = 0, shape: tuple[int, int] = (8, 10), crs: str = "EPSG:32720", pixel: float = 60.0
) -> Grid:
    return Grid(crs, Affine(pixel, 0, 600_000 + col * pixel, 0, -pixel, 7_000_000 - row * pixel), shape)


@given(row=st.integers(-500, 500), col=st.integers(-500, 500))
def test_a_moved_grid_lies_where_it_was_moved(row, col) -> None:
    assert footprint(grid(), grid(row, col)) == Window(row, col, 8, 10)
    assert grid().offset_px(grid(row, col)) == (row, col)


def test_other_lattices_have_no_offset() -> None:
    half = Grid("EPSG:32720", Affine(60, 0, 600_030, 0, -60, 7_000_000), (8, 10))
    for other in (half, grid(pixel=20.0), grid(crs="EPSG:32721")):
        assert grid().offset_px(other) is None
    assert grid().offset_px(Grid(grid().crs.to_wkt(), grid().transform, (8, 10))) == (0, 0)


def test_the_map_covers_all_scenes_on_the_first_ones_lattice() -> None:
    covering = map_grid([grid(), grid(-3, 4), grid(5, -2)])
    assert covering.shape_yx == (16, 16)
    assert covering.transform @ (0, 0) == (600_000 - 2 * 60, 7_000_000 + 3 * 60)


def test_a_scene_of_the_next_zone_is_covered_as_well() -> None:
    other = Grid("EPSG:32721", Affine(60, 0, 200_000, 0, -60, 7_000_000), (30, 30))
    near = Grid("EPSG:32720", Affine(60, 0, 790_000, 0, -60, 7_000_000), (30, 30))
    covering = map_grid([near, other])
    window = footprint(covering, other)
    assert window.clip(covering.shape_yx) == window
    assert window.height >= 30


def test_scenes_of_two_continents_are_no_map() -> None:
    far = Grid("EPSG:32633", Affine(60, 0, 500_000, 0, -60, 5_000_000), (8, 10))
    with pytest.raises(EnsembleError, match=r"all 2 scenes would have .* pixels, more than 4e\+09; narrow 'scenes'"):
        map_grid([grid(pixel=10.0), far])


def layer(path, where: Grid, values: np.ndarray):
    raster.write(path, values.astype(np.uint16), where, nodata=PROB_NODATA)
    return where, path


def test_overlapping_scenes_are_averaged_and_lone_ones_pass_unchanged(tmp_path) -> None:
    one, two = np.full((2, 8, 10), 100), np.full((2, 8, 10), 201)
    one[:, 7, 9] = PROB_NODATA
    scenes = [layer(tmp_path / "a.tif", grid(), one), layer(tmp_path / "b.tif", grid(6, 8), two)]
    covering = map_grid([where for where, _ in scenes])
    [(window, held)] = list(iter_mosaic(covering, scenes))
    assert window == covering.full
    expected = np.full((14, 18), PROB_NODATA)
    expected[:8, :10], expected[6:, 8:] = 100, 201
    expected[6:8, 8:10] = 150  # 150.5 to the even neighbour
    expected[7, 9] = 201
    assert (held == expected).all()


def test_empty_windows_are_left_out(tmp_path) -> None:
    values = np.full((1, 8, 10), 7)
    scenes = [layer(tmp_path / "a.tif", grid(), values), layer(tmp_path / "b.tif", grid(3000, 3000), values)]
    covering = map_grid([where for where, _ in scenes])
    assert len(list(iter_mosaic(covering, scenes))) < 6 < len(list(iter_blocks(covering.shape_yx, 512)))


@given(height=st.integers(1, 40), width=st.integers(1, 40), size=st.integers(1, 50))
def test_blocks_cover_every_pixel_once(height, width, size) -> None:
    seen = np.zeros((height, width), int)
    for window in iter_blocks((height, width), size):
        seen[window.rows, window.cols] += 1
    assert (seen == 1).all()
