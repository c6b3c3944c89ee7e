"""Folds: each labelled block tests once, parts keep the buffer; and the random split leaks as the field's does."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from scene_builder import make_scene
from scipy.spatial.distance import cdist
from split_builder import CLASSES, ground, params, rule

from thalweg.errors import DegradedDataWarning, SplitError
from thalweg.folds import build_fold, build_random
from thalweg.manifest.chips import read_chips, read_parts, read_stats

G = ("g60",)


def fold(root: Path, count: int, number: int, split=None) -> Path:
    target = root / f"fold{count}_{number}"
    build_fold(root, G, split or params(), CLASSES, count, number, target)
    return target


def parts_of_blocks(out: Path) -> dict[str, str]:
    features = json.loads((out / "blocks.geojson").read_text())["features"]
    return {each["properties"]["name"]: each["properties"]["part"] for each in features}


def test_every_block_tests_once_and_validates_once(tmp_path):
    make_scene(tmp_path / "g60", "a")
    found = [parts_of_blocks(fold(tmp_path, 4, number)) for number in range(4)]
    for block in found[0]:
        assert sorted(parts[block] for parts in found) == ["test", "train", "train", "val"]
    for number in range(4):
        tests = {block for block, part in found[number].items() if part == "test"}
        assert tests == {block for block, part in found[(number - 1) % 4].items() if part == "val"}


def test_folds_share_the_ground_of_every_class(tmp_path):
    make_scene(tmp_path / "g60", "a")
    out = fold(tmp_path, 4, 0, params(block_m=500))
    features = [each["properties"] for each in json.loads((out / "blocks.geojson").read_text())["features"]]
    for name in ("ha_ground", "ha_channel"):
        test = sum(each[name] for each in features if each["part"] == "test")
        assert test / sum(each[name] for each in features) == pytest.approx(0.25, abs=0.05)


def test_folds_keep_the_buffer(tmp_path):
    scene = make_scene(tmp_path / "g60", "a")
    out = fold(tmp_path, 3, 1, params(yields="none", leak="report"))  # an official split's params: training yields
    parts = np.asarray(read_parts(out, "g60", "a"))
    assert cdist(ground(scene, parts, "test"), ground(scene, parts, "train", "val")).min() >= 120
    assert read_stats(out, "g60").leak_m >= 120


def test_of_two_folds_validation_is_carved_out_of_the_other(tmp_path):
    make_scene(tmp_path / "g60", "a")
    first, second = (parts_of_blocks(fold(tmp_path, 2, number, params(block_m=600))) for number in (0, 1))
    assert {block for block, part in first.items() if part == "test"} == {
        block for block, part in second.items() if part != "test"
    }
    left = [part for part in first.values() if part != "test"]
    assert left.count("val") / len(left) == pytest.approx(0.25, abs=0.12)


def test_what_rules_leave_unused_stays_so_and_the_rest_is_pooled(tmp_path):
    for number, name in enumerate(("a", "official_test", "bad")):
        make_scene(tmp_path / "g60", name, origin=(600_000 + 9_000 * number, 7_000_000), seed=number)
    split = params(rules=[rule("unused", "bad"), rule("test", "official_*")])
    out = fold(tmp_path, 3, 0, split)
    assert not read_parts(out, "g60", "bad").any()
    assert set(read_chips(out, "g60")["scene"]) == {"a", "official_test"}
    assert len(set(np.unique(read_parts(out, "g60", "official_test")))) > 2


def test_scenes_are_dealt_to_folds_where_the_unit_is_scenes(tmp_path):
    for number in range(6):
        make_scene(
            tmp_path / "g60", f"s{number}", origin=(500_000 + 9_000 * number, 7_000_000), shape=(24, 24), seed=number
        )
    found = parts_of_blocks(fold(tmp_path, 3, 0, params(unit="scenes")))
    assert sorted(found.values()) == ["test", "test", "train", "train", "val", "val"]


def test_a_class_that_a_fold_lacks_is_training_s_to_say(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[:4, :4] = 1
    make_scene(tmp_path / "g60", "a", mask=mask)
    with pytest.warns(DegradedDataWarning, match="class 'channel' lies in"):
        outs = [fold(tmp_path, 3, number) for number in range(3)]
    assert min(read_stats(out, "g60").class_px["channel"] for out in outs) == 0


def test_the_random_split_deals_windows_and_states_its_leak_without_a_warning(tmp_path):
    scene = make_scene(tmp_path / "g60", "a", shape=(160, 160))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_random(tmp_path, G, params(), CLASSES, 5, tmp_path / "random")
    parts = np.asarray(read_parts(tmp_path / "random", "g60", "a")).reshape(10, 16, 10, 16).swapaxes(1, 2)
    windows = parts.reshape(100, 256)
    assert (windows == windows[:, :1]).all()
    assert np.bincount(windows[:, 0], minlength=4).tolist() == [0, 60, 20, 20]
    assert read_stats(tmp_path / "random", "g60").leak_m == pytest.approx(min(scene.grid.pixel_m_yx), rel=0.01)
    chips = read_chips(tmp_path / "random", "g60")
    assert len(chips) == 100
    assert (chips["labelled_px"] == 256).all()


def test_a_random_split_needs_windows(tmp_path):
    make_scene(tmp_path / "g60", "a", shape=(16, 16))
    with pytest.raises(SplitError, match=r"finds 1 labelled window\(s\) for 3 parts; lower split.chip_px"):
        build_random(tmp_path, G, params(), CLASSES, 5, tmp_path / "random")


@pytest.mark.parametrize("how", ["rules", "official"])
def test_what_is_said_of_other_grids_scenes_does_not_stop_a_fold(tmp_path, how):
    """A fold has the scenes of the member's grid alone, but rules and lists name those of all grids."""
    for number in range(8):
        make_scene(tmp_path / "g60", f"a{number}", origin=(600_000 + 4000 * number, 7_000_000), shape=(32, 32),
                   seed=number)  # fmt: skip
    if how == "rules":
        split = params(rules=[rule("unused", "a7"), rule("unused", "b7")])
    else:
        names = {"train": ("a0", "a1", "a2", "a3", "b0"), "val": ("a4", "b4"), "test": ("a5", "a6", "b5")}
        for part, of in names.items():
            (tmp_path / f"{part}.txt").write_text("\n".join(of))
        official = {"rules": None, "lists": {part: f"{part}.txt" for part in names}, "tile_px": None, "swap": False,
                    "keep": {}, "drop_duplicates": [], "missing": "error"}  # fmt: skip
        split = params(input=str(tmp_path), official=official)
    out = fold(tmp_path, 3, 0, split)
    assert set(read_chips(out, "g60")["scene"]) == {f"a{number}" for number in range(7)}
    build_random(tmp_path, G, split, CLASSES, 3, tmp_path / "random")
    assert not np.isin(read_parts(tmp_path / "random", "g60", "a7"), (1, 2, 3)).any()
