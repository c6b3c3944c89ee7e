"""The boundary that every stage shares: whole outs or none, one line per error, no exit 0 on SIGTERM."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from thalweg import params, stage
from thalweg.errors import ParamsChangedError, StageError
from thalweg.params.train import Train

PARAMS = (
    "train: {accelerator: cpu, devices: 1, num_nodes: 1, strategy: auto, precision: 32-true, compile: false, "
    "channels_last: true, workers: 0, loggers: [csv], watch: [], profiler: null}\n"
)


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(params, "_loaded", {})
    Path("params.yaml").write_text(PARAMS)


def test_outs_are_handed_over_together_at_the_end():
    with stage.outs("build/folder", "metrics/file.json") as [folder, file]:
        folder.mkdir()
        (folder / "a").write_text("new")
        file.write_text("{}")
        assert not Path("build/folder").exists()
    assert Path("build/folder/a").read_text() == "new"
    assert Path("metrics/file.json").read_text() == "{}"
    assert list(stage.STAGING.iterdir()) == []


def test_an_old_folder_is_replaced_whole():
    Path("build/folder").mkdir(parents=True)
    Path("build/folder/old").write_text("old")
    with stage.outs("build/folder") as [folder]:
        folder.mkdir()
    assert list(Path("build/folder").iterdir()) == []


def test_a_failing_stage_leaves_nothing():
    with pytest.raises(RuntimeError, match="midway"), stage.outs("models/unet") as [folder]:
        folder.mkdir()
        raise RuntimeError("midway")
    assert not Path("models").exists()
    assert list(stage.STAGING.iterdir()) == []


def test_an_out_that_was_not_made_is_a_fault():
    with pytest.raises(StageError, match="models/unet was not made"), stage.outs("models/unet"):
        pass


def test_params_edited_meanwhile_throw_the_result_away():
    params.load(Train)
    with (
        pytest.raises(ParamsChangedError, match=r"params\.yaml: 'train' changed while the stage was running"),
        stage.outs("out") as [out],
    ):
        out.write_text("made with workers 0")
        Path("params.yaml").write_text(PARAMS.replace("workers: 0", "workers: 2"))
    assert not Path("out").exists()


SCRIPT = """
import os, signal
from thalweg import stage
from thalweg.errors import MaskError
def main(kind: str) -> None:
    if kind == "error":
        raise MaskError("masks/a.tif holds 7")
    if kind == "full":
        with open("/dev/full", "w") as full:
            full.write("all of it")
    if kind == "forbidden":
        raise PermissionError(13, "Permission denied", "maps/main")
    if kind == "missing":
        raise FileNotFoundError(2, "No such file or directory", "a")
    if kind == "bug":
        raise KeyError("bug")
    with stage.outs("out") as [out]:
        out.write_text("half")
        os.kill(os.getpid(), signal.SIGTERM)
stage.run(main)
"""


def run(kind: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, kind], capture_output=True, text=True, check=False, env=os.environ
    )


@pytest.mark.parametrize(("kind", "told"), [
    ("full", "error: a file: No space left on device; make room, then run it again\n"),
    ("forbidden", "error: maps/main: Permission denied; see to it that this user may, or name another place, then run it "
                  "again\n"),
])  # fmt: skip
def test_what_the_disk_refuses_is_one_line(kind, told):
    done = run(kind)
    assert (done.returncode, done.stderr) == (1, told)


def test_a_file_that_the_code_misses_is_a_bug():
    assert run("missing").stderr.startswith("Traceback")


KILLED = """
import os, signal
from thalweg import stage
with stage.outs("out") as [out]:
    out.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_stage_left_goes_and_what_a_running_one_makes_stays():
    killed = subprocess.run([sys.executable, "-c", KILLED], check=False, env=os.environ)
    assert killed.returncode == -9
    [left] = stage.STAGING.iterdir()
    waiting = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "print('ready', flush=True); input()")
    with subprocess.Popen([sys.executable, "-c", waiting], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        with stage.outs("other") as [other]:
            other.write_text("whole")
        assert not left.exists()
        assert (stage.STAGING / f"{socket.gethostname()}-{running.pid}" / "0" / "out").read_text() == "half"
        running.communicate(b"\n")
    assert Path("out").read_text() == "half"
    assert list(stage.STAGING.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_stage_ends_with_the_process_that_started_it():
    sleeper = (
        "import time; from thalweg import stage\ndef main(): print('up', flush=True); time.sleep(60)\nstage.run(main)"
    )
    parent = f"import os, subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {sleeper!r}], stdout=subprocess.PIPE); child.stdout.readline(); print(child.pid, flush=True); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=False)
    child = int(done.stdout)
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            return
        time.sleep(0.05)
    os.kill(child, 9)
    raise AssertionError(f"the stage {child} outlived its parent")


def test_our_errors_are_one_line():
    done = run("error")
    assert done.returncode == 1
    assert done.stderr.strip() == "error: masks/a.tif holds 7"


def test_bugs_keep_their_traceback():
    done = run("bug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "KeyError" in done.stderr


def test_sigterm_exits_143_and_hands_nothing_over():
    assert run("term").returncode == 143
    assert not Path("out").exists()
