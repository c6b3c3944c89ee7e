"""torchbearer's ensemble file becomes a recipe that holds together; what it cannot map is told."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from thalweg.cli import app
from thalweg.ensemble_jobs import import_ensemble
from thalweg.errors import ParamsError
from thalweg.params.recipe import Recipe

BASE = Path(__file__).parents[1] / "recipes" / "chaco.yaml"
ENSEMBLE = """
output: {path: data/output, merged_filename: Médanos 1}
datamodule_params: {sentinel_products: medanos, mask_path: null, batch_size: 6}
strides: [128, 96]
colour: red
ensemble:
- {version_path: data/logs/lightning_logs/version_140, checkpoint: checkpoints/epoch=13-step=5600.ckpt}
- {version_path: data/logs/lightning_logs/version_141, checkpoint: checkpoints/epoch=14-step=6000.ckpt}
- {version_path: data/logs/lightning_logs/version_142, checkpoint: checkpoints/epoch=8-step=3600.ckpt}
"""
JOB = """
model: unet
model_params: {features: [64, 128, 256, 512], lr: 0.0001}
datamodule: sentinel2_60m
datamodule_params: {patch_size: 128, stride: 128, num_workers: 6}
seed: 42
"""


@pytest.fixture
def file(tmp_path) -> Path:
    """A torchbearer folder with two of the three versions."""
    for number, seed in ((140, 42), (141, 3)):
        folder = tmp_path / "data/logs/lightning_logs" / f"version_{number}"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(JOB.replace("42", str(seed)))
    (tmp_path / "configs").mkdir()
    path = tmp_path / "configs" / "ensemble.yaml"
    path.write_text(ENSEMBLE)
    return path


def test_versions_are_members_and_strides_are_sweeps(file):
    imported = import_ensemble(file, BASE)
    recipe = YAML(typ="safe").load(imported.recipe)
    out = file.with_name("imported.yaml")
    out.write_text(imported.recipe, "utf-8")
    valid = Recipe(out)
    assert valid.ensembles["m_danos_1"].overlaps == (0.5, 0.625)
    assert valid.ensembles["m_danos_1"].reducer == "max"
    assert imported.members == ("unet_64_512", "unet_64_512_2") == tuple(sorted(recipe["models"]))
    assert [recipe["models"][name]["seed"] for name in imported.members] == [42, 3]
    [(name, ensemble)] = recipe["ensembles"].items()
    assert name == "m_danos_1"
    assert tuple(ensemble["members"]) == imported.members
    assert (ensemble["reducer"], ensemble["blend"], ensemble["threshold"]) == ("max", "none", "argmax")
    assert ensemble["overlaps"] == [0.5, 0.625]  # windows of 2 × 128 px, 128 and 96 apart: 1 − 128/256, 1 − 96/256


def test_what_has_no_place_is_told(file):
    notes = "\n".join(import_ensemble(file, BASE).notes)
    for said in ("'colour' is no key of torchbearer's", "version_142: there is no config.yaml in its folder",
                 "version_140: the weights of checkpoints/epoch=13-step=5600.ckpt are not taken over",
                 "output.path (data/output) has no place: the map lies in maps/m_danos_1/",
                 "sentinel_products (medanos) is a group of products", "datamodule_params.batch_size (6)",
                 "merging: torchbearer takes the largest of logits clipped",
                 "strides 128, 96: here overlaps as shares of a window of 256 pixels",
                 "version_140: datamodule_params.num_workers (6)"):  # fmt: skip
        assert said in notes
    assert "mask_path" not in notes
    assert "gaps" not in notes
    file.write_text(ENSEMBLE.replace("[128, 96]", "[200]"))
    assert "strides 200: some are longer than a patch, which leaves gaps" in "\n".join(
        import_ensemble(file, BASE).notes
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is no YAML"),
        ("strides: [1]", "should hold a list 'ensemble' of checkpoints, each with a version_path"),
        ("ensemble: [{checkpoint: a}]", "should hold a list 'ensemble'"),
        ("ensemble: [{version_path: logs/version_7}]", "names version_7, but none of their config.yaml files is there"),
    ],
)
def test_what_is_no_ensemble_file_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "ensemble.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=said):
        import_ensemble(path, BASE)
    with pytest.raises(ParamsError, match=r"is missing; give the path of torchbearer's configs/ensemble.yaml"):
        import_ensemble(tmp_path / "no.yaml", BASE)


def test_a_version_was_made_by_one_job(file):
    config = next(file.parents[1].glob("data/logs/*/version_140")) / "config.yaml"
    config.write_text("- {model: fcn}\n- {model: fcn}\n")
    with pytest.raises(ParamsError, match="holds 2 jobs, but one made version_140"):
        import_ensemble(file, BASE)


def test_the_command_writes_a_recipe_once(file, tmp_path):
    words = ["import-ensemble", str(file), "--base", str(BASE), "--out", str(tmp_path / "new.yaml")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "with unet_64_512, unet_64_512_2; look it over, then `make use RECIPE=new`" in done.output
    again = CliRunner().invoke(app, words)
    assert isinstance(again.exception, ParamsError)
    assert "is there already; remove it" in str(again.exception)
