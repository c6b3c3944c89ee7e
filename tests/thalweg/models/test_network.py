import json

import pytest
import torch
from architecture_builder import OPTIONS, card

from thalweg import models
from thalweg.errors import CardError, ParamsError
from thalweg.manifest.card import ModelCard, Normalisation
from thalweg.manifest.scene import NODATA


def test_normalises_by_thecard():
    network = models.network(card())
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
    constant = card().model_copy(update={"normalisation": Normalisation(mean=(0.1, 0.0), std=(0.0, 1.0))})
    inputs = models.network(constant).normalise(torch.tensor([[[[float("nan"), NODATA], [1000.0, 0.0]]]]))
    torch.testing.assert_close(inputs[0, :, 0], torch.tensor([[0.0, 0.0], [0.0, 0.5]]))


def test_weights_come_back(tmp_path):
    network, again = models.network(card()), models.network(card())
    models.save_weights(network.architecture.state_dict(), tmp_path)
    models.load_weights(again, tmp_path)
    pixels = torch.randint(0, 3000, (1, 9, 9, 2)).to(torch.int16)
    assert torch.equal(network.eval()(pixels), again.eval()(pixels))


def test_weights_that_are_missing_broken_or_of_another_model(tmp_path):
    network = models.network(card())
    with pytest.raises(CardError, match=r"weights.safetensors is missing; copy the whole model directory"):
        models.load_weights(network, tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(CardError, match="is no safetensors file"):
        models.load_weights(network, tmp_path)
    models.save_weights(models.network(card(classes=3)).architecture.state_dict(), tmp_path)
    with pytest.raises(CardError, match=r"does not fit its card .*size mismatch for head.weight"):
        models.load_weights(network, tmp_path)


def test_card_survives_json():
    farseg = card("farseg")
    assert ModelCard.model_validate_json(json.dumps(json.loads(farseg.model_dump_json()))) == farseg


def test_freezing_by_stage_stops_weights_and_batch_norms():
    network = models.network(card("dynamic_unet"))
    models.freeze(network, ["stem", 1])
    network.train()
    trunk = network.architecture.trunk
    assert not trunk.conv1.weight.requires_grad
    assert not any(weight.requires_grad for weight in trunk.layer1.parameters())
    assert all(weight.requires_grad for weight in [*trunk.layer2.parameters(), *network.architecture.up.parameters()])
    assert not trunk.bn1.training
    assert not trunk.layer1[0].bn1.training
    assert trunk.layer2[0].bn1.training
    before = {name: value.clone() for name, value in network.architecture.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    network(torch.randint(0, 3000, (2, 40, 40, 2)).to(torch.int16)).square().mean().backward()
    optimiser.step()
    moved = {name for name, value in network.architecture.state_dict().items() if not torch.equal(value, before[name])}
    assert not [name for name in moved if name.startswith(("trunk.conv1", "trunk.bn1", "trunk.layer1"))]
    assert {"trunk.layer2.0.conv1.weight", "trunk.layer2.0.bn1.running_mean", "head.weight"} <= moved


def test_freezing_again_thaws():
    network = models.network(card("unet"))
    models.freeze(network, [1, 2])
    models.freeze(network, models.still_frozen([1, 2], epoch=3, thaw_epochs=3))
    assert {
        name.split(".")[1] for name, weight in network.architecture.named_parameters() if not weight.requires_grad
    } == {"0"}
    models.freeze(network, [])
    assert all(weight.requires_grad for weight in network.parameters())


def test_what_an_architecture_keeps_still_itself_never_thaws():
    options = OPTIONS["dofa"] | {"tuning": "frozen", "weights": "file:dofa.pth"}
    network = models.Network(models.build("dofa", 2, 2, options), card().channels, card().normalisation)
    models.freeze(network, ["stem", 1])
    models.freeze(network, [])
    assert not any(weight.requires_grad for weight in network.architecture.trunk.parameters())
    assert all(weight.requires_grad for weight in network.architecture.decoder.parameters())


@pytest.mark.parametrize(
    ("epoch", "left"), [(0, ("stem", 1, 2)), (4, ("stem", 1, 2)), (5, ("stem", 1)), (10, ("stem",)), (15, ()), (99, ())]
)
def test_stages_thaw_from_the_last(epoch, left):
    assert models.still_frozen(["stem", 1, 2], epoch, 5) == left
    assert models.still_frozen(["stem", 1, 2], epoch, None) == ("stem", 1, 2)


def test_unknown_stage_names_those_there_are():
    with pytest.raises(ParamsError, match="'freeze' names 9; the architecture's stages are 1, 2, 3"):
        models.freeze(models.network(card("unet")), [1, 9])
    with pytest.raises(ParamsError, match="stages are none"):
        models.freeze(models.network(card("fcn")), ["stem"])


@pytest.mark.parametrize("name", ["unet", "farseg", "dynamic_unet", "dofa", "segformer"])
def test_prior_bias_makes_blank_features_say_the_shares(name):
    network = models.Network(models.build(name, 2, 3, OPTIONS[name]), card().channels, card().normalisation)
    models.set_prior_bias(network, [0.7, 0.3, 0.0])
    last = [layer for layer in network.architecture.modules() if isinstance(layer, torch.nn.Conv2d)
            and layer.out_channels == 3][-1]  # fmt: skip
    # What never occurs counts as one in ten thousand: 0.7, 0.3 and 0.0001 of 1.0001
    torch.testing.assert_close(last.bias.softmax(0), torch.tensor([0.69993, 0.29997, 0.00009999]), rtol=1e-4, atol=1e-6)


def test_prior_bias_needs_a_last_layer():
    trees = models.Network(
        models.build("boosted_trees", 2, 2, OPTIONS["boosted_trees"]), card().channels, card().normalisation
    )
    with pytest.raises(ParamsError, match="no last layer with a bias per class"):
        models.set_prior_bias(trees, [0.5, 0.5])


def test_source_hash_follows_the_file_and_its_parts():
    from hashlib import sha256
    from pathlib import Path

    room = Path(models.__file__).parent
    assert models.source_sha256("unet") == sha256((room / "unet.py").read_bytes()).hexdigest()
    parts = [room / "farseg.py", room.parent / "backbones" / "any_size.py"]
    assert models.source_sha256("farseg") == sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()
    assert models.source_sha256("nothing_like_it") == ""
