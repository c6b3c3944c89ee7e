"""Trials: presets fit every recipe, a member that can learn does, one that cannot is told, and no out is touched."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from image_builder import call
from member_builder import GRID, classes, make_places, member, train_params
from ruamel.yaml import YAML

from thalweg import recipes, trial
from thalweg.errors import ParamsError, SettingsError, TrainingError
from thalweg.manifest.chips import PARTS, WITHHELD, read_chips, scene_parts
from thalweg.manifest.runs import read_newest
from thalweg.manifest.scene import read_scenes
from thalweg.params.active import Active
from thalweg.params.presets import preset_paths, read_preset
from thalweg.params.recipe import Recipe

PROJECT = Path(__file__).parents[2]
PRESETS = sorted(preset_paths(PROJECT))


@pytest.fixture
def build(tmp_path):
    places = make_places(tmp_path)
    (tmp_path / "build").mkdir()
    shutil.move(places.scenes.parent, tmp_path / "build" / "scenes")
    shutil.move(places.split, tmp_path / "build" / "split")
    return tmp_path / "build"


def run(build, name, **changes):
    preset = read_preset(name, PROJECT)
    block, train = preset.apply("tiny", member(**changes), train_params(), Path("preset.yaml"))
    return trial.run("tiny", block, train, classes(), preset, build, build.parent / "runs" / name)


def test_there_are_the_four_that_the_documentation_names():
    assert PRESETS == ["anomaly", "fast", "few", "overfit"]


@pytest.mark.parametrize("recipe", sorted(recipes.recipe_paths(PROJECT)))
def test_every_preset_fits_every_member_of_every_recipe(recipe):
    read = Recipe(PROJECT / "recipes" / f"{recipe}.yaml")
    for name in PRESETS:
        for key, block in read.models.items():
            read_preset(name, PROJECT).apply(key, block, read.train, Path("preset.yaml"))


def test_a_warm_up_leaves_an_epoch_to_choose_in():
    active = Active(scores={"loss": 1.0}, pool=2, every=1, temperature=0.0, warmup_epochs=2, diversity=0.0,
                    judge="self", precision="32", passes=2)  # fmt: skip
    cut, _ = read_preset("few", PROJECT).apply("tiny", member(active=active), train_params(), Path("few.yaml"))
    assert (cut.max_epochs, cut.active.warmup_epochs) == (2, 1)


def test_one_batch_is_learnt_by_heart(build):
    done = run(build, "overfit", lr=0.01)
    assert len(done.losses) == 60
    assert done.losses[-1] < 0.5 * done.losses[0]
    assert (done.folder / "model" / "card.json").is_file()
    assert list((done.folder.parent).glob("*/samples.png"))
    assert not (build.parent / "models").exists()


def test_a_member_that_learns_nothing_is_told(build):
    with pytest.raises(
        TrainingError, match=r"models.tiny does not learn its batch by heart: the loss is .* in the first"
    ):
        run(build, "overfit", lr=1e-12)


def test_a_few_batches_and_nothing_else(build):
    done = run(build, "few", batch_size=4)
    facts = read_newest(build.parent / "runs" / "few", "tiny").facts
    assert (facts["status"], facts["epochs"]) == ("done", 2)
    history = pd.read_csv(done.folder / "history.csv")
    assert history["chips_trained"].tolist() == [12, 24], "three batches of four, twice"
    metrics = json.loads((done.folder / "metrics.json").read_text())
    chips = read_chips(build / "split", GRID)
    most = chips[chips["part"] == "test"].sort_values("labelled_px")["labelled_px"].tail(12).sum()
    assert 0 < metrics["test"]["pixels"] <= most


def test_a_small_split_holds_its_chips_and_hides_other_test_ground(build, tmp_path):
    preset = read_preset("fast", PROJECT)
    small = trial._fewer("tiny", member(batch_size=2), preset, build / "scenes" / GRID, build / "split", tmp_path / "s")
    assert (small.chips_per_epoch, small.batch_size) == (2, 2)
    kept = read_chips(tmp_path / "s", GRID)
    assert kept["part"].value_counts().to_dict() == {"train": 2, "val": 2, "test": 2}
    for scene in read_scenes(build / "scenes" / GRID).values():
        if scene.name not in set(kept["scene"]):
            continue
        before, after = scene_parts(build / "split", scene), scene_parts(tmp_path / "s", scene)
        inside = np.zeros(before.shape, bool)
        for row in kept[kept["scene"] == scene.name].itertuples():
            inside[row.row : row.row + row.size, row.col : row.col + row.size] = True
        assert (after[inside] == before[inside]).all()
        assert (after[~inside & (before == PARTS["test"])] == WITHHELD).all()
        assert (after[~inside & (before != PARTS["test"])] == PARTS["unused"]).all()


def test_an_anomaly_is_named(build):
    with pytest.raises((RuntimeError, TrainingError), match=r"nan|finite"):
        run(build, "anomaly", lr=1e30, optimizer="sgd", chips_per_epoch=64)


def test_what_is_no_preset():
    with pytest.raises(SettingsError, match=r"there is no preset 'slow' in .*; there are anomaly, fast, few, overfit"):
        read_preset("slow", PROJECT)
    odd = read_preset("fast", PROJECT).model_copy(update={"member": {"epochs": 1}})
    with pytest.raises(ParamsError, match=r"unknown key 'preset.member of models.tiny.epochs'"):
        odd.apply("tiny", member(), train_params(), Path("odd.yaml"))


def test_debug_from_the_command_line(build, monkeypatch, tmp_path):
    monkeypatch.chdir(build.parent)
    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path / "big"))
    (tmp_path / "big").mkdir()
    shutil.copytree(PROJECT / "recipes" / "presets", tmp_path / "recipes" / "presets")
    yaml = YAML(typ="safe")
    data = yaml.load((PROJECT / "recipes/sample.yaml").read_text())
    data |= {"classes": classes().model_dump(mode="json"), "models": {"tiny": member().model_dump(mode="json")}}
    with Path("params.yaml").open("w") as file:
        yaml.dump(data, file)
    said = call("debug", "fast", "tiny")
    assert "one batch of training and of each held-out part" in said
    assert f"all is in {tmp_path / 'big' / tmp_path.name / 'runs' / 'debug' / 'fast' / 'tiny'}" in said
    assert not Path("models").exists()
