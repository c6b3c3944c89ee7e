"""Scores as they stand in the metrics files, who leads, and the headline."""

import json
from pathlib import Path

import pytest
from report_builder import CLASSES, make_crossval, make_metrics

from thalweg.errors import SceneError, StageError
from thalweg.standings import Standing, Standings, headline, leading_key, read_standings, say_key, table

KEYS = ("iou_palaeochannel", "ece", "nothing")


def _read(root: Path, members=("fcn", "unet")):
    return read_standings(root / "metrics", members, root / "metrics" / "ensemble", ["main"], root / "ensembles")


def test_the_best_member_is_chosen_on_validation(tmp_path: Path):
    make_metrics(tmp_path)
    best = _read(tmp_path).best("iou_palaeochannel", ensemble=False)
    assert best is not None
    assert best.name == "unet"  # fcn has the better test score


def test_a_class_that_validation_lacks_is_judged_on_test():
    rows = [
        Standing(name, False, {"val": {"miou": 0.5}, "test": {"miou": 0.5, "iou_palaeochannel": iou}}, None)
        for name, iou in (("unet", 0.3), ("fcn", 0.4))
    ]
    best = Standings(tuple(rows), ()).best("iou_palaeochannel", ensemble=False)
    assert best is not None
    assert best.name == "fcn"


def test_the_headline_reads_the_files(tmp_path: Path):
    make_metrics(tmp_path)
    assert headline(_read(tmp_path), CLASSES.names) == (
        "IoU palaeochannel: map main test 0.577 / val 0.644, best member unet test 0.512 / val 0.610"
    )


def test_the_headline_without_a_test_part_and_without_scores(tmp_path: Path):
    assert headline(_read(tmp_path), CLASSES.names) == "no scores yet"
    make_metrics(tmp_path, test=False)
    assert (
        headline(_read(tmp_path), CLASSES.names) == "IoU palaeochannel: map main val 0.644, best member unet val 0.610"
    )


def test_the_headline_says_how_a_random_split_would_flatter(tmp_path: Path):
    make_metrics(tmp_path)
    make_crossval(tmp_path)
    folder = tmp_path / "metrics"
    standings = read_standings(folder, [], folder / "ensemble", [], tmp_path / "ensembles", ["unet", "fcn"])
    assert headline(standings, CLASSES.names) == (
        "IoU palaeochannel: unet over 5 folds 0.480 ± 0.050 (a random split would say 0.600)"
    )
    assert standings.missing == ("cross-validation of fcn",)


def test_a_cross_validation_that_cannot_be_read_is_named(tmp_path: Path):
    (tmp_path / "crossval").mkdir()
    (tmp_path / "crossval" / "unet.json").write_text('{"member": "unet"}')
    with pytest.raises(SceneError, match=r"unet\.json does not fit its schema at 'folds' .*; remove it and run"):
        read_standings(tmp_path, [], tmp_path, [], tmp_path, ["unet"])


def test_missing_members_are_named(tmp_path: Path):
    make_metrics(tmp_path)
    assert _read(tmp_path, ["farseg", "unet"]).missing == ("farseg",)


def test_rows_columns_and_leaders_of_a_table(tmp_path: Path):
    make_metrics(tmp_path)
    lines = table(_read(tmp_path).rows, "test", KEYS)
    assert [(line.standing.name, line.note, line.values[0]) for line in lines] == [
        ("main", "", 0.577), ("fcn", "", 0.533), ("fcn", "at its threshold", 0.543), ("unet", "", 0.512),
        ("unet", "at its threshold", 0.522),
    ]  # fmt: skip
    assert [line.leads for line in lines][:2] == [(True, True, False), (False, True, False)]
    assert [line.values[2] for line in lines] == [None] * 5
    assert [line.standing.threshold for line in lines] == [0.41, 0.37, 0.37, 0.37, 0.37]


def test_the_members_on_the_maps_grid_come_with_it(tmp_path: Path):
    make_metrics(tmp_path)
    main = _read(tmp_path).rows[0]
    assert [(member.name, member.parts["val"]["iou_palaeochannel"]) for member in main.members] == [
        ("unet", 0.601),
        ("fcn", 0.581),
    ]


def test_the_leading_score_and_how_it_is_spoken():
    assert leading_key(("background", "palaeochannel")) == "iou_palaeochannel"
    assert leading_key(("clear", "shadow", "cloud")) == "miou"
    assert [say_key(key) for key in ("miou", "iou_wet_land", "macro_f1", "ece")] == [
        "mIoU",
        "IoU wet land",
        "macro F1",
        "ECE",
    ]


@pytest.mark.parametrize("content", ["{", "[1]", json.dumps({"val": {"miou": "high"}}), json.dumps({"val": 3})])
def test_a_broken_file_is_named(tmp_path: Path, content: str):
    (tmp_path / "unet.json").write_text(content)
    with pytest.raises(StageError, match=r"unet\.json does not hold scores per part .*; remove it and run `dvc repro`"):
        read_standings(tmp_path, ["unet"], tmp_path, [], tmp_path)


def test_a_network_that_does_not_beat_the_yardstick_is_told():
    def row(name, test, tuned=None, yardstick=False):
        parts = {"test": {"miou": test}} | ({"test_at_threshold": {"miou": tuned}} if tuned else {})
        return Standing(name, False, parts, None, yardstick=yardstick)

    weak, strong, tuned = row("weak", 0.5), row("strong", 0.7), row("tuned", 0.5, 0.8)
    trees = row("trees", 0.6, 0.65, yardstick=True)
    standings = Standings((weak, strong, tuned, trees), ())
    assert [standings.beaten_by_yardstick(one, "miou") for one in standings.rows] == [trees, None, None, None]
    assert standings.best("miou", ensemble=False) == strong
    assert Standings((weak, strong), ()).beaten_by_yardstick(weak, "miou") is None
