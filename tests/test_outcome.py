"""What a run left behind, and the mark on maps that are older than it."""

from pathlib import Path

import pytest
from report_builder import make_map, make_metrics

from thalweg import outcome
from thalweg.errors import StageError

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text((PROJECT / "recipes/sample.yaml").read_text("utf-8"))
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("page")
    make_map(tmp_path)
    make_metrics(tmp_path)
    return tmp_path


def test_paths_are_absolute_and_scores_the_files(finished: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(finished)
    found = outcome.read_outcome(Path())
    assert found.maps == (finished / "maps" / "main" / "classes.tif",)
    assert found.report == finished / "report" / "index.html"
    assert found.headline.startswith("IoU palaeochannel: map main test 0.577")


def test_no_report_is_an_error_with_the_remedy(tmp_path: Path):
    with pytest.raises(StageError, match=r"index\.html is missing, so no run has finished here; run `make train`"):
        outcome.read_outcome(tmp_path)


def test_old_maps_are_marked_and_the_mark_taken_away(finished: Path):
    outcome.mark_stale(finished, ["maps/main"], ["train@unet", "report"])
    said = (finished / outcome.STALE).read_text()
    assert said.startswith("Of an earlier run: maps/main.\nNot finished by the last: train@unet, report.\n")
    outcome.clear_stale(finished)
    assert not (finished / outcome.STALE).exists()
    outcome.clear_stale(finished)


def test_without_old_maps_there_is_no_mark_and_a_former_one_goes(finished: Path):
    outcome.mark_stale(finished, ["maps/main"], ["train@unet"])
    outcome.mark_stale(finished, [], ["report"])
    assert not (finished / outcome.STALE).exists()


def test_without_maps_there_is_nothing_to_mark(tmp_path: Path):
    outcome.mark_stale(tmp_path, [], ["train@unet"])
    assert not (tmp_path / "maps").exists()


def test_dvc_does_not_see_the_mark():
    assert f"/{outcome.STALE}" in (PROJECT / ".dvcignore").read_text().splitlines()
