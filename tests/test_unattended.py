"""The queue of a night: which members run, several at once, and the table at the end; the long ones with real DVC."""

import json
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from report_builder import make_metrics
from test_repro import Project

from thalweg import summary, unattended
from thalweg.errors import ParamsError, StageError
from thalweg.manifest import write_json

ROOT = Path(__file__).parents[1]
NIGHT = "2026-01-01T000000.000000"


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text((ROOT / "recipes/sample.yaml").read_text("utf-8"))
    return tmp_path


@pytest.mark.parametrize(
    ("only", "stages"),
    [
        (None, {"train@unet", "train@fcn", "train@farseg", "yardstick@boosting", "yardstick@boosting_20m"}),
        ("f*", {"train@fcn", "train@farseg"}),
        ("unet, boosting", {"train@unet", "yardstick@boosting"}),
        ("*_20m", {"yardstick@boosting_20m"}),
    ],
)
def test_members_are_selected_by_pattern(sample, only, stages):
    assert set(unattended.select(sample, only)) == stages


def test_a_pattern_that_fits_nothing(sample):
    with pytest.raises(ParamsError, match=r"ONLY='\*resnet18\*' fits no member; there are farseg, fcn, unet, boosting"):
        unattended.select(sample, "*resnet18*")


@pytest.mark.parametrize("asked", ["it's", 'a "b" $(touch pwned) `touch pwned`', "f* boost*"])
def test_make_hands_over_what_was_asked_as_it_is(tmp_path, asked):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    told = tmp_path / "thalweg"
    told.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    told.chmod(0o755)
    (tmp_path / "bin").mkdir()
    told.rename(tmp_path / "bin/thalweg")
    words = ["make", "-s", "-o", "setup", f"VENV={tmp_path}", "train", f"ONLY={asked.replace('$', '$$')}", "JOBS=2"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"train|--only|{asked}|--jobs|2|"
    recipe = subprocess.run([*words[:5], "use", f"RECIPE={words[6][5:]}"], cwd=ROOT, capture_output=True, text=True, check=True)  # fmt: skip
    assert recipe.stdout == f"use|{asked}|"
    whole = subprocess.run(words[:6], cwd=ROOT, capture_output=True, text=True, check=True)
    assert whole.stdout == "train|"


def _ran(root: Path, member: str, **facts) -> None:
    write_json(facts, root / "runs" / member / NIGHT / "run.json")


def test_the_table_says_who_finished_and_where_the_log_is(sample):
    make_metrics(sample)
    shutil.copy(sample / "metrics/unet.json", sample / "metrics/boosting.json")
    _ran(sample, "unet", status="done", seconds=83.4)
    _ran(sample, "fcn", status="failed", seconds=3.2, error="models.fcn: the loss is nan")
    _ran(sample, "farseg", status="running")
    key, rows = summary.build(sample, {"train@fcn", "train@farseg", "plot", "report"})
    found = {row.name: row for row in rows}
    assert key == "IoU palaeochannel"
    assert {name: row.status for name, row in found.items()} == {
        "unet": "ok", "fcn": "failed", "farseg": "failed", "boosting": "ok", "boosting_20m": "ok"
    }  # fmt: skip
    scores = json.loads((sample / "metrics/unet.json").read_text())
    assert found["unet"].test == scores["test"]["iou_palaeochannel"]
    assert found["boosting"].test == found["unet"].test
    assert found["fcn"].test is None, "its metrics file is of an earlier run"
    assert found["fcn"].error == "models.fcn: the loss is nan"
    assert found["farseg"].error.startswith("it was killed, by a person, a power cut, or the kernel")
    summary.write(sample, key, rows)
    kept = json.loads((sample / summary.SUMMARY).read_text())
    assert kept["failed"] == ["farseg", "fcn"]
    assert kept["members"]["unet"]["seconds"] == 83.4
    heading, *lines = summary.lines(key, rows)
    assert heading.split("  ")[0] == "member"
    assert any(line.split() == ["unet", "ok", "0.512", "/", "0.610", "0:01:23", f"runs/unet/{NIGHT}/console.log"] for line in lines)  # fmt: skip
    assert "fcn: models.fcn: the loss is nan" in lines


SAID = """Stage 'fetch' didn't change, skipping
Running stage 'train@unet':
warning: models.unet: it is tried again
error: models.unet: the loss is nan
WARNING: [Errno 2] No such file or directory: 'src/thalweg/models/fcnn.py'
[farseg] Running stage 'train@farseg':
[boosting] Running stage 'yardstick@boosting':
[farseg] epoch 1/1
[boosting] error: yardsticks.boosting: no pixel
"""


def test_what_failed_without_a_record_is_told_from_the_log_of_the_queue(sample):
    log = sample / "runs" / "2026-01-02T000000.000000.log"
    log.parent.mkdir()
    log.write_text(SAID)
    failures = unattended.read_failures(log)
    assert failures == {
        "train@unet": "models.unet: the loss is nan",
        "yardstick@boosting": "yardsticks.boosting: no pixel",
    }
    _ran(sample, "fcn", status="done", seconds=3.2)
    write_json({"status": "failed", "seconds": 1.0, "error": "its own"}, sample / "runs/farseg/2026-01-02T000001.0/run.json")  # fmt: skip
    unfinished = {"train@unet", "train@fcn", "train@farseg", "yardstick@boosting"}
    _, rows = summary.build(sample, unfinished, night=summary.Night(log, failures))
    found = {row.name: row for row in rows}
    queue = f"runs/{log.name}"
    assert (found["unet"].log, found["unet"].error) == (queue, "models.unet: the loss is nan")
    assert (found["fcn"].log, found["fcn"].seconds) == (queue, None), "its record is of an earlier night"
    assert found["fcn"].error == "it did not start, or was killed; the log of the queue says what came before"
    assert (found["farseg"].log, found["farseg"].error) == ("runs/farseg/2026-01-02T000001.0/console.log", "its own")
    assert (found["boosting"].log, found["boosting"].error) == (queue, "yardsticks.boosting: no pixel")
    assert found["boosting_20m"].log is None


def test_a_second_queue_is_refused(tmp_path):
    with (
        unattended.alone(tmp_path),
        pytest.raises(StageError, match=r"another `make train` is running in .*; wait for it, or end it"),
        unattended.alone(tmp_path),
    ):
        pass
    with unattended.alone(tmp_path):
        pass  # it was let go


def test_what_was_not_tried_is_skipped(sample):
    _, rows = summary.build(sample, {"train@unet", "train@fcn"}, only={"train@unet"})
    assert {row.name: row.status for row in rows if row.stage == "train"} == {
        "unet": "failed", "fcn": "skipped", "farseg": "ok"
    }  # fmt: skip
    _, rows = summary.build(sample, {"preprocess@s2_60m"})
    assert {row.status for row in rows} == {"skipped"}


def test_dvc_does_not_see_the_table():
    assert f"/{summary.SUMMARY}" in (ROOT / ".dvcignore").read_text().splitlines()


def make(project: Project, *words: str, code: int = 0) -> str:
    return project.call("make", "-o", "setup", f"VENV={Path(sys.executable).parents[1]}", "train", *words, code=code)


def statuses(project: Project) -> dict[str, str]:
    table = json.loads((project.home / "metrics/summary.json").read_text())
    return {name: row["status"] for name, row in table["members"].items()}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    made = Project(tmp_path_factory.mktemp("night"))
    for member in made.params["models"].values():
        member |= {"max_epochs": 30, "patience": 30, "chips_per_epoch": 16}
    made.save()
    return made


@pytest.mark.slow
def test_members_train_at_once_and_the_pipeline_is_whole(project):
    said = make(project, "JOBS=2")
    assert "[unet] " in said
    assert "[fcn] " in said
    runs = [json.loads(path.read_text()) for path in (project.home / "runs").glob("*/*/run.json")]
    began = [datetime.fromisoformat(run["started"]) for run in runs]
    ended = [start + timedelta(seconds=run["seconds"]) for start, run in zip(began, runs, strict=True)]
    assert len(runs) == 2
    assert max(began) < min(ended), "they trained at once"
    assert set(statuses(project).values()) == {"ok"}
    assert (project.home / "report/index.html").is_file()
    assert "up to date" in project.status()
    again = make(project, "JOBS=2")
    assert "Running stage" not in again
    assert "up to date" in project.status()


@pytest.mark.slow
def test_chosen_members_alone(project):
    for name in ("unet", "fcn"):
        project.params["models"][name]["seed"] = 21
    project.save()
    said = make(project, "ONLY=f*")
    assert "Running stage 'train@fcn'" in said
    assert "train@unet'" not in said
    assert statuses(project) == {"fcn": "ok", "unet": "skipped", "boosting": "ok"}
    card = json.loads((project.home / "salvage/ensembles/main/card.json").read_text())
    assert list(card["members"]) == ["fcn"]
    assert (project.home / "salvage/report/index.html").is_file()
    assert (project.home / "maps/STALE.txt").is_file()
    assert "train@unet" in project.status()
    assert "fits no member" in make(project, "ONLY=*resnet18*", code=2)


@pytest.mark.slow
def test_a_failure_at_once_costs_no_sibling(project):
    project.params["models"]["fcn"] |= {"lr": 1.0e30, "schedule": "constant", "seed": 22}
    project.params["models"]["unet"]["seed"] = 22
    project.save()
    said = make(project, "JOBS=2", code=2)
    assert statuses(project) == {"fcn": "failed", "unet": "ok", "boosting": "ok"}
    assert "fcn: models.fcn: the loss is" in said
    table = json.loads((project.home / "metrics/summary.json").read_text())
    log = (project.home / table["members"]["fcn"]["log"]).read_text()
    assert "failed: models.fcn: the loss is" in log
    card = json.loads((project.home / "salvage/ensembles/main/card.json").read_text())
    assert list(card["members"]) == ["unet", "boosting"]
