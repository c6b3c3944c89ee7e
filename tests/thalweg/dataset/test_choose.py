"""Which rows are trained on, and how often: by hand, on a table of eight rows."""

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from member_builder import member
from rasterio.crs import CRS

from thalweg.dataset.choose import alone, choose, weigh
from thalweg.dataset.sampler import EpochSampler, draw, tour
from thalweg.errors import TrainingError
from thalweg.grid import Grid

SHAPES = {"a": (128, 32)}
GRIDS = {"a": Grid(CRS.from_epsg(4326).to_wkt(), Affine(0.01, 0, -60, 0, -0.01, -25), SHAPES["a"])}
"""A hundredth of a degree per pixel: row r, col c lies at −60 + c/100, −25 − r/100."""


def table() -> pd.DataFrame:
    """Eight windows of 16 px below each other; the last two hold the rare class."""
    rare = np.array([0, 0, 0, 0, 0, 0, 10, 30])
    return pd.DataFrame(
        {"scene": "a", "row": np.arange(8) * 16, "col": 0, "size": 16, "part": "train",
         "valid_fraction": np.arange(1, 9) / 8, "labelled_px": 100, "px_common": 100 - rare, "px_rare": rare}
    )  # fmt: skip


def rows(**changes) -> list[int]:
    return (choose(table(), member(**changes), GRIDS)["row"] // 16).tolist()


def test_rows_with_little_that_is_valid_are_left_out():
    assert rows(least_valid=0.5) == [3, 4, 5, 6, 7]
    assert rows() == list(range(8))


def test_an_area_keeps_rows_whose_centre_lies_in_it():
    # centres at 25.08°, 25.24°, 25.40° … south and 59.92° west
    box = ((-59.95, -25.20), (-59.90, -25.20), (-59.90, -25.45), (-59.95, -25.45))
    assert rows(area=box) == [1, 2]
    assert rows(area=tuple((lon + 360, lat) for lon, lat in box)) == [1, 2]


def test_a_share_and_a_number_of_chips_are_seeded_and_nested():
    assert len(rows(train_prop=0.5)) == len(rows(train_count=4)) == 4
    assert rows(train_prop=0.5) == rows(train_count=4)
    assert set(rows(train_count=2)) < set(rows(train_count=5))
    assert len({tuple(rows(train_count=3, seed=seed)) for seed in range(20)}) > 10
    assert len(rows(train_prop=0.001)) == 1


def test_every_share_has_its_share_of_rows_with_the_rare_class():
    for seed in range(20):
        for count, rare in ((4, {1}), (8, {2}), (2, {0, 1})):
            assert sum(row >= 6 for row in rows(train_count=count, seed=seed)) in rare


def test_labels_count_in_the_chosen_rows_alone():
    assert alone(table(), member(), GRIDS) is None
    chosen = rows(train_count=2)
    assert alone(table(), member(train_count=2), GRIDS)["a"].tolist() == [[16 * row, 0, 16] for row in chosen]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"least_valid": 1.0, "area": ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))}, "area leaves no training chip"),
        ({"train_count": 9}, "train_count is 9, but there are 8 training chips; lower it"),
    ],
)
def test_what_leaves_nothing_says_so(changes, said):
    with pytest.raises(TrainingError, match=said):
        rows(**changes)


def test_no_row_is_valid_enough():
    with pytest.raises(TrainingError, match=r"least_valid 0\.9 leaves no training chip; lower it"):
        choose(table().iloc[:3], member(least_valid=0.9), GRIDS)


def _oversample(names=("rare",), share=0.6):
    return member(oversample={"classes": names, "share": share})


def test_rare_classes_reach_their_share_of_windows():
    weights = weigh(table(), _oversample())
    np.testing.assert_allclose(weights, [100] * 6 + [450] * 2)  # 900 of 1500
    places = draw(table(), 1000, 16, SHAPES, seed=1, epoch=0, weights=weights)
    assert sum(place.window.row >= 88 for place in places) in range(590, 700)  # moved by half a window at most
    np.testing.assert_array_equal(weigh(table(), _oversample(share=0.1)), [100] * 8)  # they have a quarter already
    np.testing.assert_array_equal(weigh(table(), member()), [100] * 8)


def test_rare_classes_that_are_not_there():
    with pytest.raises(TrainingError, match="oversample names gold, but the classes are common, rare"):
        weigh(table(), _oversample(("gold",)))
    with pytest.raises(TrainingError, match="oversample wants rare, of which no training chip has a pixel"):
        weigh(table().iloc[:6], _oversample())


def test_a_grid_shows_every_window_once_before_any_again():
    seen = [place for epoch in range(4) for place in tour(table(), 8, 8, SHAPES, seed=3, epoch=epoch)]
    windows = [tuple(place.window) for place in seen]
    assert len(set(windows)) == 32  # 8 rows × 4 windows of 8 px
    assert {window[:2] for window in windows} == {(row, col) for row in range(0, 128, 8) for col in (0, 8)}
    assert windows != sorted(windows)
    again = tour(table(), 8, 8, SHAPES, seed=3, epoch=4)
    assert {tuple(place.window) for place in again} < set(windows)
    assert [tuple(place.window) for place in again] != windows[:8]


def test_a_grid_of_large_windows_lies_round_the_middle_of_its_row():
    places = tour(table().iloc[:3], 3, 24, SHAPES, seed=0, epoch=0)
    assert sorted(place.window.row for place in places) == [0, 12, 28]  # the first would start at −4
    assert {place.window.height for place in places} == {24}


def test_windows_that_do_not_divide_a_row_overlap():
    places = tour(table().iloc[:1], 9, 6, SHAPES, seed=0, epoch=0)
    assert sorted({place.window.row for place in places}) == [0, 5, 10]


def test_the_loaders_sampler_follows_the_choice():
    sampler = EpochSampler(table(), 32, 8, SHAPES, 3, by="grid")
    assert len(set(sampler)) == 32
    sampler.set_epoch(1)
    assert len(set(sampler)) == len(sampler) == 32


def test_chips_are_read_in_one_way_only():
    """Filters and samplers name places; whoever reads them, once or from a store, does so by the same reader."""
    from pathlib import Path

    room = Path(__file__).parents[3] / "src/thalweg"
    readers = [
        path.name for path in room.rglob("*.py") if "read_scenes(" in path.read_text() and "dataset" in str(path)
    ]
    assert readers == ["chips.py"]
    for name in ("loading.py", "yardstick.py", "examine.py"):
        assert "ChipReader" in (room / name).read_text()
        assert "read_scenes(" not in (room / name).read_text()
