"""The recipes of two seeds, in a small mode on pictures of their form: fetch, preprocess, split, train, examine."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from seed_recipe_builder import POTSDAM, small, write_landcover, write_potsdam

from stages import fetch, preprocess, split, train
from thalweg.errors import DegradedDataWarning
from thalweg.manifest.card import read_card
from thalweg.manifest.chips import WITHHELD, read_chips, read_parts, read_stats
from thalweg.manifest.scene import read_scenes
from thalweg.params import read_yaml
from thalweg.params.recipe import Recipe

ROOT = Path(__file__).parents[1]
RECIPES = {name: Recipe(ROOT / f"recipes/{name}.yaml") for name in ("landcover", "potsdam")}


def judged(member: str, classes: int, parts: set[str]) -> dict:
    """Scores of a member that was trained here, one epoch long."""
    scores = json.loads(Path(f"metrics/{member}.json").read_text())
    assert parts <= set(scores)
    for part in parts:
        assert 0 <= scores[part]["miou"] <= 1
        assert math.isfinite(scores[part]["accuracy"])
    (row,) = csv.DictReader(Path(f"build/history/{member}.csv").read_text().splitlines())
    assert math.isfinite(float(row["train_loss"]))
    assert len(read_card(Path(f"models/{member}")).classes) == classes
    return scores


def ran(member: str) -> dict:
    """What the run's record says that was trained."""
    (record,) = Path(f"runs/{member}").glob("*/params.yaml")
    assert json.loads(record.with_name("run.json").read_text())["status"] == "done"
    return read_yaml(record)["models"][member]


def test_the_recipe_of_seed_003_trains_on_orthophotos_and_their_official_tiles(tmp_path, monkeypatch):
    small("landcover", tmp_path, "swin_fpn", {"backbone": "swin_v2_t", "width": 8},
          {"split.official.tile_px": 64, "split.chip_px.photo": 64})  # fmt: skip
    write_landcover(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    fetch.main()
    preprocess.main("photo")
    scenes = read_scenes(Path("build/scenes/photo"))
    assert [scene.grid.pixel_m_yx[0] for scene in scenes.values()] == pytest.approx([0.25, 0.25, 0.5], rel=1e-3)
    with pytest.warns(DegradedDataWarning, match="lies .* m from training"):
        split.main()
    parts = np.asarray(read_parts(Path("build/split"), "photo", "M-33-7"))
    expected = np.zeros((160, 160), np.uint8)  # tiles 0, 1 and 4 train, 3 is val; 2 and 5 to 8 are incomplete
    expected[:64, :128] = expected[64:128, 64:128] = 1
    expected[64:128, :64] = 2
    assert np.array_equal(np.where(parts == WITHHELD, 0, parts), expected)
    assert len(read_chips(Path("build/split"), "photo")) == 12
    train.main("swin_fpn")
    judged("swin_fpn", 5, {"val", "test"})
    assert read_card(Path("models/swin_fpn")).architecture == "swin_fpn"
    assert ran("swin_fpn")["schedule"]["name"] == "plateau"


def test_the_recipe_of_seed_004_trains_on_tiles_with_world_files_and_coloured_labels(tmp_path, monkeypatch):
    small("potsdam", tmp_path, "dynamic_unet", {}, {"split.block_m": 3.2, "split.buffer_m": 0.5, "split.chip_px.irrg": 64,
          "split.fractions": {"train": 0.6, "val": 0.4, "test": 0}})  # fmt: skip
    write_potsdam(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    fetch.main()
    preprocess.main("irrg")
    scenes = read_scenes(Path("build/scenes/irrg"))
    assert list(scenes) == [f"top_potsdam_{tile}_IRRG" for tile in POTSDAM]
    for scene in scenes.values():
        assert scene.grid.crs.to_epsg() == 32633
        assert (np.asarray(scene.mask)[:8] == 255).all(), "black borders are unlabelled"
        assert set(np.unique(np.asarray(scene.mask)[8:])) == {0, 1, 2, 3, 4, 5}
    split.main()
    chips = read_chips(Path("build/split"), "irrg")
    held_out = {f"top_potsdam_{tile}_IRRG" for tile in ("2_12", "3_12", "6_12")}
    assert set(chips[chips["part"] == "test"]["scene"]) == held_out
    assert set(chips[chips["scene"].isin(held_out)]["part"]) == {"test"}
    assert read_stats(Path("build/split"), "irrg").leak_m >= 0.5
    train.main("dynamic_unet")
    judged("dynamic_unet", 6, {"val", "test"})
    assert ran("dynamic_unet")["schedule"] == "one_cycle"


def test_what_seed_003_trained_with_is_in_its_recipe():
    """ml4earth's configuration: shared/reference/landcover-and-raster-vision.md, A2 to A6."""
    recipe = RECIPES["landcover"]
    member = recipe.models["swin_fpn"]
    assert member.options["backbone"] == "swin_v2_b"
    assert member.loss == {"cross_entropy": {"weight": 1.0, "smoothing": 0.1}}
    assert dict(zip(recipe.classes.names, member.class_weights.given, strict=True)) == {
        "background": 0.5, "building": 1.5, "woodland": 0.7, "water": 1.0, "road": 1.3,
    }  # fmt: skip
    assert (member.optimizer, member.lr, member.weight_decay, member.clip_norm) == ("adam", 1e-4, 1e-4, 1.0)
    assert member.schedule.model_dump(exclude={"threshold"}) == {
        "name": "plateau", "factor": 0.1, "patience": 5, "min_lr": 1e-8,
    }  # fmt: skip
    assert (member.batch_size, member.accumulate, member.max_epochs, member.patience) == (16, 2, 50, 15)
    assert (member.chip_px, member.chips_per_epoch) == (256, 7470)
    assert member.augment == {"d4": 1, "rotate": 15, "resized_crop": 0.66, "jitter": 0.2}


def test_what_seed_004_trained_with_is_in_its_recipe():
    """The fastai plugin's defaults: the same file, B1 and B5."""
    member = RECIPES["potsdam"].models["dynamic_unet"]
    assert member.options["backbone"] == "resnet18"
    assert (member.schedule, member.lr, member.weight_decay) == ("one_cycle", 1e-4, 1e-2)
    assert (member.batch_size, member.max_epochs, member.chip_px) == (8, 5, 256)
    assert member.augment["d4"] == 1


@pytest.mark.parametrize(("name", "scores"), [("landcover", ("0.557", "0.651")), ("potsdam", ("0.87",))])
def test_a_recipe_opens_with_the_scores_to_beat(name, scores):
    head = (ROOT / f"recipes/{name}.yaml").read_text().partition("fetch:")[0]
    assert "To beat" in head
    assert all(score in head for score in scores)
