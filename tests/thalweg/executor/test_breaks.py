"""What goes wrong between a stage and its engine, and what is said of it."""

import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
from engine_builder import Cluster, Places, with_jobqueue

from thalweg.errors import ExecutorError
from thalweg.executor import cluster, open_executor, shipped
from thalweg.executor.choice import SETTING
from thalweg.executor.enduring import Enduring

NOWHERE = Path("/no/.env")


class TwoWordsError(Exception):
    """Pickles, but cannot be put together again from its one text."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


class HeldError(Exception):
    """Does not pickle."""

    def __init__(self) -> None:
        super().__init__("held")
        self.file = Path(__file__).open()  # noqa: SIM115
        self.file.close()


def stumble(what: str) -> None:
    raise TwoWordsError("left", "right") if what == "two" else HeldError()


def same(number: int) -> int:
    return number


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("what", "said"), [("two", "TwoWordsError: left right"), ("held", "HeldError: held")])
@pytest.mark.usefixtures("home")
def test_an_error_that_cannot_travel_is_told_with_its_traceback(monkeypatch, what, said):
    monkeypatch.setenv(SETTING, "local:1")
    with open_executor(file=NOWHERE) as executor:
        with pytest.raises(RuntimeError, match=f"(?s)Traceback.*in stumble.*{said}"):
            executor.submit(stumble, what).result(60)
        assert executor.submit(same, 3).result(60) == 3


def test_a_folder_of_the_same_name_on_another_disk_is_not_the_project(home):
    (home / "mark").touch()
    parcel = shipped.pack(same, (4,), {}, "mark")
    assert shipped.run(parcel) == 4
    (home / "mark").unlink()
    with pytest.raises(ExecutorError, match=rf"has a folder {home}, but not the one .* mark, .*no copy of it"):
        shipped.run(parcel)


def linger(mark: str) -> None:
    Path(mark).touch()
    time.sleep(120)


def test_a_stage_that_ends_does_not_wait_for_units_of_its_own_processes(home, monkeypatch):
    monkeypatch.setenv(SETTING, "local:1")
    with open_executor(file=NOWHERE) as executor:
        future = executor.submit(linger, str(home / "mark"))
        until = time.monotonic() + 60
        while not (home / "mark").exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        began = time.monotonic()
    assert time.monotonic() - began < 30
    assert future.cancelled()


class Engine:
    """Hands out executors that do nothing until a test says so."""

    losses = (ConnectionError,)

    def __init__(self) -> None:
        self.standing, self.shut, self.slow_s = True, False, 0.0
        self.parcels: list[shipped.Parcel] = []
        self.futures: list[Future] = []

    def open(self):
        time.sleep(self.slow_s)
        self.standing, self.shut = True, False
        return self

    def submit(self, _run, parcel):
        if self.shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        self.parcels.append(parcel)
        self.futures.append(Future())
        return self.futures[-1]

    def alive(self):
        return self.standing

    def close(self):
        self.shut = True

    def words(self, error):
        return error


def test_units_know_the_stage_s_disk_as_long_as_it_runs(home):
    old = home / ".cache/executor/old"
    old.parent.mkdir(parents=True)
    old.touch()
    os.utime(old, (0, 0))
    engine = Engine()
    executor = Enduring(engine)
    executor.submit(same, 1)
    assert (home / engine.parcels[0].mark).is_file()
    assert not old.exists(), "of a stage that was killed long ago"
    executor.shutdown(cancel_futures=True)
    assert not list(old.parent.iterdir())


@pytest.mark.usefixtures("home")
def test_a_unit_that_comes_between_two_engines_waits_for_the_next():
    engine = Engine()
    executor = Enduring(engine)
    engine.slow_s, engine.standing = 1, False
    until = time.monotonic() + 10
    while not engine.shut:
        assert time.monotonic() < until
        time.sleep(0.01)
    future = executor.submit(same, 1)
    assert not engine.futures
    while not engine.futures:
        assert time.monotonic() < until
        time.sleep(0.01)
    engine.futures[0].set_result("next")
    assert future.result(5) == "next"
    executor.shutdown()


@pytest.mark.parametrize("text", [None, "{not yet", "[]", '{"workers": {}}'])
@pytest.mark.usefixtures("home")
def test_a_scheduler_s_file_that_says_nothing_is_said_at_once(monkeypatch, text):
    pytest.importorskip("distributed")
    if text:
        Path("scheduler.json").write_text(text)
    monkeypatch.setenv(SETTING, "dask:scheduler.json")
    with pytest.raises(ExecutorError, match=r"no Dask scheduler answers at scheduler\.json"):  # noqa: SIM117
        with open_executor(file=NOWHERE):
            pass


def test_a_scheduler_s_file_leads_to_it_even_without_workers_or_code(home, monkeypatch, capsys):
    """One that was started elsewhere than in the project's environment cannot read units."""
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "_ANSWER_S", 5)
    (home / "without/thalweg").mkdir(parents=True)
    (home / "without/thalweg/__init__.py").write_text("raise ModuleNotFoundError('thalweg')\n")
    made = Cluster(home, Places(), 0)
    with monkeypatch.context() as there:
        import engine_builder

        there.setattr(engine_builder, "ROOT", home / "without")
        there.setattr(engine_builder, "environment", lambda **more: {**os.environ, "PYTHONPATH": str(home / "without")})
        made.scheduler()
    Path("scheduler.json").write_text(json.dumps({"address": made.address}))
    monkeypatch.setenv(SETTING, "dask:scheduler.json")
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and "Scheduler at" not in made.said():
            time.sleep(0.1)
        with open_executor(file=NOWHERE) as executor:
            with pytest.raises(ExecutorError, match="the Dask scheduler could not read a unit; start it in the env"):
                executor.submit(same, 1).result(30)
            assert executor._engine.alive()
    finally:
        made.end()
    assert "has no worker yet; units wait for one" in capsys.readouterr().err


