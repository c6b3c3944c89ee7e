"""The door to params.yaml: strict, YAML 1.2, and every fault in one sentence that names the nearest remedy."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from thalweg import params
from thalweg.errors import ParamsError
from thalweg.params.classes import Classes
from thalweg.params.fetch import Fetch
from thalweg.params.grids import GridParams
from thalweg.params.masks import Masks
from thalweg.params.models import Member
from thalweg.params.recipe import Recipe
from thalweg.params.split import Split
from thalweg.params.train import Train

ROOT = Path(__file__).parents[3]


@pytest.fixture
def recipe(tmp_path: Path):
    """Edits a copy of the project's params.yaml and returns its path."""
    yaml = YAML()
    yaml.preserve_quotes = True
    data = yaml.load((ROOT / "recipes/sample.yaml").read_text())

    def edit(change) -> Path:
        change(data)
        path = tmp_path / "params.yaml"
        with path.open("w") as file:
            yaml.dump(data, file)
        return path

    return edit


def test_scientific_notation_is_a_number_as_dvc_reads_it(recipe):
    path = recipe(lambda data: None)
    path.write_text(path.read_text().replace("lr: 3.0e-3", "lr: 3e-4", 1))
    assert params.load(Member, "unet", path).lr == 0.0003


def test_unknown_key_names_the_nearest(recipe):
    path = recipe(lambda data: data["models"]["unet"].update(learning_rat=1))
    with pytest.raises(ParamsError, match=r"params\.yaml: unknown key 'models\.unet\.learning_rat'"):
        params.load(Member, "unet", path)


def test_a_misspelt_key_gets_a_proposal(recipe):
    path = recipe(lambda data: data["train"].update(worker=1))
    with pytest.raises(ParamsError, match=r"did you mean 'workers'\?"):
        params.load(Train, path=path)


def test_a_missing_key_is_named(recipe):
    path = recipe(lambda data: data["split"].pop("buffer_m"))
    with pytest.raises(ParamsError, match=r"'split\.buffer_m' is missing"):
        params.load(Split, path=path)


def test_unknown_member_names_the_nearest(recipe):
    path = recipe(lambda data: None)
    with pytest.raises(
        ParamsError, match=r"'models' has no 'unte' \(did you mean 'unet'\?\); it has unet, fcn, farseg"
    ):
        params.load(Member, "unte", path)


def test_text_for_a_number_is_refused(recipe):
    path = recipe(lambda data: data["models"]["unet"].update(max_epochs="many"))
    with pytest.raises(ParamsError, match=r"'models\.unet\.max_epochs' is 'many'"):
        params.load(Member, "unet", path)


def test_an_unquoted_date_is_refused(recipe):
    path = recipe(lambda data: None)
    path.write_text(path.read_text().replace('"2025-10-03"', "2025-10-03"))
    with pytest.raises(ParamsError, match="quote dates"):
        params.load(Fetch, path=path)


def test_zero_is_background_or_unlabelled(recipe):
    path = recipe(lambda data: data["masks"].update(zero="nodata"))
    with pytest.raises(ParamsError, match=r"'masks\.zero' is 'nodata'"):
        params.load(Masks, path=path)


def test_fractions_sum_to_one(recipe):
    path = recipe(lambda data: data["split"]["fractions"].update(test=0.5))
    with pytest.raises(ParamsError, match=r"should be 1, not 1\.3"):
        params.load(Split, path=path)


def test_background_comes_first(recipe):
    path = recipe(lambda data: data["classes"]["legend"].reverse())
    with pytest.raises(ParamsError, match="'background' must come first, since id 0 is what masks call background"):
        params.load(Classes, path=path)


def test_class_names_differ(recipe):
    path = recipe(lambda data: data["classes"]["legend"][1].update(name="background"))
    with pytest.raises(ParamsError, match="class names must differ"):
        params.load(Classes, path=path)


