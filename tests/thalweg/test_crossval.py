"""Cross-validation end to end with a tiny member: scores, optimism, going on after a kill, and nothing left behind."""

import json
import os
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from member_builder import GRID, classes, member, train_params
from ruamel.yaml import YAML
from scene_builder import make_scene

from thalweg import crossval, train
from thalweg.errors import TrainingError
from thalweg.manifest.crossval import FoldCounts, read_crossval
from thalweg.params.crossval import Crossval
from thalweg.params.split import Fractions, Official, Split

SPLIT = Split(
    input="masks/none.yaml", unit="blocks", cells=None, stratify="classes", official=None, seed=3, block_m=960,
    buffer_m=120, fractions=Fractions(train=0.6, val=0.2, test=0.2), rules=(), yields="train", leak="fail",
    chip_px={GRID: 16},
)  # fmt: skip


def settings(random: bool = True, folds: int = 2, **changes) -> crossval.Settings:
    tiny = member(max_epochs=1, chips_per_epoch=4, **changes)
    return crossval.Settings(tiny, Crossval(folds=folds, random=random), SPLIT, train_params(), classes())


def places(root, outs="outs") -> crossval.Places:
    return crossval.Places(root / "scenes", root / outs / "tiny.json", root / "runs", root / "cache")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("crossval")
    for seed, name in enumerate(("one", "two")):
        make_scene(root / "scenes" / GRID, name, shape=(80, 80), seed=seed, channels=("B04", "B03", "B02"),
                   origin=(600_000.0, 7_000_000.0 + 9_000 * seed))  # fmt: skip
    crossval.cross_validate("tiny", settings(), places(root))
    return root


