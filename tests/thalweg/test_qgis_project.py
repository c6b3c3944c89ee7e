"""A QGIS project of a run: every layer's file is there, styled, and chips lie where their rows say."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pandas as pd
import pyogrio
import pytest
from pyproj import Transformer
from report_builder import LEGEND, make_map
from round_builder import FirstRound
from scene_builder import make_scene
from typer.testing import CliRunner

from thalweg import cli, params
from thalweg.errors import MapError
from thalweg.guard import scenes_of
from thalweg.qgis_project import CHIPS, MASKS, PROJECT, outline_chips, write_project


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Scenes, split and a map, as a run leaves them."""
    root = tmp_path_factory.mktemp("run")
    first = FirstRound(root)
    (root / "build").mkdir()
    first.folder.rename(root / "build/split")
    (root / "scenes").rename(root / "build/scenes")
    make_map(root, "crops")
    return root


@pytest.fixture(scope="module")
def project(run):
    scenes = scenes_of(run / "build/scenes", run / "build/split")
    write_project(run, scenes, LEGEND, run / "qgis")
    return ET.parse(run / "qgis" / PROJECT).getroot()


def test_every_source_is_there_from_where_the_project_lies(run, project):
    sources = [node.findtext("datasource") for node in project.iter("maplayer")]
    assert len(sources) == len(set(sources)) > 6
    for source in sources:
        path, _, layer = source.partition("|layername=")
        assert not Path(path).is_absolute()
        file = run / "qgis" / path
        assert file.is_file(), source
        if layer:
            assert layer in [name for name, _ in pyogrio.list_layers(file)]


def test_the_tree_names_every_layer_once(project):
    ids = [node.findtext("id") for node in project.iter("maplayer")]
    assert sorted(ids) == sorted(node.get("id") for node in project.iter("layer-tree-layer"))
    tree = project.find("layer-tree-group")
    assert [group.get("name") for group in tree] == ["maps", "split", "scenes g20", "scenes g60"]
    assert [layer.get("name") for layer in tree[1]] == ["chips g20", "chips g60", "blocks"]


def test_layers_meet_whatever_their_crs(project):
    assert project.findtext("properties/SpatialRefSys/ProjectionsEnabled") == "1"
    assert project.findtext("projectCrs/spatialrefsys/authid") == "EPSG:32720"
    known = {node.findtext("layername"): node.findtext("srs/spatialrefsys/authid") for node in project.iter("maplayer")}
    assert known["blocks"] == known["chips g60"] == "EPSG:4326"
    assert known["classes"] == known["image"] == "EPSG:32720"


def test_what_one_wants_first_is_seen_and_the_rest_is_off(project):
    shown = {node.get("name"): node.get("checked") for node in project.iter("layer-tree-layer")}
    assert shown["classes"] == shown["blocks"] == "Qt::Checked"
    assert shown["probs"] == shown["chips g60"] == "Qt::Unchecked"
    scenes = {node.get("name"): node.get("checked") for node in project.iter("layer-tree-group")}
    assert scenes["maps"] == "Qt::Checked"
    assert scenes["scenes g60"] == "Qt::Unchecked"


def test_layers_are_styled(run, project):
    looks = {node.findtext("layername"): node for node in project.iter("maplayer")
             if "maps/main" not in node.findtext("datasource")}  # fmt: skip
    entries = looks["classes"].findall("pipe/rasterrenderer/colorPalette/paletteEntry")
    assert [(entry.get("label"), entry.get("color")) for entry in entries] == [
        (info.name, info.color) for info in LEGEND
    ]
    masks = looks["mask"].findall("pipe/rasterrenderer/colorPalette/paletteEntry")
    assert len(masks) == len(LEGEND)
    parts = [category.get("value") for category in looks["blocks"].findall("renderer-v2/categories/category")]
    assert parts == ["train", "val", "test", "unused"]
    assert ET.parse(run / "qgis" / MASKS).getroot().find("pipe") is not None, "masks that are drawn take the same style"


def test_true_colour_is_stretched_over_training_ground(tmp_path):
    from thalweg.manifest.chips import Stats, write_stats

    scene = make_scene(tmp_path / "g60", "s", channels=("B02", "B03", "B04"))
    empty = {"a": 1}
    write_stats(Stats(channels=("B02", "B03", "B04"), mean=(0.1,) * 3, std=(0.1,) * 3, p02=(0.02, 0.03, 0.04), p50=(0.1,) * 3,
                      p98=(0.2, 0.3, 0.4), pixels=1, deciles=((0.1,) * 9,) * 3, shares=((0.1,) * 10,) * 3, class_px=empty,
                      parts_px={"train": empty}, leak_m=None, shown_m=None, hidden_fraction=0.0), tmp_path / "split", "g60")  # fmt: skip
    from thalweg.qgis_project import _look

    renderer = _look(scene, tmp_path / "split").find("rasterrenderer")
    assert [renderer.get(f"{color}Band") for color in ("red", "green", "blue")] == ["3", "2", "1"]
    red = renderer.find("redContrastEnhancement")
    assert (red.findtext("minValue"), red.findtext("maxValue")) == ("0.04", "0.4")


def test_a_chip_is_outlined_where_its_row_says():
    class Fake:
        from affine import Affine

        from thalweg.grid import Grid

        grid = Grid("EPSG:32720", Affine(60, 0, 600_000, 0, -60, 7_000_000), (64, 64))

    rows = pd.DataFrame([{"scene": "s", "row": 10, "col": 20, "size": 32, "part": "train"}])
    [outline] = outline_chips({"s": Fake()}, rows).geometry
    back = Transformer.from_crs(4326, 32720, always_xy=True)
    corners = [tuple(round(value, 3) for value in back.transform(*point)) for point in outline.exterior.coords[:4]]
    # 600 000 + 60 × 20 = 601 200; 7 000 000 − 60 × 10 = 6 999 400; the edge is 32 × 60 = 1920 m
    assert corners == [(601200, 6999400), (603120, 6999400), (603120, 6997480), (601200, 6997480)]


@pytest.mark.usefixtures("project")
def test_chips_keep_their_columns(run):
    table = pyogrio.read_dataframe(run / "qgis" / CHIPS, layer="g60")
    assert {"scene", "part", "valid_fraction", "labelled_px"} <= set(table.columns)
    assert len(table) == len(pd.read_parquet(run / "build/split/g60/chips.parquet"))


def test_nothing_to_show_is_an_error(tmp_path):
    with pytest.raises(MapError, match="has no maps, scenes or split yet; run `make train` first"):
        write_project(tmp_path, {}, LEGEND, tmp_path / "qgis")


def test_the_command_says_what_to_open(run, monkeypatch):
    monkeypatch.chdir(run)
    monkeypatch.setattr(params, "_loaded", {})
    (run / "params.yaml").write_text((Path(__file__).parents[2] / "recipes/sample.yaml").read_text("utf-8"))
    result = CliRunner().invoke(cli.app, ["qgis", "--out", "elsewhere"])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip().endswith("layers; run `qgis elsewhere/thalweg.qgs`")
