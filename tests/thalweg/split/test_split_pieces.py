"""Pieces: every pixel in exactly one, the same ground in any resolution, tiles numbered as LandCover.ai numbers them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thalweg.grid import Window
from thalweg.split.pieces import Pieces, even, scaled, tiles


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 9), st.integers(0, 1000))
def test_every_pixel_lies_in_one_cell_of_nearly_equal_size(height, width, cells, first):
    pieces = even(first, (height, width), cells)
    codes = pieces.under(Window(0, 0, height, width))
    assert codes.min() >= first
    assert codes.max() < first + cells * cells
    down = np.diff(pieces.rows)
    assert down.sum() == height
    assert down.max() - down.min() <= 1


def test_six_cells_of_a_tile_are_the_same_ground_at_60_and_20_m():
    coarse, fine = even(0, (1830, 1830), 6), even(0, (5490, 5490), 6)
    assert coarse.rows == (0, 305, 610, 915, 1220, 1525, 1830)
    assert scaled(coarse, (1830, 1830), (5490, 5490)) == fine


def test_what_lies_beyond_belongs_to_no_piece():
    pieces = Pieces(7, (0, 2, 4), (0, 3))
    codes = pieces.under(Window(-1, 1, 6, 3))
    assert codes.tolist() == [[-1] * 3, [7, 7, -1], [7, 7, -1], [8, 8, -1], [8, 8, -1], [-1] * 3]
    assert pieces.at(np.array([np.nan, np.inf, 1.9]), np.array([1.0, 1.0, 2.9])).tolist() == [-1, -1, 7]


def test_tiles_count_the_incomplete_ones_at_the_edge():
    pieces = tiles(0, (1100, 1300), 512)  # 3 × 3 with edges of 76 and 276
    assert pieces.shape == (3, 3)
    assert pieces.window(4) == Window(512, 512, 512, 512)
    assert pieces.window(2) == Window(0, 1024, 512, 276)
