"""One table of all members after a run: who finished, with what score, in what time, and where the log is."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from thalweg import params
from thalweg.machine import runs_root
from thalweg.manifest import write_json
from thalweg.manifest.runs import CONSOLE, Run, read_newest
from thalweg.params.classes import Classes
from thalweg.params.models import Member
from thalweg.params.yardsticks import Yardstick
from thalweg.standings import Standing, leading_key, read_standings, say_key

SUMMARY = Path("metrics", "summary.json")
"""Beside the outs, and in .dvcignore, so that DVC does not take it for a change of what the report reads."""
BEFORE = ("fetch", "preprocess", "split")
"""Stages that all members and maps stand on."""
_KILLED = "it was killed, by a person, a power cut, or the kernel for want of memory; the next run goes on where it was"
_SILENT = "it did not start, or was killed; the log of the queue says what came before"
_HEADINGS = ("member", "status", "", "time", "log")


class Row(NamedTuple):
    """One member or yardstick."""

    name: str
    stage: str
    """`train` or `yardstick`."""
    status: str
    """`ok`: what lies there belongs to params, data and code as they are. `failed`: it was tried. `skipped`: it was
    not, since it was not selected or a stage before it failed."""
    test: float | None
    val: float | None
    """The headline score, of what is ok."""
    seconds: float | None
    """Of the last run, whatever came of it."""
    log: str | None
    """Of the last run, relative to the project; of what failed without a record of its own, the queue's."""
    error: str | None


class Night(NamedTuple):
    """What a queue kept."""

    log: Path
    """Named after the time at which it began."""
    failures: Mapping[str, str]
    """Stage → its error."""


def build(root: Path, unfinished: Collection[str], only: Collection[str] | None = None,
          night: Night | None = None) -> tuple[str, tuple[Row, ...]]:  # fmt: skip
    """The score that the table names, and its rows: members, then yardsticks.

    Args:
        root: The project's folder.
        unfinished: Stages that DVC would run again.
        only: Stages that were selected, or None for all.
        night: The queue that has just ended; None where records alone tell.
    """
    file = root / params.PARAMS_FILE
    names = {"train": [*params.load_items(Member, file)], "yardstick": [*params.load_items(Yardstick, file)]}
    standings = read_standings(root / "metrics", names["train"], Path(), (), Path(), yardsticks=names["yardstick"])
    scored = {row.name: row for row in standings.rows}
    key = leading_key(params.load(Classes, path=file).names)
    stuck = any(name.partition("@")[0] in BEFORE for name in unfinished)
    rows = []
    for stage, items in names.items():
        for name in items:
            target = f"{stage}@{name}"
            done = target not in unfinished and not stuck
            tried = not stuck and (only is None or target in only)
            status = "ok" if done else "failed" if tried else "skipped"
            run = read_newest(runs_root(root), name) if stage == "train" else None
            row = _row(name, stage, status, scored.get(name) if done else None, run, key, root)
            if night and status == "failed" and (run is None or run.folder.name < night.log.stem):
                said = night.failures.get(target, _SILENT)
                row = row._replace(seconds=None, log=str(night.log.relative_to(root)), error=said)
            rows.append(row)
    return say_key(key), tuple(rows)


def write(root: Path, key: str, rows: Iterable[Row]) -> None:
    """Writes metrics/summary.json."""
    rows = tuple(rows)
    failed = sorted(row.name for row in rows if row.status == "failed")
    write_json({"score": key, "failed": failed, "members": {row.name: row._asdict() for row in rows}}, root / SUMMARY)


def lines(key: str, rows: Sequence[Row]) -> tuple[str, ...]:
    """The table, as text."""
    cells = [(row.name, row.status, _scores(row), _time(row.seconds), row.log or "–") for row in rows]
    cells.insert(0, (*_HEADINGS[:2], f"{key} test / val", *_HEADINGS[3:]))
    widths = [max(len(row[k]) for row in cells) for k in range(len(_HEADINGS) - 1)]
    table = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
             for row in cells]  # fmt: skip
    return (*table, *(f"{row.name}: {row.error}" for row in rows if row.status == "failed" and row.error))


def _row(name: str, stage: str, status: str, scored: Standing | None, run: Run | None, key: str, root: Path) -> Row:
    parts, facts = scored.parts if scored else {}, run.facts if run else {}
    test, val = (parts.get(part, {}).get(key) for part in ("test", "val"))
    log = _below(root, run.folder / CONSOLE) if run else None
    ended = _KILLED if facts.get("status") == "running" else facts.get("error")
    return Row(name, stage, status, test, val, facts.get("seconds"), log, ended if status == "failed" else None)


def _below(root: Path, path: Path) -> str:
    """A path below the project as the project sees it, any other (OUTPUT_ROOT) as it is."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _scores(row: Row) -> str:
    return " / ".join("–" if score is None else f"{score:.3f}" for score in (row.test, row.val))


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else str(timedelta(seconds=round(seconds)))
