"""The queue of a night: the pipeline with DVC, some members of it, or several members at once.

`dvc repro` runs one stage after the other. Several at once are `dvc --wait-for-lock repro --single-item`, after all
that they stand on is there; without `--wait-for-lock`, a training that ends while another hands over large outs would
be lost, and without `--single-item` each would want to write what they share.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, NamedTuple, TextIO, cast

import rich
import typer
from filelock import FileLock, Timeout

from thalweg import params
from thalweg.errors import ParamsError, StageError
from thalweg.params.encoders import EncoderParams
from thalweg.params.models import Member
from thalweg.params.yardsticks import Yardstick
from thalweg.salvage import read_changed_stages

RUNS = "runs"
_DVC = (sys.executable, "-m", "dvc")
_LINE = re.compile(r"(?:\[([a-z0-9_-]+)\] )?(.*)")
_BEGUN = re.compile(r"Running stage '([^']+)'")
_ERROR = "error: "


def select(root: Path, only: str | None) -> tuple[str, ...]:
    """Stages of the members and yardsticks whose names fit a pattern, or of all.

    Args:
        root: The project's folder.
        only: Shell patterns, with commas between them; None for all.

    Raises:
        ParamsError: No name fits.
    """
    file = root / params.PARAMS_FILE
    stages = [f"train@{name}" for name in params.load_items(Member, file)]
    stages += [f"yardstick@{name}" for name in params.load_items(Yardstick, file)]
    if only is None:
        return tuple(stages)
    patterns = [pattern for pattern in re.split(r"[,\s]+", only) if pattern]
    found = [stage for stage in stages if any(fnmatchcase(stage.partition("@")[2], pattern) for pattern in patterns)]
    if not found:
        known = ", ".join(stage.partition("@")[2] for stage in stages)
        raise ParamsError(f"ONLY='{only}' fits no member; there are {known}")
    return tuple(found)


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Holds the project's queue: a second one would find DVC's files busy, and take that for failures.

    Raises:
        StageError: Another process holds it.
    """
    lock = FileLock(root / ".cache" / "queue.lock")
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StageError(f"another `make train` is running in {root}; wait for it, or end it") from error
    try:
        yield
    finally:
        lock.release()


def run(root: Path, stages: Sequence[str], whole: bool, jobs: int) -> tuple[bool, Path]:
    """Runs what is not up to date; whether all of it finished, and the file that keeps what was said.

    Args:
        root: The project's folder.
        stages: Members to train.
        whole: Whether maps, plots and the report follow.
        jobs: Members that train at once.
    """
    log = root / RUNS / f"{datetime.now().astimezone():%Y-%m-%dT%H%M%S.%f}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8", buffering=1) as said:
        return _run(_Queue(root, said, jobs), stages, whole), log


def read_failures(log: Path) -> dict[str, str]:
    """Stage → the last error that it said in a queue's log."""
    found: dict[str, str] = {}
    running: dict[str, str] = {}
    for line in log.read_text("utf-8").splitlines():
        name, text = _LINE.fullmatch(line).groups("")  # type: ignore[union-attr] # it fits every line
        if begun := _BEGUN.match(text):
            running[name] = begun[1]
        elif text.startswith(_ERROR) and name in running:
            found[running[name]] = text.removeprefix(_ERROR)
    return found


class _Queue(NamedTuple):
    root: Path
    said: TextIO
    jobs: int


def _run(queue: _Queue, stages: Sequence[str], whole: bool) -> bool:
    if queue.jobs == 1:
        return _repro(queue, *(() if whole else stages))
    encoders = [f"pretrain@{name}" for name in params.load_items(EncoderParams, queue.root / params.PARAMS_FILE)]
    if not _repro(queue, "split", *encoders):
        return False
    changed = read_changed_stages(queue.root)
    if not _at_once(queue, [stage for stage in stages if stage in changed]):
        return False
    return _repro(queue) if whole else True


def _repro(queue: _Queue, *targets: str) -> bool:
    running: list[subprocess.Popen[str]] = []
    try:
        return _one(queue._replace(jobs=1), ["repro", "--keep-going", *targets], "", running)
    finally:  # it has ended, unless this process is being ended
        for process in running:
            process.terminate()


def _at_once(queue: _Queue, stages: Sequence[str]) -> bool:
    """Each stage in a process of its own; all end with this one."""
    running: list[subprocess.Popen[str]] = []
    words = ["--wait-for-lock", "repro", "--single-item"]
    with ThreadPoolExecutor(queue.jobs) as pool:
        waiting = [
            pool.submit(_one, queue, [*words, stage], f"[{stage.partition('@')[2]}] ", running) for stage in stages
        ]
        try:
            done = [future.result() for future in as_completed(waiting)]
            return all(done)
        finally:  # nothing is left to end, unless this process is being ended
            for future in waiting:
                future.cancel()
            for process in running:
                process.terminate()


def _one(queue: _Queue, words: Sequence[str], before: str, running: list[subprocess.Popen[str]]) -> bool:
    """One DVC, its lines shown and kept, each with its name before it."""
    process = subprocess.Popen(
        [*_DVC, *words], cwd=queue.root, env=_environment(queue.jobs), text=True, bufsize=1, encoding="utf-8",
        errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    running.append(process)
    lines = cast(IO[str], process.stdout)
    for line in lines:
        if not rich.get_console().quiet:
            typer.echo(f"{before}{line.rstrip()}")
        queue.said.write(f"{before}{line.rstrip()}\n")
    lines.close()
    return process.wait() == 0


def _environment(jobs: int) -> dict[str, str]:
    """Stages find this Python first; members that train at once share the cores."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    threads = {"OMP_NUM_THREADS": str(max((os.cpu_count() or 1) // jobs, 1))} if jobs > 1 else {}
    return {**threads, **os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}
