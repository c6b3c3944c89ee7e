"""Power loss, twenty times over: real DVC, its shell and the training killed together at random moments."""

import hashlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from test_repro import Project

pytestmark = pytest.mark.slow

KILLS = 20
TARGETS = ("train@unet", "train@fcn")
FOLDERS = ("models", "metrics", "build/history", "build/heldout")


def _start(project: Project) -> subprocess.Popen[bytes]:
    command = ["dvc", "repro", *TARGETS]
    return subprocess.Popen(command, cwd=project.home, env=project.env, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip


def _outs(home: Path) -> dict[str, str]:
    files = [path for folder in FOLDERS for path in sorted((home / folder).rglob("*")) if path.is_file()]
    return {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _forget(project: Project) -> None:
    """As if the two had never been trained: outs, lock entries and the run cache."""
    project.call("git", "checkout", "-q", "--", ".")
    project.call("rm", "-rf", *FOLDERS, ".dvc/cache", "dvc.lock", ".cache/resume")


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_ran_through(tmp_path):
    project = Project(tmp_path)
    for member in project.params["models"].values():
        member |= {"max_epochs": 40, "patience": 40, "chips_per_epoch": 32, "keep": "best"}
    project.params["models"]["fcn"] |= {"ema": 0.9, "schedule": "cosine", "accumulate": 2}
    project.save()
    project.call("git", "add", "-A")
    project.call("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "members")
    began = time.monotonic()
    project.call("dvc", "repro", *TARGETS)
    whole_s = time.monotonic() - began
    through = _outs(project.home)
    assert {name for name in through if name.endswith("weights.safetensors")} == {
        "models/unet/weights.safetensors", "models/fcn/weights.safetensors"
    }  # fmt: skip
    moments, kills, resumed, ends = random.Random(5), 0, 0, 0
    while kills < KILLS:
        _forget(project)
        while True:
            process = _start(project)
            try:
                _, said = process.communicate(timeout=moments.uniform(0.2, 0.8) * whole_s if kills < KILLS else None)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                kills += 1
                continue
            assert process.returncode == 0, said.decode()
            break
        ends += 1
        assert _outs(project.home) == through
    for path in (project.home / "runs").glob("*/*/run.json"):
        resumed += '"resumed_from_epoch": 0' not in path.read_text() and "resumed_from_epoch" in path.read_text()
    assert resumed >= 2, "some kills fell into training"
    print(f"{kills} kills, {ends} ends, {resumed} of them resumed, {whole_s:.0f} s uninterrupted")  # noqa: T201


def test_params_that_are_edited_while_training_fail_the_stage(tmp_path):
    project = Project(tmp_path)
    project.params["models"]["unet"] |= {"max_epochs": 100, "patience": 100, "chips_per_epoch": 32}
    project.save()
    process = subprocess.Popen(["dvc", "repro", "train@unet"], cwd=project.home, env=project.env, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    while not list((project.home / ".cache/resume").rglob("last.ckpt")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    project.params["models"]["unet"]["lr"] = 0.001
    project.save()
    said = process.communicate()[0]
    assert process.returncode != 0
    assert (
        "'models.unet' changed while the stage was running, so its result is thrown away; run `dvc repro` again" in said
    )
    assert not (project.home / "models/unet").exists()