def test_scores_of_folds_of_all_ground_and_of_a_random_split(world):
    scores = read_crossval(world / "outs" / "tiny.json")
    assert sorted(scores.folds) == ["0", "1"]
    values = [fold["miou"] for fold in scores.folds.values()]
    assert scores.mean["miou"] == pytest.approx(np.mean(values))
    assert scores.std["miou"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    matrix = np.array(scores.confusion)
    assert scores.pooled["pixels"] == matrix.sum() == sum(fold["pixels"] for fold in scores.folds.values())
    assert scores.pooled["accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())
    assert scores.optimism["miou"] == pytest.approx(scores.random["miou"] - scores.pooled["miou"])
    assert scores.blocks >= 8  # each scene of 4.8 km covers five blocks of 960 m or more along a side


def test_every_labelled_pixel_is_tested_once_but_those_within_the_buffer(world):
    tested = read_crossval(world / "outs" / "tiny.json").pooled["pixels"]
    assert 0.6 * 2 * 80 * 80 < tested <= 2 * 80 * 80


def test_nothing_stays_behind_but_logs(world):
    assert [path.name for path in (world / "cache").iterdir() if path.is_dir()] == []
    assert sorted(path.name for path in (world / "runs").iterdir()) == ["fold-0", "fold-1", "random"]


def test_a_killed_run_goes_on_and_comes_to_the_same(world, monkeypatch):
    """Killed in the second fold, after its training and before its examination was written."""
    called = "killed"
    real, trained = train.finish, []

    def killed(*given, **more):
        if trained:
            raise KeyboardInterrupt
        trained.append(given)
        return real(*given, **more)

    with monkeypatch.context() as patched:
        patched.setattr("thalweg.train.finish", killed)
        with pytest.raises(KeyboardInterrupt):
            crossval.cross_validate("tiny", settings(random=False), places(world, called))
    assert not (world / called).exists()
    (home,) = (path for path in (world / "cache" / "tiny").iterdir())
    assert [path.name for path in home.glob("*.json")] == ["fold-0.json"]
    counted, member_trained = [], train.train_member
    with monkeypatch.context() as patched:
        patched.setattr("thalweg.train.train_member", lambda *given: (counted.append(given), member_trained(*given)))
        crossval.cross_validate("tiny", settings(random=False), places(world, called))
    assert len(counted) == 1  # the other fold
    found, whole = (read_crossval(world / outs / "tiny.json") for outs in (called, "outs"))
    assert found == whole.model_copy(update={"random": {}, "optimism": {}})


def test_other_params_do_not_go_on_where_these_were(world):
    one, other = (crossval._fingerprint(settings(seed=seed), world / "scenes" / GRID) for seed in (3, 4))
    again = crossval._fingerprint(settings(random=False), world / "scenes" / GRID)
    assert again == one != other


def test_scenes_made_anew_and_other_lists_do_not_go_on_where_these_were(tmp_path):
    """A mask may change without a word in scene.json, and a list without a word in params."""
    made = make_scene(tmp_path / "scenes" / GRID, "one", shape=(16, 16), channels=("B04", "B03", "B02"))
    lists = Official(rules=None, lists={"train": "train.txt"}, tile_px=None, swap=False, keep={}, drop_duplicates=(),
                     missing="error")  # fmt: skip
    (tmp_path / "train.txt").write_text("one\n")
    official = replace(settings(), split=SPLIT.model_copy(update={"official": lists, "input": str(tmp_path)}))

    def fingerprint():
        return crossval._fingerprint(official, tmp_path / "scenes" / GRID)

    first = fingerprint()
    assert fingerprint() == first
    os.utime(made.folder / "mask.tif", ns=(0, 0))
    second = fingerprint()
    (tmp_path / "train.txt").write_text("two\n")
    assert len({first, second, fingerprint()}) == 3


def test_all_code_of_a_fold_is_in_its_fingerprint():
    """As far as dvc.yaml says that it decides the metrics, but for what only reads params and writes records."""
    stages = YAML(typ="safe").load((Path(__file__).parents[2] / "dvc.yaml").read_text())["stages"]
    deps = {dep.removeprefix("src/thalweg/") for dep in stages["crossval"]["do"]["deps"] if "src/thalweg" in dep}
    named = (*train.CODE, *crossval._CODE)
    bare = {dep for dep in deps if not any(fnmatch(path, name) for name in named for path in (dep, f"{dep}/any.py"))}
    bare = {dep for dep in bare if not dep.startswith(("params/", "manifest/"))}
    assert bare == {"models", "bands.py", "classes.py"}  # the architecture's own file is added; tables of names


COUNTS = (
    FoldCounts(confusion=((50, 10), (0, 0)), reliability=((60.0,), (54.0,), (50.0,)), blocks=("0_0", "0_1")),
    FoldCounts(confusion=((20, 0), (10, 10)), reliability=((40.0,), (36.0,), (30.0,)), blocks=("0_2",)),
)


def test_summary_by_hand():
    random = FoldCounts(confusion=((90, 0), (0, 10)), reliability=((100.0,), (100.0,), (100.0,)), blocks=())
    found = crossval.summarise("tiny", COUNTS, random, ("a", "b"))
    assert found.confusion == ((70, 10), (10, 10))
    assert found.pooled["iou_a"] == pytest.approx(70 / 90)
    assert found.pooled["iou_b"] == pytest.approx(10 / 30)
    assert found.pooled["ece"] == pytest.approx(abs(90 - 80) / 100)
    assert found.mean["accuracy"] == pytest.approx((50 / 60 + 30 / 40) / 2)
    assert found.std["accuracy"] == pytest.approx((50 / 60 - 30 / 40) / 2**0.5)
    assert found.optimism["miou"] == pytest.approx(1 - (70 / 90 + 10 / 30) / 2)
    assert found.optimism["ece"] == pytest.approx(-0.1)
    assert "pixels" not in found.optimism
    assert found.blocks == 3


def test_a_score_that_one_fold_lacks_and_no_random_split():
    lacking = FoldCounts(confusion=((30, 0), (0, 0)), reliability=((30.0,), (30.0,), (30.0,)), blocks=("0_0",))
    found = crossval.summarise("tiny", (lacking, COUNTS[1]), None, ("a", "b"))
    assert (found.mean["iou_b"], found.std["iou_b"]) == (0.5, 0.0)
    assert (found.random, found.optimism) == ({}, {})


def test_a_fold_without_test_pixels(world, monkeypatch):
    monkeypatch.setattr("thalweg.train.train_member", lambda *_: None)
    monkeypatch.setattr("thalweg.crossval.read_heldout", lambda _: type("Heldout", (), {"parts": {}}))
    with pytest.raises(
        TrainingError, match=r"crossval\.tiny: the test part of fold-0 has no labelled, valid pixel; ask for"
    ):
        crossval.cross_validate("tiny", settings(seed=9), places(world, "none"))


def test_the_metrics_file_is_what_dvc_reads(world):
    data = json.loads((world / "outs" / "tiny.json").read_text())
    assert {"folds", "mean", "std", "pooled", "random", "optimism", "blocks"} <= set(data)
    assert isinstance(data["optimism"]["miou"], float)
