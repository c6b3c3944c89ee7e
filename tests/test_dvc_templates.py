"""The Vega-Lite templates of `dvc plots show`: DVC fills them, no anchor is left, and the page needs no network."""

import configparser
import hashlib
import json
import re
from pathlib import Path

import pytest

from thalweg.figures import PALETTE
from thalweg.params import read_yaml

TEMPLATES = Path(__file__).parents[1] / ".dvc" / "plots"


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("by_member", "epoch", "val_miou"),
        ("confusion_by_member", "predicted", "actual"),
        ("precision_recall_by_member", "recall", "precision"),
        ("reliability_by_member", "confidence", "right"),
        ("classes_by_member", "class", "iou"),
    ],
)
def test_dvc_fills_every_anchor(name: str, x: str, y: str):
    from dvc_render.vega import VegaRenderer

    row = {"rev": "workspace", "member": "unet", "part": "test", "share": "0.5", "pixels": "3", "class": "a",
           x: "1", y: "0.5"}  # fmt: skip
    renderer = VegaRenderer([row], name, template=name, template_dir=str(TEMPLATES), x=x, y=y, title="T")
    filled = json.loads(renderer.partial_html())
    assert "DVC_METRIC" not in json.dumps(filled)
    assert filled["data"]["values"] == [row]


@pytest.mark.parametrize("name", ["by_member", "precision_recall_by_member", "reliability_by_member"])
def test_members_have_the_colours_of_the_figures_and_revisions_a_dash(name: str):
    template = json.loads((TEMPLATES / f"{name}.json").read_text("utf-8"))
    encoding = template.get("spec", template.get("layer", [template])[-1])["encoding"]
    assert encoding["color"]["field"] == "member"
    assert encoding["color"]["scale"]["range"] == list(PALETTE)
    assert encoding["strokeDash"]["field"] == "rev"


def test_every_template_that_dvc_yaml_names_is_there_and_all_are_named():
    dvc = read_yaml(TEMPLATES.parents[1] / "dvc.yaml")
    named = {plot["template"] for entry in dvc["plots"] if isinstance(entry, dict) for plot in entry.values()}
    assert named == {path.stem for path in TEMPLATES.glob("*.json")}


def test_the_page_holds_its_scripts_unchanged_and_asks_the_network_for_nothing():
    config = configparser.ConfigParser()
    config.read(TEMPLATES.parent / "config")
    page = (TEMPLATES.parent / config["plots"]["html_template"]).read_text("utf-8")
    assert {"{plot_divs}", "{refresh_tag}"} <= set(
        re.findall(r"\{[a-z_]+\}", re.sub(r"(?s)<script>.*?</script>", "", page))
    )
    found = [hashlib.sha256(script.encode()).hexdigest() for script in re.findall(r"(?s)<script>(.*?)</script>", page)]
    table = (TEMPLATES.parent / "vega/README.md").read_text("utf-8")
    assert found == re.findall(r"\| ([0-9a-f]{64}) \|", table)
    assert not re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"?http", page)
    assert len(list((TEMPLATES.parent / "vega").glob("LICENSE-*"))) == 3