def test_no_file_and_no_yaml(tmp_path: Path):
    with pytest.raises(ParamsError, match=r"nowhere\.yaml is missing"):
        params.load(Train, path=tmp_path / "nowhere.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(ParamsError, match=r"bad\.yaml is not valid YAML"):
        params.load(Train, path=tmp_path / "bad.yaml")
    (tmp_path / "bad.yaml").write_bytes(b"train: \xff")
    with pytest.raises(ParamsError, match=r"bad\.yaml is no text in UTF-8 .*; save it as such"):
        params.load(Train, path=tmp_path / "bad.yaml")


WEIGHTS = {"formula": "inverse", "beta": None, "blend": 1.0, "cap": None, "given": []}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d["models"]["unet"].update(grid="s2_10m"),
            r"models\.unet\.grid is 's2_10m', which 'grids' does not have",
        ),
        (lambda d: d["ensembles"]["main"].update(members=["ghost"]), r"ensembles\.main names 'ghost'"),
        (
            lambda d: d["classes"]["legend"].append({"name": "crop", "color": "#00ff00"}),
            r"ensembles\.main\.threshold is iou, which is for two classes, but there are 3; set it to argmax",
        ),
        (
            lambda d: d["ensembles"]["main"].update(weights={"unet": 1.0, "vnet": 2.0}),
            r"weights should name the members unet, fcn, farseg, got unet, vnet",
        ),
        (
            lambda d: d["ensembles"]["main"].update(uncertainty=["entropy", "variance"]),
            r"'ensembles\.main\.uncertainty\.1' is 'variance': input should be 'entropy', 'mutual_information'",
        ),
        (
            lambda d: d["ensembles"]["main"].update(area="here.gpkg"),
            r"ensembles\.main\.area is 'here\.gpkg'; put the file into masks/areas",
        ),
        (lambda d: d["ensembles"]["main"].update(blend="hamming"), r"'ensembles\.main\.blend' is 'hamming'"),
        (
            lambda d: d["ensembles"]["main"].update(threshold={"rule": "recall", "value": None}),
            r"recall and fixed take a value from 0 to 1",
        ),
        (
            lambda d: d["ensembles"]["main"].update(members=["unet", "unet"]),
            r"members should differ, got unet, unet",
        ),
        (lambda d: d["ensembles"]["main"].update(grid="s2_10m"), r"ensembles\.main\.grid is 's2_10m'"),
        (lambda d: d["split"]["chip_px"].pop("s2_60m"), r"split\.chip_px lacks the grid 's2_60m'"),
        (lambda d: d["masks"].update(values={"255": "river"}), r"masks\.values maps 255 to 'river'"),
        (
            lambda d: d.update(crossval={"ghost": {"folds": 5, "random": True}}),
            r"crossval names 'ghost', which 'models' does not have",
        ),
        (
            lambda d: d["crossval"].update(unet={"folds": 1, "random": True}),
            r"'crossval\.unet\.folds' is 1: .* equal to 2",
        ),
        (
            lambda d: d["models"]["unet"].update(class_weights=WEIGHTS | {"formula": "given", "given": [1.0]}),
            r"models\.unet\.class_weights\.given has 1 weights for 2 classes; give one per class",
        ),
        (
            lambda d: d["models"]["unet"].update(class_weights=WEIGHTS | {"formula": "effective"}),
            r"'models\.unet\.class_weights\.mapping' is .*: value error, give 'beta' with the formula effective",
        ),
        (
            lambda d: d["models"]["unet"].update(class_weights="squared"),
            r"'models\.unet\.class_weights\.name' is 'squared': input should be 'none' or 'inverse_sqrt'$",
        ),
        (lambda d: d.update(modles={}), r"unknown section 'modles'"),
        (lambda d: d.update(ensembles={}), r"'ensembles' is empty; the pipeline needs at least one"),
        (lambda d: d["models"].update({"U.Net": d["models"]["unet"]}), r"'models\.U\.Net' should be lower-case"),
    ],
)
def test_names_that_point_nowhere(recipe, change, message):
    with pytest.raises(ParamsError, match=message):
        Recipe(recipe(change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["grids"]["s2_60m"]["bands"].append("B02"), r"B02 is named twice in bands and channels"),
        (lambda data: data["grids"]["s2_60m"]["bands"].append("t00/B02"), r"t00/B02 cannot name a channel: '/' parts"),
        (
            lambda data: data["grids"]["s2_60m"]["bands"].append("filled"),
            r"filled cannot name a channel: .* flags gaps",
        ),
        (
            lambda data: data["grids"]["s2_60m"]["valid"]["scl"].append(300),
            r"valid\.scl\.6' is 300: input should be less",
        ),
        (
            lambda data: data["split"]["chip_px"].update(s2_60m=0),
            r"split\.chip_px\.s2_60m' is 0: input should be greater",
        ),
        (lambda data: data["masks"]["values"].update({"255.0": "background"}), r"255, 255\.0 are one number"),
    ],
)
def test_values_that_no_data_stage_can_act_on(recipe, change, message):
    path = recipe(change)
    with pytest.raises(ParamsError, match=message):
        params.load(GridParams, "s2_60m", path)
        params.load(Split, path=path)
        params.load(Masks, path=path)
