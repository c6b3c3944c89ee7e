"""What a member comes after, and who judges it: what a newcomer reads who has it wrong."""

from copy import deepcopy
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from thalweg.errors import ParamsError
from thalweg.params import read_yaml
from thalweg.params.recipe import Recipe
from thalweg.recipes import build_members

SAMPLE = Path(__file__).parents[3] / "recipes/sample.yaml"
ASIDE = {"share": 0.2, "seed": 0, "use": "holdout"}
REST = ASIDE | {"use": "rest"}
ACTIVE = {"scores": {"rho_loss": 1.0}, "pool": 4, "every": 4, "temperature": 0.0, "warmup_epochs": 1, "diversity": 0.0,
          "judge": "self", "precision": "32", "passes": 3}  # fmt: skip


@pytest.fixture
def written(tmp_path):
    """Writes a recipe of two members, `judge` and `learner`, which learns by rho_loss, with changes to both."""

    def write(learner=None, judge=None, active=None, crossval=None):
        data = deepcopy(read_yaml(SAMPLE))
        plain = next(member for member in data["models"].values() if member["model"] == "unet")
        data["models"] = {
            "judge": plain | {"holdout": ASIDE} | (judge or {}),
            "learner": plain | {"holdout": REST, "after": "models/judge", "active": ACTIVE | (active or {})} | (learner or {}),
        }  # fmt: skip
        data["crossval"] = crossval or {}
        data["ensembles"] = {name: each | {"members": ["learner"]} for name, each in data["ensembles"].items()}
        path = tmp_path / "recipe.yaml"
        YAML(typ="safe").dump(data, path)
        return path

    return write


def test_a_judge_on_blocks_of_its_own_is_sound(written):
    assert Recipe(written()).models["learner"].compares == ("rho_loss",)
    build_members(written())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"learner": {"after": "models/jugde"}}, r"models.learner.after is 'models/jugde', but 'models' has no jugde"),
        ({"learner": {"after": "models/learner"}}, r"models learner → learner wait for each other by 'after'"),
        ({"judge": {"after": "models/learner"}}, r"models judge → learner → judge wait for each other by 'after'"),
        ({"learner": {"after": "judge", "active": None}}, r"after is 'judge'; give models/<member>, encoders/<encoder>"),
        ({"learner": {"after": "masks/none.yaml"}}, r"rho_loss needs a holdout member; name its folder in 'after'"),
        ({"learner": {"after": "encoders/x"}}, r"rho_loss needs a holdout member; name its folder in 'after'"),
        ({"learner": {"after": "encoders/x"}, "active": {"scores": {"loss": 1.0}, "judge": "after"}},
         r"active.judge is after, but 'after' names no member; give models/<member>, or judge: self"),
        ({"learner": {"holdout": None}}, r"it and models/judge must share no block: give both the same holdout.share"),
        ({"judge": {"holdout": None}}, r"must share no block"),
        ({"judge": {"holdout": ASIDE | {"seed": 1}}}, r"must share no block"),
        ({"judge": {"holdout": ASIDE | {"share": 0.3}}}, r"must share no block"),
        ({"judge": {"holdout": REST}}, r"with use: holdout in the judge and use: rest here"),
        ({"active": {"warmup_epochs": 100000}}, r"active.warmup_epochs 100000 leaves none of max_epochs \d+ to choose in"),
        ({"active": {"scores": {"loss": 0.0}}}, r"loss has weight 0 and would choose nothing"),
        ({"active": {"scores": {"loss": float("nan")}}}, r"finite"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(written, change, says):
    with pytest.raises(ParamsError, match=says):
        Recipe(written(**change))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"active": {"scores": {"rho": 1.0}}}, r"models.learner: score 'rho' has no file .*; there are bald, class_bal"),
        ({"active": {"scores": {"bald": 1.0}}, "learner": {"options": {"widths": [8, 16], "dropout": 0.0, "upsample": "nearest"}}},
         r"models.learner: active.scores asks what passes with dropout disagree about, but the network"),
    ],
)  # fmt: skip
def test_check_knows_the_scores(written, change, says):
    with pytest.raises(ParamsError, match=says):
        build_members(written(**change))
