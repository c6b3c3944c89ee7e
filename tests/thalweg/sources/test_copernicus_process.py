"""Fetches that are killed, doubled, or starved of disk."""

import random
import shutil
import time
from pathlib import Path

import fetch_runner
import pytest
from fetch_runner import complete, differing, freeze, start
from standin import Standin

from thalweg import sample
from thalweg.errors import DiskSpaceError
from thalweg.sources import copernicus

TILES = ("T20KNA", "T20KNB", "T20KPA")


@pytest.fixture(scope="module")
def safes(tmp_path_factory):
    """Three products, whose images have some tens of kB."""
    folder = tmp_path_factory.mktemp("made")
    return [sample.make_product(folder, tile=tile, date="2025-10-03", seed=3, size_60m_px=120) for tile in TILES]


def finish(process, seconds=60):
    process.join(seconds)
    assert process.exitcode is not None, "the fetch hangs"
    return process.exitcode


def kill_once(cdse, safes, home: Path, after_s: float) -> set[Path]:
    """A fetch killed after so many seconds and run again; files that were whole in between."""
    said, given = freeze(cdse, home)
    process = start(said, given, home)
    asked = len(cdse.requests)
    while len(cdse.requests) == asked and process.is_alive():
        time.sleep(0.002)
    time.sleep(after_s)
    process.kill()
    process.join(10)
    assert not differing(home, safes)
    whole, before = complete(home), len(cdse.requests)
    again = start(said, given, home, "again")
    assert finish(again) == 0, [path.read_text()[-900:] for path in home.glob("*.txt")]
    moved = "\n".join(one.path for one in cdse.requests[before:] if one.host == "download" and "$value" in one.path)
    nodes = {path: "".join(f"/Nodes({part})" for part in path.parts) for path in whole}
    assert not [path for path, node in nodes.items() if node in moved]
    assert len(complete(home)) == 18
    assert not differing(home, safes)
    assert not list((home / "store").rglob("*.part"))
    return whole


@pytest.mark.parametrize("ranges", [False, True])
def test_t40_killed_in_the_middle(safes, tmp_path, ranges):
    with Standin(safes, ranges=ranges, throttle=0.1, pause=0.03) as cdse:
        whole = kill_once(cdse, safes, tmp_path, 0.9)
    assert 0 < len(whole) < 18


@pytest.mark.slow
def test_t40_killed_at_fifty_random_moments(safes, tmp_path):
    dice = random.Random(3)
    states = []
    for number in range(50):
        with Standin(safes, ranges=number % 2 == 1, throttle=0.1, pause=0.03) as cdse:
            states.append(len(kill_once(cdse, safes, tmp_path / str(number), dice.uniform(0, 1.6))))
        shutil.rmtree(tmp_path / str(number))
    assert len(set(states)) > 8, states  # the moments did differ


def test_t41_two_processes_one_download(safes, tmp_path):
    with Standin(safes, pause=0.03) as cdse:  # a throttle would count streams that the client has done with
        said, given = freeze(cdse, tmp_path)
        both = [start(said, given, tmp_path, raw) for raw in ("one", "two")]
        assert [finish(process) for process in both] == [0, 0]
        values = [one.path for one in cdse.seen("$value", "download") if one.status == 200]
        assert len(values) == len(set(values)) == 18
        assert cdse.max_concurrent <= 4
        assert cdse.identity.issued == ["password"]
    assert len(list((tmp_path / "one").rglob("*.jp2"))) == len(list((tmp_path / "two").rglob("*.jp2"))) == 9
    assert not differing(tmp_path, safes)


@pytest.mark.parametrize("ranges", [False, True])
def test_t42_disk_full_in_the_middle_then_resumed(safes, tmp_path, ranges):
    with Standin(safes, ranges=ranges) as cdse:
        said, given = freeze(cdse, tmp_path)
        assert finish(start(said, given, tmp_path, file_limit=16_000)) == 3
        assert (tmp_path / "error.txt").read_text().startswith("DiskSpaceError: ")
        assert "full" in (tmp_path / "error.txt").read_text()
        kept = complete(tmp_path)
        part = next((tmp_path / "store").rglob("*.part"))
        assert 0 < part.stat().st_size <= 16_000
        assert not differing(tmp_path, safes)
        before = len(cdse.requests)
        assert finish(start(said, given, tmp_path)) == 0
        again = cdse.requests[before:]
        assert any(one.status == 206 for one in again) == ranges
        assert not [
            path
            for path in kept
            if any(f"Nodes({path.name})/$value" in one.path and f"Nodes({path.parts[0]})" in one.path for one in again)
        ]
    assert not differing(tmp_path, safes)


def test_t42_no_room_is_said_before_an_image_moves(safes, tmp_path, monkeypatch):
    monkeypatch.setenv("COPERNICUS_LOGIN", fetch_runner.LOGIN)
    monkeypatch.setenv("COPERNICUS_PASS", fetch_runner.PASSWORD)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with Standin(safes) as cdse:
        said, given = freeze(cdse, tmp_path)
        with pytest.raises(DiskSpaceError, match="make room, or fetch fewer products or bands"):
            copernicus.deliver(fetch_runner.parse(said), given, tmp_path / "raw", tmp_path / "store")
        assert not cdse.seen(".jp2")
