"""Blending laws of windowed prediction, and the exact inverse of the eight views."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from thalweg.grid import Window, cut
from thalweg.infer import Predictor, iter_rows
from thalweg.manifest.card import SCHEMA, ModelCard, Normalisation
from thalweg.manifest.scene import NODATA, Channel

AREAS = {
    "height": st.integers(1, 70),
    "width": st.integers(1, 70),
    "chip": st.integers(4, 32),
    "overlap": st.floats(0, 0.9),
    "batch": st.integers(1, 20),
}


def make_card(classes: int = 2, channels: int = 2, temperature: float = 1.0) -> ModelCard:
    legend = tuple({"name": f"class{k}", "color": f"#00000{k}"} for k in range(classes))
    bands = tuple(
        Channel(name=f"B0{c}", wavelength_nm=None, scale=1e-4, offset=0.0, unit="reflectance") for c in range(channels)
    )
    return ModelCard.model_validate_json(
        ModelCard.model_construct(
            schema_version=SCHEMA, member="linear", architecture="linear", options={}, architecture_sha256="0" * 64,
            grid="g", pixel_m=60.0, pixel_m_range=(60.0, 60.0), deciles=(), shares=(), channels=bands, normalisation=Normalisation(mean=(0.0,) * channels,
            std=(1.0,) * channels), classes=legend, window_px=16, overlap=0.5, temperature=temperature, calibration=None, preparation={},
            metrics={}, epoch=0, git_commit=None, products=(), packages={},
        ).model_dump_json(warnings=False)
    )  # fmt: skip


def identity(batch: np.ndarray) -> np.ndarray:
    """Channel values / 10000 as if they were probabilities."""
    return np.moveaxis(batch.astype(np.float32) / 10_000, -1, 1)


def stitched(predict, image: np.ndarray, chip: int, overlap: float, batch: int, classes: int = 2) -> np.ndarray:
    shape = (image.shape[0], image.shape[1])
    runs = list(iter_rows(predict, lambda window: cut(image, window, NODATA), shape, classes, chip, overlap, batch))
    tops = np.cumsum([0, *(run.shape[1] for _, run in runs)])
    assert [top for top, _ in runs] == list(tops[:-1])
    return np.concatenate([run for _, run in runs], axis=1)


@settings(max_examples=60, deadline=None)
@given(**AREAS)
def test_a_blend_of_a_constant_is_that_constant_at_every_pixel(height, width, chip, overlap, batch) -> None:
    def constant(windows: np.ndarray) -> np.ndarray:
        return np.full((len(windows), 1, *windows.shape[1:3]), 0.7, np.float32)

    probs = stitched(constant, np.ones((height, width, 1), np.int16), chip, overlap, batch, classes=1)
    assert probs.shape == (1, height, width)
    np.testing.assert_allclose(probs, 0.7, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(**AREAS)
def test_an_identity_model_gives_back_the_image(height, width, chip, overlap, batch) -> None:
    image = np.random.default_rng(3).integers(0, 10_000, (height, width, 2), dtype=np.int16)
    probs = stitched(identity, image, chip, overlap, batch)
    np.testing.assert_allclose(np.moveaxis(probs, 0, -1), image / 10_000, atol=1e-6)


def test_windows_without_measurement_are_not_predicted_and_get_the_uniform_distribution() -> None:
    image = np.full((64, 32, 2), NODATA, np.int16)
    image[:16] = 5000
    seen = []

    def counting(batch: np.ndarray) -> np.ndarray:
        seen.append(len(batch))
        return identity(batch)

    probs = stitched(counting, image, chip=16, overlap=0.0, batch=4)
    assert sum(seen) == 2
    assert (probs[:, :16] == 0.5).all()
    assert (probs[:, 16:] == 0.5).all()


def test_rows_are_handed_out_while_later_windows_are_still_unread() -> None:
    image = np.ones((400, 16, 1), np.int16)
    lowest = []

    def reading(window: Window) -> np.ndarray:
        lowest.append(window.row)
        return cut(image, window, NODATA)

    tallest = 0
    for top, run in iter_rows(identity, reading, (400, 16), 1, 16, 0.5, 2):
        tallest = max(tallest, run.shape[1])
        assert max(lowest) <= top + run.shape[1] + 16
    assert tallest <= 32


def test_windows_past_the_edge_are_filled_with_nodata() -> None:
    image = np.arange(6, dtype=np.int16).reshape(2, 3, 1)
    window = cut(image, Window(-1, 1, 4, 3), NODATA)
    N = NODATA  # noqa: N806
    assert window[:, :, 0].tolist() == [[N, N, N], [1, 2, N], [4, 5, N], [N, N, N]]


class Skewed(nn.Module):
    """Logits that depend on the direction: each pixel's class 1 logit is its left neighbour's value."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        values = batch[..., 0].float() / 100
        return torch.stack([torch.zeros_like(values), values.roll(1, 2)], 1)


def test_probabilities_are_softmax_of_logits_over_temperature() -> None:
    batch = np.full((1, 4, 4, 1), 200, np.int16)
    probs = Predictor(Skewed(), make_card(channels=1, temperature=2.0)).predict(batch)
    assert probs.dtype == np.float32
    np.testing.assert_allclose(probs[0, 1], 1 / (1 + np.exp(-1)), rtol=1e-6)


def test_eight_views_are_turned_back_exactly() -> None:
    pixelwise = nn.Module()
    pixelwise.forward = lambda batch: torch.stack([batch[..., 0].float() / 50, batch[..., 1].float() / 50], 1)
    batch = np.random.default_rng(3).integers(0, 100, (2, 8, 8, 2), dtype=np.int16)
    once, eight = (Predictor(pixelwise, make_card(), views=views).predict(batch) for views in (1, 8))
    np.testing.assert_allclose(once, eight, atol=1e-6)


def test_eight_views_take_the_direction_out_of_a_model() -> None:
    batch = np.zeros((1, 5, 5, 1), np.int16)
    batch[0, 2, 2] = 400
    probs = Predictor(Skewed(), make_card(channels=1), views=8).predict(batch)[0, 1]
    for turned in (np.rot90(probs), probs[::-1], probs.T):
        np.testing.assert_allclose(turned, probs, atol=1e-6)
    assert probs[2, 1] > probs[2, 2]


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_a_model_directory_alone_is_enough(tmp_path, device) -> None:
    from thalweg import models
    from thalweg.manifest.card import write_card

    card = make_card().model_copy(update={"architecture": "fcn", "options": {"num_filters": 4}})
    network = models.network(card)
    models.save_weights(network.architecture.state_dict(), tmp_path)
    write_card(card, tmp_path)
    batch = np.random.default_rng(3).integers(0, 10_000, (2, 16, 16, 2), dtype=np.int16)
    expected = Predictor(network, card).predict(batch)
    np.testing.assert_allclose(Predictor.load(tmp_path, device).predict(batch), expected, atol=1e-6)
