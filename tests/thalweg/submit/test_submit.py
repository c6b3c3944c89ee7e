"""Specs against golden files, calls against a stub that records them, receipts, and a whole pipeline by a stub that runs."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from scheduler_stub import ENDINGS, FOLDER, OPTIONS, RUNS, resources, stub
from test_repro import ROOT, Project

from thalweg.commands.scheduled import to_options
from thalweg.errors import ParamsError, SceneError, StageError
from thalweg.submit import jobs, receipts, run
from thalweg.submit import order as orders
from thalweg.submit.order import Order

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value")  # of pygtrie, in DVC's own graph
GOLDEN = Path(__file__).parent / "golden"
ORDER = Order(before=("fetch", "preprocess@s2_60m", "split"), waves=(("train@fcn", "train@judge", "yardstick@boosting"), ("train@unet",)), only=None)  # fmt: skip
PREPARED = ORDER.model_copy(update={"before": ()})


@pytest.fixture
def elsewhere(monkeypatch):
    """As on a cluster whose shared disk holds the environment."""
    monkeypatch.setattr(sys, "executable", "/shared/rivers/.venv/bin/python")


def specs(name: str, order: Order, **changes) -> dict[str, str]:
    given = resources(options=OPTIONS[name], **changes)
    planned = jobs.plan(order, FOLDER)
    jobs.check(name, planned, given)
    return {job.name: jobs.render(name, job, given, Path("/shared/rivers"), FOLDER) for job in planned}


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("name", ENDINGS)
def test_specs_are_the_golden_files(name):
    made = specs(name, PREPARED if name == "run_ai" else ORDER)
    there = {path.name.removesuffix(f".{ENDINGS[name]}"): path.read_text("utf-8") for path in (GOLDEN / name).iterdir()}
    if os.environ.get("THALWEG_WRITE_GOLDEN"):
        for job, text in made.items():
            (GOLDEN / name / f"{job}.{ENDINGS[name]}").write_text(text, "utf-8")
        pytest.skip("written, not compared")
    assert made == there


@pytest.mark.usefixtures("elsewhere")
def test_slurm_starts_processes_of_several_nodes_by_srun():
    wave = specs("slurm", ORDER, nodes=3, processes=4)["wave-0"]
    for line in ("#SBATCH --nodes=3", "#SBATCH --ntasks-per-node=4", "#SBATCH --cpus-per-task=4", "#SBATCH --gpus-per-node=2"):  # fmt: skip
        assert line in wave.splitlines()
    assert wave.splitlines()[-1].endswith(f"submitted task {FOLDER} 0 --launch 'srun --kill-on-bad-exit=1'")
    assert "srun" not in specs("slurm", ORDER, nodes=3)["finish"]


@pytest.mark.usefixtures("elsewhere")
def test_specs_are_what_their_readers_read():
    for text in specs("slurm", ORDER).values():
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    for name, text in specs("aws_batch", ORDER).items():
        spec = json.loads(text)
        assert spec["jobQueue"] == "gpu-queue"
        assert spec.get("arrayProperties") == ({"size": 3} if name == "wave-0" else None), (
            "an array has two tasks at least"
        )
    for name, text in specs("run_ai", PREPARED).items():
        spec = YAML(typ="safe").load(text)
        pod = spec["spec"]["template"]["spec"]
        assert pod["schedulerName"] == "runai-scheduler"
        assert ("nvidia.com/gpu" in pod["containers"][0]["resources"]["limits"]) == name.startswith("wave")


@pytest.mark.parametrize(
    ("name", "order", "changes", "said"),
    [
        ("pbs", ORDER, {}, r"there is no scheduler 'pbs'; give one of aws_batch, run_ai, slurm"),
        ("aws_batch", ORDER, {"options": {"queue": "q"}}, r"aws_batch needs definition; give --set definition=…"),
        (
            "aws_batch",
            ORDER,
            {"options": OPTIONS["aws_batch"], "nodes": 2},
            r"no arrays of tasks on several nodes; set",
        ),
        (
            "run_ai",
            ORDER,
            {"options": OPTIONS["run_ai"]},
            r"Run:AI has no order among jobs, .* run `dvc repro split` first",
        ),
        ("run_ai", PREPARED, {"options": OPTIONS["run_ai"], "nodes": 2}, r"Run:AI's tasks have one node here; set"),
    ],
)
def test_what_a_scheduler_needs_and_cannot_do(name, order, changes, said):
    with pytest.raises(StageError, match=said):
        jobs.check(name, jobs.plan(order, FOLDER), resources(**changes))


def test_aws_has_a_longest_array():
    many = Order(before=(), waves=(tuple(f"train@m{k}" for k in range(10_001)),), only=None)
    with pytest.raises(
        StageError, match=r"takes 10000 tasks in an array; choose some by --only, or give fewer --splits"
    ):
        jobs.check("aws_batch", jobs.plan(many, FOLDER), resources(options=OPTIONS["aws_batch"]))


def test_options_have_values():
    assert to_options(["constraint=a100|h100", "comment=a=b"]) == {"constraint": "a100|h100", "comment": "a=b"}
    with pytest.raises(ParamsError, match=r"--set partition names no value; give --set NAME=VALUE"):
        to_options(["partition"])


@pytest.mark.parametrize("name", run.INDICES)
def test_schedulers_say_which_task_this_is(name):
    assert run.index({name: "7", "HOME": "/"}) == 7
    assert run.index({"HOME": "/"}) == 0


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """A command that notes how it is called and counts jobs from 101 on; it refuses its third call where told to."""
    home = tmp_path / "bin"
    stub(home, "sbatch", '#!/bin/bash\necho "$*" >> "$(dirname "$0")/calls"\n'
         'count=$(wc -l < "$(dirname "$0")/calls")\n'
         '[ "$count" = "$REFUSED" ] && { echo "sbatch: error: invalid partition" >&2; exit 1; }\necho "$((100 + count));lab"\n')  # fmt: skip
    monkeypatch.setenv("PATH", f"{home}:{os.environ['PATH']}")
    return home / "calls"


def test_jobs_are_handed_over_in_order(tmp_path, sbatch):
    planned = jobs.plan(ORDER, FOLDER)
    sent = jobs.send("slurm", planned, {job.name: Path(f"{job.name}.sh") for job in planned}, tmp_path)
    assert {one.job.name: one.number for one in sent} == {"prepare": "101", "wave-0": "102", "wave-1": "103", "finish": "104"}  # fmt: skip
    assert sbatch.read_text().splitlines() == [
        "--parsable prepare.sh",
        "--parsable --dependency=afterok:101 --kill-on-invalid-dep=yes wave-0.sh",
        "--parsable --dependency=afterany:102 --kill-on-invalid-dep=yes wave-1.sh",
        "--parsable --dependency=afterany:103 --kill-on-invalid-dep=yes finish.sh",
    ]


@pytest.mark.usefixtures("sbatch")
def test_a_refused_job_says_what_was_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("REFUSED", "3")
    planned = jobs.plan(ORDER, FOLDER)
    with pytest.raises(StageError, match=r"failed \(sbatch: error: invalid partition\); taken so far: prepare as 101, wave-0 as 102, which"):  # fmt: skip
        jobs.send("slurm", planned, {job.name: Path("x.sh") for job in planned}, tmp_path)


def test_no_scheduler_here(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StageError, match=r"aws is not on PATH here; submit where the scheduler's commands are"):
        jobs.send("aws_batch", jobs.plan(ORDER, FOLDER)[:1], {"prepare": Path("x.json")}, tmp_path)


def test_other_schedulers_calls():
    aws, kubectl = jobs.load("aws_batch"), jobs.load("run_ai")
    assert aws.command(Path("a.json"), "id-1", True) == [
        "aws", "batch", "submit-job", "--cli-input-json", "file://a.json", "--output", "json", "--depends-on", "jobId=id-1"
    ]  # fmt: skip
    assert aws.read_number('{"jobName": "x", "jobId": "id-2"}') == "id-2"
    assert kubectl.command(Path("a.yaml"), "x", True) == [
        "kubectl",
        "create",
        "--filename",
        "a.yaml",
        "--output",
        "name",
    ]
    assert kubectl.read_number("job.batch/thalweg-wave-0-x7f\n") == "job.batch/thalweg-wave-0-x7f"


@pytest.fixture
def plain(tmp_path):
    """The project's dvc.yaml and params without anything that was made, and no git."""
    from dvc.repo import Repo

    for name in ("dvc.yaml", "dvc.lock"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, tmp_path / name)
    params = YAML(typ="safe").load((ROOT / "recipes/sample.yaml").read_text())
    params["models"]["unet"]["after"] = "models/fcn"
    YAML().dump(params, tmp_path / "params.yaml")
    for folder in ("src", "stages", "masks"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    Repo.init(str(tmp_path), no_scm=True)
    return tmp_path


def test_members_that_come_after_others_are_a_wave_of_their_own(plain):
    every = orders.build(plain, {"fetch"})
    assert every.before == ("fetch", "preprocess@s2_20m", "preprocess@s2_60m", "split")
    assert [set(wave) for wave in every.waves] == [
        {"train@fcn", "train@farseg", "yardstick@boosting", "yardstick@boosting_20m"}, {"train@unet"}
    ]  # fmt: skip
    some = orders.build(plain, {"train@unet", "train@farseg", "plot"})
    assert (some.before, some.waves) == ((), (("train@farseg",), ("train@unet",)))
    assert orders.build(plain, {"fetch"}, "un*, farseg").waves == (("train@farseg",), ("train@unet",))
    with pytest.raises(StageError, match=r"nothing has to be trained; run `dvc repro` for what follows"):
        orders.build(plain, {"plot", "report"})
    with pytest.raises(StageError, match=r"nothing that fits x\* has to be trained"):
        orders.build(plain, {"fetch"}, "x*")
    orders.write(every, plain / "folder")
    assert orders.read(plain / "folder") == every
    with pytest.raises(SceneError, match=r"order.json is missing; run `thalweg submit` again"):
        orders.read(plain / "other")


def test_a_receipt_holds_until_what_it_stands_on_changes(plain):
    """Of the member's own params, shared ones, and scenes and split as dvc.lock knows them; not of another member's."""
    folder = plain / "folder"
    stage = "train@farseg"
    said, words = receipts.fingerprint(plain, stage)
    assert words == ["python", "-m", "stages.train", "farseg"]

    def after(change) -> str:
        params = YAML(typ="safe").load((plain / "params.yaml").read_text())
        change(params)
        YAML().dump(params, plain / "params.yaml")
        return receipts.fingerprint(plain, stage)[0]

    assert after(lambda params: params["models"]["unet"].update(lr=0.5)) == said
    assert after(lambda params: params["models"]["farseg"].update(lr=0.5)) != said
    lr = 1.0e-3
    assert after(lambda params: params["models"]["farseg"].update(lr=lr)) == said
    assert after(lambda params: params["train"].update(compile=True)) != said
    assert after(lambda params: params["train"].update(compile=False)) == said
    lock = (plain / "dvc.lock").read_text()
    md5 = YAML(typ="safe").load(lock)["stages"]["preprocess@s2_20m"]["outs"][0]["md5"]
    (plain / "dvc.lock").write_text(lock.replace(md5, "0" * 32 + ".dir"))
    assert receipts.fingerprint(plain, stage)[0] != said
    (plain / "dvc.lock").write_text(lock)
    receipts.write_receipt(folder, stage, said)
    receipts.mark_ended(folder, stage, 0)
    assert (receipts.read_receipt(folder, stage), receipts.ended(folder, stage)) == (said, True)
    receipts.forget(folder, stage)
    assert (receipts.read_receipt(folder, stage), receipts.ended(folder, stage)) == (None, False)
    with pytest.raises(
        StageError, match=r"dvc.yaml has no stage train@nobody under these params; run `thalweg submit` again"
    ):
        receipts.fingerprint(plain, "train@nobody")
    with pytest.raises(StageError, match=r"models/fcn is missing, which the stage reads; run `dvc repro split`"):
        receipts.fingerprint(plain, "train@unet")


def test_a_task_that_cannot_start_has_ended_all_the_same(plain):
    with pytest.raises(StageError, match=r"models/fcn is missing"):
        run.run_task(plain, plain / "folder", "train@unet", ())
    assert receipts.ended(plain / "folder", "train@unet")
    run.wait(plain / "folder", ["train@unet"], None)
    run.wait(plain / "folder", ["train@unet", "train@fcn"], -1.0)
    assert run.record(plain, plain / "folder", Order(before=(), waves=(("train@unet",),), only=None)) == ["train@unet"]


@pytest.mark.slow
def test_the_whole_pipeline_by_tasks_and_a_member_that_fails_costs_no_other(tmp_path):
    project = Project(tmp_path)
    bin_folder = tmp_path / "bin"
    stub(bin_folder, "sbatch", RUNS.format(python=sys.executable))
    project.env["PATH"] = f"{bin_folder}:{project.env['PATH']}"
    thalweg = (sys.executable, "-m", "thalweg.cli")
    shown = project.call(*thalweg, "submit", "--dry-run", "--set", "partition=gpu")
    assert "#SBATCH --partition=gpu" in shown
    assert not (project.home / "runs").exists()

    project.params["models"]["fcn"]["lr"] = 1.0e30
    project.save()
    said = project.call(*thalweg, "submit")
    assert "wave-0" in said
    ended = json.loads((bin_folder / "ended").read_text())
    assert list(ended.values()) == [0, 1, 1]
    last = (bin_folder / "103.0.log").read_text()
    assert "train@fcn has no receipt that holds" in last
    assert (project.home / "salvage/report/index.html").is_file()
    assert "train@unet" not in json.loads(project.call("dvc", "status", "--json"))

    project.params["models"]["fcn"]["lr"] = 1.0e-3
    project.save()
    said = project.call(*thalweg, "submit")
    assert "train@unet" not in said
    assert "train@fcn" in said
    assert list(json.loads((bin_folder / "ended").read_text()).values()) == [0, 1, 1, 0, 0]
    assert "up to date" in project.status()
    assert (project.home / "maps/main/classes.tif").is_file()
    assert "nothing has to be trained" in project.call(*thalweg, "submit", code=1)


def slurm_is_here() -> bool:
    return all(shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") for name in ("sbatch", "slurmctld", "slurmd", "munged"))  # fmt: skip


def test_stubs_are_executable(tmp_path):
    stub(tmp_path, "x", "#!/bin/sh\n")
    assert (tmp_path / "x").stat().st_mode & stat.S_IXUSR
