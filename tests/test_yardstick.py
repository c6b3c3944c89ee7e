"""The yardstick: the trees are scikit-learn's own, learn from training ground alone, and stand beside the members."""

import json

import numpy as np
import pytest
import torch
from member_builder import GRID, classes, make_places, write_split
from scene_builder import make_scene

from thalweg import models, raster, yardstick
from thalweg.dataset.chips import ChipReader
from thalweg.errors import ContractError, ParamsError, TrainingError
from thalweg.manifest.card import read_card
from thalweg.manifest.chips import HIDDEN, read_chips, read_stats, scene_parts, write_chips
from thalweg.manifest.scene import read_scenes
from thalweg.models import boosted_trees
from thalweg.params.yardsticks import Yardstick


def params(**changes) -> Yardstick:
    options = {"grid": GRID, "seed": 0, "pixels": 2000, "trees": 12, "depth": 4, "learning_rate": 0.2,
               "means_px": (3, 7), "window_px": 64}  # fmt: skip
    return Yardstick(**(options | changes))


def filled(labels, classes: int, channels: int = 3, **changes):
    """An architecture, its image, and scikit-learn's own booster of the same pixels."""
    chosen = params(**changes)
    options = {"trees": chosen.trees, "depth": chosen.depth, "means_px": list(chosen.means_px)}
    trees = models.build("boosted_trees", channels, classes, options)
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, channels, 24, 24)).astype(np.float32))
    features = trees.features(image)[0].permute(1, 2, 0).flatten(0, 1).numpy()
    booster = yardstick.grow(features, labels(features), chosen)
    yardstick.fill(trees, booster, classes)
    return trees, image, features, booster


@pytest.mark.parametrize("classes", [2, 4])
def test_the_tensors_say_what_scikit_learn_says(classes):
    cuts = {2: [0], 4: [-1, 0, 1]}[classes]
    trees, image, features, booster = filled(lambda rows: np.digitize(rows[:, 0] + rows[:, 4], cuts), classes)
    probs = torch.softmax(trees(image), 1)[0].permute(1, 2, 0).flatten(0, 1).numpy()
    np.testing.assert_allclose(probs, booster.predict_proba(features), atol=1e-6)


@pytest.mark.parametrize("present", [(0, 2), (0, 1, 3)])
def test_a_class_without_training_pixels_is_never_said(present):
    labels = np.array(present)
    trees, image, features, booster = filled(lambda rows: labels[np.arange(len(rows)) % len(labels)], 4)
    probs = torch.softmax(trees(image), 1)[0].permute(1, 2, 0).flatten(0, 1).numpy()
    np.testing.assert_allclose(probs[:, list(present)], booster.predict_proba(features), atol=1e-5)
    assert probs[:, [label for label in range(4) if label not in present]].max() < 1e-6


def test_features_are_channels_ratios_and_means_by_hand():
    trees = models.build("boosted_trees", 2, 2, {"trees": 1, "depth": 1, "means_px": [3]})
    trees.mean.copy_(torch.tensor([3.0, 1.0]))
    image = torch.zeros(1, 2, 3, 3)
    image[0, 0, 1, 1] = 9.0
    found = trees.features(image)
    assert found.shape == (1, 2 + 1 + 2, 3, 3)
    assert found[0, 2, 0, 0] == pytest.approx((3 - 1) / (3 + 1))
    assert found[0, 2, 1, 1] == pytest.approx((12 - 1) / (12 + 1))
    assert found[0, 3, 1, 1] == pytest.approx(9 / 9)
    assert found[0, 3, 0, 0] == pytest.approx(9 / 4)  # the corner's box has four pixels inside


def test_ratios_are_of_one_date_and_never_too_many():
    assert boosted_trees.pairs(1, 1) == ()
    assert boosted_trees.pairs(3, 1) == ((0, 1), (0, 2), (1, 2))
    assert boosted_trees.pairs(6, 3) == ((0, 1), (2, 3), (4, 5))
    assert len(boosted_trees.pairs(132, 12)) == 12 * 11 * 10 // 2
    hyperspectral = boosted_trees.pairs(200, 1)
    assert {b - a for a, b in hyperspectral} == {1, 2, 3, 4, 5}  # 199 + 198 + 197 + 196 + 195 = 985
    assert len(hyperspectral) == 985
    assert len(boosted_trees.pairs(2000, 1)) == 1999, "neighbours always"
    with pytest.raises(ParamsError, match="7 channels cannot be those of 2 dates"):
        models.build("boosted_trees", 7, 2, {"trees": 1, "depth": 1, "means_px": [], "dates": 2})


@pytest.mark.parametrize(("channels", "means"), [(1, (3,)), (1, ()), (5, ())])
def test_one_channel_and_no_neighbourhood(channels, means):
    trees, image, features, booster = filled(lambda rows: rows[:, 0] > 0, 2, channels, means_px=means)
    probs = torch.softmax(trees(image), 1)[0].permute(1, 2, 0).flatten(0, 1).numpy()
    np.testing.assert_allclose(probs, booster.predict_proba(features), atol=1e-6)


def test_two_pixels_are_few_but_enough():
    trees = models.build("boosted_trees", 1, 2, {"trees": 2, "depth": 2, "means_px": []})
    booster = yardstick.grow(np.array([[0.0], [1.0]], np.float32), np.array([0, 1], np.uint8), params(trees=2, depth=2))
    yardstick.fill(trees, booster, 2)
    np.testing.assert_allclose(torch.softmax(trees(torch.zeros(2, 1, 3, 4)), 1), 0.5)  # 20 pixels make a leaf


