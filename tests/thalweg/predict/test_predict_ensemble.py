"""An ensemble, as its folder or as a bundle, maps a product as its stage maps that product's scene."""

import json

import numpy as np
import pytest
import rasterio
from ensemble_builder import make_ensemble
from image_builder import BANDS, LEGEND, World, call, make_model
from map_builder import make_chips
from product_builder import grid_params

from thalweg.ensemble import build_map
from thalweg.errors import ImageError
from thalweg.manifest.chips import PARTS
from thalweg.params.classes import Classes
from thalweg.preprocess import build_scenes


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    """Two members of grid g, one of a coarser grid h, and the map of all three."""
    world = World(tmp_path_factory.mktemp("world"))
    root = world.root
    from product_builder import CLASSES, mask_params

    from thalweg.manifest.scene import read_scenes

    (root / "grids").mkdir()
    (root / "grids" / "g").symlink_to(root / "scenes")
    coarse = grid_params(bands=BANDS[:2], resolution_m=20)
    build_scenes(
        root / "raw", root / "masks", "h", coarse, mask_params(), CLASSES, root / "grids" / "h", root / "store"
    )
    [other] = read_scenes(root / "grids" / "h").values()
    make_model(root / "models" / "two", world.scene, seed=2)
    make_model(root / "models" / "fine", other, seed=3, pixel_m=20.0, pixel_m_range=(19.9, 20.1), window_px=64)
    make_chips(root / "split", "g", {"elsewhere": np.full((2, 2), PARTS["train"])})
    build_map(
        "main", make_ensemble(members=["one", "two", "fine"], grid="g", threshold="argmax", overlaps=[0.75]), Classes(legend=LEGEND),
        models=root / "models", scenes_root=root / "grids", split=root / "split", map_dir=root / "maps" / "main",
        card_dir=root / "ensembles" / "main", metrics_path=root / "metrics.json", device="cpu")  # fmt: skip
    return world


def assert_same(one, other) -> None:
    for name in ("probs", "classes", "uncertainty"):
        with rasterio.open(one / f"{name}.tif") as mine, rasterio.open(other / f"{name}.tif") as theirs:
            np.testing.assert_array_equal(mine.read(), theirs.read(), err_msg=name)
            assert mine.transform == theirs.transform


def test_a_product_is_mapped_as_the_stage_does(world, tmp_path):
    said = call("predict", world.root / "ensembles" / "main", world.safe, "--out", tmp_path / "map", "--device", "cpu")
    assert "mapped 1 image by main" in said
    assert_same(tmp_path / "map", world.root / "maps" / "main")


def test_rows_of_an_ensemble_are_not_split_between_calls(world, tmp_path):
    words = ("predict", world.root / "ensembles" / "main", world.safe, "--out", tmp_path / "map", "--splits", 2)
    for more in ((), ("--merge",), ("--submit", "slurm")):
        with pytest.raises(
            ImageError, match=r"main is an ensemble, whose rows are not split between calls; map by one"
        ):
            call(*words, *more)


def test_scenes_of_both_grids_are_given_to_the_members_that_read_them(world, tmp_path):
    scenes = world.root / "grids"
    call(
        "predict",
        world.root / "ensembles" / "main",
        scenes / "g",
        scenes / "h",
        "--out",
        tmp_path / "map",
        "--device",
        "cpu",
    )
    assert_same(tmp_path / "map", world.root / "maps" / "main")


def test_a_bundle_of_an_ensemble_predicts_in_an_empty_folder(world, tmp_path, monkeypatch):
    call("bundle", world.root / "ensembles" / "main", "--out", tmp_path / "main.zip")
    monkeypatch.chdir(tmp_path)
    call("predict", "main.zip", world.safe, "--out", "map", "--device", "cpu")
    assert_same(tmp_path / "map", world.root / "maps" / "main")
    assets = json.loads((tmp_path / "map" / "main.json").read_text())["assets"].values()
    assert all((tmp_path / "map" / asset["href"]).exists() for asset in assets)
    assert sum(asset["href"] == "../main.zip" for asset in assets) == 3


def test_a_dry_run_counts_the_sweeps_of_the_ensemble(world):
    said = call("predict", world.root / "ensembles" / "main", world.safe, "--dry-run", "--device", "cpu")
    # windows of 64 over 96 pixels, 16 apart: 0, 16, 32, thus 9; by the model's own overlap of one half they were 4
    assert f"fine on {world.scene.name}: 96 × 96 pixels, 9 windows of 64" in said
    assert f"one on {world.scene.name}: 32 × 32 pixels, 1 windows of 32" in said
