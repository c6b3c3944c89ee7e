"""Profiles: every step is timed as often as it ran, throughput is counted, and a batch is drawn."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from image_builder import call
from member_builder import GRID, classes, make_places, member, train_params
from PIL import Image
from ruamel.yaml import YAML

from thalweg.errors import TrainingError
from thalweg.params.active import Active
from thalweg.profiling import Stopwatch
from thalweg.profiling.data import draw_batch, run_loader, set_up
from thalweg.profiling.model import STEPS, facts, run_epochs, run_steps


@pytest.fixture
def build(tmp_path):
    places = make_places(tmp_path)
    (tmp_path / "build").mkdir()
    shutil.move(places.scenes.parent, tmp_path / "build" / "scenes")
    shutil.move(places.split, tmp_path / "build" / "split")
    return tmp_path / "build"


@pytest.fixture
def project(tmp_path, build, monkeypatch):
    """A project with params.yaml whose one member fits the tiny scenes."""
    monkeypatch.chdir(build.parent)
    yaml = YAML(typ="safe")
    data = yaml.load((Path(__file__).parents[3] / "recipes/sample.yaml").read_text())
    data["classes"] = classes().model_dump(mode="json")
    data["models"] = {"tiny": member().model_dump(mode="json")}
    data["train"] = train_params().model_dump(mode="json")
    with Path("params.yaml").open("w") as file:
        yaml.dump(data, file)
    return tmp_path


def bench(build, **changes):
    return set_up("tiny", member(**changes), train_params(), classes(), build)


def test_a_stopwatch_tells_least_mean_and_most():
    watch = Stopwatch({"batch": [1.0, 2.0, 6.0]})
    assert list(watch.lines())[1].split() == ["batch", "3", "1.00", "3.00", "6.00", "0.01"]
    assert watch.seconds("batch") == 0.009
    with pytest.raises(ValueError, match=r"broken"), watch.timing("other"):
        raise ValueError("broken")
    assert "other" not in watch.taken


def test_the_loader_is_timed_batch_by_batch(build):
    made = bench(build)
    assert run_loader(made, loops=2, most=None) == 32, "two epochs of 16 chips"
    taken = {step: len(ms) for step, ms in made.watch.taken.items()}
    assert taken == {"open scenes and chip table": 1, "build network": 1, "build loaders": 1, "first batch": 1,
                     "batch": 8, "epoch of batches": 2}  # fmt: skip
    assert run_loader(bench(build), loops=3, most=1) == 12
    assert sum(made.watch.taken["batch"]) <= sum(made.watch.taken["epoch of batches"])


def test_a_batch_is_drawn_before_and_after_augmentation(build, tmp_path):
    made = bench(build)
    draw_batch(made, ("#e6e0d4", "#1f6fb4"), tmp_path / "batch.png")
    with Image.open(tmp_path / "batch.png") as file:
        picture = np.asarray(file)
    assert picture.shape == (4 * 16 + 3 * 2, 4 * 16 + 3 * 2, 3), "four chips of 16 px, four columns, gaps of 2"
    _, target = made.batch()[:2]
    first = picture[:16, 18:34]
    assert (first == (0x1F, 0x6F, 0xB4)).all(-1).tolist() == (np.asarray(target[0]) == 1).tolist()


def test_a_step_is_split_in_four(build):
    made = bench(build)
    run_steps(made, "cpu", steps=3)
    assert {step: len(made.watch.taken[step]) for step in STEPS} == dict.fromkeys(STEPS, 3)
    assert run_epochs(made, "cpu", epochs=2) == 32
    assert len(made.watch.taken["epoch"]) == 2
    found = facts(made, "cpu")
    assert found["parameters"] == sum(p.numel() for p in made.task.network.parameters())
    assert 0 < found["GFLOP per chip, forward"] < found["GFLOP per chip, forward and backward"]
    assert found["peak memory of the process, GiB"] > 0.1


def test_training_bare_is_training(build):
    made = bench(build, augment={}, chips_per_epoch=4)
    before = [p.detach().clone() for p in made.task.network.parameters()]
    run_steps(made, "cpu", steps=1)
    assert any(not p.equal(old) for p, old in zip(made.task.network.parameters(), before, strict=True))


def test_a_member_that_waits_for_another_cannot_be_profiled(build):
    active = Active(scores={"loss": 1.0}, pool=2, every=1, temperature=0.0, warmup_epochs=0, diversity=0.0,
                    judge="after", precision="32", passes=2)  # fmt: skip
    waiting = member(after="models/judge", active=active)
    with pytest.raises(TrainingError, match=r"chooses its chips by models/judge; profile it with active: null"):
        set_up("tiny", waiting, train_params(), classes(), build)


def test_profiles_from_the_command_line(project):
    said = call("profile", "data", "--loops", 2, "--show", project / "batch.png")
    assert re.search(r"^batch +8 ", said, re.MULTILINE)
    assert re.search(r"^32 chips in [\d.]+ s: [\d.]+ chips/s, [\d.]+ ms each$", said, re.MULTILINE)
    assert (project / "batch.png").is_file()
    said = call("profile", "model", "tiny", "--steps", 2, "--epochs", 1, "--device", "cpu")
    assert re.search(r"^backward +2 ", said, re.MULTILINE)
    assert "16 chips trained on in" in said
    assert re.search(r"^parameters +[\d,]+$", said, re.MULTILINE)
    assert sorted(path.name for path in project.iterdir()) == [
        "batch.png",
        "build",
        "params.yaml",
        "scenes",
        "split",
    ] or (not (project / "models").exists()), "nothing is written but what was asked for"
    assert GRID == "s2_60m"
