"""A member that starts from a pre-trained encoder: its weights, its normalisation, and what does not fit."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from encoder_builder import make_world
from encoder_builder import params as encoder_params
from member_builder import classes, member, train_params
from member_builder import places as member_places
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file

from thalweg import models
from thalweg.errors import ParamsError, WeightsError
from thalweg.manifest.card import Normalisation, read_card
from thalweg.manifest.encoder import read_encoder_card
from thalweg.params import read_yaml
from thalweg.params.recipe import Recipe
from thalweg.pretrain.run import pretrain_encoder
from thalweg.recipes import build_members
from thalweg.train import train_member
from thalweg.weights.pretrained import check_channels, put_encoder

TRAIN = train_params(loggers=("csv",))
OPTIONS = {"encoder": "resnet18", "depth": 3, "weights": None}
RECIPE = Path(__file__).parents[3] / "recipes/pretrain.yaml"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = make_world(tmp_path_factory.mktemp("world"))
    pretrain_encoder("e", encoder_params(), TRAIN, made)
    return made


def _member(**changes):
    return member(**({"model": "unetplusplus", "options": OPTIONS, "after": "encoders/e", "max_epochs": 1} | changes))


def _train(world, outs: str, **changes):
    from dataclasses import replace

    at = replace(member_places(world.runs.parent, outs), after=world.encoder)
    train_member("m", _member(**changes), TRAIN, classes(), at)
    return at


def test_it_starts_from_the_encoders_weights_and_takes_its_z_scores(world):
    at = _train(world, "frozen", freeze=("stem", 1, 2, 3, 4))
    kept, learnt = load_file(world.encoder / "weights.safetensors"), load_file(at.model / "weights.safetensors")
    trunk = {
        name.removeprefix("net.encoder."): value for name, value in learnt.items() if name.startswith("net.encoder.")
    }
    assert set(trunk) == set(kept)
    assert all(torch.equal(value, kept[name]) for name, value in trunk.items())
    assert read_card(at.model).normalisation == read_encoder_card(world.encoder).normalisation
    newest = max((world.runs / "m").iterdir(), key=lambda path: path.name)
    assert json.loads((newest / "run.json").read_text())["encoder"] == {
        "name": "e",
        "method": "vicreg",
        "collapsed": None,
    }


def test_its_model_folder_alone_is_enough(world):
    at = _train(world, "alone")
    network = models.network(read_card(at.model))
    models.load_weights(network, at.model)
    assert network(torch.zeros(1, 16, 16, 3, dtype=torch.int16)).shape == (1, 2, 16, 16)


@pytest.mark.parametrize("build", [("farseg", {"backbone": "resnet18", "weights": None}, "farseg.backbone."),
                                   ("dynamic_unet", {"backbone": "resnet18", "self_attention": False, "weights": None}, "trunk."),
                                   ("deeplabv3plus", OPTIONS, "net.encoder.")])  # fmt: skip
def test_one_encoder_serves_many_architectures(world, build):
    name, options, prefix = build
    architecture = models.build(name, 3, 2, options)
    put_encoder(architecture, options | {"depth": 3}, world.encoder, "models.m")
    kept = load_file(world.encoder / "weights.safetensors")
    own = {
        key.removeprefix(prefix): value for key, value in architecture.state_dict().items() if key.startswith(prefix)
    }
    assert all(torch.equal(own[key], value) for key, value in kept.items())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "unet", "options": {"widths": [8, 16], "dropout": 0.1, "upsample": "nearest"}},
         r"models\.m: its architecture has no encoder that encoders/e could start; take one with the option encoder"),
        ({"options": OPTIONS | {"encoder": "resnet34"}},
         r"models\.m does not fit encoders/e, which is resnet18 at depth 3 \(of \d+ tensors \d+ do not fit, such as layer1"),
        ({"options": OPTIONS | {"depth": 4}}, r"does not fit encoders/e, .* \(depth is 4\); give both the same encoder"),
    ],
)  # fmt: skip
def test_architectures_that_do_not_fit(world, changes, said):
    with pytest.raises(WeightsError, match=said):
        _train(world, "misfit", **changes)


def test_weights_of_two_origins(world):
    architecture = models.build("unetplusplus", 3, 2, OPTIONS)
    architecture.start = object()
    with pytest.raises(WeightsError, match=r"starts from its option weights and from encoders/e; set weights to null"):
        put_encoder(architecture, OPTIONS, world.encoder, "models.m")


def test_a_broken_file(world, tmp_path):
    (tmp_path / "card.json").write_bytes((world.encoder / "card.json").read_bytes())
    architecture = models.build("unetplusplus", 3, 2, OPTIONS)
    with pytest.raises(WeightsError, match=r"weights\.safetensors cannot be read .*; run `dvc repro pretrain`"):
        put_encoder(architecture, OPTIONS, tmp_path, "models.m")
    kept = load_file(world.encoder / "weights.safetensors")
    before = deepcopy(architecture.state_dict())
    save_file({name: value for name, value in kept.items() if "layer2" not in name}, tmp_path / "weights.safetensors")
    with pytest.raises(WeightsError, match="do not fit, such as layer2"):
        put_encoder(architecture, OPTIONS, tmp_path, "models.m")
    assert all(torch.equal(value, before[name]) for name, value in architecture.state_dict().items())  # all or none


def test_channels_and_values_must_be_the_encoders(world):
    card = read_encoder_card(world.encoder)
    own = card.normalisation
    check_channels(card, card.channels, own, "models.m")
    with pytest.raises(
        WeightsError, match=r"models\.m has the channels B03 \[reflectance\], .* was pre-trained on B04 \[refl"
    ):
        check_channels(card, card.channels[1:], own, "models.m")
    numbers = Normalisation(mean=tuple(1e4 * value for value in own.mean), std=tuple(1e4 * value for value in own.std))
    with pytest.raises(
        WeightsError, match=r"models\.m: channel B04 has mean \d.* but encoders/e was normalised by 0\."
    ):
        check_channels(card, card.channels, numbers, "models.m")


@pytest.fixture
def written(tmp_path):
    def write(encoder=None, member=None, **more):
        data = deepcopy(read_yaml(RECIPE))
        name = next(iter(data["encoders"]))
        data["encoders"][name] |= encoder or {}
        started = next(key for key, each in data["models"].items() if each["after"] == f"encoders/{name}")
        data["models"][started] |= member or {}
        data |= {key: value(data) for key, value in more.items()}
        path = tmp_path / "recipe.yaml"
        YAML(typ="safe").dump(data, path)
        return path

    return write


def test_the_recipe_holds_together(written):
    build_members(written())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoder": {"grid": "s2_5m"}}, r"encoders\.\w+\.grid is 's2_5m', which 'grids' does not have"),
        ({"member": {"after": "encoders/none"}}, r"after is 'encoders/none', but 'encoders' has no none; it has \w+"),
        ({"encoder": {"depth": 3}}, r"options\.depth is \d, but encoders/\w+ is pre-trained to depth 3; lower the one"),
        (
            {
                "grids": lambda data: data["grids"] | {"other": data["grids"]["s2_20m"] | {"bands": ["B02", "B03"]}},
                "split": lambda data: data["split"] | {"chip_px": {"s2_20m": 128, "other": 128}},
                "encoder": {"grid": "other"},
            },
            r"grid s2_20m has the channels B01, .*, but encoders/\w+ of grid other has B02, B03; give both the same",
        ),
        ({"encoder": {"options": {}}}, r"encoders\.\w+ cannot be built: options of method '\w+' cannot be used"),
        (
            {"encoder": {"encoder": "tu-vit_tiny_patch16_224"}},
            r"yaml: models\.\w+ does not fit encoders/\w+, which is tu-vit_tiny_patch16_224 at depth 4 \(of \d+ tensors "
            r"\d+ do not fit, such as conv1\.weight\); give both the same encoder",
        ),
        (
            {"member": {"options": {"encoder": "resnet34", "depth": 4, "weights": None}}},
            r"yaml: models\.\w+ does not fit encoders/\w+, which is resnet18 at depth 4",
        ),
        ({"member": {"model": "fcn", "options": {"num_filters": 8}}}, r"no encoder that encoders/\w+ could start"),
        ({"encoder": {"encoder": "resnet19"}}, r"encoders\.\w+ cannot be built: encoder 'resnet19' at depth \d cannot"),
        (
            {"encoder": {"chips_per_epoch": 4, "batch_size": 8}},
            r"chips_per_epoch 4 fills no batch of 8; lower batch_size",
        ),
        ({"encoder": {"warmup_epochs": 99.0}}, "warmup_epochs leaves no epoch for the rate to fall in; lower it"),
    ],
)
def test_what_does_not_hold_together(written, changes, said):
    with pytest.raises(ParamsError, match=said):
        build_members(written(**changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"wide_m": [100.0, 900.0]},
            r"wide_m begins at 100, less than half of chip_m, so that two views may share no ground",
        ),
        ({"wide_m": [900.0, 99999.0]}, r"wide_m should be \[smallest, largest\], none above chip_m"),
        ({"small": 2}, "give small_m where 'small' is above 0, and null where it is 0"),
    ],
)
def test_crops_that_do_not_fit(written, changes, said):
    crops = next(iter(read_yaml(RECIPE)["encoders"].values()))["crops"]
    with pytest.raises(ParamsError, match=said):
        Recipe(written(encoder={"crops": crops | changes}))


def test_a_member_after_an_encoder_is_not_cross_validated(written):
    with pytest.raises(
        ParamsError, match=r"crossval names '\w+', which comes after encoders/\w+: that saw ground of every fold"
    ):
        Recipe(written(crossval=lambda data: {next(k for k, m in data["models"].items() if m["after"] != "masks/none.yaml"):
                                              {"folds": 2, "random": False}}))  # fmt: skip
