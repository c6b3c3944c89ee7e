import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from thalweg.dataset.sampler import EpochSampler, draw, lattice

SHAPES = {"a": (100, 80), "small": (10, 80)}


def _table(labelled=(100, 300, 0, 600)):
    scenes = ["a", "a", "a", "small"]
    return pd.DataFrame(
        {"scene": scenes, "row": [0, 16, 84, 0], "col": [0, 32, 64, 16], "size": 16, "labelled_px": labelled}
    )


def test_chips_come_in_proportion_to_their_labels():
    places = draw(_table(), 1000, 16, SHAPES, seed=1, epoch=0)
    assert sum(place.scene == "small" for place in places) in range(599, 602)
    rows = [place.window.row for place in places if place.scene == "a"]
    assert max(rows) <= 24  # the row without labels is never drawn


@given(st.integers(0, 9), st.integers(0, 99), st.integers(1, 40), st.integers(8, 30))
def test_windows_stay_inside_and_near_their_row(seed, epoch, count, chip_px):
    places = draw(_table((0, 300, 0, 600)), count, chip_px, SHAPES, seed, epoch)
    assert len(places) == count
    for place in places:
        row, col, height, width = place.window
        assert height == width == chip_px
        if place.scene == "a":
            assert abs(row + chip_px / 2 - 24) <= 8.5
            assert abs(col + chip_px / 2 - 40) <= 8.5
        elif chip_px >= 10:  # the scene has 10 rows: it lies inside the window
            assert row <= 0
            assert row + chip_px >= 10
        assert 0 <= col <= 80 - chip_px


def test_an_epoch_is_the_same_whatever_came_before():
    sampler, other = (EpochSampler(_table(), 20, 16, SHAPES, seed=3) for _ in range(2))
    sampler.set_epoch(4)
    fourth = list(sampler)
    for epoch in (0, 2, 4):
        other.set_epoch(epoch)
        seen = list(other)
    assert seen == fourth
    assert len(sampler) == 20
    other.set_epoch(5)
    assert list(other) != fourth


def test_lattice_shows_each_row_once():
    places = lattice(_table())
    assert [tuple(place.window) for place in places] == [
        (0, 0, 16, 16),
        (16, 32, 16, 16),
        (84, 64, 16, 16),
        (0, 16, 16, 16),
    ]
    assert np.isscalar(places[0].window.row)
