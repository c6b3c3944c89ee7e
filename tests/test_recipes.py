"""Every params file is sound as a whole, and each of its members can be built; sizes cost nothing on the meta device."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from thalweg.errors import ParamsError
from thalweg.params import read_yaml
from thalweg.params.grids import Further, SeriesParams
from thalweg.params.recipe import Recipe
from thalweg.recipes import build_members

ROOT = Path(__file__).parents[1]
PARAMS_FILES = [ROOT / "params.yaml", *sorted((ROOT / "recipes").glob("*.yaml"))]


@pytest.fixture(params=PARAMS_FILES, ids=lambda path: path.stem)
def recipe(request) -> Recipe:
    """A params file, read and validated."""
    return Recipe(request.param)


def test_recipe_is_valid_and_has_members(recipe):
    assert recipe.models
    assert recipe.ensembles


def test_members_can_be_built(recipe):
    import torch

    from thalweg import models

    for name, member in recipe.models.items():
        with torch.device("meta"):
            channels = recipe.grids[member.grid].count
            network = models.build(member.model, channels, recipe.classes.count, member.options)
        assert sum(weight.numel() for weight in network.parameters()) > 0, name


SERIES = {"by": "tile", "start": "01-01", "bins": 12, "frequency": "1MS", "composite": "median", "max_gap": 1}


def test_a_grid_knows_how_many_channels_its_scenes_have():
    """Four bands, an index and two of radar make seven; with the flag eight, in twelve months 96."""
    grid = Recipe(ROOT / "recipes/sample.yaml").grids["s2_60m"]
    radar = Further(products="S1*", bands=("VV", "VH"), resampling="average", within_days=3, missing="nodata")
    grid = grid.model_copy(update={"bands": ("B02", "B03", "B04", "B8A"), "channels": ("ndvi",), "further": (radar,)})
    assert grid.count == 7
    assert grid.model_copy(update={"series": SeriesParams(**SERIES)}).count == 96
    assert grid.model_copy(update={"series": SeriesParams(**SERIES | {"max_gap": 0})}).count == 84


def test_check_reads_the_formulas_of_a_grid(tmp_path):
    data = read_yaml(ROOT / "recipes/sample.yaml")
    data["grids"]["s2_60m"]["channels"] = ["nd(B08,B04)"]
    with (tmp_path / "changed.yaml").open("w") as stream:
        YAML().dump(data, stream)
    with pytest.raises(
        ParamsError, match=r"grids\.s2_60m: the channel 'nd\(B08,B04\)' reads B08, but the grid's bands"
    ):
        build_members(tmp_path / "changed.yaml")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"frequency": "fortnight"}, r"changed\.yaml: grids\.s2_60m: .*'fortnight' is no offset that pandas knows"),
        ({"start": "02-30"}, r"02-30 is no day"),
        ({"start": "2019-01-15"}, r"no day on which a bin of '1MS' begins"),
        ({"frequency": "-1MS"}, r"does not step forwards"),
    ],
)
def test_check_lays_the_bins_of_a_series(tmp_path, change, says):
    data = read_yaml(ROOT / "recipes/sample.yaml")
    data["grids"]["s2_60m"]["series"] = SERIES | change
    with (tmp_path / "changed.yaml").open("w") as stream:
        YAML().dump(data, stream)
    with pytest.raises(ParamsError, match=says):
        build_members(tmp_path / "changed.yaml")
