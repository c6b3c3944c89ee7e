"""The Vega-Lite templates of `dvc plots show`: DVC fills them, and no anchor is left."""

import json
from pathlib import Path

import pytest

from thalweg.figures import PALETTE

TEMPLATES = Path(__file__).parents[1] / ".dvc" / "plots"


@pytest.mark.parametrize(
    ("name", "x", "y"), [("by_member", "epoch", "val_miou"), ("confusion_by_member", "predicted", "actual")]
)
def test_dvc_fills_every_anchor(name: str, x: str, y: str):
    from dvc_render.vega import VegaRenderer

    row = {"rev": "workspace", "member": "unet", "part": "test", "share": "0.5", "pixels": "3", x: "1", y: "0.5"}
    renderer = VegaRenderer([row], name, template=name, template_dir=str(TEMPLATES), x=x, y=y, title="T")
    filled = json.loads(renderer.partial_html())
    assert "DVC_METRIC" not in json.dumps(filled)
    assert filled["data"]["values"] == [row]


def test_members_have_the_colours_of_the_figures():
    template = json.loads((TEMPLATES / "by_member.json").read_text("utf-8"))
    assert template["encoding"]["color"]["field"] == "member"
    assert template["encoding"]["color"]["scale"]["range"] == list(PALETTE)
    assert template["encoding"]["strokeDash"]["field"] == "rev"
