"""Executors by setting: what they run, what they say of a wrong setting, and how they outlive their engines."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, wait
from pathlib import Path

import pytest
from engine_builder import Cluster, Places, Twice, act, digests, ended, make_raws, with_jobqueue

from thalweg.doctor.engine import engine
from thalweg.errors import ExecutorError, MapError
from thalweg.executor import cluster, jobs, open_executor, shipped
from thalweg.executor.choice import SETTING, read_engine
from thalweg.executor.enduring import Enduring

NOWHERE = Path("/no/.env")


def squared(number: int) -> int:
    return number * number


def failing(number: int) -> int:
    raise MapError(f"{number} is no grid")


def dying(mark: str) -> str:
    """Kills its process the first time."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "lived"


@pytest.fixture
def setting(monkeypatch):
    return lambda value: monkeypatch.setenv(SETTING, value)


@pytest.mark.parametrize("value", ["", "local"])
def test_without_an_engine_a_stage_does_everything_itself(setting, value):
    setting(value)
    with open_executor(file=NOWHERE) as executor:
        assert executor is None


def test_the_setting_is_read_from_the_project_s_env_file(monkeypatch, tmp_path):
    monkeypatch.delenv(SETTING, raising=False)
    (tmp_path / ".env").write_text("THALWEG_EXECUTOR=local:0\n")
    with pytest.raises(
        ExecutorError, match=r"THALWEG_EXECUTOR is 'local:0', which names no engine; give one of local, "
    ):
        read_engine(file=tmp_path / ".env")


@pytest.mark.parametrize("value", ["local:x", "dask", "dask:somewhere", "ray:tcp://a:1", "jobs:slurm", "slurm"])
def test_an_unknown_engine_is_refused(setting, value):
    setting(value)
    with pytest.raises(ExecutorError, match=f"THALWEG_EXECUTOR is '{value}', which names no engine"):
        read_engine(file=NOWHERE)


def test_an_address_where_nobody_answers_is_said_at_once(setting, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "_ANSWER_S", 0.5)
    address = f"tcp://127.0.0.1:{Places().free_port()}"
    setting(f"dask:{address}")
    with pytest.raises(ExecutorError, match=f"no Dask scheduler answers at {address}; start one"):  # noqa: SIM117
        with open_executor(file=NOWHERE):
            pass


