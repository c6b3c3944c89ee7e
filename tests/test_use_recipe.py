"""Switching recipes loses nothing, and a recipe that cannot be built says why in one sentence."""

import subprocess
from pathlib import Path

import pytest

from thalweg.errors import ParamsError
from thalweg.recipes import build_members, recipe_paths, remove_leftovers, use_recipe

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    text = (PROJECT / "recipes/sample.yaml").read_text("utf-8")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "sample.yaml").write_text(text)
    (tmp_path / "recipes" / "other.yaml").write_text(text.replace("seed: 3", "seed: 5"))
    (tmp_path / "params.yaml").write_text(text)
    return tmp_path


def test_recipes_are_named_by_their_files(project: Path):
    assert list(recipe_paths(project)) == ["other", "sample"]


def test_a_recipe_becomes_params_yaml(project: Path):
    assert use_recipe(project, "other") is None
    assert (project / "params.yaml").read_text() == (project / "recipes" / "other.yaml").read_text()
    assert sorted(path.name for path in project.iterdir()) == ["params.yaml", "recipes"]


def test_a_params_yaml_found_nowhere_else_is_kept(project: Path):
    (project / "params.yaml").write_text("mine")
    assert use_recipe(project, "other") == project / "params.yaml.bak"
    assert (project / "params.yaml.bak").read_text() == "mine"


def test_a_committed_params_yaml_needs_no_copy(project: Path):
    (project / "params.yaml").write_text("mine")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "mine"]):
        subprocess.run([*git, *command], cwd=project, check=True)
    assert use_recipe(project, "other") is None
    (project / "params.yaml").write_text("changed since")
    assert use_recipe(project, "other") == project / "params.yaml.bak"


def test_a_missing_params_yaml_is_made(project: Path):
    (project / "params.yaml").unlink()
    assert use_recipe(project, "sample") is None
    assert (project / "params.yaml").is_file()


def test_an_unknown_recipe_names_those_there_are(project: Path):
    with pytest.raises(ParamsError, match=r"there is no recipe 'chaco' in .*recipes; there are other, sample"):
        use_recipe(project, "chaco")


def test_a_recipe_that_does_not_hold_together_changes_nothing(project: Path):
    before = (project / "params.yaml").read_text()
    (project / "recipes" / "bad.yaml").write_text(before.replace("members: [unet", "members: [unit"))
    with pytest.raises(ParamsError, match=r"ensembles\.main names 'unit'"):
        use_recipe(project, "bad")
    assert (project / "params.yaml").read_text() == before


def test_a_typo_in_a_models_options_is_found(project: Path):
    text = (project / "params.yaml").read_text().replace("num_filters:", "num_filter:")
    (project / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=r"models\.fcn cannot be built: 'options' of model 'fcn' .*num_filter"):
        build_members(project / "params.yaml")


def test_a_chip_that_does_not_come_out_as_it_went_in_is_found(project: Path, monkeypatch: pytest.MonkeyPatch):
    import torch

    from thalweg import models

    monkeypatch.setattr(models, "build", lambda *_: torch.nn.Conv2d(11, 2, 3))
    text = (project / "params.yaml").read_text().replace("grid: s2_20m", "grid: s2_60m")
    (project / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=r"models\.\w+ turns a chip of \d+ px into \(1, 2, \d+, \d+\); change it"):
        build_members(project / "params.yaml")


def test_outs_that_the_recipe_does_not_name_are_taken_away(project):
    use_recipe(project, "sample")
    (project / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n"
        "  train@unet:\n    outs:\n    - path: models/unet\n"
        "  train@old:\n    outs:\n    - path: models/old\n    - path: build/history/old.csv\n"
    )
    for name in ("unet", "old", "unknown"):
        (project / "models" / name).mkdir(parents=True)
    (project / "build/history").mkdir(parents=True)
    (project / "build/history/old.csv").write_text("epoch\n")
    assert remove_leftovers(project) == ["models/old", "build/history/old.csv"]
    assert sorted(path.name for path in (project / "models").iterdir()) == ["unet", "unknown"]
    assert not (project / "build/history/old.csv").exists()