CLASSES = classes()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    make_places(root)
    return root


def places(world, out):
    return yardstick.Places(world / "scenes" / GRID, world / "split", out / "model", out / "heldout", out / "m.json")


def test_it_is_a_member_like_any_other_and_the_same_twice(world, tmp_path):
    runs = []
    for name in ("a", "b"):
        out = tmp_path / name
        yardstick.fit_yardstick("boosting", params(), CLASSES, places(world, out))
        files = sorted(path for path in out.rglob("*") if path.is_file())
        runs.append({path.relative_to(out): path.read_bytes() for path in files})
    assert runs[0] == runs[1]
    scores = json.loads((tmp_path / "a/m.json").read_text())
    assert scores["test"]["miou"] > 0.6  # the blobs of the tiny world differ in every channel
    card = read_card(tmp_path / "a/model")
    network = models.network(card)
    models.load_weights(network, tmp_path / "a/model")
    assert network.architecture.value.abs().sum() > 0
    assert card.architecture == "boosted_trees"
    assert card.metrics["miou"] == scores["val"]["miou"]


def test_pixels_come_from_training_ground_alone(world):
    chips = read_chips(world / "split", GRID)
    train_px = int(chips.loc[chips["part"] == "train", "labelled_px"].sum())
    features, labels = sampled(world, pixels=10**6)
    assert len(features) == len(labels) == train_px
    some, _ = sampled(world, pixels=train_px // 2)
    assert abs(len(some) - train_px / 2) < 4 * np.sqrt(train_px / 4)


def test_features_see_no_test_ground(tmp_path):
    make_places(tmp_path)
    before, _ = sampled(tmp_path, pixels=10**6, means_px=(41,))
    scenes = read_scenes(tmp_path / "scenes" / GRID)
    for record in scenes.values():
        image = raster.map_pixels(record.folder / "image.tif", "r+")
        image[np.isin(scene_parts(tmp_path / "split", record), HIDDEN)] = 9999
        image.flush()
    after, _ = sampled(tmp_path, pixels=10**6, means_px=(41,))
    np.testing.assert_array_equal(before, after)


def test_a_time_series_and_floats_with_holes(tmp_path):
    scenes = [make_scene(tmp_path / "scenes" / GRID, name, shape=(48, 64), seed=seed, channels=("B04", "B03", "B02"),
                         origin=(600_000.0, 7_000_000.0 + 9_000 * seed), dates=("2020-01-01", "2020-02-01"))
              for seed, name in enumerate(("one", "two"))]  # fmt: skip
    write_split(tmp_path / "split", scenes)
    yardstick.fit_yardstick("boosting", params(), CLASSES, places(tmp_path, tmp_path / "out"))
    card = read_card(tmp_path / "out/model")
    assert card.options["dates"] == 2
    network = models.network(card)
    assert len(network.architecture.pairs) == 2 * 3
    holes = np.full((1, 8, 8, 6), np.nan, np.float32)
    assert torch.isfinite(network(torch.from_numpy(holes))).all()


def test_scenes_that_differ_are_refused(tmp_path):
    where = make_places(tmp_path)
    path = where.scenes / "two" / "scene.json"
    record = json.loads(path.read_text())
    record["channels"] = record["channels"][::-1]
    path.write_text(json.dumps(record))
    with pytest.raises(ContractError, match="two"):
        yardstick.fit_yardstick("boosting", params(), CLASSES, places(tmp_path, tmp_path / "out"))


def test_nothing_to_learn_from(tmp_path):
    make_places(tmp_path)
    chips = read_chips(tmp_path / "split", GRID)
    write_chips(chips[chips["part"] != "train"], tmp_path / "split", GRID)
    with pytest.raises(TrainingError, match=r"yardsticks\.boosting: no pixel of part train on grid s2_60m is labelled"):
        yardstick.fit_yardstick("boosting", params(), CLASSES, places(tmp_path, tmp_path / "out"))


def sampled(world, **changes):
    reader = ChipReader(world / "scenes" / GRID, world / "split", GRID)
    chips, stats = read_chips(world / "split", GRID), read_stats(world / "split", GRID)
    chosen = params(**changes)
    card = yardstick._draft_card("y", chosen, CLASSES, reader, chips, stats)
    return yardstick.sample_pixels(models.network(card), reader, chips, chosen)


def test_what_is_learnt_from_is_what_is_predicted_from(world, tmp_path, monkeypatch):
    seen = []
    grow = yardstick.grow
    monkeypatch.setattr(yardstick, "grow", lambda *given: (seen.append(given[0]), grow(*given))[1])
    yardstick.fit_yardstick("boosting", params(pixels=10**6), CLASSES, places(world, tmp_path))
    network = models.network(read_card(tmp_path / "model"))
    models.load_weights(network, tmp_path / "model")
    reader = ChipReader(world / "scenes" / GRID, world / "split", GRID)
    again, _ = yardstick.sample_pixels(network, reader, read_chips(world / "split", GRID), params(pixels=10**6))
    np.testing.assert_array_equal(seen[0], again)


def test_one_class_alone_is_refused():
    with pytest.raises(TrainingError, match=r"yardsticks\.y: .* of grid g have 1 class \(background\)"):
        yardstick._check("y", "g", np.zeros(5, np.uint8), CLASSES)
