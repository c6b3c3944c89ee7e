"""Whole scenes: members and sweeps in one pass, areas, threads, memory."""

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from predict_builder import Mirror, card_for
from scene_builder import make_scene
from shapely import box
from torch import nn

from thalweg import raster
from thalweg.errors import BudgetError, ContractError, ParamsError
from thalweg.grid import Window
from thalweg.infer import Predictor, reading
from thalweg.infer.area import to_inside
from thalweg.infer.lattice import Lattice
from thalweg.infer.memory import Ground, Tensors, window_bytes
from thalweg.infer.pipe import Behind, ahead
from thalweg.infer.scene import How, plan_scene, predict_scene, window_count
from thalweg.manifest.scene import NODATA
from thalweg.maps import PROB_NODATA

HOW = How((0.5,), "hann")


def read(path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read()


def test_a_window_is_read_once_for_all_members_that_share_its_size(tmp_path, monkeypatch) -> None:
    scene = make_scene(tmp_path / "g", "s", shape=(200, 130))
    cuts = []
    known = reading.cut
    monkeypatch.setattr(reading, "cut", lambda image, window, fill: cuts.append(window) or known(image, window, fill))
    members = {name: Mirror(card_for(scene, window_px=size)) for name, size in (("a", 32), ("b", 32), ("c", 64))}
    how = How((0.5, 0.25), "hann")
    predict_scene(members, scene, how, ("x", "y"), {name: tmp_path / f"{name}.tif" for name in members}, memory_gib=1)
    assert len(cuts) == len(set(cuts))
    assert len(cuts) == window_count(members["a"], scene, how) + window_count(members["c"], scene, how)
    assert members["a"].windows == members["b"].windows == window_count(members["a"], scene, how) + 1
    assert [window.row for window in cuts] == sorted(window.row for window in cuts)


def test_several_sweeps_are_the_mean_of_each(tmp_path) -> None:
    scene = make_scene(tmp_path / "g", "s", shape=(100, 90))
    torch.manual_seed(1)
    member = Predictor(nn.Sequential(Values(), nn.Conv2d(2, 2, 7, padding=3)), card_for(scene))
    found = {}
    for overlaps in ((0.25,), (0.6,), (0.25, 0.6)):
        predict_scene(
            {"m": member}, scene, How(overlaps, "cosine"), ("a", "b"), {"m": tmp_path / "m.tif"}, memory_gib=1
        )
        found[overlaps] = read(tmp_path / "m.tif").astype(float)
    assert np.abs(found[0.25,] - found[0.6,]).max() > 50
    assert np.abs((found[0.25,] + found[0.6,]) / 2 - found[0.25, 0.6]).max() <= 1.01


class Values(nn.Module):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.permute(0, 3, 1, 2).float() / 3000


def test_an_area_is_complete_to_its_edge(tmp_path) -> None:
    """Raster Vision keeps only windows that lie fully inside: 27.7 % of such an area's pixels get a prediction."""
    scene = make_scene(tmp_path / "g", "s", shape=(600, 600))
    west, north = 600_000.0, 7_000_000.0
    area = box(west + 107 * 60, north - 487 * 60, west + 487 * 60, north - 107 * 60)
    member = Mirror(card_for(scene, window_px=192))
    predict_scene(
        {"m": member}, scene, How((0.25,), "hann"), ("a", "b"), {"m": tmp_path / "m.tif"}, area=area, memory_gib=1
    )
    expected = np.zeros((600, 600), bool)
    expected[107:487, 107:487] = True
    assert ((read(tmp_path / "m.tif")[0] != PROB_NODATA) == expected).all()


def test_windows_without_a_wanted_pixel_are_neither_read_nor_predicted(tmp_path) -> None:
    valid = np.zeros((128, 128), np.uint8)
    valid[:, 100:] = 1
    scene = make_scene(tmp_path / "g", "s", shape=(128, 128), valid=valid)
    member = Mirror(card_for(scene))
    area = np.zeros((128, 128), bool)
    area[:40] = True
    predict_scene(
        {"m": member}, scene, How((0.0,), "hann"), ("a", "b"), {"m": tmp_path / "m.tif"}, area=area, memory_gib=1
    )
    assert member.windows == 2 + 1
    assert ((read(tmp_path / "m.tif")[1] != PROB_NODATA) == (area & (valid > 0))).all()


def test_a_scene_without_anything_wanted_is_nodata(tmp_path) -> None:
    scene = make_scene(tmp_path / "g", "s", shape=(300, 64))
    outside = box(0, 0, 1, 1)
    told: list[float] = []
    predict_scene({"m": Mirror(card_for(scene))}, scene, HOW, ("a", "b"), {"m": tmp_path / "m.tif"}, area=outside,
                  memory_gib=1, state=tmp_path / "state", tell=told.append)  # fmt: skip
    assert (read(tmp_path / "m.tif") == PROB_NODATA).all()
    assert told == [1]


def test_an_area_of_another_shape_is_refused(tmp_path) -> None:
    scene = make_scene(tmp_path / "g", "s", shape=(30, 40))
    with pytest.raises(ParamsError, match="area of interest has 40 × 30 pixels, the scene 30 × 40"):
        to_inside(np.ones((40, 30), bool), scene.grid)


def test_a_geometry_is_the_same_whichever_window_asks(tmp_path) -> None:
    scene = make_scene(tmp_path / "g", "s", shape=(300, 70))
    inside = to_inside(box(600_000 + 777, 7_000_000 - 16_000, 600_000 + 2_222, 7_000_000 - 1_111), scene.grid)
    whole = inside(Window(0, 0, 300, 70))
    assert whole.any()
    assert not whole.all()
    for row, col, height, width in itertools.product((0, 13, 250), (0, 3, 8, 61), (1, 50), (1, 9)):
        window = Window(row, col, height, width)
        assert np.array_equal(inside(window), whole[window.rows, window.cols])


def test_series_are_predicted_with_all_their_dates(tmp_path) -> None:
    dates = ("2025-01-01", "2025-02-01")
    scene = make_scene(tmp_path / "g", "s", shape=(70, 70), dates=dates)
    member = Mirror(card_for(scene, classes=4))
    predict_scene({"m": member}, scene, HOW, ("a", "b", "c", "d"), {"m": tmp_path / "m.tif"}, memory_gib=1)
    held = read(tmp_path / "m.tif")
    assert np.abs(np.moveaxis(held, 0, -1) / 65534 - np.asarray(scene.image) / 10_000).max() < 2e-5


def test_members_that_do_not_fit_together_go_one_after_another_to_the_same_bytes(tmp_path) -> None:
    scene = make_scene(tmp_path / "g", "s", shape=(300, 4000), mask=None)
    members = {name: Mirror(card_for(scene)) for name in "abc"}
    found, counts = {}, []
    for gib in (1, 0.2):
        parts = plan_scene(members, scene, HOW, ("x", "y"), gib)
        counts.append(len(parts))
        assert all(part.peak_bytes <= gib * 2**30 for part in parts)
        assert [name for part in parts for name in part.members] == ["a", "b", "c"]
        predict_scene(members, scene, HOW, ("x", "y"), {n: tmp_path / f"{n}.tif" for n in members}, memory_gib=gib)
        found[gib] = [(tmp_path / f"{name}.tif").read_bytes() for name in members]
    assert counts == [1, 3]
    assert found[1] == found[0.2]


def test_a_budget_that_is_too_small_is_said(tmp_path) -> None:
    scene = make_scene(tmp_path / "g", "s")
    with pytest.raises(BudgetError) as caught:
        predict_scene(
            {"m": Mirror(card_for(scene))}, scene, HOW, ("a", "b"), {"m": tmp_path / "m.tif"}, memory_gib=0.05
        )
    assert str(caught.value).startswith(
        "member 'm' takes 0.16 GiB beside its weights to predict a scene 64 pixels wide"
    )
    assert "memory_gib is 0.05; raise memory_gib, or give the member a smaller window_px" in str(caught.value)


def test_the_memory_of_a_forward_pass_is_counted_while_tensors_live() -> None:
    layers = nn.Sequential(*[nn.Conv2d(8, 8, 3, padding=1) for _ in range(6)]).eval()
    with Tensors() as tensors, torch.inference_mode():
        layers(torch.zeros(1, 8, 64, 64))
    assert tensors.peak_bytes == 3 * 8 * 64 * 64 * 4  # the input, and two layers' outputs


def test_a_prediction_keeps_to_its_plan_and_the_plan_to_the_budget(tmp_path) -> None:
    """In a process of its own: the most memory that it ever had, above what it had with the models loaded."""
    bands = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
    scene = make_scene(tmp_path / "g", "s", shape=(300, 900), channels=bands, mask=None)
    here = Path(__file__).parent
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(here.parents[2] / "src"), str(here.parents[1])])}
    command = [sys.executable, here / "memory_runner.py", scene.folder, tmp_path, "0.4", "2", "128"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    parts, batch, planned, measured = (int(word) for word in done.stdout.split())
    assert parts == 1
    assert batch > 1
    assert measured <= planned <= 0.4 * 2**30


def test_a_window_takes_its_pixels_twice_and_what_the_network_makes(tmp_path) -> None:
    scene = make_scene(tmp_path / "g", "s")
    member = Predictor(nn.Sequential(Values(), nn.Conv2d(2, 2, 1)), card_for(scene))
    found = window_bytes(member, 64, Ground(64, 2, 4), scene.image.dtype)
    plane = 64 * 64 * 4
    assert 2 * 64 * 64 * 4 + 1.5 * 4 * plane <= found <= 2 * 64 * 64 * 4 + 1.5 * 10 * plane


def test_a_scene_that_a_member_cannot_read_is_refused(tmp_path) -> None:
    scene = make_scene(tmp_path / "g", "s")
    other = make_scene(tmp_path / "h", "s", channels=("B03", "B02"))
    with pytest.raises(ContractError, match="was trained on"):
        predict_scene({"m": Mirror(card_for(other))}, scene, HOW, ("a", "b"), {"m": tmp_path / "m.tif"}, memory_gib=1)


@pytest.mark.parametrize("where", ["read", "predict", "write"])
def test_a_fault_in_any_thread_is_raised_as_it_is_and_leaves_nothing(tmp_path, monkeypatch, where) -> None:
    scene = make_scene(tmp_path / "g", "s", shape=(600, 64))
    member = Mirror(card_for(scene))
    fault = ZeroDivisionError(where)
    calls = itertools.count()

    def failing(known):
        def run(*arguments, **named):
            if next(calls) == 3:
                raise fault
            return known(*arguments, **named)

        return run

    if where == "read":
        monkeypatch.setattr(reading, "cut", failing(reading.cut))
    elif where == "predict":
        monkeypatch.setattr(member, "predict", failing(member.predict))
    else:
        monkeypatch.setattr("thalweg.infer.writing.quantise", lambda *_: (_ for _ in ()).throw(fault))
    with pytest.raises(ZeroDivisionError) as caught:
        predict_scene({"m": member}, scene, HOW, ("a", "b"), {"m": tmp_path / "m.tif"}, memory_gib=1)
    assert caught.value is fault
    assert not list(tmp_path.glob("*m.tif*"))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("ahead", "behind"))]


