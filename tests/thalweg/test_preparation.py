"""Scenes say how they were made, and a member's card takes it from those it learnt from."""

import json

import numpy as np
import pytest
from member_builder import GRID, classes, make_places, member
from product_builder import build, grid_params, index, make_raster
from scene_builder import make_scene

from thalweg import train, yardstick
from thalweg.dataset.chips import ChipReader
from thalweg.errors import SceneError
from thalweg.manifest.chips import read_chips, read_stats
from thalweg.manifest.scene import PACK, SCENE, read_scenes, shared_preparation
from thalweg.params import parse
from thalweg.params.grids import GridParams
from thalweg.params.yardsticks import Yardstick


def delivered(root, **grid):
    raw = root / "raw"
    planes = np.random.default_rng(0).integers(1000, 3000, (2, 20, 20)).astype(np.uint16)
    paths = [make_raster(raw / f"{name}.tif", planes) for name in "ab"]
    index(raw, *paths, form="raster", bands={"B04": 1, "B8A": 2})
    params = grid_params(bands=("B04", "B8A"), resolution_m=None, channels=("nd(B8A,B04)",), **grid)
    return params, build(root, params)


@pytest.mark.parametrize("pack", [1, 2])
def test_a_scene_says_the_grid_that_made_it(tmp_path, pack):
    params, scenes = delivered(tmp_path, pack=pack)
    found = shared_preparation(scenes.values())
    assert parse(GridParams, found | {"products": "*", "pack": pack}, "preparation", tmp_path) == params


@pytest.mark.parametrize("pack", [1, 2])
def test_scenes_of_schema_2_are_read_and_do_not_know(tmp_path, pack):
    delivered(tmp_path, pack=pack)
    for path in [*(tmp_path / "scenes").glob(f"*/{SCENE}"), *(tmp_path / "scenes").glob(f"*/{PACK}")]:
        data = json.loads(path.read_text())
        for record in (data, *data.get("members", [])):
            record["schema_version"] = 2
            record.pop("preparation", None)
        path.unlink()
        path.write_text(json.dumps(data))
    scenes = read_scenes(tmp_path / "scenes")
    assert len(scenes) == 2
    assert {scene.record.schema_version for scene in scenes.values()} == {3}
    assert shared_preparation(scenes.values()) == {}


def test_scenes_made_otherwise_are_an_error(tmp_path):
    scenes = [make_scene(tmp_path / "g60", name) for name in "ab"]
    for scene, metres in zip(scenes, (60, 20), strict=True):
        scene.record = scene.record.model_copy(update={"preparation": {"bands": ["B04"], "resolution_m": metres}})
    said = "scene b of grid g60 was made with resolution_m 20, but a with 60; run `dvc repro preprocess`"
    with pytest.raises(SceneError, match=said):
        shared_preparation(scenes)
    assert shared_preparation([]) == {}


def test_cards_of_members_and_yardsticks_have_it(tmp_path):
    places = make_places(tmp_path)
    for path in places.scenes.glob(f"*/{SCENE}"):
        data = json.loads(path.read_text())
        path.write_text(json.dumps(data | {"preparation": {"bands": ["B04", "B8A"]}}))
    chosen, legend = member(), classes()
    data = train.read_data("one", chosen, places.scenes, places.split)
    assert train.draft_card("one", chosen, legend, data).preparation == {"bands": ["B04", "B8A"]}
    yard = Yardstick(grid=GRID, seed=0, pixels=200, trees=2, depth=2, learning_rate=0.2, means_px=(3,), window_px=64)
    reader = ChipReader(places.scenes, places.split, GRID)
    chips, stats = read_chips(places.split, GRID), read_stats(places.split, GRID)
    card = yardstick._draft_card("yard", yard, legend, reader, chips, stats)
    assert card.preparation == {"bands": ["B04", "B8A"]}
