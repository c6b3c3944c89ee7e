"""A real SLURM of one node: its own check of the specs, a whole pipeline through it, and processes that srun starts."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import slurm_cluster
from image_builder import World, make_raster
from member_builder import classes, make_places, member, places, train_params
from test_repro import Project

from thalweg.submit import jobs, shares
from thalweg.submit.order import Order
from thalweg.train import train_member

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm_cluster.missing()), reason=f"no SLURM here: {slurm_cluster.missing()}"),
]
TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    home = (
        Path("/tmp") / f"slurm-{tmp_path_factory.getbasetemp().name}"
    )  # a socket's path has a hundred letters at most
    shutil.rmtree(home, ignore_errors=True)
    with slurm_cluster.cluster(home) as env:
        yield env
    shutil.rmtree(home)


def test_the_scheduler_itself_checks_the_specs(cluster, tmp_path):
    order = Order(before=("split",), waves=(("train@a", "train@b"),), only=None)
    given = jobs.Resources(nodes=1, processes=1, gpus=0, cpus=1, memory_gib=1, hours=2, at_once=1, options={"partition": "main"})  # fmt: skip
    (tmp_path / "runs").mkdir()
    for job in [*jobs.plan(order, Path("runs")), *shares.plan(Path("runs"), [1, 3], ("--splits=3", "--", "a b"))]:
        spec = jobs.render("slurm", job, given, tmp_path, Path("runs"))
        words = ["sbatch", "--test-only"]
        done = subprocess.run(words, input=spec, env=cluster, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        wrong = spec.replace("--partition=main", "--partition=none")
        assert subprocess.run(words, input=wrong, env=cluster, text=True, capture_output=True, check=False).returncode


def test_a_pipeline_goes_through_it(cluster, tmp_path):
    project = Project(tmp_path)
    project.env |= {name: cluster[name] for name in ("PATH", "SLURM_CONF")} | {
        "PATH": f"{Path(sys.executable).parent}:{cluster['PATH']}"
    }
    submit = (sys.executable, "-m", "thalweg.cli", "submit", "--gpus", "0", "--cpus", "1", "--memory-gib", "1")
    said = project.call(*submit)
    (folder,) = (project.home / "runs/submit").iterdir()
    last = json.loads((folder / "sent.json").read_text())["finish"]
    slurm_cluster.wait_for(last, cluster, 900)
    logs = "\n".join(path.read_text() for path in sorted(folder.glob("*.log")))
    assert "up to date" in project.status(), f"{said}\n{logs}"
    assert (project.home / "maps/main/classes.tif").is_file(), logs
    assert {path.name for path in folder.glob("wave-0.*.log")} == {"wave-0.0.log", "wave-0.1.log", "wave-0.2.log"}
    assert {path.name for path in (folder / "receipts").iterdir()} == {"train@unet", "train@fcn", "yardstick@boosting"}


def test_an_array_of_three_shares_and_the_map_after_it(cluster, tmp_path):
    world = World(tmp_path / "world")
    planes = np.random.default_rng(5).integers(500, 4000, (4, 1100, 70)).astype("int16")
    image = make_raster(tmp_path / "tall & thin's.tif", planes, crs=world.scene.record.crs, pixel=60.0)
    env = cluster | {"PATH": f"{Path(sys.executable).parent}:{cluster['PATH']}", "OMP_NUM_THREADS": "1"}

    def predict(*more: str) -> str:
        words = [sys.executable, "-m", "thalweg.cli", "predict", world.model, image, "--bands", "B02=1,B03=2,B04=3,B8A=4",
                 "--scale", "0.0001", "--device", "cpu", *more]  # fmt: skip
        return subprocess.run(words, cwd=tmp_path, env=env, text=True, capture_output=True, check=True).stdout

    jobs_of = (
        "--out",
        "by jobs",
        "--splits",
        "3",
        "--submit",
        "slurm",
        "--cpus",
        "1",
        "--node-gib",
        "1",
        "--hours",
        "1",
    )
    said = predict(*jobs_of)
    (folder,) = (tmp_path / "runs/submit").iterdir()
    slurm_cluster.wait_for(json.loads((folder / "sent.json").read_text())["merge"], cluster, 900)
    logs = {path.name: path.read_text() for path in sorted(folder.glob("*.log"))}
    assert set(logs) == {"share.0.log", "share.1.log", "share.2.log", "merge.log"}, said
    assert "predicted split 2 of 3" in logs["share.1.log"]
    assert "mapped 1 image by one; open by jobs/classes.tif" in logs["merge.log"], logs
    predict("--out", "by one")
    for name in ("classes.tif", "probs.tif", "uncertainty.tif"):
        assert (tmp_path / "by jobs" / name).read_bytes() == (tmp_path / "by one" / name).read_bytes(), name


def test_processes_that_srun_starts_train_as_one(cluster, tmp_path):
    make_places(tmp_path, (64, 64))
    changes = {"model": "fcn", "options": {"num_filters": 8}, "augment": {}, "batch_size": 6, "chips_per_epoch": 12, "max_epochs": 2}  # fmt: skip
    script = tmp_path / "job.sh"
    words = f"{sys.executable} {TESTS / 'several.py'} {tmp_path} srun 2 '{json.dumps(changes)}'"
    script.write_text(
        "#!/bin/bash\n#SBATCH --nodes=1\n#SBATCH --ntasks-per-node=2\n#SBATCH --cpus-per-task=1\n"
        f"#SBATCH --output={tmp_path}/job.log\nexport PYTHONPATH={TESTS}:$PYTHONPATH OMP_NUM_THREADS=1\n"
        f"exec srun --kill-on-bad-exit=1 {words}\n"
    )
    number = subprocess.run(["sbatch", "--parsable", script], env=cluster, text=True, capture_output=True, check=True).stdout  # fmt: skip
    slurm_cluster.wait_for(number.strip(), cluster, 600)
    log = (tmp_path / "job.log").read_text()
    assert (tmp_path / "srun/metrics.json").is_file(), log
    assert log.count("m epoch 2/2") == 1
    train_member("m", member(**changes), train_params(), classes(), places(tmp_path, "alone"))
    several, alone = (json.loads((tmp_path / outs / "metrics.json").read_text()) for outs in ("srun", "alone"))
    assert several["val"] == pytest.approx(alone["val"], abs=1e-6)
