"""Sweeps with real DVC: `dvc exp run --queue -S` makes one experiment per combination, and each leaves its metrics."""

import json

import pytest
from test_repro import Project

pytestmark = pytest.mark.slow


def test_a_queued_sweep_trains_every_combination(tmp_path):
    project = Project(tmp_path)
    project.repro()
    sweep = ["-S", "models.unet.lr=0.001,0.002", "-S", "models.unet.loss={cross_entropy: 1.0},{dice: 1.0}"]
    queued = project.call("dvc", "exp", "run", "--queue", *sweep)
    assert queued.count("Queued experiment") == 4
    project.call("dvc", "queue", "start", "--jobs", "1")
    project.call("dvc", "queue", "logs", *_first_task(project), "--follow")
    _wait_until_done(project)
    shown = json.loads(project.call("dvc", "exp", "show", "--json"))
    runs = [run for rev in shown for run in (rev.get("experiments") or [])]
    seen = [run["revs"][0]["data"] for run in runs]
    rates = {data["params"]["params.yaml"]["data"]["models"]["unet"]["lr"] for data in seen}
    assert len(seen) == 4
    assert rates == {0.001, 0.002}
    assert all(data["metrics"]["metrics/unet.json"]["data"]["test"]["miou"] > 0 for data in seen)
    assert json.loads((project.home / "metrics/unet.json").read_text())  # the workspace keeps its own run


def _first_task(project: Project) -> list[str]:
    return [project.call("dvc", "queue", "status").split("\n")[1].split()[0]]


def _wait_until_done(project: Project) -> None:
    import time

    for _ in range(240):
        status = project.call("dvc", "queue", "status")
        if "Running" not in status and "Queued" not in status:
            assert "Failed" not in status, status
            return
        time.sleep(2)
    pytest.fail(f"the queue did not end: {status}")
