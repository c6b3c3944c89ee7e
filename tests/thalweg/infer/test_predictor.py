"""Views and scales undone exactly, calibration as the card says, and who is told from whom."""

import numpy as np
import pytest
import torch
from predict_builder import card_for
from scene_builder import make_scene
from torch import nn

from thalweg.errors import ParamsError
from thalweg.infer import Predictor
from thalweg.infer.views import DIHEDRAL, scaled, turned, unscaled, unturned
from thalweg.manifest.calibration import Calibration, Quality
from thalweg.manifest.scene import NODATA


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return card_for(make_scene(tmp_path_factory.mktemp("g"), "s", shape=(8, 8)))


class Ramp(nn.Module):
    """Each pixel by itself: logits are the two channels / 1000."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.seen = tuple(batch.shape)
        return batch.permute(0, 3, 1, 2).float() / 1000


class Leaning(nn.Module):
    """Class 1 is what lies to the left: turning the window changes the answer."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        values = batch[..., 0].float() / 1000
        return torch.stack([torch.zeros_like(values), values.roll(1, 2)], 1)


def test_eight_views_are_all_ways_to_lay_a_square_onto_itself() -> None:
    square = torch.tensor([[1, 2], [3, 4]])
    assert {tuple(turned(square, view, (0, 1)).flatten().tolist()) for view in DIHEDRAL} == {
        (1, 2, 3, 4), (2, 4, 1, 3), (4, 3, 2, 1), (3, 1, 4, 2), (2, 1, 4, 3), (4, 2, 3, 1), (3, 4, 1, 2), (1, 3, 2, 4)}  # fmt: skip


@pytest.mark.parametrize("view", DIHEDRAL)
def test_every_view_is_undone_exactly(view) -> None:
    pixels = torch.arange(2 * 3 * 5 * 4).reshape(2, 3, 5, 4)
    assert torch.equal(unturned(turned(pixels, view, (1, 2)), view, (1, 2)), pixels)


def test_views_change_nothing_for_a_network_that_is_equivariant(card) -> None:
    batch = np.random.default_rng(3).integers(0, 3000, (2, 8, 8, 2), dtype=np.int16)
    once, eight = (Predictor(Ramp(), card, views=views).predict(batch) for views in (1, 8))
    np.testing.assert_allclose(once, eight, atol=1e-6)


def test_views_of_a_network_that_leans_are_the_mean_of_its_eight_answers(card) -> None:
    batch = np.random.default_rng(3).integers(0, 3000, (1, 6, 6, 2), dtype=np.int16)
    eight = Predictor(Leaning(), card, views=8).predict(batch)[0, 1]
    square = batch[0, ..., 0].astype(float) / 1000

    def probability(values: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-np.roll(values, 1, axis=1)))

    answers = []
    for turn in range(4):
        answers.append(np.rot90(probability(np.rot90(square, turn)), -turn))
        answers.append(np.rot90(probability(np.rot90(square, turn)[:, ::-1])[:, ::-1], -turn))
    np.testing.assert_allclose(eight, np.mean(answers, axis=0), atol=1e-6)


@pytest.mark.parametrize(("scale", "shape"), [(0.5, (32, 32)), (2.0, (8, 8)), (0.75, (21, 21)), (1.25, (13, 13))])
def test_a_scale_is_seen_at_its_size_and_brought_back_onto_the_window(card, scale, shape) -> None:
    """Bilinear interpolation gives a plane back, away from the edge, only if pixel centres meet exactly."""
    network = Ramp()
    rows, cols = np.indices((16, 16))
    batch = np.stack([40 * rows + 20 * cols, np.zeros((16, 16), int)], -1)[None].astype(np.int16)
    found = Predictor(network, card, scales=(scale,)).predict(batch)[0]
    assert network.seen[1:3] == shape
    assert found.shape == (2, 16, 16)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    logits = np.log(found[0] / found[1])
    np.testing.assert_allclose(logits[4:-4, 4:-4], batch[0, 4:-4, 4:-4, 0] / 1000, atol=3e-4)


