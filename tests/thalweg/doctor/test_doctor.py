"""`thalweg doctor`: sound projects pass, and each fault is named with what to do."""

import subprocess
from pathlib import Path

import pytest
from fetch_runner import options
from filelock import FileLock
from ruamel.yaml import YAML
from standin import LOGIN, PASSWORD
from typer.testing import CliRunner

from thalweg import cli, params
from thalweg.doctor import account, machine, project

ROOT = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The sample's params in a folder that is neither a repository nor DVC's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(params, "_loaded", {})
    for name in ("COPERNICUS_LOGIN", "COPERNICUS_PASS", "COPERNICUS_S3_KEY", "COPERNICUS_S3_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "params.yaml").write_text((ROOT / "recipes/sample.yaml").read_text("utf-8"))
    (tmp_path / "recipes").mkdir()
    return tmp_path


def _set(root: Path, **fetch: object) -> None:
    data = YAML(typ="safe").load((root / "params.yaml").read_text("utf-8"))
    data["fetch"] |= fetch
    YAML().dump(data, root / "params.yaml")


def _only(check, root):
    [finding] = check(root)
    return finding


def test_packages_are_held_against_the_lock_that_fits_better():
    lock = machine.read_lock("# comment\nnumpy==2.4.6\ntorch==2.14.1\nnot-there==1\n")
    assert lock == {"numpy": "2.4.6", "torch": "2.14.1", "not-there": "1"}
    assert machine.differences(lock, {"numpy": "2.4.6", "torch": "2.14.1+cu130"}) == []
    assert machine.differences(lock, {"numpy": "2.4.6", "torch": "2.7.1"}) == ["torch 2.7.1 for 2.14.1"]


def test_another_version_than_the_lock_says_is_named(root):
    (root / "requirements.lock").write_text("typer==0.0.1\n")
    where, packages = machine.python(root)
    assert where.level == "ok"
    assert packages.level == "warn"
    assert "1 packages are not as in requirements.lock: typer 0." in packages.said
    assert "for 0.0.1; run `rm -rf .venv && make setup`" in packages.said


@pytest.mark.parametrize(("capability", "served", "level"), [
    ((6, 1), ("sm_50", "sm_60", "sm_70"), "ok"),         # Pascal: binaries of 6.0 run on 6.1
    ((6, 1), ("sm_75", "sm_80", "compute_90"), "fail"),  # wheels without Pascal
    ((8, 9), ("sm_75", "sm_80"), "ok"),
    ((8, 0), ("sm_75", "sm_86"), "fail"),                # binaries of a later minor revision do not run
    ((12, 0), ("sm_80", "compute_90"), "ok"),            # the driver compiles
    ((12, 0), ("sm_100a", "sm_120a"), "ok"),
    ((11, 0), ("gfx1030", "gfx1100"), "ok"),             # ROCm's names say nothing of this
])  # fmt: skip
def test_wheels_serve_a_card_or_not(capability, served, level):
    finding = machine.judge_card("GeForce", capability, 8.0, served, "torch 2")
    assert finding.level == level
    assert ("requirements-legacy.lock" in finding.said) == (level == "fail")


def test_this_machine_has_what_gdal_needs(root, monkeypatch):
    for name in ("GDAL_DATA", "PROJ_LIB", "PROJ_DATA", "GDAL_DRIVER_PATH"):
        monkeypatch.delenv(name, raising=False)
    assert [finding.level for finding in machine.drivers(root)] == ["ok"]
    monkeypatch.setenv("PROJ_LIB", "/opt/conda/share/proj")
    assert [finding.level for finding in machine.drivers(root)] == ["ok", "warn"]


def test_a_lacking_driver_is_named(root, monkeypatch):
    monkeypatch.setattr(machine, "_RASTER", ("GTiff", "NoSuch"))
    finding = next(iter(machine.drivers(root)))
    assert finding.level == "fail"
    assert finding.said.startswith("GDAL lacks NoSuch; install rasterio")


def test_room_is_measured_where_the_project_lies(root, monkeypatch):
    assert machine.room(root) is not None
    *_, links = machine.room(root)
    assert links.said.startswith("build/ links into .cache/")
    assert not (root / ".cache").exists(), "a look leaves nothing"
    monkeypatch.setattr(machine, "_LEAST_GB", 10**9)
    assert [finding.level for finding in machine.room(root)][1] == "warn"


def test_a_disk_without_hard_links_is_told(root, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(machine.os, "link", refuse)
    *_, links = machine.room(root)
    assert links.level == "warn"
    assert "Operation not supported" in links.said


def test_git_is_wanted_with_a_commit(root):
    assert "is no git repository with a commit" in _only(project.git, root).said
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "params.yaml"], [*who, "commit", "-qm", "start"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    assert _only(project.git, root).said.endswith("nothing changed since")
    (root / "params.yaml").write_text("# mine\n")
    assert _only(project.git, root).said.endswith("; files changed since: 1")


def test_params_are_named_by_their_recipe_or_by_their_fault(root):
    assert "no recipe of recipes/, but your own; members: 3, maps: 1" in _only(project.recipe, root).said
    (root / "recipes/mine.yaml").write_bytes((root / "params.yaml").read_bytes())
    assert "is recipe mine" in _only(project.recipe, root).said
    (root / "params.yaml").write_text("models: {}\n")
    assert _only(project.recipe, root) == ("fail", f"{root / 'params.yaml'} has no section 'fetch'")
    assert list(project.products(root)) == []


def test_products_must_be_there(root):
    assert (
        _only(project.products, root).said == "fetch.input, src/thalweg/sample, does not exist; put the products there"
    )
    _set(root, source="copernicus", input="recipes/mine.products.json")
    assert _only(project.products, root).said.endswith("does not exist; run `thalweg lock`")
    (root / "data").mkdir()
    _set(root, source="local", input="data")
    assert _only(project.products, root).said == "fetch.input, data, is empty; put the products there"
    (root / "data/a.tif").touch()
    assert _only(project.products, root).level == "ok"


def test_a_folder_that_dvc_does_not_know_is_told(root):
    finding = _only(project.pipeline, root)
    assert finding.level == "fail"
    assert "`dvc status`" in finding.said


def test_a_running_queue_is_left_alone(root):
    (root / ".cache").mkdir()
    with FileLock(root / ".cache/queue.lock"):
        assert "is running here" in _only(project.pipeline, root).said


def test_what_a_run_would_make_is_told(root, monkeypatch):
    monkeypatch.setattr(project, "read_changed_stages", lambda _: {f"train@{name}" for name in "abcdef"})
    assert _only(project.pipeline, root).said == "a run would make train@a, train@b, train@c, train@d and 2 more"
    monkeypatch.setattr(project, "read_changed_stages", lambda _: set())
    assert _only(project.pipeline, root).said.startswith("everything is up to date")


def test_the_sample_needs_no_account(root):
    assert _only(account.credentials, root) == ("ok", "the recipe needs none")
    assert list(account.login(root)) == []


@pytest.fixture
def fetching(root, cdse):
    """A recipe that reads the stand-in."""
    _set(root, source="copernicus", options=options(cdse))
    return root


def test_an_account_that_is_missing_is_told(fetching):
    finding = _only(account.credentials, fetching)
    assert finding.level == "fail"
    assert finding.said.startswith("COPERNICUS_LOGIN and COPERNICUS_PASS not set")


def test_an_account_is_tried_only_when_asked(fetching, cdse):
    (fetching / ".env").write_text(f"COPERNICUS_LOGIN={LOGIN}\nCOPERNICUS_PASS={PASSWORD}\n")
    assert _only(account.credentials, fetching).level == "ok"
    assert not cdse.seen("token")
    assert _only(account.login, fetching) == ("ok", "the service takes login and password")
    assert len(cdse.seen("token")) == 1
    assert not (fetching / "cache").exists(), "nothing of it is kept"


def test_a_wrong_password_is_told_without_it(fetching):
    (fetching / ".env").write_text(f"COPERNICUS_LOGIN={LOGIN}\nCOPERNICUS_PASS=not-the-password\n")
    finding = _only(account.login, fetching)
    assert finding.level == "fail"
    assert "check COPERNICUS_LOGIN and COPERNICUS_PASS" in finding.said
    assert "not-the-password" not in finding.said


def test_s3_keys_are_looked_for_where_the_recipe_takes_them(root, cdse):
    _set(root, source="copernicus", options=options(cdse, backend="s3"))
    assert "COPERNICUS_S3_KEY" in _only(account.credentials, root).said


@pytest.mark.usefixtures("root")
def test_the_command_exits_1_where_something_fails():
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert any(line.startswith("ok    params ") for line in lines)
    assert any(line.startswith("fail  products ") for line in lines)
    assert "2 of these must be mended before a run" in result.stderr


@pytest.mark.usefixtures("root")
def test_the_command_is_content_with_what_can_run(monkeypatch):
    import thalweg.doctor as room

    monkeypatch.setattr(room, "CHECKS", {"params": project.recipe})
    result = CliRunner().invoke(cli.app, ["doctor", "--login"])
    assert (result.exit_code, result.stderr) == (0, "")