def test_a_missing_extra_is_named(setting, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    setting("dask:tcp://127.0.0.1:8786")
    with pytest.raises(ExecutorError, match=r"the package distributed is missing; .*\.\[distributed\]"):
        read_engine(file=NOWHERE)


@pytest.mark.parametrize(("text", "said"), [
    (None, "is missing"),
    ("system: lsf\njobs: 1\noptions: {}\n", "system: Input should be 'slurm' or 'pbs'"),
    ("system: slurm\njobs: 0\noptions: {}\n", "jobs: Input should be greater than or equal to 1"),
    ("system: slurm\njobs: 1\n", "options: Field required"),
])  # fmt: skip
def test_a_wrong_cluster_file_is_refused(setting, tmp_path, text, said):
    path = tmp_path / "cluster.yaml"
    if text:
        path.write_text(text)
    setting(f"jobs:{path}")
    with pytest.raises(ExecutorError, match=said):
        read_engine(file=NOWHERE)


def test_processes_of_this_machine_do_units_and_tell_their_errors(setting, tmp_path):
    setting("local:2")
    with open_executor(file=NOWHERE) as executor:
        assert list(executor.map(squared, range(5))) == [0, 1, 4, 9, 16]
        with pytest.raises(MapError, match="3 is no grid"):
            list(executor.map(failing, [3]))
        assert executor.submit(dying, str(tmp_path / "mark")).result(60) == "lived"
        assert executor.submit(squared, 7).result(60) == 49
    with pytest.raises(ExecutorError, match="shut down"):
        executor.submit(squared, 1)


class Engine:
    """Hands out executors whose futures a test decides."""

    losses = (ConnectionError,)

    def __init__(self, opens: int = 9) -> None:
        self.handed: list[Future] = []
        self.opens, self.standing = opens, True

    def open(self):
        if not self.opens:
            raise ExecutorError("nobody is there any more")
        self.opens, self.standing = self.opens - 1, True
        return self

    def submit(self, *_parcel):
        if not self.standing:
            raise ConnectionError
        self.handed.append(Future())
        return self.handed[-1]

    def alive(self):
        return self.standing

    def close(self):
        pass

    def words(self, error):
        return error


def until(true) -> None:
    for _ in range(200):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError


@pytest.mark.parametrize("loss", ["cancelled", "broken", "silent"])
def test_what_an_engine_loses_is_handed_to_the_next(loss):
    engine = Engine()
    executor = Enduring(engine)
    done, lost = executor.submit(squared, 1), executor.submit(squared, 2)
    engine.handed[0].set_result("first")
    if loss == "cancelled":
        engine.handed[1].cancel()
        engine.handed[1].set_running_or_notify_cancel()
    elif loss == "broken":
        engine.handed[1].set_exception(ConnectionError())
    else:
        engine.standing = False
    until(lambda: len(engine.handed) == 3)
    engine.handed[2].set_result("second")
    assert (done.result(5), lost.result(5)) == ("first", "second")
    executor.shutdown()
    assert len(engine.handed) == 3, "what had finished was not handed on"


def test_a_late_answer_of_an_engine_that_was_lost_counts():
    engine = Engine()
    executor = Enduring(engine)
    future = executor.submit(squared, 1)
    engine.standing = False
    until(lambda: len(engine.handed) == 2)
    engine.handed[0].set_result("early")
    engine.handed[1].set_result("late")
    assert future.result(5) == "early"
    executor.shutdown()


def test_an_engine_that_does_not_come_back_ends_the_stage():
    engine = Engine(opens=1)
    executor = Enduring(engine)
    future = executor.submit(squared, 1)
    engine.standing = False
    with pytest.raises(ExecutorError, match="nobody is there any more"):
        future.result(10)
    executor.shutdown()


def test_who_ends_does_not_wait_for_an_engine_to_come_back():
    held, engine = threading.Event(), Engine()
    executor = Enduring(engine)
    future = executor.submit(squared, 1)
    engine.open = lambda: held.wait(60)
    engine.standing = False
    time.sleep(1)
    begun = time.monotonic()
    executor.shutdown(wait=False, cancel_futures=True)
    assert time.monotonic() - begun < 10
    assert future.cancelled()
    engine.submit = lambda *_parcel: Future()
    engine.open = lambda: engine
    held.set()


def test_a_unit_that_is_not_wanted_any_more_is_cancelled():
    engine = Engine()
    executor = Enduring(engine)
    future = executor.submit(squared, 1)
    assert future.cancel()
    assert engine.handed[0].cancelled()
    assert wait([future], 5).done == {future}
    executor.shutdown()


def test_units_meet_the_same_code_and_folder_or_say_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parcel = shipped.pack(Path.cwd, (), {})
    monkeypatch.chdir("/")
    assert shipped.run(parcel) == tmp_path
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    lost = shipped.pack(Path.cwd, (), {})
    monkeypatch.chdir("/")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ExecutorError, match=r"does not see the project's folder .*gone; workers need"):
        shipped.run(lost)
    others = (("thalweg's code", "0123"), *shipped.versions()[1:])
    monkeypatch.setattr(shipped, "versions", lambda: others)
    with pytest.raises(
        ExecutorError, match=r"has thalweg's code 0123, but the stage has [0-9a-f]{12}; start the workers"
    ):
        shipped.run(parcel)


def test_a_unit_that_loses_all_its_workers_is_told_in_one_sentence(setting):
    distributed = pytest.importorskip("distributed")
    setting("dask:tcp://127.0.0.1:8786")
    engine = read_engine(file=NOWHERE)
    killed = distributed.KilledWorker("unit", None, 3)
    assert "lost all the workers that it was given to" in str(engine.words(killed))
    assert str(engine.words(MapError("as it is"))) == "as it is"


