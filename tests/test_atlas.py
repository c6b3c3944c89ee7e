"""Maps in pieces, and the blocks of the split: nothing is lost in the nodata between far places."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from ensemble_builder import make_ensemble
from hypothesis import given
from hypothesis import strategies as st
from report_builder import CLASSES, LEGEND, make_map, make_split
from scene_builder import make_scene

from thalweg.atlas import find_pieces, read_map
from thalweg.blockmap import read_blocks, say_place
from thalweg.classes import ClassInfo
from thalweg.errors import StageError
from thalweg.grid import Window
from thalweg.params.classes import Classes

MAIN = make_ensemble(members=["unet"], grid="s2_60m", scenes=["*A"], threshold="argmax")


def test_scenes_that_touch_are_one_piece_and_the_largest_comes_first():
    windows = [Window(0, 0, 10, 10), Window(0, 90, 20, 20), Window(20, 90, 20, 20), Window(90, 0, 5, 5)]
    assert find_pieces(windows, (100, 200)) == [Window(0, 90, 40, 20), Window(0, 0, 10, 10), Window(90, 0, 5, 5)]


def test_a_map_that_scenes_mostly_cover_is_one_piece():
    assert find_pieces([Window(0, 0, 50, 100)], (100, 100)) == [Window(0, 0, 100, 100)]
    assert find_pieces([], (100, 100)) == [Window(0, 0, 100, 100)]


def test_scenes_off_the_map_and_past_its_edge():
    assert find_pieces([Window(-5, -5, 10, 10), Window(500, 500, 9, 9)], (100, 100)) == [Window(0, 0, 5, 5)]


@given(st.lists(st.tuples(*[st.integers(0, 90)] * 2, *[st.integers(1, 10)] * 2), min_size=1, max_size=12))
def test_every_pixel_of_every_scene_is_in_a_piece(corners: list[tuple[int, int, int, int]]):
    windows = [Window(*corner) for corner in corners]
    shown = np.zeros((100, 100), bool)
    for piece in find_pieces(windows, (100, 100)):
        shown[piece.rows, piece.cols] = True
    assert all(shown[window.rows, window.cols].all() for window in windows)


def test_a_maps_figures_in_order(tmp_path: Path):
    folder = make_map(tmp_path)
    make_scene(tmp_path / "scenes/s2_60m", "S2A", shape=(40, 60), channels=("B04", "B8A"))
    make_scene(tmp_path / "scenes/s2_60m", "S2B", shape=(40, 60), channels=("B04", "B8A"))
    page = read_map("main", folder, MAIN, tmp_path / "scenes", CLASSES)
    assert page is not None
    assert [figure.picture.caption for figure in page.pieces[0].figures] == [
        "The image, one channel (B04)", "Classes", "Probability of palaeochannel", "Entropy of the probabilities",
        "Disagreement of the members",
    ]  # fmt: skip
    assert page.pieces[0].place == "27.13° S, 61.97° W"
    assert page.tags["GIT_COMMIT"] == "0123abcd"


def test_a_map_without_scenes_and_layers_is_still_shown(tmp_path: Path):
    folder = make_map(tmp_path)
    (folder / "probs.tif").unlink()
    (folder / "uncertainty.tif").unlink()
    page = read_map("main", folder, MAIN, tmp_path / "scenes", CLASSES)
    assert page is not None
    assert [figure.picture.caption for figure in page.pieces[0].figures] == ["Classes"]


def test_no_map_is_none(tmp_path: Path):
    assert read_map("main", tmp_path, MAIN, tmp_path, CLASSES) is None


def test_several_classes_show_the_largest_probability(tmp_path: Path):
    folder = make_map(tmp_path)
    three = Classes(legend=(*LEGEND, ClassInfo(name="cloud", color="#ffffff")))
    (folder / "uncertainty.tif").unlink()
    import rasterio

    with rasterio.open(folder / "probs.tif") as two:
        profile, probs = two.profile | {"count": 3, "driver": "GTiff"}, two.read([1, 2, 2])
    with rasterio.open(folder / "three.tif", "w", **profile) as dataset:
        dataset.write(probs)
    (folder / "three.tif").replace(folder / "probs.tif")
    page = read_map("main", folder, MAIN, tmp_path / "scenes", three)
    assert page is not None
    shown = page.pieces[0].figures[1]
    assert shown.picture.caption == "Probability of the most probable class"
    assert shown.ramp is not None
    assert shown.ramp[0] == "0.33"


def test_blocks_lie_north_up_at_their_length(tmp_path: Path):
    make_split(tmp_path)
    blocks = read_blocks(tmp_path / "build/split/blocks.geojson")
    assert blocks is not None
    assert blocks.counts == {"test": 1, "train": 2, "val": 1}
    [piece] = blocks.pieces
    assert piece.height_km == pytest.approx(4.43, abs=0.05)  # 0.04 degrees of latitude
    assert piece.width_km == pytest.approx(16.0, abs=0.1)  # 0.16 degrees of longitude at 26 degrees south
    assert piece.width_percent == 100
    assert piece.outlines["test"].startswith("M11.99 0.00")


def test_blocks_far_apart_are_drawn_apart_on_one_scale(tmp_path: Path):
    squares = [("train", 0.0), ("val", 0.04), ("test", 7.0)]
    features = [
        {
            "properties": {"part": part},
            "geometry": json.loads(shapely.to_geojson(shapely.box(lon, 50, lon + 0.04, 50.04))),
        }
        for part, lon in squares
    ]
    (tmp_path / "blocks.geojson").write_text(json.dumps({"features": features}))
    blocks = read_blocks(tmp_path / "blocks.geojson")
    assert blocks is not None
    assert [list(piece.outlines) for piece in blocks.pieces] == [["train", "val"], ["test"]]
    assert [round(piece.width_percent) for piece in blocks.pieces] == [100, 50]


def test_no_blocks_are_none(tmp_path: Path):
    assert read_blocks(tmp_path / "blocks.geojson") is None
    (tmp_path / "blocks.geojson").write_text('{"features": []}')
    assert read_blocks(tmp_path / "blocks.geojson") is None


@pytest.mark.parametrize("text", ["{", '{"features": [{"properties": {}}]}', "[]"])
def test_blocks_that_cannot_be_read_are_named(tmp_path: Path, text: str):
    (tmp_path / "blocks.geojson").write_text(text)
    with pytest.raises(
        StageError, match=r"blocks\.geojson holds no blocks with their part .*; run `dvc repro --force split`"
    ):
        read_blocks(tmp_path / "blocks.geojson")


def test_places_are_said_by_hemisphere():
    assert say_place(-62.934, -21.766) == "21.77° S, 62.93° W"
    assert say_place(15.0, 46.5) == "46.50° N, 15.00° E"
