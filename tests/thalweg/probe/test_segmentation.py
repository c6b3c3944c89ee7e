"""A linear layer per pixel: interpolating scores equals interpolating features, and a probe finds what pixels show."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_builder import make_model
from member_builder import GRID, make_places, write_split
from scene_builder import make_scene
from torch.nn import functional as F

from thalweg.errors import FeatureError
from thalweg.features.sources import open_encoder
from thalweg.manifest.card import Normalisation
from thalweg.manifest.chips import read_chips, read_stats, write_chips
from thalweg.probe.classifiers import Linear
from thalweg.probe.segmentation import Ground, Maker, at_pixels, labels_of, probe_ground


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 9999), st.integers(5, 30), st.integers(5, 30))
def test_scores_are_interpolated_as_features_would_be(seed, height, width):
    torch.manual_seed(seed)
    strides, inputs = (1, 2, 8), torch.zeros(1, 1, height, width)
    maps = [torch.randn(1, dim, -(-height // s), -(-width // s)) for dim, s in zip((2, 3, 4), strides, strict=True)]
    stacked = torch.cat([
        F.interpolate(each, scale_factor=s, mode="bilinear", align_corners=False)[..., :height, :width]
        for each, s in zip(maps, strides, strict=True)
    ], 1)[0]  # fmt: skip
    random = np.random.default_rng(seed)
    layer = Linear(random.normal(size=(3, 9)), random.normal(size=3), 1.0)
    rows, cols = random.integers(0, height, 20), random.integers(0, width, 20)
    features = at_pixels(maps, strides, rows, cols)
    np.testing.assert_allclose(features, stacked[:, rows, cols].T, atol=1e-4)
    scores = np.einsum("kd,dhw->khw", layer.weight, stacked.double().numpy()) + layer.bias[:, None, None]
    best, found = scores.argmax(0), labels_of(layer, Maker(lambda _: maps, strides), inputs)
    clear = np.sort(scores, 0)[-1] - np.sort(scores, 0)[-2] > 1e-3
    assert (best == found)[clear].all()


@pytest.fixture
def ground(tmp_path):
    places = make_places(tmp_path)
    return Ground.open(places.scenes, places.split)


def opened(ground, name="timm:resnet10t"):
    stats = read_stats(ground.reader._origin[1], GRID)
    return open_encoder(name, ground.record.channels, Normalisation(mean=stats.mean, std=stats.std))


def test_a_probe_of_pixels_finds_classes_that_pixels_show(ground, tmp_path):
    make_model(tmp_path / "m", next(iter(ground.reader.scenes.values())))
    rows = probe_ground(opened(ground, str(tmp_path / "m")), ground, (0.5, 1.0), (0, 1), 2000, baselines=True)
    assert [(row.features, row.fraction, len(row.scores)) for row in rows] == [
        ("encoder", 0.5, 2), ("random", 0.5, 2), ("pixels", 0.5, 2), ("encoder", 1.0, 2), ("random", 1.0, 2), ("pixels", 1.0, 2)
    ]  # fmt: skip
    by_name = {(row.features, row.fraction): row for row in rows}
    assert by_name["pixels", 1.0].spread("miou")[0] > 0.95, "classes differ by four standard deviations in every band"
    assert by_name["encoder", 1.0].spread("miou")[0] > 0.3
    tested = ground.chips.loc[ground.chips["part"] == "test", "labelled_px"].sum()
    assert by_name["pixels", 1.0].scores[0]["pixels"] == tested, "every labelled pixel of the test part, once"
    assert by_name["pixels", 0.5].scores[0]["train_chips"] == by_name["pixels", 1.0].scores[0]["train_chips"] / 2


def test_a_fresh_network_is_its_own_baseline(ground):
    rows = probe_ground(opened(ground), ground, (1.0,), (0,), 200, baselines=True)
    assert [row.features for row in rows] == ["encoder", "pixels"]


def test_without_baselines_the_encoder_alone(ground):
    assert [row.features for row in probe_ground(opened(ground), ground, (1.0,), (0,), 200, baselines=False)] == [
        "encoder"
    ]


def test_what_cannot_be_probed(ground):
    scenes, split, _ = ground.reader._origin
    chips = read_chips(split, GRID)
    write_chips(chips[chips["part"] != "test"], split, GRID)
    with pytest.raises(FeatureError, match=r"has no labelled chip of part test; change `split`"):
        Ground.open(scenes, split)


def test_one_class_is_nothing_to_tell_apart(tmp_path):
    scenes = [make_scene(tmp_path / GRID, "one", mask=np.zeros((48, 64), np.uint8), shape=(48, 64))]
    write_split(tmp_path / "split", scenes)
    ground = Ground.open(tmp_path / GRID, tmp_path / "split")
    with pytest.raises(FeatureError, match=r"100 % of the training chips \(\d+\) show one class alone with seed 0"):
        probe_ground(opened(ground), ground, (1.0,), (0,), 200, baselines=False)
