"""One map as jobs: an array of shares of its rows, and a job that makes the map of them."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from thalweg.errors import StageError
from thalweg.submit import receipts
from thalweg.submit.jobs import Job

SHARE, MERGE = "share", "merge"


def plan(folder: Path, numbers: Sequence[int], words: Sequence[str]) -> list[Job]:
    """The array, and what follows if all of it ended well.

    Args:
        folder: The submission's.
        numbers: Shares that are to be predicted; none: the map is made at once.
        words: Of `thalweg predict`, but for what a share or the map adds.
    """
    said, rest = (str(folder), to_ranges(numbers)), ("--", *words)
    cli = (sys.executable, "-m", "thalweg.cli", "submitted")
    shares = [Job(SHARE, (*cli, SHARE, *said), len(numbers), rest=rest)] if numbers else []
    after, wave = (SHARE, 0) if shares else (None, None)
    return [*shares, Job(MERGE, (*cli, MERGE, *said), after=after, wave=wave, rest=rest)]


def to_ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as `1-3,7`; `-` for none."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs) or "-"


def from_ranges(said: str) -> list[int]:
    """The counterpart.

    Raises:
        StageError: It says no numbers.
    """
    if said == "-":
        return []
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", said):
        raise StageError(f"'{said}' should say shares as 1-3,7 does; run `thalweg predict --submit` again")
    runs = [part.partition("-") for part in said.split(",")]
    return [number for first, _, last in runs for number in range(int(first), int(last or first) + 1)]


def name_of(number: int) -> str:
    """A share, as its mark is named by which jobs wait for it."""
    return f"{SHARE}-{number}"


def run_share(folder: Path, number: int, words: Sequence[str]) -> int:
    """Predicts a share in a process of its own, and marks that it ended, however it did; the exit code."""
    receipts.forget(folder, name_of(number))
    code = 1
    try:
        code = run_predict(f"--split={number}", words)
    finally:
        receipts.mark_ended(folder, name_of(number), code)
    return code


def run_predict(which: str, words: Sequence[str]) -> int:
    """Calls `thalweg predict` with one option more; the exit code, that of a killed process as shells have it."""
    code = subprocess.run([sys.executable, "-m", "thalweg.cli", "predict", which, *words], check=False).returncode
    return code if code >= 0 else 128 - code
