"""The `thalweg` command: what it prints, where, and how it exits."""

import json
from pathlib import Path

import pytest
from report_builder import make_heldout, make_history, make_map, make_run
from typer.testing import CliRunner, Result

from thalweg import cli, outcome, params, recipes

PROJECT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(params, "_loaded", {})
    (tmp_path / "params.yaml").write_text((PROJECT / "recipes/sample.yaml").read_text("utf-8"))
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "sample.yaml").write_text((PROJECT / "recipes/sample.yaml").read_text("utf-8"))
    return tmp_path


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments)


def test_where_prints_paths_and_the_headline_and_takes_the_mark_away(project: Path):
    make_run(project)
    (project / "report").mkdir()
    (project / "report" / "index.html").write_text("page")
    outcome.mark_stale(project, ["maps/main"], ["train@unet"])
    result = _run("where")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"map     {project}/maps/main/classes.tif",
        f"report  {project}/report/index.html",
        "IoU palaeochannel: map main test 0.577 / val 0.644, best member unet test 0.512 / val 0.610",
    ]
    assert not (project / outcome.STALE).exists()


def test_errors_are_one_line_and_exit_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("sys.argv", ["thalweg", "use", "chaco"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: there is no recipe 'chaco'")
    assert said.err.count("\n") == 1


def test_use_says_what_it_did(project: Path):
    (project / "params.yaml").write_text("mine")
    result = _run("use", "sample")
    assert result.exit_code == 0
    assert "it is kept as params.yaml.bak" in result.stdout
    assert result.stdout.endswith("params.yaml is now recipe sample; run `make train`\n")
    assert "fetch.input, src/thalweg/sample, does not exist yet; put the products there first" in result.stderr


def test_check_names_every_fault_and_every_sound_recipe(project: Path, monkeypatch: pytest.MonkeyPatch):
    (project / "recipes" / "bad.yaml").write_text("models: {}\n")
    real = recipes.Recipe
    monkeypatch.setattr(recipes, "build_members", real)  # building needs torch, and has its own test
    result = _run("check")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "params.yaml is sound: members farseg, fcn, unet; maps main", "recipes/sample.yaml is sound: members farseg, fcn, unet; maps main"
    ]  # fmt: skip
    assert result.stderr == "error: recipes/bad.yaml has no section 'fetch'\n"


def _salvaged(monkeypatch: pytest.MonkeyPatch, root: Path, finished: tuple[str, ...]) -> None:
    from thalweg import salvage

    def build(at: Path, *_: object) -> salvage.SalvageResult:
        maps = {"main": finished} if finished else {}
        if finished:
            make_map(at / "salvage")
        failed = tuple(name for name in ("unet", "fcn", "farseg") if name not in finished)
        skipped = {} if finished else {"main": "none of its members finished"}
        return salvage.SalvageResult(
            maps=maps, finished=finished, failed=failed, skipped=skipped, stale=("maps/main",),
            unfinished=tuple(f"train@{name}" for name in failed),
        )  # fmt: skip

    monkeypatch.setattr(salvage, "build", build)
    unfinished = {f"train@{name}" for name in ("unet", "fcn", "farseg") if name not in finished}
    monkeypatch.setattr(cli, "read_changed_stages", lambda _: unfinished)
    make_run(root)
    for member in finished:
        make_history(root / "build/history", member)
        make_heldout(root / "build/heldout", member)


def test_salvage_reports_the_finished_members_and_exits_1(project: Path, monkeypatch: pytest.MonkeyPatch):
    _salvaged(monkeypatch, project, ("unet", "fcn"))
    result = _run("salvage")
    assert result.exit_code == 1, result.output
    maps, page, gap, *table = result.stdout.splitlines()
    assert maps == f"salvaged map     {project}/salvage/maps/main/classes.tif of unet, fcn"
    assert page == f"salvaged report  {project}/salvage/report/index.html"
    assert gap == ""
    assert [line.split()[:2] for line in table[:4]] == [
        ["member", "status"],
        ["farseg", "failed"],
        ["fcn", "ok"],
        ["unet", "ok"],
    ]
    assert json.loads((project / "metrics/summary.json").read_text())["failed"] == ["farseg"]
    assert "not finished: train@farseg" in result.stderr
    assert "stale: maps/main is" in result.stderr
    assert (project / "salvage/report/collection.json").is_file()
    page = (project / "salvage/report/index.html").read_text("utf-8")
    assert "farseg did not finish" in page
    assert (project / "salvage/plots/confusion/fcn.png").is_file()
    assert "Not finished by the last: train@farseg." in (project / outcome.STALE).read_text()


def test_a_table_is_there_whatever_becomes_of_the_maps(project: Path, monkeypatch: pytest.MonkeyPatch):
    from thalweg import salvage

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    _salvaged(monkeypatch, project, ("unet", "fcn"))
    monkeypatch.setattr(salvage, "build", full)
    result = _run("salvage")
    assert isinstance(result.exception, OSError), "a bug keeps its traceback"
    assert json.loads((project / "metrics/summary.json").read_text())["failed"] == ["farseg"]
    assert "farseg        failed" in result.stdout


def test_salvage_of_nothing_says_so(project: Path, monkeypatch: pytest.MonkeyPatch):
    _salvaged(monkeypatch, project, ())
    result = _run("salvage")
    assert result.exit_code == 1
    assert "nothing to salvage: no member has finished" in result.stderr
    assert "no map main: none of its members finished" in result.stderr
    assert not (project / "salvage/report").exists()
