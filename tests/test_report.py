"""The page: its numbers are the files' numbers, it stands alone, it is the same twice, and it says what is missing."""

import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ensemble_builder import make_ensemble
from member_builder import member
from report_builder import (
    CLASSES,
    make_crossval,
    make_heldout,
    make_history,
    make_map,
    make_metrics,
    make_run,
    make_shift,
)

from thalweg.errors import ParamsError, RasterError, StageError
from thalweg.manifest import write_record
from thalweg.manifest.encoder import EncoderFigures
from thalweg.params.classes import Classes
from thalweg.params.fetch import Fetch
from thalweg.params.split import Fractions, Rule, Split
from thalweg.plots import build_plots
from thalweg.report import Files, Plan, build_report, score_keys

MEMBER = member(options={}, augment={}, schedule="constant")
MAIN = make_ensemble(members=["unet", "fcn"], grid="s2_60m")
SPLIT = Split(input="masks/none.yaml", unit="blocks", cells=None, stratify="classes", official=None, seed=3, block_m=3600, buffer_m=240, fractions=Fractions(train=0.6, val=0.2, test=0.2), rules=(),
              yields="train", leak="fail", chip_px={"s2_60m": 64})  # fmt: skip
PLAN = Plan(
    fetch=Fetch(source="local", input="data", masks="masks/none.yaml", elevation=None, options={}), classes=CLASSES, split=SPLIT,
    members={"fcn": MEMBER, "unet": MEMBER}, ensembles={"main": MAIN},
)  # fmt: skip
VOID = {"area", "br", "circle", "col", "hr", "img", "input", "link", "meta", "path", "source", "wbr"}


class _Page(HTMLParser):
    """Rows of tables, addresses, and a check that every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.addresses: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self.rows and self._open and {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data


def _build(root: Path, plan: Plan = PLAN, failed=()) -> str:
    build_report(Files.below(root), plan, root / "report" / "index.html", failed)
    return (root / "report" / "index.html").read_text("utf-8")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path)


def test_the_table_holds_the_numbers_of_the_files(run: Path):
    rows = [[" ".join(cell.split()) for cell in row] for row in _Page(_build(run)).rows]
    assert rows[0][:4] == ["Name", "IoU palaeochannel", "mIoU", "IoU background"]
    assert rows[1] == ["main map", "0.577", "0.739", "0.900", "0.732", "0.883", "0.042", "0.410", "2 members, s2_60m"]
    assert rows[2][:3] == ["fcn", "0.533", "0.717"]
    assert rows[3][:2] == ["fcn at its threshold", "0.543"]
    assert rows[3][7:] == ["0.370", "unet, s2_60m"]


def test_the_headline_is_the_best_map_and_the_best_member_on_validation(run: Path):
    tiles = re.findall(r"<strong>(\w+)</strong></span>\s+<b>([\d.]+)</b><span>([^<]+)", _build(run))
    said = "IoU palaeochannel on the test part"
    assert tiles == [("main", "0.577", said), ("unet", "0.512", said)]


def test_the_page_stands_alone(run: Path):
    make_history(run / "build/history", "unet")
    make_heldout(run / "build/heldout", "unet")
    build_plots(run / "build/history", run / "build/heldout", ["unet"], CLASSES, run / "plots")
    text = _build(run)
    page = _Page(text)
    assert {address.split(":")[0] for address in page.addresses if not address.startswith("#")} == {"data"}
    assert not re.findall(r"<script[^>]*src", text)
    assert "http" not in re.sub(r'"(?:data:image/|data":")[^"]+', "", text)
    assert [address for address in page.addresses if address.startswith("data:image/webp")]
    assert len([address for address in page.addresses if address.startswith("data:image/png")]) == 19
    """6 plots, 4 maps, mask, map and error of 2 worst chips, masks of 3 chips; the viewer's own lie in its JSON."""


def test_the_same_files_give_the_same_bytes(run: Path):
    assert _build(run) == _build(run)


def test_split_scenes_and_provenance_are_told(run: Path):
    text = _build(run)
    assert "Test ground lies 261 m or more from ground that was learned from." in text
    assert "shown anything nearer than 253 m to it while it learns: 5.0 % of the training windows are blanked." in text
    assert "Parts keep 240 m of ground between them; blocks are 3\u2009600 m wide." in text
    assert "1\u2009234" in text
    assert "train, 2 blocks" in text
    assert "S2A_SAMPLE" in text
    assert "0123abcd" in text
    assert "60 × 40 pixels of 60.0 m on the ground, WGS 84 / UTM zone 20S." in text


def test_ground_that_a_rule_names_is_told_and_drawn(run: Path):
    rules = (Rule(part="test", scene="*", mask=None),)
    text = _build(run, replace(PLAN, split=SPLIT.model_copy(update={"rules": rules})))
    assert "test, 1 scene by a rule" in text
    assert re.search(r'<path d="M[^"]+Z" fill="#0072b2" stroke="#0072b2" stroke-width="3"', text)
    assert "by a rule" not in _build(run)


def test_an_empty_run_says_what_is_missing(tmp_path: Path):
    text = _build(tmp_path)
    for sentence in ("No member and no map has scores yet.", "No scores yet: main, fcn, unet.", "No map is there yet for main.",
                     "No learning curves have been drawn.", "No held-out windows have been drawn.", "No split has been made.",
                     "No scenes have been prepared."):  # fmt: skip
        assert sentence in text, sentence


def test_a_run_without_a_test_part_says_so(run: Path):
    make_metrics(run, test=False)
    text = _build(run)
    assert "This run has no test part." in text
    assert "validation, for want of a test part" in text