@with_jobqueue
@pytest.mark.parametrize(("stub", "said"), [
    (None, "No such file or directory: 'sbatch'"),
    ("#!/bin/sh\necho 'sbatch: error: invalid partition: x' >&2\nexit 1\n", "sbatch: error: invalid partition: x"),
    ("#!/bin/sh\necho 'all is well'\n", "Could not parse job id"),
])  # fmt: skip
def test_a_batch_system_that_takes_no_job_ends_the_stage(home, monkeypatch, capfd, stub, said):
    (home / "bin").mkdir()
    if stub:
        (home / "bin/sbatch").write_text(stub)
        (home / "bin/sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(home / "bin"))
    Path("site.yaml").write_text("system: slurm\njobs: 2\noptions: {queue: x, cores: 1, memory: 1GB}\n")
    monkeypatch.setenv(SETTING, "jobs:site.yaml")
    with pytest.raises(ExecutorError, match=rf"site\.yaml: slurm took no job \(.*{said}.*\); correct the options"):  # noqa: SIM117
        with open_executor(file=NOWHERE):
            pass
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a matter of glibc")
def test_a_worker_of_dask_s_nanny_does_not_ask_the_kernel_for_every_array_anew():
    """Pages made while 2 MiB are allocated 100 times: 512 at least, and 51 200 by the nanny's setting."""
    code = ("import resource, numpy, sys\nfrom thalweg.executor.shipped import pack, run\n"
            "if sys.argv[1] == 'unit': run(pack(int, (1,), {}))\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
            "for _ in range(100): numpy.ones(2**21, numpy.uint8)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n")  # fmt: skip

    def pages(first: str, **more: str) -> int:
        env = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536", **more}
        done = subprocess.run([sys.executable, "-c", code, first], env=env, check=True, capture_output=True, text=True)
        return int(done.stdout)

    assert pages("none") > 50_000
    assert pages("unit") < 5_000
    assert pages("unit", MALLOC_MMAP_THRESHOLD_="131072") > 50_000, "what the user sets stays"


def test_units_are_told_apart_by_the_packages_of_models():
    assert {"timm", "torchgeo", "segmentation-models-pytorch"} <= dict(shipped.versions()).keys()
    assert "missing" not in dict(shipped.versions()).values(), sys.path
