"""T40–T42: killed in the middle, two at once, and no room on the disk."""

import signal
import time
from pathlib import Path

import pytest
from standin.faults import Fault
from transport_builder import find_file, make_session, promise, start_download, url_of

from thalweg.errors import DiskSpaceError
from thalweg.http.disk import check_space, free_bytes
from thalweg.http.partial import Partial


def wait_for(path, count, process):
    """Until a file has so many bytes."""
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        if path.exists() and path.stat().st_size >= count:
            return
        time.sleep(0.002)
    pytest.fail(f"{path} never came: {process.communicate()[1]}")


@pytest.mark.parametrize("ranges", [True, False])
def test_t40_killed_in_the_middle_and_run_again(cdse, safe, tmp_path, ranges):
    source = find_file(safe, "B02_20m.jp2")
    target = tmp_path / "out" / source.name
    part = target.with_name(f"{target.name}.part")
    cdse.ranges = ranges
    whole = source.stat().st_size
    cdse.fault("B02_20m", Fault(drip=(whole // 20, 0.05)))
    run = start_download(cdse, tmp_path, {source: target})
    wait_for(part, whole // 4, run)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    run.communicate()
    assert not target.exists()
    had = part.stat().st_size
    assert 0 < had < whole
    make_session(cdse, tmp_path).download(url_of(cdse, source), target, promise(source))
    assert target.read_bytes() == source.read_bytes()
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    again = cdse.seen("B02_20m")[-1]
    assert (again.status, again.sent) == ((206, whole - had) if ranges else (200, whole))
    assert cdse.identity.issued == ["password"]


def test_t40_killed_just_before_the_end_nothing_moves_again(cdse, safe, tmp_path):
    source = find_file(safe)
    target = tmp_path / source.name
    target.with_name(f"{target.name}.part").write_bytes(source.read_bytes())
    make_session(cdse, tmp_path).download(url_of(cdse, source), target, promise(source))
    assert target.read_bytes() == source.read_bytes()
    assert cdse.requests == []


def test_t41_two_processes_and_one_download(cdse, safe, tmp_path):
    cdse.pause = 0.1
    files = {one: tmp_path / "out" / one.name for one in sorted(safe.rglob("*.jp2"))[:6]}
    runs = [start_download(cdse, tmp_path, files) for _ in range(2)]
    assert [run.communicate(timeout=30)[1] for run in runs] == ["", ""]
    assert all(target.read_bytes() == source.read_bytes() for source, target in files.items())
    assert cdse.sent_bytes("$value") == sum(one.stat().st_size for one in files)
    assert len(cdse.seen("$value")) == len(files)
    assert cdse.identity.issued == ["password"]


def test_t41_of_two_accounts_too(cdse, safe, tmp_path):
    cdse.pause = 0.1
    source = find_file(safe)
    target = tmp_path / "out" / source.name
    runs = [start_download(cdse, tmp_path / account, {source: target}) for account in ("mine", "yours")]
    assert [run.communicate(timeout=30)[1] for run in runs] == ["", ""]
    assert [one.status for one in cdse.seen("$value")] == [200]
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_t41_whoever_dies_leaves_the_way_free(cdse, safe, tmp_path):
    cdse.throttle = 0.2
    source = find_file(safe, "B02_20m.jp2")
    target = tmp_path / "out" / source.name
    first = start_download(cdse, tmp_path, {source: target}, limit=1)
    until = time.monotonic() + 20
    while not cdse.seen("B02_20m") and time.monotonic() < until:
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    make_session(cdse, tmp_path, limit=1).download(url_of(cdse, source), target, promise(source))
    assert target.read_bytes() == source.read_bytes()


def test_t42_a_full_disk_is_told_and_the_next_run_goes_on(cdse, safe, tmp_path):
    cdse.ranges = True
    source = find_file(safe, "B02_20m.jp2")
    target = tmp_path / "out" / source.name
    room = source.stat().st_size // 2
    run = start_download(cdse, tmp_path, {source: target}, largest_file=room)
    told = run.communicate(timeout=30)[1].splitlines()[-1]
    assert run.returncode == 1
    assert f"DiskSpaceError: {target}.part cannot grow beyond {room} bytes" in told
    assert told.endswith("make room and run it again, what has come stays")
    assert not target.exists()
    make_session(cdse, tmp_path).download(url_of(cdse, source), target, promise(source))
    assert target.read_bytes() == source.read_bytes()
    assert cdse.seen("B02_20m")[-1].sent == source.stat().st_size - room


def test_t42_enospc_itself(tmp_path):
    part = Partial(tmp_path / "file")
    part.path = Path("/dev/full")
    told = "/dev/full cannot grow beyond 0 bytes: No space left on device; make room"
    with pytest.raises(DiskSpaceError, match=told), part.writing(None, resume=True) as file:
        file.write(bytes(1 << 17))


def test_other_faults_of_the_disk_stay_what_they_are(tmp_path):
    part = Partial(tmp_path / "file")
    part.path.mkdir()
    with pytest.raises(IsADirectoryError), part.writing(None, resume=True):
        pass
    with pytest.raises(IsADirectoryError), part.claimed():
        pass


def test_t42_room_is_asked_for_before_the_start(tmp_path):
    place = tmp_path / "not" / "yet" / "there"
    check_space(place, 1000, margin=1000)
    with pytest.raises(DiskSpaceError, match=r"there needs 1000000\.00 GB and 0\.27 GB to spare, but its disk has"):
        check_space(place, 10**15)
    assert free_bytes(place) == pytest.approx(free_bytes(tmp_path), rel=0.1)
    assert not place.exists()
