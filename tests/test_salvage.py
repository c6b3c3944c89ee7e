"""What is left after a failed run, told by a real DVC in a temporary project."""

import os
import shutil
import subprocess
import sys

import pytest
from ensemble_builder import ensemble_yaml, make_ensemble
from map_builder import Room

from thalweg import salvage
from thalweg.errors import StageError

PARAMS = """
classes:
  legend: [{{name: background, color: "#e6e0d4"}}, {{name: channel, color: "#1f6fb4"}}]
yardsticks: {{}}
models:
  one: {{works: true}}
  two: {{works: {works}}}
ensembles:
  main: {main}
  lost: {lost}
  wrong: {wrong}
"""
MAPS = {"main": ensemble_yaml(members=["one", "two"]), "lost": ensemble_yaml(members=["two"]),
        "wrong": ensemble_yaml(scenes=["T99"])}  # fmt: skip
DVC_YAML = """
stages:
  fetch:
    cmd: test ! -e broken && mkdir raw
    deps: [input]
    outs: [raw]
  train:
    foreach: ${models}
    do:
      cmd: ${item.works} && cp -r build/models/${key} models/${key}
      params: ["models.${key}"]
      outs: ["models/${key}"]
  ensemble:
    foreach: ${ensembles}
    do:
      cmd: mkdir maps/${key} && echo old > maps/${key}/probs.tif
      deps: [models]
      outs: ["maps/${key}"]
"""


def dvc(root, *command: str) -> int:
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    call = [sys.executable, "-m", "dvc", *command, "-q"]
    return subprocess.run(call, cwd=root, env=environment, capture_output=True, check=False).returncode


@pytest.fixture
def project(tmp_path):
    Room(tmp_path / "build")
    for folder in ("models", "maps"):
        (tmp_path / folder).mkdir()
    (tmp_path / "params.yaml").write_text(PARAMS.format(works="true", **MAPS))
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "input").write_text("as delivered")
    assert dvc(tmp_path, "init", "--no-scm") == 0
    return tmp_path


def test_finished_members_are_mapped_and_old_maps_are_told(project) -> None:
    assert dvc(project, "repro") == 0
    assert (project / "maps" / "main" / "probs.tif").read_text() == "old\n"
    (project / "params.yaml").write_text(PARAMS.format(works="false", **MAPS))
    assert dvc(project, "repro", "--keep-going") != 0
    (project / "salvage" / "maps" / "gone").mkdir(parents=True)
    result = salvage.build(project)
    assert result.finished == ("one",)
    assert result.failed == ("two",)
    assert result.maps == {"main": ("one",)}
    assert result.stale == ("maps/main", "maps/lost", "maps/wrong")
    assert result.unfinished == ("ensemble@lost", "ensemble@main", "ensemble@wrong", "train@two")
    assert result.skipped["lost"] == "none of its members finished"
    assert "maps scenes T99, which match none of a, b" in result.skipped["wrong"]
    made = {
        path.relative_to(project / "salvage").as_posix() for path in (project / "salvage").rglob("*") if path.is_file()
    }
    assert made == {"maps/main/probs.tif", "maps/main/classes.tif", "maps/main/uncertainty.tif", "maps/main/classes.qml",
                    "maps/main/probs.qml", "maps/main/uncertainty.qml", "maps/main/main.json",
                    "maps/main/classes.tif.aux.xml", "ensembles/main/card.json", "metrics/ensemble/main.json"}  # fmt: skip
    assert (project / "maps" / "main" / "probs.tif").read_text() == "old\n", "no stage's out is touched"


def test_where_an_early_stage_fails_all_members_and_maps_are_of_an_earlier_run(project) -> None:
    assert dvc(project, "repro") == 0
    (project / "input").write_text("delivered again")
    (project / "broken").touch()
    assert dvc(project, "repro", "--keep-going") != 0
    result = salvage.build(project)
    assert result.finished == ()
    assert result.stale == ("maps/main", "maps/lost", "maps/wrong")
    assert "fetch" in result.unfinished


def test_a_map_that_finished_beside_one_that_failed_is_not_stale(project) -> None:
    (project / "dvc.yaml").write_text(DVC_YAML.replace("cmd: mkdir", "cmd: test ${key} != wrong && mkdir"))
    assert dvc(project, "repro", "--keep-going") != 0
    for name in ("main", "lost"):
        (project / "ensembles" / name).mkdir(parents=True)
        (project / "metrics" / "ensemble").mkdir(parents=True, exist_ok=True)
        (project / "metrics" / "ensemble" / f"{name}.json").write_text("{}")
    result = salvage.build(project)
    assert result.finished == ("one", "two")
    assert result.stale == ()
    assert result.unfinished == ("ensemble@wrong",)


def test_a_folder_that_dvc_does_not_know_is_an_error(tmp_path) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS.format(works="true", **MAPS))
    with pytest.raises(StageError, match=r"`dvc status` in .* fails \(.*\); mend that, then run `thalweg salvage`"):
        salvage.build(tmp_path)


def test_maps_that_are_up_to_date_are_taken_over(project) -> None:
    result = salvage.SalvageResult(finished=("one",))
    for out in ("maps/main", "ensembles/main"):
        (project / out).mkdir(parents=True)
        (project / out / "file").write_text(out)
    (project / "metrics" / "ensemble").mkdir(parents=True)
    (project / "metrics" / "ensemble" / "main.json").write_text("{}")
    shutil.rmtree(project / "build")
    from map_builder import CLASSES

    salvage._build_one(project, "main", make_ensemble(), CLASSES, True, result)
    assert result.maps == {"main": ("one",)}
    assert (project / "salvage" / "maps" / "main" / "file").read_text() == "maps/main"
    assert (project / "salvage" / "metrics" / "ensemble" / "main.json").read_text() == "{}"
