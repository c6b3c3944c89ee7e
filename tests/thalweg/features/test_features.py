"""Encoders opened and what they give: maps of known shape, means over what is measured, and nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_builder import make_model
from scene_builder import make_scene
from torch import nn

from thalweg.errors import FeatureError
from thalweg.features import normalised, wrapped
from thalweg.features.scenes import dates_of, order_of, to_inputs
from thalweg.features.sources import open_encoder
from thalweg.features.stages import StageMaps
from thalweg.manifest.card import Normalisation
from thalweg.manifest.encoder import EncoderCard, write_encoder_card
from thalweg.manifest.scene import Channel
from thalweg.models import Network
from thalweg.pretrain.encoder import build_encoder, save_encoder

CHANNELS = tuple(
    Channel(name=n, wavelength_nm=None, scale=1e-4, offset=0.0, unit="reflectance") for n in ("B04", "B03")
)
PLAIN = Normalisation(mean=(0.0, 0.0), std=(1.0, 1.0))
OPTIONS = {
    "unet": {"widths": [4, 8, 8], "dropout": 0.0, "upsample": "nearest"},
    "fcn": {"num_filters": 4},
    "farseg": {"backbone": "resnet18"},
    "swin_fpn": {"backbone": "swin_v2_t", "width": 16, "weights": None},
}


class Twice(nn.Module):
    """Two maps whose values are worked out by hand: the input, and its means over 4 × 4 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, inputs):
        return [inputs, nn.functional.avg_pool2d(inputs, 4)]


def twice():
    return wrapped("twice", Twice(), CHANNELS, PLAIN, lambda _: twice())


def test_a_vector_is_a_mean_over_what_is_measured():
    inputs = torch.zeros(2, 2, 8, 8)
    inputs[0, :, :4, :4], inputs[0, :, :4, 4:], inputs[0, :, 4:, :4], inputs[0, :, 4:, 4:] = 1.0, 2.0, 3.0, 4.0
    torch.testing.assert_close(twice().vectors(inputs), torch.tensor([[2.5, 2.5], [0.0, 0.0]]))
    inputs[0, :, :4] = 0  # the upper half is not measured
    inputs[0, :, 4:, 6:] = 0  # nor half of the lower right cell, whose mean is then 2: (3 · 1 + 2 · ½) / 1½
    torch.testing.assert_close(twice().vectors(inputs)[0], torch.full((2,), 8 / 3))


