"""What is to run, in which order: the items of DVC's foreach stages in waves, by DVC's own graph."""

import re
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from thalweg.errors import StageError
from thalweg.manifest import Record, read_record, write_record

ARRAYS = ("pretrain", "train", "yardstick", "crossval")
"""Foreach stages whose items run side by side."""
FILE = "order.json"


class Order(Record):
    """One submission."""

    before: tuple[str, ...]
    """Stages that DVC brings up to date first; none where they are."""
    waves: tuple[tuple[str, ...], ...]
    """Stages that run side by side, wave after wave: a member that comes after another is in a later one."""
    only: str | None
    """Patterns of the members that were asked for; None for all, and then maps and the report follow."""

    @property
    def stages(self) -> tuple[str, ...]:
        """All that run as tasks."""
        return tuple(stage for wave in self.waves for stage in wave)


def build(root: Path, changed: Collection[str], only: str | None = None) -> Order:
    """The order of what is not up to date.

    Args:
        root: The project's folder.
        changed: Stages that DVC would run again (`salvage.read_changed_stages`).
        only: Shell patterns of names, with commas between them; None for all.

    Raises:
        StageError: There is nothing to do.
    """
    depths, before = _graph(root)
    anew = any(not _is_array(name) for name in set(changed) & before)
    wanted = [name for name in depths if (anew or name in changed) and _fits(name, only)]
    if not wanted:
        raise StageError(
            f"nothing {'that fits ' + only + ' ' if only else ''}has to be trained; run `dvc repro` for what follows"
        )
    waves = [tuple(name for name in wanted if depths[name] == depth) for depth in sorted(set(depths.values()))]
    first = sorted(name for name in before if not _is_array(name)) if anew else []
    return Order(before=tuple(first), waves=tuple(wave for wave in waves if wave), only=only)


def read(folder: Path) -> Order:
    """The order of a submission's folder.

    Raises:
        SceneError: It is missing or broken.
    """
    return read_record(Order, folder / FILE, "run `thalweg submit` again")


def write(order: Order, folder: Path) -> None:
    """The counterpart."""
    write_record(order, folder / FILE)


def _fits(stage: str, only: str | None) -> bool:
    patterns = [pattern for pattern in re.split(r"[,\s]+", only or "*") if pattern]
    return any(fnmatchcase(stage.partition("@")[2], pattern) for pattern in patterns)


def _graph(root: Path) -> tuple[dict[str, int], set[str]]:
    """Depth of every task among tasks, and the names of all that tasks stand on, tasks included."""
    from dvc.repo import Repo  # noqa: PLC0415 - takes a second

    with Repo(str(root)) as repo:
        graph = repo.index.graph
        stages = [stage for stage in graph.nodes if _is_array(_name(stage))]
        known: dict[str, int] = {}
        for stage in stages:
            _depth(graph, stage, known)
        before = {_name(other) for stage in stages for other in _below(graph, stage)}
    return {_name(stage): known[_name(stage)] for stage in stages}, before - {""}


def _depth(graph: Any, stage: Any, known: dict[str, int]) -> int:
    if _name(stage) not in known:
        below = [other for other in graph.successors(stage) if _is_array(_name(other))]
        known[_name(stage)] = 1 + max((_depth(graph, other, known) for other in below), default=-1)
    return known[_name(stage)]


def _below(graph: Any, stage: Any) -> list[Any]:
    found = list(graph.successors(stage))
    return found + [deeper for other in found for deeper in _below(graph, other)]


def _name(stage: Any) -> str:
    return str(getattr(stage, "name", "") or "")


def _is_array(name: str) -> bool:
    return name.partition("@")[0] in ARRAYS
