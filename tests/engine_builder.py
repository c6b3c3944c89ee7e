"""Engines for tests: an executor that does everything twice, and Dask clusters whose workers are hosts of their own."""

import hashlib
import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from product_builder import index, make_raster

from thalweg.executor.shipped import pack, run

ROOT = Path(__file__).parents[1]
TESTS = Path(__file__).parent
SCHEDULER = "10.203.0.1"
with_jobqueue = pytest.mark.skipif(
    find_spec("dask_jobqueue") is None, reason="the extra 'distributed' is not installed"
)
"""Not by importing it, which would change what Ctrl-C does."""


class Twice(Executor):
    """Runs every unit two times, each after a journey through pickle, as a lost worker's units are."""

    def __init__(self) -> None:
        self.units = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        parcel = pickle.dumps(pack(fn, args, kwargs))
        self.units += 1
        run(pickle.loads(parcel))
        future.set_result(run(pickle.loads(parcel)))
        return future


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all files below."""
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}  # fmt: skip


def make_raws(home: Path, count: int) -> None:
    """So many tiny products, side by side."""
    rng = np.random.default_rng(5)
    paths = [make_raster(home / f"raw/p{number}.tif", rng.integers(1, 9000, (1, 8, 8)).astype(np.uint16),
                         origin=(600_000.0 + 80 * number, 7_000_000.0)) for number in range(count)]  # fmt: skip
    index(home / "raw", *paths, form="raster", bands={"B03": 1})


def environment(**more: str) -> dict[str, str]:
    """Of processes that run this project's code."""
    paths = [str(ROOT / "src"), str(ROOT), str(TESTS), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **more}


def act(home: Path, what: str, tag: str, engine: str = "") -> "subprocess.Popen[str]":
    """A stage, begun."""
    return subprocess.Popen([sys.executable, TESTS / "engine_runner.py", what, tag], cwd=home, text=True,
                            env=environment(THALWEG_EXECUTOR=engine), stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)  # fmt: skip


def ended(process: "subprocess.Popen[str]", within_s: float = 240) -> str:
    """What it said; it ended well."""
    said, _ = process.communicate(timeout=within_s)
    assert process.returncode == 0, said
    return said


class Cluster:
    """A scheduler and its workers, each of which can be killed, restarted or cut off."""

    def __init__(self, home: Path, places: "Places", pause_s: float) -> None:
        self.home, self.places = home, places
        self.port = places.free_port()
        self.log = home / "units.jsonl"
        self._pause_s = pause_s
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> str:
        return f"tcp://{self.places.scheduler}:{self.port}"

    def scheduler(self) -> None:
        self._start("scheduler", [], ["scheduler", "--host", self.places.scheduler, "--port", str(self.port),
                                      "--no-dashboard"])  # fmt: skip

    def worker(self, number: int, *options: str) -> None:
        """One that is started again whenever it ends, as a batch system or systemd does."""
        host = self.places.hosts[number]
        self._start(f"worker{number}", self.places.prefix(number), [
            "worker", self.address, "--host", host, "--nthreads", "1", "--no-dashboard", "--memory-limit", "0",
            "--local-directory", str(self.home / "dask"), "--preload", str(TESTS / "engine_preload.py"),
            "--death-timeout", "60", *options])  # fmt: skip

    def kill(self, name: str) -> None:
        """With all its processes, at once."""
        process = self._running.pop(name)
        os.killpg(process.pid, 9)
        process.wait()

    def units(self, what: str = "end") -> list[str]:
        """Those that began or ended, each time."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [line["unit"] for line in lines if line["what"] == what]

    def wait_for(self, count: int, what: str = "end", within_s: float = 120) -> None:
        """Until so many units have begun or ended."""
        until = time.monotonic() + within_s
        while len(self.units(what)) < count:
            assert time.monotonic() < until, f"{len(self.units(what))} units after {within_s} s: {self.said()}"
            time.sleep(0.05)

    def said(self) -> str:
        """All logs."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.home.glob("*.log")))

    def end(self) -> None:
        for name in list(self._running):
            self.kill(name)

    def _start(self, name: str, prefix: list[str], words: list[str]) -> None:
        env = environment(UNITS_LOG=str(self.log), UNITS_PAUSE=str(self._pause_s))
        with (self.home / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen([*prefix, sys.executable, "-m", "dask", *words], cwd=self.home,
                                                   env=env, stdout=log, stderr=log, start_new_session=True)  # fmt: skip


class Places:
    """Where scheduler and workers are: addresses of the loopback."""

    scheduler = "127.0.0.1"
    hosts: tuple[str, ...] = ("127.0.0.2", "127.0.0.3")

    def prefix(self, number: int) -> list[str]:  # noqa: ARG002 - of a namespace
        """Before a worker's command."""
        return []

    def free_port(self) -> int:
        with socket.socket() as free:
            free.bind((self.scheduler, 0))
            return int(free.getsockname()[1])


class Namespaces(Places):
    """Each worker in a network namespace of its own, behind a cable that can be pulled."""

    scheduler = SCHEDULER
    hosts = ("10.203.1.2", "10.203.2.2")

    def prefix(self, number: int) -> list[str]:
        return ["ip", "netns", "exec", f"thalweg{number}"]

    def cable(self, number: int, state: str) -> None:
        """`up` or `down`."""
        _ip("link", "set", f"thwv{number}", state)

    def lay(self) -> None:
        _ip("addr", "add", f"{SCHEDULER}/32", "dev", "lo")
        for number, host in enumerate(self.hosts):
            name, mine = f"thalweg{number}", f"10.203.{number + 1}.1"
            _ip("netns", "add", name)
            _ip("link", "add", f"thwv{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("addr", "add", f"{mine}/24", "dev", f"thwv{number}")
            _ip("link", "set", f"thwv{number}", "up")
            for words in (("link", "set", "lo", "up"), ("addr", "add", f"{host}/24", "dev", "eth0"),
                          ("link", "set", "eth0", "up"), ("route", "add", "default", "via", mine)):  # fmt: skip
                _ip("-n", name, *words)

    def clear(self) -> None:
        for number in range(len(self.hosts)):
            subprocess.run(["ip", "netns", "del", f"thalweg{number}"], check=False, capture_output=True)
            subprocess.run(["ip", "link", "del", f"thwv{number}"], check=False, capture_output=True)
        subprocess.run(["ip", "addr", "del", f"{SCHEDULER}/32", "dev", "lo"], check=False, capture_output=True)


@contextmanager
def places() -> Iterator[Places]:
    """Namespaces where they can be had, else the loopback; one user of them at a time on this machine."""
    with FileLock(Path(tempfile.gettempdir()) / "thalweg-namespaces.lock"):
        spaces = Namespaces()
        spaces.clear()
        try:
            spaces.lay()
        except (OSError, subprocess.CalledProcessError):
            spaces.clear()
            yield Places()
            return
        try:
            yield spaces
        finally:
            spaces.clear()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
