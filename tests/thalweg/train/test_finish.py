"""After the last epoch: calibration on validation ground alone, and the examination, in the memory that there is."""

import json
import math

import numpy as np
import pytest
import torch
from member_builder import GRID, classes, make_places, member, places, train_params
from torch import nn

from thalweg import finish as finishing
from thalweg import metrics, models, raster
from thalweg.errors import TrainingError
from thalweg.finish import Ground, finish, validation_pixels
from thalweg.infer import Predictor
from thalweg.loading import read_data
from thalweg.manifest.card import read_card
from thalweg.manifest.chips import read_chips, write_chips
from thalweg.manifest.heldout import read_heldout
from thalweg.manifest.scene import read_scenes
from thalweg.train import draft_card, train_member

OUTS = ("model/weights.safetensors", "model/card.json", "heldout/scores.json", "heldout/panels.npz", "history.csv", "metrics.json")  # fmt: skip
VAL, TEST = np.s_[:, 32:48], np.s_[:, 48:]
"""Columns of `make_places`."""
NOISE = 0.35
"""Share of held-out labels that are wrong."""


def _flip(root, where, share, seed):
    """Labels that say the other class on a share of the pixels, at random."""
    for number, name in enumerate(sorted(read_scenes(root / "scenes" / GRID))):
        mask = raster.map_pixels(root / "scenes" / GRID / name / "mask.tif", "r+")
        labels = mask[..., 0][where]
        wrong = np.random.default_rng([seed, number]).random(labels.shape) < share
        mask[..., 0][where] = np.where(wrong & (labels < 2), 1 - labels, labels)
        mask.flush()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Training labels that pixels show, and others of which a third is wrong: a member that is too sure of itself."""
    root = tmp_path_factory.mktemp("world")
    make_places(root)
    _flip(root, VAL, NOISE, 1)
    _flip(root, TEST, NOISE, 2)
    for kind in ("none", "temperature"):
        _train(root, kind, calibrate=kind)
    return root


def _train(root, outs, **changes):
    train_member("m", member(**changes), train_params(), classes(), places(root, outs))


def _scores(root, outs):
    return json.loads(places(root, outs).metrics.read_text())


def _bytes(root, outs):
    return {name: (root / outs / name).read_bytes() for name in OUTS}


def test_a_member_that_is_too_sure_is_told_so(world):
    plain, tempered = _scores(world, "none"), _scores(world, "temperature")
    card = read_card(world / "temperature/model")
    found = card.calibration
    assert found is not None
    assert found.kept
    assert (found.grouped_by, found.groups) == ("scene", 2)
    assert card.temperature == pytest.approx(1 / found.scale[0])
    assert card.temperature > 1.3
    for part in ("val", "test"):
        assert tempered[part]["ece_uncalibrated"] == plain[part]["ece"]
        assert tempered[part]["ece"] < 0.6 * plain[part]["ece"]
        assert tempered[part]["accuracy"] == pytest.approx(plain[part]["accuracy"], abs=0.01)
        assert "ece_uncalibrated" not in plain[part]
    assert read_card(world / "none/model").calibration is None
    assert read_card(world / "none/model").temperature == 1


def test_the_held_out_record_is_of_calibrated_probabilities(world):
    record = read_heldout(world / "temperature/heldout")
    for part, scores in record.parts.items():
        assert metrics.ece(np.array(scores.reliability)) == _scores(world, "temperature")[part]["ece"]


def test_a_model_directory_alone_predicts_calibrated(world):
    window = np.random.default_rng(0).integers(500, 2500, (1, 16, 16, 3)).astype(np.int16)
    plain, tempered = (
        Predictor.load(world / outs / "model", "cpu").predict(window) for outs in ("none", "temperature")
    )
    logits = np.log(plain) / read_card(world / "temperature/model").temperature
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(tempered, expected, atol=1e-5)
    assert (world / "none/model/weights.safetensors").read_bytes() == (
        world / "temperature/model/weights.safetensors"
    ).read_bytes()


def test_labels_of_the_test_part_change_nothing(world, tmp_path):
    make_places(tmp_path)
    _flip(tmp_path, VAL, NOISE, 1)
    _flip(tmp_path, TEST, 1.0, 9)
    _train(tmp_path, "outs", calibrate="temperature")
    garbage, clean = (read_card(folder / "model") for folder in (tmp_path / "outs", world / "temperature"))
    assert clean.calibration is not None
    assert clean.calibration.kept
    assert garbage.calibration == clean.calibration
    assert garbage.temperature == clean.temperature
    there, before = _scores(tmp_path, "outs"), _scores(world, "temperature")
    assert there["val"] == before["val"]
    assert there["test"]["accuracy"] < 0.5 < before["test"]["accuracy"]


def test_killed_in_the_calibration_it_ends_in_the_same_bytes(world, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("thalweg.calibrate.fit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            _train(world, "killed", calibrate="temperature")
    assert not (world / "killed").exists()
    _train(world, "killed", calibrate="temperature")
    assert _bytes(world, "killed") == _bytes(world, "temperature")


class Sure(nn.Module):
    """Says class 1 where the first channel is above its mean, always by the same logit, and shifts it."""

    def __init__(self, logit: float, shift: float) -> None:
        super().__init__()
        self.logit, self.shift = logit, shift

    def forward(self, inputs):
        score = torch.where(inputs[:, :1] > 0, self.logit, -self.logit) + self.shift
        return torch.cat([torch.zeros_like(score), score], 1)


def _ground(root, logit=6.0, shift=0.0):
    data = read_data("m", member(), places(root).scenes, places(root).split)
    card = draft_card("m", member(), classes(), data)
    network = models.Network(Sure(logit, shift), card.channels, card.normalisation)
    return network, card, Ground(data.reader, data.chips, data.stats)


def test_temperature_by_hand(world):
    """Right on a share q of the pixels, always by the logit 6: softmax(6 / T) = q at T = 6 / ln(q / (1 − q))."""
    network, card, ground = _ground(world)
    seen = validation_pixels(network, card, ground, "cpu", 4)
    assert len(seen.truth) == 2 * 48 * 15
    q = (seen.logits.argmax(1) == seen.truth).mean()
    assert 0.55 < q < 0.9
    done = finish(network, card, "temperature", ground, "cpu", 4)
    assert done.card.temperature == pytest.approx(6 / math.log(q / (1 - q)), rel=1e-3)
    assert done.scores["val"]["ece"] < 0.01
    assert done.scores["val"]["ece_uncalibrated"] == pytest.approx(1 / (1 + math.exp(-6)) - q, abs=1e-3)


def test_vector_scaling_takes_a_shift_out_and_is_what_is_scored(world):
    network, card, ground = _ground(world, 3.0, 4.0)  # says class 1 everywhere
    done = finish(network, card, "vector", ground, "cpu", 4)
    plain = finish(network, card, "none", ground, "cpu", 4)
    assert done.card.calibration is not None
    assert done.card.calibration.kept
    assert done.card.temperature == 1
    assert done.scores["val"]["accuracy"] > plain.scores["val"]["accuracy"] + 0.1
    assert done.scores["val"]["ece"] < 0.02 < plain.scores["val"]["ece"]


def test_the_identity_is_kept_where_other_ground_does_not_gain(world):
    """A member that is as sure as it is right has nothing to gain."""
    network, card, ground = _ground(world)
    seen = validation_pixels(network, card, ground, "cpu", 4)
    q = (seen.logits.argmax(1) == seen.truth).mean()
    honest, _, _ = _ground(world, logit=math.log(q / (1 - q)))
    done = finish(honest, card, "temperature", ground, "cpu", 4)
    assert done.card.calibration is not None
    assert not done.card.calibration.kept
    assert done.card.calibration.reason.startswith("identity, other ground does not gain: NLL on left-out scenes")
    assert done.card.temperature == 1
    for scores in done.scores.values():
        if "ece" in scores:
            assert scores["ece_uncalibrated"] == scores["ece"]


def test_some_pixels_of_every_block_whatever_the_batch(world, monkeypatch):
    network, card, ground = _ground(world)
    every = validation_pixels(network, card, ground, "cpu", 4)
    monkeypatch.setattr(finishing, "PIXELS", 144)  # a tenth
    some, again = (validation_pixels(network, card, ground, "cpu", size) for size in (4, 1))
    assert 144 <= len(some.truth) <= 144 + 6  # rounded up in each of six windows
    assert all(np.array_equal(a, b) for a, b in zip(some, again, strict=True))
    assert set(some.blocks) == set(every.blocks)
    assert set(some.scenes) == {0, 1}


def test_logits_truth_and_block_belong_to_one_pixel(world, monkeypatch):
    """Truth as the network reads it off the pixels: all agree, however few are taken."""
    network, card, ground = _ground(world)
    monkeypatch.setattr(finishing, "PIXELS", 200)
    monkeypatch.setattr(
        type(ground.reader),
        "target",
        lambda self, scene, window, part: _labels(self, network, scene, window),
    )
    seen = validation_pixels(network, card, ground, "cpu", 4)
    assert (seen.logits.argmax(1) == seen.truth).all()
    assert 0.1 < seen.truth.mean() < 0.9


def _labels(reader, network, scene, window):
    with torch.inference_mode():
        logits = network(torch.from_numpy(reader.pixels(scene, window))[None])
    labels = logits.argmax(1)[0].numpy().astype(np.uint8)
    labels[reader.parts(scene)[window.rows, window.cols] != 2] = 255
    return labels


def test_prediction_with_fewer_windows_where_memory_is_scarce(world, monkeypatch):
    network, card, ground = _ground(world)
    whole = finish(network, card, "temperature", ground, "cpu", 4)
    forward = models.Network.forward

    def scarce(self, pixels):
        if len(pixels) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, pixels)

    monkeypatch.setattr(models.Network, "forward", scarce)
    scraped = finish(network, card, "temperature", ground, "cpu", 4)
    assert scraped.scores == whole.scores
    assert scraped.card == whole.card

    def none(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(models.Network, "forward", none)
    with pytest.raises(TrainingError, match=r"models.m: .* does not hold one window of 16 px .*; lower window_px"):
        finish(network, card, "none", ground, "cpu", 2)


def test_nothing_to_calibrate_on_is_said_before_training(tmp_path):
    where = make_places(tmp_path)
    chips = read_chips(where.split, GRID)
    write_chips(chips[chips["part"] != "val"], where.split, GRID)
    with pytest.raises(TrainingError, match=r"models.m: no pixel of part val .* or set calibrate: none"):
        _train(tmp_path, "outs", calibrate="vector", keep="last")
    assert not (tmp_path / "runs/m").exists() or not list((tmp_path / "runs").rglob("epochs.csv"))
