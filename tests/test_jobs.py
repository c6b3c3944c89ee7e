"""torchbearer's jobs file becomes a recipe that holds together, and nothing is dropped in silence."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from thalweg.cli import app
from thalweg.errors import ParamsError
from thalweg.jobs import import_jobs
from thalweg.params.recipe import Recipe

BASE = Path(__file__).parents[1] / "recipes" / "sample.yaml"

JOBS = """
- model: unet
  model_params: {in_channels: 11, out_channels: 1, features: [64, 128, 256, 512], lr: 0.0001, weight_decay: 0.001}
  datamodule: sentinel2_60m
  datamodule_params: {batch_size: 3, patch_size: 192, stride: 128, length: 900, num_workers: 6, sentinel_products: train, mask_path: masks}
  seed: 42
  trainer_params: {patience: 7, save_top_k: 1, min_epochs: 1, max_epochs: 50, log_every_n_steps: 8}
- model: unet
  model_params: {in_channels: 11, out_channels: 1, features: [64, 128, 256, 512], lr: 0.0001, weight_decay: 0.001}
  datamodule: sentinel2_60m
  datamodule_params: {batch_size: 3, patch_size: 192, stride: 128, length: 900}
  seed: 42
  trainer_params: {patience: 7, max_epochs: 50}
- model: farseg
  model_params: {backbone: resnet18, backbone_pretrained: true}
  datamodule: sentinel2_60m
  datamodule_params: {bands: [B12, B8A, B04]}
  colour: red
- model: fcn
  datamodule: sentinel2_20m
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "jobs.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    out = tmp_path / "imported.yaml"
    out.write_text(import_jobs(write(tmp_path, JOBS), BASE).recipe)
    return Recipe(out)


def test_every_job_is_a_member_and_repeated_jobs_are_seeds(recipe):
    first, again = recipe.models["unet_64_512"], recipe.models["unet_64_512_2"]
    assert first.options == {"widths": [64, 128, 256, 512], "dropout": 0.0, "upsample": "transposed"}
    assert (first.lr, first.weight_decay, first.seed, first.batch_size) == (1e-4, 1e-3, 42, 3)
    assert (first.chip_px, first.chips_per_epoch, first.max_epochs, first.patience) == (192, 900, 50, 7)
    assert (first.window_px, first.overlap) == (384, pytest.approx(1 - 128 / 384))
    assert again == first.model_copy(update={"seed": 43})


def test_what_a_job_leaves_out_is_torchbearers_default(recipe):
    fcn = recipe.models["fcn_64_20m"]
    assert (fcn.grid, fcn.options, fcn.seed) == ("s2_20m", {"num_filters": 64}, 3)
    assert (fcn.batch_size, fcn.chip_px, fcn.chips_per_epoch, fcn.max_epochs, fcn.patience) == (3, 128, 800, 10, 5)
    assert (fcn.lr, fcn.weight_decay) == (1e-4, 1e-4)


def test_a_job_of_few_bands_gets_a_grid_of_its_own(recipe):
    farseg = recipe.models["farseg_resnet18_60m_b12_b8a_b04"]
    assert recipe.grids[farseg.grid].bands == ("B12", "B8A", "B04")
    assert recipe.split.chip_px[farseg.grid] == recipe.split.chip_px["s2_60m"]


def test_maps_are_made_of_all_members(recipe):
    assert all(set(one.members) == set(recipe.models) for one in recipe.ensembles.values())


def test_what_cannot_be_mapped_is_said(tmp_path):
    notes = "\n".join(import_jobs(write(tmp_path, JOBS), BASE).notes)
    for key in ("num_workers (6)", "sentinel_products (train)", "mask_path (masks)", "save_top_k (1)", "min_epochs (1)",
                "log_every_n_steps (8)", "backbone_pretrained (True)", "in_channels (11)", "out_channels (1)"):  # fmt: skip
        assert key in notes
    assert "job 3: 'colour' is no key of torchbearer's" in notes


