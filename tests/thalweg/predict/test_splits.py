"""Rows of one map, predicted by several calls: the bytes of the map that one call makes, and nothing predicted twice."""

import errno
import itertools
import signal
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from image_builder import World, call, make_raster
from safetensors.torch import load_file, save_file
from shapely import box

from thalweg.errors import DegradedDataWarning, ImageError, ShareError
from thalweg.infer.predictor import Predictor
from thalweg.predict.shares import Share, making, taking

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


@pytest.fixture
def no_model(monkeypatch):
    """A machine on which no model can be loaded."""

    def refused(*_, **__):
        raise AssertionError("no model is needed")

    return lambda: monkeypatch.setattr(Predictor, "load", refused)


def test_the_map_is_merged_without_the_model_and_only_of_all_shares(tall, tmp_path, no_model):
    out = tmp_path / "other" / "map"
    with pytest.raises(
        ShareError, match=r"map cannot be made: shares 1, 2, 3 of 3 \(all rows\) did not come to an end"
    ):
        run(tall, out, "--splits", 3, "--merge")
    run(tall, tmp_path / "alone" / "map")
    run(tall, out, "--splits", 3, "--split", 3)
    with pytest.raises(ShareError, match=r"shares 1, 2 of 3 \(rows 0 to 256 of tall, 256 to 768 of tall\) did not .* with --split 1 instead of --merge, and so on, or with --submit"):  # fmt: skip
        run(tall, out, "--splits", 3, "--merge")
    run(tall, out, "--splits", 3, "--split", 1)
    run(tall, out, "--splits", 3, "--split", 2)
    no_model()
    said = run(tall, out, "--splits", 3, "--merge")
    assert "mapped 1 image by one" in said
    for name in LAYERS:
        assert (tmp_path / "alone" / "map" / name).read_bytes() == (out / name).read_bytes(), name
    assert not list(out.parent.glob(".map*"))


def test_shares_of_other_code_or_whose_bands_are_gone_are_not_there(tall, tmp_path, monkeypatch):
    out = tmp_path / "map"
    for number in (1, 2):
        run(tall, out, "--splits", 2, "--split", number)
    with monkeypatch.context() as patch:
        patch.setattr("thalweg.predict.several.code_sha256", lambda _: "0" * 64)
        with pytest.raises(
            ShareError, match=r"shares 1, 2 of 2 \(all rows\) .* or were predicted with other options, by other code"
        ):
            run(tall, out, "--splits", 2, "--merge")
    next((tmp_path / ".map.unfinished").rglob("00000512.npy")).unlink()
    with pytest.raises(ShareError, match=r"share 2 of 2 \(rows 512 to 1100 of tall\)"):
        run(tall, out, "--splits", 2, "--merge")


def test_shares_predict_in_the_batches_of_the_first(tall, tmp_path, monkeypatch, seen):
    """On a machine that would take fewer windows at once, as when an accelerator's memory is less free."""
    out = tmp_path / "map"
    run(tall, out, "--splits", 2, "--split", 1)
    largest = max(seen)
    seen.clear()
    with monkeypatch.context() as patch:
        patch.setattr("thalweg.infer.memory._BATCH_PX", {"cpu": 1 << 11})  # two windows of 32
        run(tall, out, "--splits", 2, "--split", 2)
    assert max(seen) == largest > 2
    run(tall, out, "--splits", 2, "--merge")


def test_shares_of_another_kind_of_device_than_the_newest_are_predicted_again(tall, tmp_path, monkeypatch):
    """Their bands lie in two folders, and no map is made of both."""
    out = tmp_path / "map"
    with monkeypatch.context() as patch:
        patch.setattr("thalweg.infer.memory._BATCH_PX", {"cpu": 1 << 12})
        run(tall, out, "--splits", 2, "--split", 1)
    [agreed] = tmp_path.glob(".map.unfinished/*/batches/tall.json")
    agreed.write_text(agreed.read_text().replace('"cpu"', '"cuda"'))
    run(tall, out, "--splits", 2, "--split", 2)
    with pytest.raises(ShareError, match=r"share 1 of 2 .* or on another kind of device than the rest"):
        run(tall, out, "--splits", 2, "--merge")
    run(tall, out, "--splits", 2, "--split", 1)
    run(tall, out, "--splits", 2, "--merge")


def test_maps_of_each_image_are_merged(tall, tmp_path):
    for more in (("--split", 1), ("--split", 2), ("--merge",)):
        run(tall, tmp_path / "shares", "--each", "--splits", 2, *more)
    run(tall, tmp_path / "alone", "--each")
    one, other = (tmp_path / name / "tall" / "probs.tif" for name in ("alone", "shares"))
    assert one.read_bytes() == other.read_bytes()