def test_the_doctor_says_where_units_run(setting, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "_ANSWER_S", 0.5)
    told = []
    for value in ("", "local:2", "ray:x", f"dask:tcp://127.0.0.1:{Places().free_port()}"):
        setting(value)
        told += engine(tmp_path)
    assert [finding.level for finding in told] == ["ok", "ok", "fail", "fail"]
    assert told[1].said == "units of data stages run by local:2"
    assert "no Dask scheduler answers" in told[3].said


def test_scenes_on_a_dask_worker_are_those_of_this_process(setting, tmp_path):
    pytest.importorskip("distributed")
    make_raws(tmp_path, 3)
    made = Cluster(tmp_path, Places(), 0)
    here = act(tmp_path, "scenes", "here")
    try:
        made.scheduler()
        made.worker(0, "--no-nanny")
        there = act(tmp_path, "scenes", "there", f"dask:{made.address}")
        ended(here)
        ended(there)
        setting(f"dask:{made.address}")
        (found,) = engine(tmp_path)
    finally:
        made.end()
    assert digests(tmp_path / "there/out") == digests(tmp_path / "here/out")
    assert len(digests(tmp_path / "there/out")) == 9
    assert found.said == f"units of data stages run by dask:{made.address}, which has 1 worker(s) now"
    assert sorted(made.units()) == ["p0", "p1", "p2"]


@with_jobqueue
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a cluster that could not be made
def test_jobs_of_a_batch_system_start_workers_as_its_file_says(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for command in ("sbatch", "qsub"):
        (tmp_path / command).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / command).chmod(0o755)
    path = tmp_path / "cluster.yaml"
    path.write_text("system: slurm\njobs: 2\noptions:\n  queue: long\n  cores: 4\n  processes: 1\n  memory: 16GB\n"
                    "  walltime: '04:00:00'\n  worker_extra_args: [--resources, GPU=1]\n")  # fmt: skip
    script = jobs.Jobs(path, gpu=False).script()
    assert "#SBATCH -p long" in script
    assert "#SBATCH -t 04:00:00" in script
    assert "distributed.cli.dask_worker" in script
    assert "--resources GPU=1" in script
    path.write_text("system: pbs\njobs: 2\noptions: {cores: 4}\n")
    with pytest.raises(ExecutorError, match=r"cluster\.yaml: .*memory.*; see the options of dask_jobqueue.PBSCluster"):
        jobs.Jobs(path, gpu=False).script()


@with_jobqueue
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a cluster that could not be made
@pytest.mark.parametrize(("options", "wrong"), [
    ("{cores: 1, memory: 1GB}", r"jobs of slurm are submitted by `sbatch`, which is not on this machine"),
    ("{cores: 1, memory: lots}", r"Could not interpret 'lots' as a byte unit; see the options of"),
    ("[", r"is not valid YAML.*; see docs/cluster\.md"),
    ("\udcff", r"is no text in UTF-8 .*; see docs/cluster\.md"),
])  # fmt: skip
def test_doctor_sees_what_is_wrong_with_a_cluster_file(tmp_path, monkeypatch, setting, options, wrong):
    path = tmp_path / "cluster.yaml"
    path.write_text(f"system: slurm\njobs: 1\noptions: {options}\n", "utf-8", errors="surrogateescape")
    monkeypatch.setenv("PATH", str(tmp_path))
    setting(f"jobs:{path}")
    (found,) = engine(tmp_path)
    assert found.level == "fail"
    assert re.search(rf"cluster\.yaml.*{wrong}", found.said)


@with_jobqueue
def test_an_interrupted_stage_with_jobs_does_not_end_as_if_it_were_done():
    """dask_jobqueue makes Ctrl-C an exit with 0, which DVC would take for success."""
    code = ("import os, signal; from thalweg.executor.cluster import extra; extra('dask_jobqueue'); "
            "os.kill(os.getpid(), signal.SIGINT)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in done.stderr


def test_twice_runs_units_twice(tmp_path):
    log = tmp_path / "log"
    assert list(Twice().map(append, [str(log)])) == [2]


def append(path: str) -> int:
    with Path(path).open("a") as log:
        log.write("x")
    return len(Path(path).read_text())