def test_reading_stays_one_item_ahead() -> None:
    made = []

    def items():
        for number in range(5):
            made.append(number)
            yield number

    coming = ahead(items())
    assert next(coming) == 0
    assert len(made) <= 2
    assert list(coming) == [1, 2, 3, 4]


def test_writing_is_done_in_order_when_the_context_ends() -> None:
    done = []
    with Behind(done.append) as behind:
        for number in range(20):
            behind.put(number)
    assert done == list(range(20))


def test_progress_is_told_up_to_the_end(tmp_path) -> None:
    scene = make_scene(tmp_path / "g", "s", shape=(600, 64))
    told: list[float] = []
    members = {name: Mirror(card_for(scene)) for name in "ab"}
    predict_scene(
        members, scene, HOW, ("a", "b"), {n: tmp_path / f"{n}.tif" for n in members}, memory_gib=1, tell=told.append
    )
    assert told == sorted(told)
    assert told[-1] == 1
    assert len(told) > 10


def test_the_raster_says_where_it_lies_and_what_its_bands_are(tmp_path) -> None:
    scene = make_scene(tmp_path / "g", "s", image=np.full((64, 64, 2), NODATA, np.int16))
    predict_scene({"m": Mirror(card_for(scene))}, scene, HOW, ("a", "b"), {"m": tmp_path / "new/m.tif"}, memory_gib=1)
    assert raster.read_grid(tmp_path / "new/m.tif") == scene.grid
    with rasterio.open(tmp_path / "new/m.tif") as dataset:
        assert dataset.descriptions == ("a", "b")
        assert (dataset.read() == PROB_NODATA).all()
    assert Lattice.over((64, 64), 256, HOW).window_px == 64