def test_a_plan_without_maps_says_so(run: Path):
    plan = Plan(PLAN.fetch, PLAN.classes, PLAN.split, PLAN.members, {})
    assert "params.yaml asks for no map" in _build(run, plan)


def test_a_map_of_a_member_that_params_no_longer_have_is_an_error(run: Path):
    plan = Plan(PLAN.fetch, PLAN.classes, PLAN.split, {"unet": MEMBER}, PLAN.ensembles)
    with pytest.raises(
        ParamsError, match=r"ensembles\.main names fcn, which 'models' .* so its map is of an old model"
    ):
        _build(run, plan)


def test_a_salvaged_page_names_what_failed(run: Path):
    assert "<strong>Salvaged.</strong> farseg did not finish" in _build(run, failed=("farseg",))


def test_cross_validation_and_its_optimism_are_told(run: Path):
    make_crossval(run)
    plan = replace(PLAN, crossval=("unet", "fcn"))
    text = _build(run, plan)
    rows = [[" ".join(cell.split()) for cell in row] for row in _Page(text).rows]
    at = rows.index(next(row for row in rows if row[:2] == ["unet", "5 folds together, 37 blocks"]))
    assert [row[1:3] for row in rows[at : at + 5]] == [
        ["5 folds together, 37 blocks", "0.480"], ["mean of the folds", "0.470"], ["their spread", "0.050"],
        ["on a random split", "0.600"], ["optimism of that", "+0.120"],
    ]  # fmt: skip
    assert rows[at + 4][-1] == "\u22120.010"  # calibration error is lower on the random split
    assert "cross-validation of fcn" in text
    assert "scores of" not in _build(run), "params ask for none"


def test_shifted_input_is_a_warning_on_the_page(run: Path):
    scenes = {"a": {"B04": 0.3, "B8A": 1.25}, "b": {"B04": 0.2}}
    make_shift(run, scenes, {"B04": 0.5, "B8A": 0.75, "B03": 0.1})
    text = _build(run)
    assert "1 warning of shifted input." in text
    rows = [[" ".join(cell.split()) for cell in row] for row in _Page(text).rows]
    whole = ["main", "unet", "B8A 0.75, B04 0.50", "0.75"]
    assert rows.index(whole) < rows.index(["a", "unet", "main", "B8A 1.25, B04 0.30", "1.25"])
    assert text.index("trust these maps less") < text.index("<summary>1 scene unlike the training by itself</summary>")
    make_shift(run, scenes, {"B04": 0.2})
    text = _build(run)
    assert "of shifted input" not in text, "a scene that is unlike the rest is no warning where the map is not"
    assert "No map’s scenes, taken together," in text
    rows = [[" ".join(cell.split()) for cell in row] for row in _Page(text).rows]
    assert ["a", "unet", "main", "B8A 1.25, B04 0.30", "1.25"] in rows
    assert "measured 2 times" in text
    make_shift(run, {"b": {"B04": 0.2}}, {"B04": 0.2})
    text = _build(run)
    assert "of shifted input" not in text
    assert "measured 1 time, a scene shown to a member each; the largest is 0.20" in text


def test_names_are_escaped(run: Path):
    (run / "maps" / "main").rename(run / "maps" / "gone")
    (run / "metrics" / "unet.json").write_text('{"val": {"iou_palaeochannel": 0.5}}')
    plan = Plan(Fetch(source="local", input="<i>data</i>", masks="masks/none.yaml", elevation=None, options={}), CLASSES, SPLIT,
                {"unet": MEMBER}, {})  # fmt: skip
    assert "&lt;i&gt;data&lt;/i&gt;" in _build(run, plan)


def test_several_classes_show_miou_first():
    three = Classes.model_validate(
        {"legend": [{"name": n, "color": "#000000"} for n in ("clear", "shadow", "cloud")]}, strict=False
    )
    assert score_keys(three) == ("miou", "iou_clear", "iou_shadow", "iou_cloud", "macro_f1", "accuracy", "ece")


def test_blocks_that_cannot_be_read_are_named(run: Path):
    (run / "build/split/blocks.geojson").write_text('{"features": [{"properties": {}}]}')
    with pytest.raises(StageError, match=r"blocks\.geojson holds no blocks with their part"):
        _build(run)


def test_a_broken_map_is_named_and_leaves_no_page(run: Path):
    (make_map(run) / "probs.tif").write_bytes(b"II*\0")
    with pytest.raises(RasterError, match=r"probs\.tif cannot be read"):
        _build(run)
    assert not (run / "report").exists()


def test_report_and_plots_need_no_torch():
    code = "import sys, stages.report, stages.plot, thalweg.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_collapsed_encoder_is_a_warning_on_the_page(tmp_path):
    make_run(tmp_path)
    for name, said in (("sound", None), ("flat", "encoders.flat has collapsed, its features hardly tell chips apart")):
        figures = EncoderFigures(encoder=name, method="byol", loss=0.1, feature_std=0.5, rank=7.25, uniformity=-1.5,
                                 alignment=None, collapsed=said)  # fmt: skip
        write_record(figures, tmp_path / "metrics" / "encoders" / f"{name}.json")
    text = _build(tmp_path, replace(PLAN, encoders=("flat", "gone", "sound")))
    rows = [row for row in _Page(text).rows if row[0] in ("flat", "sound")]
    assert rows == [[name, "byol", "0.500", "7.2", "–", "-1.500"] for name in ("flat", "sound")]
    assert text.count("has collapsed") == 1
    assert "has collapsed" not in _build(tmp_path)
