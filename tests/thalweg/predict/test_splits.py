"""Rows of one map, predicted by several calls: the bytes of the map that one call makes, and nothing predicted twice."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_builder import World, call, make_raster

from thalweg.errors import ImageError
from thalweg.infer.predictor import Predictor
from thalweg.predict.apply import Share

LAYERS = ("classes.tif", "probs.tif", "uncertainty.tif", "one.json")


@given(height=st.integers(1, 4000), of=st.integers(1, 20))
def test_shares_are_all_rows_once_in_whole_bands(height, of):
    rows = [Share(number, of).rows(height) for number in range(1, of + 1)]
    assert (rows[0][0], rows[-1][1]) == (0, height)
    assert all(one[1] == other[0] for one, other in itertools.pairwise(rows))
    assert all(start % 256 == 0 or start == stop == height for start, stop in rows)


def test_five_bands_in_two_shares_are_two_and_three():
    """1100 rows are bands of 256, 256, 256, 256 and 76."""
    assert [Share(number, 2).rows(1100) for number in (1, 2)] == [(0, 512), (512, 1100)]
    assert [Share(number, 3).rows(1100) for number in (1, 2, 3)] == [(0, 256), (256, 768), (768, 1100)]


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    """An image of five bands of rows, and a model for it."""
    world = World(tmp_path_factory.mktemp("world"))
    planes = np.random.default_rng(5).integers(500, 4000, (4, 1100, 70)).astype("int16")
    make_raster(world.root / "tall.tif", planes, crs=world.scene.record.crs, pixel=60.0)
    return world


@pytest.fixture
def seen(monkeypatch):
    """Windows that are predicted."""
    found: list[int] = []
    predict = Predictor.predict

    def counted(self, batch):
        found.extend([len(batch)] if len(batch) > 1 else [])  # a single one is for the budget of memory
        return predict(self, batch)

    monkeypatch.setattr(Predictor, "predict", counted)
    return found


def run(world, out, *more):
    return call("predict", world.model, world.root / "tall.tif", "--bands", "B02=1,B03=2,B04=3,B8A=4", "--scale", "0.0001",
                "--device", "cpu", "--out", out, *more)  # fmt: skip


def test_shares_in_any_order_give_the_map_of_one_call_and_predict_no_window_for_it_again(tall, tmp_path, seen):
    run(tall, tmp_path / "a" / "map")
    alone = sum(seen)
    for number in (3, 1, 2):
        said = run(tall, tmp_path / "b" / "map", "--splits", 3, "--split", number)
        assert f"predicted split {number} of 3; when all are" in said
        assert not (tmp_path / "b" / "map").exists()
    shares = sum(seen) - alone
    seen.clear()
    run(tall, tmp_path / "b" / "map", "--splits", 3)
    assert seen == []
    for name in LAYERS:
        assert (tmp_path / "a/map" / name).read_bytes() == (tmp_path / "b/map" / name).read_bytes(), name
    assert not list((tmp_path / "b").glob(".map*")), "what was on the way is gone"
    rows = 5  # of windows, 32 px high at half overlap, that lie across the two seams and are predicted on both sides
    assert alone < shares <= alone + rows * alone // (1100 // 16)


def test_a_share_that_failed_is_predicted_by_the_call_that_makes_the_map_and_no_other(tall, tmp_path, seen):
    run(tall, tmp_path / "map", "--splits", 2)
    whole = sum(seen)
    seen.clear()
    run(tall, tmp_path / "other" / "map", "--splits", 2, "--split", 2)
    second = sum(seen)
    seen.clear()
    run(tall, tmp_path / "other" / "map", "--splits", 2, "--split", 2)
    assert seen == []
    run(tall, tmp_path / "other" / "map", "--splits", 2)
    assert sum(seen) == whole - second
    assert (tmp_path / "map/probs.tif").read_bytes() == (tmp_path / "other/map/probs.tif").read_bytes()


def test_a_map_of_each_image_is_split_too(tall, tmp_path):
    for more in ((), ("--splits", 2, "--split", 1), ("--splits", 2, "--split", 2), ("--splits", 2)):
        run(tall, tmp_path / ("shares" if more else "alone"), "--each", *more)
    one, other = (tmp_path / name / "tall" / "probs.tif" for name in ("alone", "shares"))
    assert one.read_bytes() == other.read_bytes()


def test_a_kill_while_images_are_prepared_costs_their_preparation_alone(tall, tmp_path, monkeypatch):
    def killed(*_):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("thalweg.prepare.build_scenes", killed)
        with pytest.raises(RuntimeError, match="killed"):
            run(tall, tmp_path / "map")
    assert list((tmp_path / ".map.unfinished").rglob("g.part"))
    run(tall, tmp_path / "map")
    assert (tmp_path / "map/classes.tif").is_file()


def test_what_cannot_be_split_says_so(tall):
    with pytest.raises(ImageError, match=r"--split 2 is asked for, but no --splits says of how many; give --splits N"):
        call("predict", tall.model, tall.safe, "--split", 2)
    with pytest.raises(ImageError, match=r"--split 3 is asked for, but --splits 2 says that there are fewer"):
        call("predict", tall.model, tall.safe, "--splits", 2, "--split", 3)
