"""`thalweg probe` from the command line, on digits, on pictures and on scenes."""

import json

import numpy as np
import pytest
from image_builder import call, make_model
from member_builder import GRID, make_places
from PIL import Image
from scene_builder import make_scene

from thalweg.errors import FeatureError
from thalweg.manifest.scene import read_scenes


def test_digits_are_told_apart_even_by_chance_features(tmp_path):
    out = tmp_path / "probe.json"
    said = call(
        "probe", "timm:resnet10t", "digits", "--labels", "10,100", "--no-baselines", "--size-px", "32", "--out", out
    )
    found = json.loads(out.read_text())
    accuracy = {(row["probe"], row["fraction"]): row["scores"][0]["accuracy"] for row in found["rows"]}
    assert accuracy["linear", 1.0] > 0.8, "one in ten by chance"
    assert accuracy["knn", 1.0] > accuracy["knn", 0.1] > 0.2
    assert (found["pictures"], found["bands"], len(found["classes"])) == (1797, ["grey"], 10)
    assert "linear" in said


def test_pictures_with_baselines_and_fine_tuning(tmp_path):
    random = np.random.default_rng(0)
    for label, color in (("field", (40, 160, 40)), ("water", (20, 40, 120)), ("unknown", (1, 1, 1))):
        (tmp_path / "world" / label).mkdir(parents=True)
        for number in range(20 if label != "unknown" else 3):
            noise = random.integers(-30, 30, (32, 32, 3)) + np.array(color)
            Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(tmp_path / "world" / label / f"{number}.png")
    out, member = tmp_path / "probe.json", tmp_path / "m"
    make_model(member, make_scene(tmp_path / "g", "one", channels=("B04", "B03", "B02")))
    call("probe", member, tmp_path / "world", "--ignore", "unknown", "--finetune", 3, "--out", out)
    rows = json.loads(out.read_text())["rows"]
    assert [(row["features"], row["probe"]) for row in rows] == [
        ("encoder", "knn"), ("encoder", "linear"), ("random", "knn"), ("random", "linear"), ("pixels", "knn"),
        ("pixels", "linear"), ("encoder", "finetune"), ("random", "finetune"),
    ]  # fmt: skip
    assert {row["scores"][0]["pixels"] for row in rows} == {4.0}, "a tenth of 20 of either class, no unknown one"
    assert rows[5]["scores"][0]["accuracy"] == 1.0


def test_a_member_on_a_grids_scenes(tmp_path):
    places = make_places(tmp_path)
    scene = next(iter(read_scenes(places.scenes).values()))
    make_model(tmp_path / "models" / "m", scene)
    said = call("probe", tmp_path / "models" / "m", places.scenes, "--split", places.split, "--pixels", 500)
    lines = [line.split()[0] for line in said.splitlines()]
    assert lines == ["features", "encoder", "random", "pixels"]
    assert "iou_channel" in said.splitlines()[0]
    assert GRID in str(places.scenes)


def test_what_is_asked_wrongly(tmp_path):
    with pytest.raises(FeatureError, match=r"--labels should be percentages above 0 such as 1,10,100, got '0'"):
        call("probe", "timm:resnet10t", "digits", "--labels", "0")
    with pytest.raises(FeatureError, match=r"--stats should be data or encoder, got 'mine'"):
        call("probe", "timm:resnet10t", "digits", "--stats", "mine")
    places = make_places(tmp_path)
    with pytest.raises(FeatureError, match=r"an encoder is fine-tuned on scenes by models.<member>.after"):
        call("probe", "timm:resnet10t", places.scenes, "--finetune", 1)
