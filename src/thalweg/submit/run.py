"""What the jobs of a submission do: one task, the waiting of those that no scheduler orders, and the end."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from thalweg.errors import StageError
from thalweg.submit import receipts
from thalweg.submit.order import Order

INDICES = ("SLURM_ARRAY_TASK_ID", "AWS_BATCH_JOB_ARRAY_INDEX", "JOB_COMPLETION_INDEX")
"""Where schedulers say which task of an array this is."""
POLL_S = 30.0


def index(environment: Mapping[str, str]) -> int:
    """Which task of its array this process is; 0 in a job that is none."""
    return int(next((environment[name] for name in INDICES if name in environment), "0"))


def run_task(root: Path, folder: Path, stage: str, launch: Sequence[str]) -> int:
    """Runs one stage's script, and leaves its receipt; the exit code.

    Args:
        root: The project's folder.
        folder: The submission's.
        stage: As dvc.yaml names it.
        launch: Words before a training's command, where something else starts its processes.

    Raises:
        StageError: dvc.yaml has no such stage, or a file that it stands on is missing.
    """
    receipts.forget(folder, stage)
    code = 1
    try:
        before, words = receipts.fingerprint(root, stage)
        started = [*(launch if stage.startswith("train@") else ()), sys.executable, *words[1:]]
        code = subprocess.run(started, cwd=root, env=_environment(), check=False).returncode
        if code == 0:
            receipts.write_receipt(folder, stage, before)
    finally:
        receipts.mark_ended(folder, stage, code)
    return code


def wait(folder: Path, stages: Iterable[str], hours: float | None) -> None:
    """Waits until tasks have ended, or so many hours."""
    until = None if hours is None else time.monotonic() + hours * 3600
    while not all(receipts.ended(folder, stage) for stage in stages):
        if until is not None and time.monotonic() > until:
            return
        time.sleep(POLL_S)


def record(root: Path, folder: Path, order: Order) -> list[str]:
    """Records in dvc.lock what the receipts vouch for; the tasks that are left.

    Raises:
        StageError: DVC refuses.
    """
    done = [stage for stage in order.stages if _holds(root, folder, stage)]
    if done:
        command = [sys.executable, "-m", "dvc", "commit", "--force", *done]
        answer = subprocess.run(command, cwd=root, env=_environment(), capture_output=True, text=True, check=False)
        if answer.returncode:
            raise StageError(f"`dvc commit` fails ({' '.join(answer.stderr.split())}); mend that, then run it by hand")
    return [stage for stage in order.stages if stage not in done]


def follow(root: Path, only: str | None, left: Sequence[str]) -> int:
    """Maps and the report of all members, or, where some are left, of those that finished; the exit code."""
    words = ["salvage"] if left else ["train", *(["--only", only] if only else [])]
    command = [sys.executable, "-m", "thalweg.cli", *words]
    return subprocess.run(command, cwd=root, env=_environment(), check=False).returncode


def _holds(root: Path, folder: Path, stage: str) -> bool:
    said = receipts.read_receipt(folder, stage)
    try:
        return said is not None and said == receipts.fingerprint(root, stage)[0]
    except StageError:  # what it stands on is gone
        return False


def _environment() -> dict[str, str]:
    """Stages find this Python first."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
