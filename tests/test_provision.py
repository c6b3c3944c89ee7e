"""`thalweg search`, `lock` and `fetch --dry-run` on a recipe that points at the stand-in."""

import json

import pytest
from fetch_runner import options
from ruamel.yaml import YAML
from typer.testing import CliRunner

from thalweg import cli
from thalweg.errors import LockError, ParamsError

SEARCH = {"level": "L2A", "tiles": ["T20KNA"], "area": None, "dates": [["2025-10-01", "2025-10-31"]],
          "cloud_cover_max": 100.0, "coverage_min": 0.0, "baseline_min": None, "baseline_rule": "newest", "best": "all"}  # fmt: skip


@pytest.fixture
def project(cdse, tmp_path, monkeypatch):
    """A folder with a params.yaml; no account."""
    monkeypatch.chdir(tmp_path)
    for name in ("COPERNICUS_LOGIN", "COPERNICUS_PASS"):
        monkeypatch.delenv(name, raising=False)
    write(cdse, tmp_path)
    return tmp_path


def write(cdse, folder, source="copernicus", given="recipes/r.products.json", **changes):
    said = options(cdse, search=SEARCH, products=[]) | changes
    YAML().dump(
        {"fetch": {"source": source, "input": given, "options": said, "masks": "masks/none.yaml", "elevation": None}},
        folder / "params.yaml",
    )


def run(*words):
    result = CliRunner().invoke(cli.app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_search_needs_no_account_and_writes_nothing(project, safe):
    shown = run("search")
    assert safe.stem in shown
    assert "2025-10-03" in shown
    assert "05.11" in shown
    assert "1 products, about" in shown
    assert not (project / "recipes").exists()


@pytest.mark.usefixtures("project")
def test_search_says_what_is_left_out(cdse):
    cdse.catalogue.rows[0]["Online"] = False
    with pytest.raises(Exception, match=r"none of 1 products fits .*offline"):
        run("search", "-v")


def test_lock_then_dry_run(project, cdse, safe):
    with pytest.raises(LockError, match=r"r\.products\.json is missing; run `thalweg lock`"):
        run("fetch", "--dry-run")
    assert "wrote recipes/r.products.json; commit it" in run("lock")
    said = json.loads((project / "recipes/r.products.json").read_text())
    assert [one["name"] for one in said["products"]] == [safe.stem]
    assert said["query"]["search"]["tiles"] == ["T20KNA"]
    before = (project / "recipes/r.products.json").read_bytes()
    run("lock")
    assert (project / "recipes/r.products.json").read_bytes() == before
    shown = run("fetch", "--dry-run")
    assert safe.stem in shown
    assert "MB to move" in shown
    assert "are free, enough" in shown
    assert not cdse.seen("$value")


def test_sources_without_a_catalogue(project):
    yaml = {"fetch": {"source": "local", "input": "data", "masks": "masks/none.yaml", "elevation": None, "options": {"products": [
        {"form": "safe", "pattern": "*", "bands": {}, "scale": 1, "offset": 0, "nodata": None, "date": None, "more": None}]}}}  # fmt: skip
    YAML().dump(yaml, project / "params.yaml")
    for words in (("search",), ("fetch", "--dry-run")):
        with pytest.raises(ParamsError, match="source 'local' has no catalogue to search"):
            run(*words)


def test_an_input_that_is_no_lock(project, cdse):
    write(cdse, project, given="data")
    with pytest.raises(ParamsError, match=r"fetch\.input is 'data', expected the lock recipes/<name>\.products\.json"):
        run("lock")


@pytest.mark.usefixtures("project")
def test_only_params_yaml_is_fetched():
    with pytest.raises(ParamsError, match=r"make use RECIPE=other"):
        run("fetch", "--params", "recipes/other.yaml")