def test_no_map_is_made_while_a_share_is_at_work_and_no_share_begun_while_the_map_is_made(tall, tmp_path):
    work = tmp_path / ".map.unfinished"
    with taking(work, Share(2, 3)), taking(work, Share(3, 3)):
        for more in (("--splits", 3, "--merge"), ()):
            with pytest.raises(ShareError, match=r"^map cannot be made yet: process \d+ on \S+ predicts share 2 of 3; process \d+ on \S+ predicts share 3 of 3; wait for it, and run this again$"):  # fmt: skip
                run(tall, tmp_path / "map", *more)
        with pytest.raises(ShareError, match=r"^process \d+ on \S+ predicts share 2 of 3 of map already; wait for it, or end"):  # fmt: skip
            run(tall, tmp_path / "map", "--splits", 3, "--split", 2)
    with making(work):
        with pytest.raises(ShareError, match=r"map is just being made by another call; wait for it"):
            run(tall, tmp_path / "map", "--splits", 3, "--split", 2)
        with pytest.raises(ShareError, match=r"map cannot be made yet: another call makes it; wait for it"):
            run(tall, tmp_path / "map")
    run(tall, tmp_path / "map")
    assert [path.name for path in tmp_path.iterdir()] == ["map"], "nothing of what was on the way"


def test_a_share_that_comes_when_the_map_was_just_made_leaves_nothing(tall, tmp_path, monkeypatch):
    """The map appears after the call's first look, before it holds its share."""
    out, looks = tmp_path / "map", []
    exists = type(out).exists
    monkeypatch.setattr(type(out), "exists", lambda path, **more: exists(path, **more) or (path == out and len(looks) > 0) or (path == out and looks.append(1) is not None))  # fmt: skip
    assert "predicted split 1 of 2" in run(tall, out, "--splits", 2, "--split", 1)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_share_holds_nothing(tall, tmp_path):
    code = "import os, signal, sys, pathlib; from thalweg.predict.shares import Share, taking\nwith taking(pathlib.Path(sys.argv[1]), Share(1, 2)): os.kill(os.getpid(), signal.SIGKILL)"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, tmp_path / ".map.unfinished"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / ".map.unfinished/share-1-of-2.holder").is_file()
    run(tall, tmp_path / "map")


def test_a_disk_without_locks_is_said(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("thalweg.predict.shares.fcntl.flock", none)
    with pytest.warns(DegradedDataWarning, match=r"lies on a disk without locks .*; see yourself that no share is"), making(tmp_path):  # fmt: skip
        pass


def test_shares_of_another_area_are_not_there(tall, tmp_path):
    """The file has the same name, but another ground in it."""
    with rasterio.open(tall.root / "tall.tif") as image:
        left, bottom, right, top = image.bounds
    for share in (0.3, 0.9):
        ground = box(left, top - share * (top - bottom), right, top)
        gpd.GeoDataFrame(geometry=[ground], crs=tall.scene.record.crs).to_file(tmp_path / "aoi.gpkg")
        if share == 0.3:
            for number in (1, 2):
                run(tall, tmp_path / "map", "--aoi", tmp_path / "aoi.gpkg", "--splits", 2, "--split", number)
    with pytest.raises(ShareError, match=r"shares 1, 2 of 2 \(all rows\) did not come to an end"):
        run(tall, tmp_path / "map", "--aoi", tmp_path / "aoi.gpkg", "--splits", 2, "--merge")


def test_shares_of_other_weights_are_not_there(tall, tmp_path):
    for number in (1, 2):
        run(tall, tmp_path / "map", "--splits", 2, "--split", number)
    path = tall.model / "weights.safetensors"
    before = path.read_bytes()
    weights = load_file(path)
    try:
        save_file({name: tensor + 0.1 for name, tensor in weights.items()}, path)
        with pytest.raises(ShareError, match=r"shares 1, 2 of 2 \(all rows\) did not come to an end"):
            run(tall, tmp_path / "map", "--splits", 2, "--merge")
    finally:
        path.write_bytes(before)
    run(tall, tmp_path / "map", "--splits", 2, "--merge")


def test_finished_shares_are_taken_as_they_are_whatever_batches_would_be_here(tall, tmp_path, seen, monkeypatch):
    for number in (1, 2):
        run(tall, tmp_path / "map", "--splits", 2, "--split", number)
    seen.clear()
    monkeypatch.setattr("thalweg.infer.memory._BATCH_PX", {"cpu": 4096})
    run(tall, tmp_path / "map", "--splits", 2)
    assert seen == []


@pytest.mark.parametrize("more", [(), ("--split", 1)])
def test_a_map_that_cannot_be_made_is_told_before_a_share_is_predicted(tall, tmp_path, more):
    (tmp_path / "f").write_text("")
    with pytest.raises(ImageError, match=r"f/x cannot be made, because .*f is a file; give another --out"):
        run(tall, tmp_path / "f" / "x", "--splits", 2, *more)


def test_a_share_of_a_map_that_is_there_is_not_said_to_be_predicted(tall, tmp_path):
    (tmp_path / "map").mkdir()
    said = run(tall, tmp_path / "map", "--splits", 2, "--split", 1)
    assert "is there already, and nothing was predicted" in said
