"""Settings of a machine: `.env`, the shell that wins over it, and where data and records then are."""

from pathlib import Path

import pytest

from thalweg.errors import SettingsError
from thalweg.machine import data_path, read_settings, runs_root
from thalweg.prepare import find_images


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("DATA_ROOT", "OUTPUT_ROOT"):
        monkeypatch.delenv(name, raising=False)
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return tmp_path


def test_the_shell_wins_over_the_file(home, monkeypatch):
    (home / "disk").mkdir()
    Path(".env").write_text("DATA_ROOT=/from/file  # mine\nexport OUTPUT_ROOT='/with space'\nOTHER=1\n")
    assert read_settings(Path(".env"), "DATA_") == {"DATA_ROOT": "/from/file"}
    assert read_settings(Path(".env"), "OUTPUT_") == {"OUTPUT_ROOT": "/with space"}
    monkeypatch.setenv("DATA_ROOT", str(home / "disk"))
    assert read_settings(Path(".env"), "DATA_") == {"DATA_ROOT": str(home / "disk")}
    monkeypatch.setenv("DATA_ROOT", "")
    assert read_settings(Path(".env"), "DATA_") == {"DATA_ROOT": "/from/file"}, "an empty variable says nothing"


def test_a_file_of_windows_is_read_and_one_that_is_no_utf8_is_told_without_what_it_holds():
    Path(".env").write_bytes(b"\xef\xbb\xbfDATA_ROOT=/from/windows\r\nOTHER=1\r\n")
    assert read_settings(Path(".env"), "DATA_") == {"DATA_ROOT": "/from/windows"}
    Path(".env").write_bytes("DATA_ROOT=/größe".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"^\.env is no text in UTF-8; save it as such$") as fault:
        read_settings(Path(".env"), "DATA_")
    assert fault.value.__cause__ is None
    assert fault.value.__suppress_context__


def test_data_are_found_below_their_root(home, monkeypatch):
    (home / "disk" / "EuroSAT").mkdir(parents=True)
    assert data_path(Path("EuroSAT")) == Path("EuroSAT")
    monkeypatch.setenv("DATA_ROOT", str(home / "disk"))
    assert data_path(Path("EuroSAT")) == home / "disk" / "EuroSAT"
    assert find_images(["EuroSAT"]) == [home / "disk" / "EuroSAT"]
    assert data_path(Path("nothing")) == Path("nothing")
    Path("EuroSAT").mkdir()
    assert data_path(Path("EuroSAT")) == Path("EuroSAT"), "what lies here comes first"


def test_records_go_below_the_output_root(home, monkeypatch):
    assert runs_root() == Path("runs")
    assert runs_root(home / "project") == home / "project" / "runs"
    (home / "big").mkdir()
    monkeypatch.setenv("OUTPUT_ROOT", str(home / "big"))
    assert runs_root() == runs_root(home / "project") == home / "big" / "project" / "runs"


def test_roots_that_are_not_there(monkeypatch):
    monkeypatch.setenv("DATA_ROOT", "/nowhere")
    with pytest.raises(SettingsError, match=r"DATA_ROOT is '/nowhere', which is no folder; correct it"):
        data_path(Path("EuroSAT"))
    monkeypatch.setenv("OUTPUT_ROOT", "/nowhere")
    with pytest.raises(
        SettingsError, match=r"OUTPUT_ROOT is '/nowhere', which is no folder that can be written; make it"
    ):
        runs_root()