def test_one_job_alone_is_a_jobs_file(tmp_path):
    assert import_jobs(write(tmp_path, "model: fcn"), BASE).members == ("fcn_64",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: segnet", "job 1 has the model 'segnet', but torchbearer has unet, fcn and farseg"),
        ("{model: fcn, datamodule: landsat}", "the datamodule 'landsat', expected sentinel2_60m or sentinel2_20m"),
        ("{model: fcn, datamodule_params: {bands: [B10]}}", r"wants the band\(s\) B10, but the base recipe's grid s2_60m"),
        ("[]", "should hold one job or a list of jobs"),
        ("3", "should hold one job or a list of jobs"),
        ("a: [", "is no YAML"),
        ("{model: unet, model_params: {features: 64}}", "job 1: model_params: features is 64, expected a list"),
        ("{model: unet, model_params: [64]}", r"job 1: model_params is \[64\], expected a mapping"),
        ("{model: fcn, datamodule_params: {patch_size: big}}", "datamodule_params: patch_size is 'big', expected a number"),
        ("{model: fcn, seed: 1.5}", "job 1: seed is 1.5, expected a whole number"),
        ("{model: fcn, datamodule_params: {batch_size: 0}}", r"jobs.yaml makes no recipe that holds together \("
         r"'models.fcn_64.batch_size' is 0: .*\); correct the job"),
        ("{model: fcn, datamodule_params: {bands: B10}}", r"wants the band\(s\) B10, but"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused_in_a_sentence(tmp_path, text, message):
    with pytest.raises(ParamsError, match=message):
        import_jobs(write(tmp_path, text), BASE)


def test_the_command_writes_the_recipe_once(tmp_path):
    out = tmp_path / "mine.yaml"
    command = [
        "import-jobs",
        str(write(tmp_path, JOBS)),
        "--base",
        str(BASE.with_name("chaco.yaml")),
        "--out",
        str(out),
    ]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    assert f"wrote {out} with unet_64_512, unet_64_512_2" in first.output
    second = CliRunner().invoke(app, command)
    assert isinstance(second.exception, ParamsError)
    assert "is there already" in str(second.exception)


def test_nulls_are_as_if_nothing_had_been_said(tmp_path):
    nothing = (
        "{model: fcn, seed: null, datamodule: null, model_params: null, datamodule_params: {bands: null, length: null}}"
    )
    assert import_jobs(write(tmp_path, nothing), BASE).recipe == import_jobs(write(tmp_path, "model: fcn"), BASE).recipe


def test_a_rate_that_pyyaml_reads_as_text(tmp_path):
    out = tmp_path / "imported.yaml"
    out.write_text(import_jobs(write(tmp_path, "{model: fcn, model_params: {lr: 3e-4}}"), BASE).recipe)
    assert Recipe(out).models["fcn_64"].lr == 3e-4


def test_what_the_base_cross_validates_is_no_job(tmp_path):
    base = tmp_path / "base.yaml"
    name = next(iter(Recipe(BASE).models))
    base.write_text(BASE.read_text().replace("crossval: {}", f"crossval: {{{name}: {{folds: 3, random: true}}}}"))
    out = tmp_path / "imported.yaml"
    imported = import_jobs(write(tmp_path, "model: fcn"), base)
    out.write_text(imported.recipe)
    assert Recipe(out).crossval == {}
    assert imported.notes == (f"the base recipe's crossval.{name} has no job; it was left out",)


def test_where_a_recipe_cannot_go(tmp_path):
    command = ["import-jobs", str(write(tmp_path, JOBS)), "--base", str(BASE), "--out", str(tmp_path / "no/a.yaml")]
    with pytest.raises(ParamsError, match=r"no, where a.yaml should go, is no folder; make it"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    with pytest.raises(ParamsError, match=r"cannot be read \(Is a directory\)"):
        import_jobs(tmp_path, BASE)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ParamsError, match=r"none\.yaml is missing; give the path of torchbearer's"):
        import_jobs(tmp_path / "none.yaml", BASE)
