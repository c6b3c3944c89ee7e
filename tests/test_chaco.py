"""recipes/chaco.yaml: torchbearer's products by group, as its facts say."""

import re
from pathlib import Path

import pytest

from thalweg.copernicus.keys import parse_wish
from thalweg.manifest.lock import Lock
from thalweg.params import read_yaml
from thalweg.sources.copernicus import Options

ROOT = Path(__file__).parents[1]
FACTS = ROOT.parent / "shared/reference/torchbearer-products.yaml"
RECIPE = ROOT / "recipes/chaco.yaml"
GROUPS = ("train", "test", "neuland", "lp_fila", "medanos", "mariscal", "pilar", "argentina")


def lists() -> dict[str, list[str]]:
    return read_yaml(RECIPE)["fetch"]["options"]["products"]


def test_the_groups_are_named_lists_of_product_ids():
    assert tuple(lists()) == GROUPS
    assert {parse_wish(text).kind for group in lists().values() for text in group} == {"id"}


@pytest.mark.skipif(not FACTS.is_file(), reason=f"{FACTS} is not here: the facts")
def test_each_list_is_what_torchbearer_used_and_each_comment_its_key():
    facts, text = read_yaml(FACTS), RECIPE.read_text()
    for group, products in facts.items():
        assert lists()[group] == [said["id"] for said in products.values() if said["used"]], group
    keys = dict(re.findall(r"- (?:off: )?([0-9a-f-]{36})  # (T\w+):", text))
    assert keys.items() <= {(said["id"], key) for products in facts.values() for key, said in products.items()}
    assert len(re.findall(r"# off: [0-9a-f-]{36}", text)) == sum(
        not said["used"] for products in facts.values() for said in products.values()
    )


def test_eighteen_products_are_taken_and_a_lock_is_there():
    import json

    raw = read_yaml(RECIPE)["fetch"]["options"]
    assert len(Options.model_validate_json(json.dumps(raw)).named) == 18
    lock = Lock.model_validate_json((ROOT / "recipes/chaco.products.json").read_text())
    assert lock.source == "copernicus"
