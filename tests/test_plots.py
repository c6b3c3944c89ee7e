"""Figures and tables of members: what is in them, that they are the same twice, and what missing files say."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from report_builder import CLASSES, LEGEND, PART, make_heldout, make_history

from thalweg import figures, plots
from thalweg.errors import SceneError, StageError
from thalweg.manifest.heldout import PartScores

EMPTY = PartScores(
    confusion=((0, 0), (0, 0)),
    scenes={},
    blocks={},
    linear={},
    reliability=((0.0,) * 15,) * 3,
    positives=(),
    negatives=(),
)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    for member in ("fcn", "unet"):
        make_history(tmp_path / "history", member)
        make_heldout(tmp_path / "heldout", member, panels=member == "unet")
    return tmp_path


def _build(made: Path, members=("fcn", "unet"), target: str = "plots") -> Path:
    plots.build_plots(made / "history", made / "heldout", members, CLASSES, made / target)
    return made / target


def test_every_figure_is_drawn_and_the_same_twice(made: Path):
    first, second = _build(made), _build(made, target="again")
    names = sorted(str(path.relative_to(first)) for path in first.rglob("*.*"))
    assert names == ["classes.csv", "classes.png", "confusion.csv", "confusion/fcn.png", "confusion/unet.png", "history.csv",
                     "learning_curves.png", "panels/unet.png", "precision_recall.csv", "precision_recall.png",
                     "reliability.csv", "reliability.png", "scores.json"]  # fmt: skip
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()
        if name.endswith("png"):
            with Image.open(first / name) as image:
                assert set(image.info) == {"dpi"}
                assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 10


def test_the_users_matplotlibrc_changes_nothing(made: Path):
    import matplotlib as mpl

    first = _build(made)
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "black"}):
        second = _build(made, target="again")
    assert (first / "reliability.png").read_bytes() == (second / "reliability.png").read_bytes()


def test_history_is_one_long_table(made: Path):
    table = pd.read_csv(_build(made) / "history.csv")
    assert table.columns.tolist() == ["member", "epoch", "train_loss", "val_loss", "val_miou"]
    assert table["member"].tolist() == ["fcn"] * 3 + ["unet"] * 3
    assert table["val_miou"].tolist() == [0.4, 0.6, 0.55] * 2


def test_the_headline_of_each_member_by_hand(made: Path):
    """IoU 90/104 and 16/30; of 120 pixels 48 − 46 and 57 − 60 are the gaps of two bins."""
    found = json.loads((_build(made) / "scores.json").read_text())
    assert list(found) == ["fcn", "unet"]
    iou = (90 / 104, 16 / 30)
    expected = {
        "miou": sum(iou) / 2,
        "accuracy": 106 / 120,
        "ece": 5 / 120,
        "iou_background": iou[0],
        "iou_palaeochannel": iou[1],
    }
    assert found["unet"] == pytest.approx(expected, abs=1e-6)


def test_confusion_shares_are_of_the_actual_class(made: Path):
    table = pd.read_csv(_build(made, ["unet"]) / "confusion.csv")
    assert table["pixels"].tolist() == [90, 10, 4, 16]
    assert table["share"].tolist() == [0.9, 0.1, 0.2, 0.8]
    assert table["part"].unique().tolist() == ["test"]


def test_without_test_pixels_validation_is_drawn(made: Path):
    make_heldout(made / "heldout", "unet", {"val": PART, "test": EMPTY})
    assert pd.read_csv(_build(made, ["unet"]) / "confusion.csv")["part"].unique().tolist() == ["val"]


def test_ten_members_have_ten_looks():
    looks = {(figures.member_color(number), figures.member_dash(number)) for number in range(28)}
    assert len(looks) == 28


def test_painted_labels_keep_unlabelled_apart():
    painted = figures.paint(np.array([[0, 1, 255]], np.uint8), LEGEND)
    assert painted.tolist() == [[[0xE6, 0xE0, 0xD4], [0x1F, 0x6F, 0xB4], [0xC8, 0xC8, 0xC8]]]


def test_ground_without_a_prediction_is_grey_in_every_panel():
    """Two pixels by two: the last was not measured, so nothing is said of it; black that was measured stays black."""
    labels = np.array([[[0, 1], [1, 255]]], np.uint8)
    shade = np.array([[[255, 0], [51, 0]]], np.uint8)
    panels = {"rgb": np.zeros((1, 2, 2, 3), np.uint8), "mask": labels, "labels": labels, "prob": shade, "doubt": shade,
              "names": np.array(["T20KNA 0 0"])}  # fmt: skip
    with figures.plain_style():
        drawn = [axes.get_images()[0] for axes in figures.draw_panels(panels, LEGEND).axes[:6]]
    assert drawn[0].get_array().tolist() == [[[0] * 3, [0] * 3], [[0] * 3, [0xC8] * 3]]
    for shown in (drawn[3], drawn[5]):
        assert shown.get_array().tolist() == [[1.0, 0.0], [0.2, None]]
        assert (shown.cmap.get_bad() * 255).round().tolist() == [0xC8, 0xC8, 0xC8, 255]


def test_a_missing_history_names_the_file_and_the_command(made: Path):
    (made / "history" / "fcn.csv").unlink()
    with pytest.raises(
        StageError, match=r"fcn\.csv is missing, so member 'fcn' cannot be plotted; run `dvc repro train@fcn`"
    ):
        _build(made)
    assert not (made / "plots").exists()


def test_a_history_without_epochs_is_an_error(made: Path):
    (made / "history" / "fcn.csv").write_text("step,loss\n")
    with pytest.raises(StageError, match=r"fcn\.csv has no epochs, only columns step, loss; remove it"):
        _build(made)


def test_missing_scores_name_the_file(made: Path):
    (made / "heldout" / "fcn" / "scores.json").unlink()
    with pytest.raises(SceneError, match=r"fcn/scores\.json is missing"):
        _build(made)


def test_no_held_out_pixels_at_all_is_an_error(made: Path):
    make_heldout(made / "heldout", "unet", {"val": EMPTY})
    with pytest.raises(StageError, match="member 'unet' has no labelled pixel in test or val"):
        _build(made)


def test_no_members_is_an_error(made: Path):
    with pytest.raises(StageError, match="names no member under 'models'"):
        _build(made, [])
