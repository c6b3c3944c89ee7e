"""The queue of a night: the pipeline with DVC, some members of it, or several members at once.

`dvc repro` runs one stage after the other. Several at once are `dvc --wait-for-lock repro --single-item`, after all
that they stand on is there; without `--wait-for-lock`, a training that ends while another hands over large outs would
be lost, and without `--single-item` each would want to write what they share.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from fnmatch import fnmatchcase
from pathlib import Path

import typer

from thalweg import params
from thalweg.errors import ParamsError
from thalweg.params.models import Member
from thalweg.params.yardsticks import Yardstick
from thalweg.salvage import read_changed_stages

_DVC = (sys.executable, "-m", "dvc")


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


def run(root: Path, stages: Sequence[str], whole: bool, jobs: int) -> bool:
    """Runs what is not up to date, and says whether all of it finished.

    Args:
        root: The project's folder.
        stages: Members to train.
        whole: Whether maps, plots and the report follow.
        jobs: Members that train at once.
    """
    if jobs == 1:
        return _repro(root, *(() if whole else stages))
    if not _repro(root, "split"):
        return False
    changed = read_changed_stages(root)
    if not _at_once(root, [stage for stage in stages if stage in changed], jobs):
        return False
    return _repro(root) if whole else True


def _repro(root: Path, *targets: str) -> bool:
    command = [*_DVC, "repro", "--keep-going", *targets]
    return subprocess.run(command, cwd=root, env=_environment(1), check=False).returncode == 0


def _at_once(root: Path, stages: Sequence[str], jobs: int) -> bool:
    """Each stage in a process of its own; all end with this one."""
    running: list[subprocess.Popen[str]] = []
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(_one, root, stage, jobs, running) for stage in stages]
        try:
            done = [future.result() for future in as_completed(waiting)]
            return all(done)
        finally:  # nothing is left to end, unless this process is being ended
            for future in waiting:
                future.cancel()
            for process in running:
                process.terminate()


def _one(root: Path, stage: str, jobs: int, running: list[subprocess.Popen[str]]) -> bool:
    """One stage, its lines under its name."""
    command = [*_DVC, "--wait-for-lock", "repro", "--single-item", stage]
    with subprocess.Popen(command, cwd=root, env=_environment(jobs), text=True, bufsize=1, encoding="utf-8",
                          errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:  # fmt: skip
        running.append(process)
        for line in process.stdout or ():
            typer.echo(f"[{stage.partition('@')[2]}] {line.rstrip()}")
    return process.returncode == 0


def _environment(jobs: int) -> dict[str, str]:
    """Stages find this Python first; members that train at once share the cores."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    threads = {"OMP_NUM_THREADS": str(max((os.cpu_count() or 1) // jobs, 1))} if jobs > 1 else {}
    return {**threads, **os.environ, "PATH": path}
