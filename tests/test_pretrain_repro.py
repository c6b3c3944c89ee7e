"""With real DVC: an encoder, a member that starts from it, and a map; and what an edit of either runs again."""

import json

import pytest
from ruamel.yaml import YAML
from test_repro import ROOT, Project

pytestmark = pytest.mark.slow
AFTER = {"plot", "ensemble@main", "report"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A clone with recipes/pretrain.yaml at its smallest."""
    project = Project(tmp_path_factory.mktemp("pretrain"))
    project.params = smallest()
    project.save()
    ran = project.repro()
    assert (
        ran == {"fetch", "preprocess@s2_20m", "split", "pretrain@seasons", "train@pretrained", "train@scratch"} | AFTER
    )
    return project


def smallest() -> dict:
    data = YAML(typ="safe").load((ROOT / "recipes/pretrain.yaml").read_text())
    products = [product for product in data["fetch"]["options"]["products"] if product["tile"] == "T20KNA"]
    data["fetch"]["options"] |= {"size_60m_px": 64, "cloud_cover": 0.0, "products": products}
    data["split"] |= {"block_m": 600, "buffer_m": 60, "chip_px": {"s2_20m": 64}}
    encoder = data["encoders"]["seasons"]
    encoder |= {"chips_per_epoch": 8, "batch_size": 4, "max_epochs": 2, "depth": 4, "least_valid": 0.1}
    encoder["options"] |= {"hidden": 16, "projection": 16}
    encoder["collapse"] |= {"std": 0.0, "rank": 1.0}
    quick = {
        "chip_px": 64,
        "window_px": 64,
        "chips_per_epoch": 2,
        "batch_size": 2,
        "max_epochs": 1,
        "patience": 1,
        "train_prop": 0.5,
    }
    for member in data["models"].values():
        member.update(quick)
    return data


def test_it_ends_with_a_map_that_names_its_encoder(project):
    for path in ("encoders/seasons/weights.safetensors", "encoders/seasons/history.csv", "maps/main/classes.tif"):
        assert (project.home / path).is_file()
    encoder = json.loads((project.home / "encoders/seasons/card.json").read_text())
    member = json.loads((project.home / "models/pretrained/card.json").read_text())
    assert member["normalisation"] == encoder["normalisation"]
    assert "seasons" in (project.home / "report/index.html").read_text()
    assert "up to date" in project.status()


def test_editing_the_member_does_not_pre_train_again(project):
    project.params["models"]["pretrained"]["lr"] = 2e-3
    project.save()
    assert project.repro() == {"train@pretrained"} | AFTER


def test_editing_the_encoder_trains_what_starts_from_it_alone(project):
    project.params["encoders"]["seasons"]["lr"] = 2e-3
    project.save()
    assert project.repro() == {"pretrain@seasons", "train@pretrained"} | AFTER


def test_no_change_runs_nothing(project):
    assert project.repro() == set()
