import json
from pathlib import Path

import pytest
import torch

from thalweg import models
from thalweg.classes import ClassInfo
from thalweg.errors import CardError, ParamsError
from thalweg.manifest.card import ModelCard, Normalisation
from thalweg.manifest.scene import NODATA, Channel

OPTIONS = {
    "unet": {"widths": [4, 8, 8], "dropout": 0.0, "upsample": "nearest"},
    "fcn": {"num_filters": 4},
    "farseg": {"backbone": "resnet18"},
}


def _names():
    return sorted(path.stem for path in Path(models.__file__).parent.glob("*.py") if path.stem != "__init__")


def _card(architecture="unet", options=None, classes=2):
    channels = tuple(
        Channel(name=name, wavelength_nm=None, scale=scale, offset=offset, unit="reflectance")
        for name, scale, offset in (("B02", 1e-4, 0.0), ("ndvi", 2e-4, 0.5))
    )
    return ModelCard(
        schema_version=1, member="m", architecture=architecture, options=options or OPTIONS[architecture],
        architecture_sha256="", grid="g", pixel_m=60.0, pixel_m_range=(60.0, 60.0), deciles=(), shares=(), channels=channels,
        normalisation=Normalisation(mean=(0.1, 0.0), std=(0.05, 1.0)),
        classes=tuple(ClassInfo(name=f"c{k}", color="#000000") for k in range(classes)), window_px=16, overlap=0.5,
        temperature=1.0, metrics={}, epoch=0, git_commit=None, products=(), packages={})  # fmt: skip


def test_every_architecture_is_tested():
    assert _names() == sorted(OPTIONS)


@pytest.mark.parametrize("name", sorted(OPTIONS))
@pytest.mark.parametrize("shape_yx", [(64, 64), (65, 47), (7, 9)])
def test_logits_have_the_size_of_the_input(name, shape_yx):
    network = models.build(name, 3, 5, OPTIONS[name]).eval()
    with torch.inference_mode():
        logits = network(torch.zeros(2, 3, *shape_yx))
    assert logits.shape == (2, 5, *shape_yx)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_builds_on_the_meta_device(name):
    with torch.device("meta"):
        network = models.build(name, 13, 2, OPTIONS[name])
    assert all(parameter.is_meta for parameter in network.parameters())


def test_transposed_upsampling():
    network = models.build("unet", 1, 2, OPTIONS["unet"] | {"upsample": "transposed"})
    assert network(torch.zeros(2, 1, 10, 10)).shape == (2, 2, 10, 10)


def test_unknown_architecture_names_the_files_that_exist():
    with pytest.raises(ParamsError, match=r"src/thalweg/models/unett.py; there are .*farseg, fcn.*unet"):
        models.build("unett", 3, 2, {})


def test_wrong_option_names():
    with pytest.raises(ParamsError, match="'fcn' lacks num_filters and has unknown filters; it takes num_filters"):
        models.build("fcn", 3, 2, {"filters": 3})


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("unet", {"widths": []}, "widths should be"),
        ("unet", {"widths": 3}, "cannot be used"),
        ("unet", {"dropout": 1.0}, "dropout should be"),
        ("unet", {"upsample": "cubic"}, "nearest or transposed, not 'cubic'"),
        ("fcn", {"num_filters": 0}, "num_filters should be"),
        ("farseg", {"backbone": "vgg"}, "resnet18.*not 'vgg'"),
    ],
)
def test_wrong_option_values(name, change, fault):
    with pytest.raises(ParamsError, match=fault):
        models.build(name, 3, 2, OPTIONS[name] | change)


def test_normalises_by_the_card():
    network = models.network(_card())
    pixels = torch.tensor([[[[1500, NODATA], [1000, -2500]]]], dtype=torch.int16)  # (1, 1, 2, 2)
    inputs = network.normalise(pixels)
    # (0.15 − 0.1) / 0.05 = 1; nodata 0; (0.1 − 0.1) / 0.05 = 0; −2500 × 2e-4 + 0.5 = 0
    torch.testing.assert_close(inputs[0, :, 0], torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    far = torch.tensor([[[[32767, 32767]]]], dtype=torch.int16)
    assert network.normalise(far).flatten().tolist() == [5.0, 5.0]  # 3.27 reflectance; 7.05
    assert network.normalise(torch.zeros(2, 8, 8, 2, dtype=torch.int16)).is_contiguous(
        memory_format=torch.channels_last
    )


def test_float_scene_with_nan_and_a_constant_channel():
    card = _card().model_copy(update={"normalisation": Normalisation(mean=(0.1, 0.0), std=(0.0, 1.0))})
    inputs = models.network(card).normalise(torch.tensor([[[[float("nan"), NODATA], [1000.0, 0.0]]]]))
    torch.testing.assert_close(inputs[0, :, 0], torch.tensor([[0.0, 0.0], [0.0, 0.5]]))


def test_weights_come_back(tmp_path):
    network, again = models.network(_card()), models.network(_card())
    models.save_weights(network.architecture.state_dict(), tmp_path)
    models.load_weights(again, tmp_path)
    pixels = torch.randint(0, 3000, (1, 9, 9, 2)).to(torch.int16)
    assert torch.equal(network.eval()(pixels), again.eval()(pixels))


def test_weights_that_are_missing_broken_or_of_another_model(tmp_path):
    network = models.network(_card())
    with pytest.raises(CardError, match=r"weights.safetensors is missing; copy the whole model directory"):
        models.load_weights(network, tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(CardError, match="is no safetensors file"):
        models.load_weights(network, tmp_path)
    models.save_weights(models.network(_card(classes=3)).architecture.state_dict(), tmp_path)
    with pytest.raises(CardError, match=r"does not fit its card .*size mismatch for head.weight"):
        models.load_weights(network, tmp_path)


def test_card_survives_json():
    card = _card("farseg")
    assert ModelCard.model_validate_json(json.dumps(json.loads(card.model_dump_json()))) == card