def test_maps_have_the_strides_of_the_encoder_whatever_the_size():
    encoder = twice()
    assert encoder.strides == (1, 4)
    maps = encoder.maps(torch.ones(2, 2, 10, 7))
    assert [tuple(each.shape) for each in maps] == [(2, 2, 10, 7), (2, 2, 3, 2)]
    assert maps[1][0, 0, 2, 0] == 0.5, "two rows of the last cell's four are past the edge"
    assert not maps[0].requires_grad


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(-2, 2), st.floats(0.01, 3))
def test_physical_values_are_normalised_as_stored_ones(seed, mean, std):
    stored = np.random.default_rng(seed).integers(-32768, 32767, (1, 4, 4, 2)).astype(np.int16)
    network = Network(nn.Identity(), CHANNELS, Normalisation(mean=(mean,) * 2, std=(std,) * 2))
    physical = torch.from_numpy(np.where(stored == -32768, np.nan, stored * 1e-4)).float().permute(0, 3, 1, 2)
    found = normalised(physical, torch.full((2,), mean), torch.full((2,), std))
    torch.testing.assert_close(found, network.normalise(torch.from_numpy(stored)), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_members_encoder_gives_maps_that_get_coarser(tmp_path, name):
    scene = make_scene(tmp_path / "g", "one")
    make_model(tmp_path / "m", scene, architecture=name, options=OPTIONS[name])
    encoder = open_encoder(str(tmp_path / "m"), (), PLAIN)
    assert list(encoder.strides) == sorted(encoder.strides)
    assert encoder.bands == ("B04", "B8A")
    assert len(encoder.weights) == 64
    inputs = to_inputs(encoder, [scene.image[:64, :48]], order_of(encoder, scene.record))
    shapes = [each.shape for each in encoder.maps(inputs)]
    assert [shape[2:] for shape in shapes] == [(-(-64 // s), -(-48 // s)) for s in encoder.strides]
    assert encoder.vectors(inputs).shape == (1, shapes[-1][1])


def test_features_last_are_put_first():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Identity()

        def forward(self, inputs):
            return self.block(inputs.permute(0, 2, 3, 1))

    maps = StageMaps(Last(), ["block"])
    maps.look(2)
    inputs = torch.rand(1, 2, 3, 5)
    assert torch.equal(maps(inputs)[0], inputs)


def test_fresh_weights_follow_from_the_seed_alone(tmp_path):
    scene = make_scene(tmp_path / "g", "one")
    make_model(tmp_path / "m", scene, seed=1)
    for text in (str(tmp_path / "m"), "timm:resnet10t"):
        encoder = open_encoder(text, scene.record.channels, PLAIN, seed=7)
        inputs = torch.rand(1, 2, 64, 64)
        one, same, other = (encoder.untrained(seed).vectors(inputs) for seed in (3, 3, 4))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
        assert encoder.untrained(3).weights == ""


@pytest.mark.parametrize("name", ["resnet18", "tu-vit_tiny_patch16_224"])
def test_a_pretrained_encoder_is_opened_with_its_weights(tmp_path, name):
    card = EncoderCard(
        schema_version=1, encoder="e", method="byol", options={}, architecture=name, depth=4, grid="g", pixel_m=60.0,
        pixel_m_range=(60.0, 60.0), channels=CHANNELS, normalisation=PLAIN, parts=("train",), positives="views", chips=1,
        watch={}, collapsed=None, epochs=1, git_commit=None, products=(), packages={},
    )  # fmt: skip
    torch.manual_seed(5)
    saved = build_encoder(name, 2, 4).eval()
    save_encoder(saved, tmp_path)
    write_encoder_card(card, tmp_path)
    encoder = open_encoder(str(tmp_path), (), PLAIN)
    inputs = torch.rand(1, 2, 64, 64)
    for found, expected in zip(encoder.maps(inputs), saved(inputs), strict=True):
        torch.testing.assert_close(found, expected)
    assert (encoder.bands, encoder.pixel_m, len(encoder.weights)) == (("B04", "B03"), 60.0, 64)
    assert encoder.strides == ((2, 4, 8, 16) if name == "resnet18" else (16, 16, 16, 16))
    assert not torch.equal(encoder.vectors(inputs), encoder.untrained(1).vectors(inputs))


def test_a_scene_is_read_in_the_encoders_order(tmp_path):
    scene = make_scene(tmp_path / "g", "one", channels=("B03", "B02", "B04"))
    encoder = twice()
    assert order_of(encoder, scene.record) == [2, 0]
    assert dates_of(encoder, scene.record) == [("2025-10-03", [2, 0])]
    seen = to_inputs(encoder, [scene.image[:8, :8]], [2, 0])
    torch.testing.assert_close(seen[0, 0], torch.from_numpy(scene.image[:8, :8, 2] * 1e-4).float())


def test_a_series_is_read_date_by_date(tmp_path):
    scene = make_scene(tmp_path / "g", "one", channels=("B03", "B04"), dates=("2025-05-01", "2025-09-01"))
    assert dates_of(twice(), scene.record) == [("2025-05-01", [1, 0]), ("2025-09-01", [3, 2])]


def test_what_is_no_encoder_says_so(tmp_path):
    scene = make_scene(tmp_path / "g", "one", channels=("B02",))
    with pytest.raises(FeatureError, match=r"is no encoder: there is no nowhere/card.json; give encoders/<name>"):
        open_encoder("nowhere", CHANNELS, PLAIN)
    with pytest.raises(FeatureError, match=r"timm makes no features of 'no_such_net'"):
        open_encoder("timm:no_such_net", CHANNELS, PLAIN)
    with pytest.raises(
        FeatureError, match=r"reads B04, B03, but scene one lacks B04, B03; give an encoder of this grid"
    ):
        order_of(twice(), scene.record)
    loud = make_scene(tmp_path / "h", "two", channels=("B04", "B03")).record
    loud = loud.model_copy(update={"channels": tuple(c.model_copy(update={"scale": 1e-3}) for c in loud.channels)})
    with pytest.raises(FeatureError, match=r"holds it in reflectance × 0.001; make both with the same grid's params"):
        order_of(twice(), loud)
    with pytest.raises(FeatureError, match=r"which is no map; give an encoder of images"):
        wrapped("flat", nn.Sequential(nn.Flatten()), CHANNELS, PLAIN, lambda _: twice())