def test_several_scales_are_averaged(card) -> None:
    batch = np.random.default_rng(3).integers(0, 3000, (1, 16, 16, 2), dtype=np.int16)
    apart = [Predictor(Leaning(), card, scales=(scale,)).predict(batch) for scale in (1, 2, 0.5)]
    np.testing.assert_allclose(
        Predictor(Leaning(), card, scales=(1, 2, 0.5)).predict(batch), np.mean(apart, axis=0), atol=1e-6
    )


def test_nodata_keeps_apart_from_values_when_pixels_change_size() -> None:
    pixels = torch.full((1, 4, 4, 1), 100.0)
    pixels[:, :, 2:] = NODATA
    smaller = scaled(pixels, 2.0, NODATA)[0, :, :, 0]
    assert smaller.shape == (2, 2)
    np.testing.assert_allclose(smaller[:, 0], 100, rtol=1e-6)
    assert (smaller[:, 1] == NODATA).all()
    larger = scaled(pixels, 0.5, NODATA)[0, :, :, 0]
    np.testing.assert_allclose(larger[:, :4], 100, rtol=1e-6)
    assert (larger[:, 4:] == NODATA).all()
    assert torch.equal(unscaled(torch.ones(1, 1, 2, 2), (4, 4)), torch.ones(1, 1, 4, 4))


def calibration(kept: bool) -> Calibration:
    quality = Quality(nll=0.0, brier=0.0, ece=0.0)
    return Calibration(kind="vector", scale=(0.5, 2.0), shift=(0.25, -0.5), kept=kept, reason="r", grouped_by="block", groups=2,
                       fitted=(0.5, 2.0), nll_elsewhere_before=0.0, nll_elsewhere_after=0.0, before=quality, after=quality)  # fmt: skip


def test_a_kept_calibration_scales_and_shifts_the_logits(card) -> None:
    batch = np.array([[[[1000, 2000]]]], np.int16)  # logits 1 and 2
    kept = Predictor(Ramp(), card.model_copy(update={"calibration": calibration(True)})).predict(batch)
    odds = np.exp(2 * 2.0 - 0.5) / np.exp(0.5 * 1 + 0.25)
    np.testing.assert_allclose(kept[0, :, 0, 0], [1 / (1 + odds), odds / (1 + odds)], rtol=1e-5)


def test_one_that_is_not_kept_leaves_the_temperature(card) -> None:
    batch = np.array([[[[1000, 2000]]]], np.int16)
    said = card.model_copy(update={"calibration": calibration(False), "temperature": 2.0})
    np.testing.assert_allclose(
        Predictor(Ramp(), said).predict(batch)[0, 1, 0, 0], np.exp(1) / (np.exp(1) + np.exp(0.5)), rtol=1e-5
    )


@pytest.mark.parametrize(("views", "scales"), [(2, (1.0,)), (8, ()), (1, (1.0, 0.0))])
def test_views_and_scales_that_cannot_be(card, views, scales) -> None:
    with pytest.raises(
        ParamsError, match=r"member 'm' shall predict from .* views are 1 or 8, scales one or more positive"
    ):
        Predictor(Ramp(), card, views=views, scales=scales)


def test_members_that_predict_otherwise_have_other_identities(card) -> None:
    torch.manual_seed(1)
    one, other = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
    said = [Predictor(one, card), Predictor(other, card), Predictor(one, card, views=8), Predictor(one, card, scales=(1, 2)),
            Predictor(one, card.model_copy(update={"temperature": 2.0}))]  # fmt: skip
    assert len({predictor.identity() for predictor in said}) == len(said)
    assert Predictor(one, card).identity() == said[0].identity()


def test_half_precision_stays_close(card) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(Ramp(), nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 2, 1))
    batch = np.random.default_rng(3).integers(0, 3000, (1, 16, 16, 2), dtype=np.int16)
    full, half = (Predictor(network, card, half=half).predict(batch) for half in (False, True))
    assert 0 < np.abs(full - half).max() < 0.02
