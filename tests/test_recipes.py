"""Every params file is sound as a whole, and each of its members can be built; sizes cost nothing on the meta device."""

from pathlib import Path

import pytest

from thalweg.params.recipe import Recipe

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
        grid = recipe.grids[member.grid]
        with torch.device("meta"):
            network = models.build(
                member.model, len(grid.bands) + len(grid.channels), recipe.classes.count, member.options
            )
        assert sum(weight.numel() for weight in network.parameters()) > 0, name
