"""Scores on any labelled ground are those that the map's own pixels give, and training ground is told."""

import json

import numpy as np
import pytest
import rasterio
from image_builder import BANDS, World, call, make_model, make_raster
from product_builder import grid_params
from scene_builder import make_scene

from thalweg.errors import DegradedDataWarning, ImageError
from thalweg.manifest.scene import write_scene_record
from thalweg.maps import PROB_SCALE


@pytest.fixture
def labelled(tmp_path):
    """Two labelled scenes and a model."""
    scenes = [
        make_scene(tmp_path / "g", name, channels=BANDS, seed=seed, shape=(70, 60)) for seed, name in enumerate("ab")
    ]
    preparation = grid_params(bands=BANDS).model_dump(mode="json", exclude={"products", "pack"})
    make_model(tmp_path / "models" / "one", scenes[0], preparation=preparation, products=("other",))
    return scenes


def test_scores_are_those_of_the_maps_pixels(tmp_path, labelled):
    model, out = tmp_path / "models" / "one", tmp_path / "scores.json"
    said = call("evaluate", model, *(scene.folder for scene in labelled), "--out", out, "--block-px", 32)
    found = json.loads(out.read_text())
    truth, labels, confidence = [], [], []
    for scene in labelled:
        call("predict", model, scene.folder, "--out", tmp_path / f"map_{scene.name}")
        with rasterio.open(tmp_path / f"map_{scene.name}" / "probs.tif") as dataset:
            probs = dataset.read()
        truth.append(np.asarray(scene.mask).ravel())
        labels.append(probs.argmax(0).ravel())
        confidence.append(probs.max(0).ravel() / PROB_SCALE)
    one, two, sure = (np.concatenate(each) for each in (truth, labels, confidence))
    for number, name in enumerate(("background", "channel")):
        hit, either = ((one == number) & (two == number)).sum(), ((one == number) | (two == number)).sum()
        if either:
            assert found["all"][f"iou_{name}"] == pytest.approx(hit / either)
    assert found["all"]["accuracy"] == pytest.approx((one == two).mean())
    bins = np.minimum((sure * 15).astype(int), 14)
    gaps = [abs((sure - (one == two))[bins == b].sum()) for b in range(15)]
    assert found["all"]["ece"] == pytest.approx(sum(gaps) / len(one), abs=1e-6)
    assert np.array(found["confusion"]).sum() == found["all"]["pixels"] == 2 * 70 * 60
    assert found["all"]["blocks"] == 2 * 3 * 2  # 70 × 60 pixels in blocks of 32
    assert found["scenes"]["a"]["pixels"] == 70 * 60
    assert "one: 8400 labelled pixels in 2 scenes" in said
    assert "in all" in said
    assert "a: mIoU" in said


def test_training_products_and_their_tiles_are_told(tmp_path, labelled):
    name = "S2A_MSIL2A_20251003T141051_N0511_R110_T20KNA_20251003T171910"
    make_model(tmp_path / "models" / "one", labelled[0], products=(name,))
    for scene, product in zip(labelled, (name, name.replace("20251003T14", "20240610T14")), strict=True):
        write_scene_record(scene.record.model_copy(update={"product": product}), scene.folder)
    with pytest.warns(DegradedDataWarning) as told:
        call("evaluate", tmp_path / "models" / "one", tmp_path / "g", "--out", tmp_path / "e.json")
    said = [str(each.message) for each in told]
    assert any(text.startswith("a: products that trained 'one' themselves") for text in said)
    assert any(text.startswith("b: other dates of tiles that trained 'one'") for text in said)
    assert json.loads((tmp_path / "e.json").read_text())["trained_on"] == ["a"]


@pytest.mark.filterwarnings("ignore::thalweg.errors.DegradedDataWarning")
def test_images_with_masks_beside_them(tmp_path):
    world = World(tmp_path)
    grid = world.scene.grid
    labels = np.random.default_rng(0).integers(0, 2, grid.shape_yx).astype(np.uint8)
    place = {"crs": grid.crs_wkt, "origin": (grid.transform.c, grid.transform.f), "pixel": 60.0}
    make_raster(tmp_path / "labels" / "any.tif", labels[None] * 255, **place)
    words = ("evaluate", world.model, world.safe, "--out", tmp_path / "e.json")
    for masks, zero, pixels in ((tmp_path / "labels", "background", 32 * 32),
                                (tmp_path / "labels" / "any.tif", "unlabelled", int(labels.sum()))):  # fmt: skip
        call(*words, "--masks", masks, "--values", "255=channel", "--zero", zero)
        assert json.loads((tmp_path / "e.json").read_text())["all"]["pixels"] == pixels
    make_raster(tmp_path / "ids.tif", labels[None], **place)
    call(*words, "--masks", tmp_path / "ids.tif")
    assert json.loads((tmp_path / "e.json").read_text())["all"]["pixels"] == 32 * 32
    with pytest.raises(ImageError, match="--values names 'water', but the model's classes are background, channel"):
        call(*words, "--masks", tmp_path / "ids.tif", "--values", "1=water")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="holds no mask"):
        call(*words, "--masks", tmp_path / "empty")
    with pytest.raises(ImageError, match="none of the 1 scenes has a labelled pixel"):
        call(*words)


def test_an_ensemble_has_its_scores_in_its_card(tmp_path, labelled):
    (tmp_path / "ensembles" / "main").mkdir(parents=True)
    (tmp_path / "ensembles" / "main" / "card.json").write_text('{"members": {}}')
    with pytest.raises(ImageError, match="is an ensemble, whose scores are in its card; give one of its models"):
        call("evaluate", tmp_path / "ensembles" / "main", labelled[0].folder)
