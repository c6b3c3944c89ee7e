"""What the report tells beside scores: worst chips, times, the recipe, places, spreads over seeds, and the data."""

import json
import math
import re

import numpy as np
import pytest
import rasterio
from member_builder import member
from report_builder import CLASSES, LEGEND, make_run
from scene_builder import make_scene

from thalweg.datapage import build_page, read_data
from thalweg.effort import Effort, read_efforts
from thalweg.grid import Window
from thalweg.locator import locate
from thalweg.manifest.scene import read_scenes
from thalweg.params.origin import find_origin
from thalweg.standings import Standing, over_seeds, table
from thalweg.worst import find_worst


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


def scenes_of(run) -> list:
    return list(read_scenes(run / "build/scenes/s2_60m").values())


def test_the_worst_chips_are_those_with_most_wrong_pixels(run):
    """Columns 40 to 59 are test; the made-up map says class 1 in rows 15 to 19 alone, whatever the mask has."""
    [scene] = scenes_of(run)
    with rasterio.open(run / "maps/main/classes.tif") as dataset:
        labels = dataset.read(1)
    truth = np.asarray(scene.mask)
    wrong = [int((labels[top : top + 20, 40:] != truth[top : top + 20, 40:]).sum()) for top in (0, 20)]
    assert wrong[0] != wrong[1]
    found = find_worst(run / "maps/main/classes.tif", [scene], run / "build/split", LEGEND)
    assert found is not None
    assert (found.part, found.looked_at, found.of) == ("test", 2, 2)
    order = sorted((0, 20), key=lambda top: -wrong[top // 20])
    assert [(chip.window, chip.wrong_px, chip.known_px) for chip in found.chips] == [
        (Window(top, 40, 20, 20), wrong[top // 20], 400) for top in order
    ]
    assert [picture.caption.split()[0] for picture in found.chips[0].pictures] == ["Image", "Mask", "Map", "Error"]


def test_pixels_that_are_not_valid_or_not_on_the_map_are_not_wrong(tmp_path):
    run = make_run(tmp_path)
    [scene] = scenes_of(run)
    valid = np.ones((40, 60), np.uint8)
    valid[:, 50:] = 0
    with rasterio.open(scene.folder / "valid.tif", "r+") as dataset:
        dataset.write(valid, 1)
    found = find_worst(run / "maps/main/classes.tif", scenes_of(run), run / "build/split", LEGEND)
    assert found is not None
    assert {chip.known_px for chip in found.chips} == {200}


def test_without_labels_below_the_map_nothing_is_told(run, tmp_path):
    bare = make_scene(tmp_path / "bare", "bare", shape=(40, 60), mask=None)
    assert find_worst(run / "maps/main/classes.tif", [bare], run / "build/split", LEGEND) is None


def test_times_come_from_the_newest_run_and_work_from_the_history(tmp_path):
    for time, seconds in (("2026-01-01T000000.0", 5.0), ("2026-01-02T000000.0", 4000.4)):
        folder = tmp_path / "runs/unet" / time
        folder.mkdir(parents=True)
        facts = {"status": "done", "seconds": seconds, "started": "2026-01-02T03:04:05+00:00", "devices": ["Old Card"],
                 "processor": "Two Cores", "cores": 2}  # fmt: skip
        (folder / "run.json").write_text(json.dumps(facts))
    (tmp_path / "history").mkdir()
    (tmp_path / "history/unet.csv").write_text(
        "epoch,chips_trained,flops_train,flops_score\n0,10,2e9,1e9\n1,20,4e9,3e9\n"
    )
    (tmp_path / "history/fcn.csv").write_text("epoch,val_miou\n0,0.1\n")
    found = read_efforts(tmp_path / "runs", tmp_path / "history", ["unet", "fcn", "gone"])
    assert found == (
        Effort("unet", 4000.4, "2026-01-02T03:04:05+00:00", 2, 20, 7e9, "Old Card, Two Cores, 2 cores", "done"),
        Effort("fcn", None, None, 1, None, None, "", "no record of the run"),
    )


def test_the_recipe_is_named_with_what_was_changed_of_it(tmp_path):
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "a.yaml").write_text("x: {lr: 1.0e-3, bands: [B02]}\ny: 1\n")
    (recipes / "b.yaml").write_text("x: {lr: 5.0e-3, bands: [B03]}\ny: 2\nz: 3\n")
    params = tmp_path / "params.yaml"
    params.write_text("# a comment\ny: 1\nx:\n  bands: [B02]\n  lr: 0.001\n")
    assert find_origin(params, recipes) == ("a", ())
    params.write_text("x: {lr: 2.0e-3, bands: [B02], new: true}\n")
    assert find_origin(params, recipes) == ("a", (("x.lr", "0.001", "0.002"), ("y", "1", "–"), ("x.new", "–", "True")))
    assert find_origin(params, tmp_path / "none") is None
    assert find_origin(tmp_path / "none.yaml", recipes) is None


def test_scenes_are_located_in_degrees_with_north_up(tmp_path):
    scene = make_scene(tmp_path / "g", "a", shape=(100, 100))
    twin = make_scene(tmp_path / "g", "b", shape=(100, 100))
    found = locate([scene.record, twin.record])
    assert found is not None
    assert (len(found.outlines), found.hidden) == (1, 0)  # they share their place
    lon, lat = scene.grid.lonlat(np.array([0, 50]), np.array([0, 50]))
    assert found.dot == pytest.approx((lon[1], -lat[1]), abs=1e-3)
    first = re.match(r"M(-?[\d.]+) (-?[\d.]+)", found.outlines[0])
    assert first
    squeezed = lon[0] * math.cos(math.radians(-found.dot[1]))
    assert (float(first[1]), float(first[2])) == pytest.approx((squeezed, -lat[0]), abs=1e-3)
    box = list(map(float, found.view_box.split()))
    assert box[0] < float(first[1]) < box[0] + box[2]
    assert box[1] < float(first[2]) < box[1] + box[3]
    assert found.place == "27.15° S, 61.96° W"


def test_nothing_that_lies_nowhere_is_located(tmp_path):
    record = make_scene(tmp_path / "g", "a").record.model_copy(update={"georeferenced": False})
    assert locate([record]) is None


def test_members_that_differ_by_seed_alone_have_a_spread():
    """Of 0.5 and 0.7 the mean is 0.6 and the sample deviation the root of 0.02."""
    members = {"one": member(seed=1), "two": member(seed=2), "other": member(seed=1, lr=0.5)}
    scores = {"one": {"miou": 0.5, "ece": 0.1}, "two": {"miou": 0.7}, "other": {"miou": 0.9}}
    rows = [Standing(name, False, {"test": found}, None) for name, found in scores.items()]
    [line] = over_seeds(rows, members, "test", ("miou", "ece"))
    assert line.members == ("one", "two")
    assert line.means == (pytest.approx(0.6), None)
    assert line.stds == (pytest.approx(0.02**0.5), None)
    assert over_seeds(rows, members, "val", ("miou",)) == ()


def test_a_score_comes_with_its_interval():
    rows = [Standing("unet", False, {"test": {"miou": 0.5, "miou_lo": 0.4, "miou_hi": 0.6, "ece": 0.1}}, None)]
    [line] = table(rows, "test", ("miou", "ece"))
    assert line.spans == ((0.4, 0.6), None)


def test_the_data_are_told_by_part(run):
    [grid] = read_data(run / "build/scenes", run / "build/split", LEGEND)
    assert [share.pixels for share in grid.shares["train"]] == [1234, 567]
    assert [share.percent for share in grid.shares["train"]] == pytest.approx([100 * 1234 / 1801, 100 * 567 / 1801])
    assert [band.name for band in grid.bands] == ["B02", "B03", "B04"]
    assert grid.sampled == 2400  # a small scene is read whole
    [scene] = scenes_of(run)
    values = np.asarray(scene.image[:, :, 0]) * scene.record.channels[0].scale + scene.record.channels[0].offset
    assert (grid.bands[0].low, grid.bands[0].high) == pytest.approx(tuple(np.percentile(values, (0.5, 99.5))))
    assert set(grid.bands[0].outlines) == {"train", "val", "test"}
    assert [chip.caption for chip in grid.chips["val"]] == ["S2A_SAMPLE, row 20, column 30"]  # the better labelled half


def test_the_page_of_the_data_stands_alone(run):
    text = build_page(run / "build/scenes", run / "build/split", CLASSES.legend)
    assert "2\u2009400 valid pixels" in text
    assert not re.findall(r'(?:src|href)="(?!data:|#|/")', text)
    assert "No split has been made" in build_page(run / "build/scenes", run / "nowhere", CLASSES.legend)
