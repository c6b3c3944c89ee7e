"""What a person sees of a fetch: bars with rate and time left on a terminal, one plain line per file elsewhere."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import rich
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars


class Progress(Protocol):
    """Who hears of each file's steps; called from several threads."""

    def begin(self, target: Path, size: int | None, have: int) -> None:
        """A transfer begins, or begins anew, with so many bytes in hand."""

    def advance(self, target: Path, count: int) -> None:
        """So many more bytes have come."""

    def finish(self, target: Path, size: int, moved: bool) -> None:
        """The file is in its place, verified; `moved` unless it lay there already."""


class Silent:
    """Hears and says nothing."""

    def begin(self, target: Path, size: int | None, have: int) -> None:
        """Says nothing."""

    def advance(self, target: Path, count: int) -> None:
        """Says nothing."""

    def finish(self, target: Path, size: int, moved: bool) -> None:
        """Says nothing."""


class Lines:
    """One plain line per finished file, with its number, rate and the time left."""

    def __init__(self, files: int, size: int, console: Console) -> None:
        self._files, self._size, self._console = files, size, console
        self._lock = threading.Lock()
        self._began, self._starts = time.monotonic(), dict[Path, tuple[float, int]]()
        self._done_files = self._done = self._moved = 0

    def begin(self, target: Path, size: int | None, have: int) -> None:  # noqa: ARG002 - a line comes at the end
        """Starts the file's clock."""
        with self._lock:
            self._starts.setdefault(target, (time.monotonic(), have))

    def advance(self, target: Path, count: int) -> None:
        """Waits for the end."""

    def finish(self, target: Path, size: int, moved: bool) -> None:
        """Writes the file's line."""
        with self._lock:
            start, had = self._starts.pop(target, (time.monotonic(), 0))
            came = size - had if moved else 0
            self._done_files, self._done, self._moved = self._done_files + 1, self._done + size, self._moved + came
            how = f"{rate(came, time.monotonic() - start)}{self._left()}" if moved else "there already"
            self._console.print(f"{self._done_files}/{self._files} {target.name} {megabytes(size)} {how}",
                                markup=False, highlight=False, soft_wrap=True)  # fmt: skip

    def _left(self) -> str:
        passed = time.monotonic() - self._began
        if self._moved <= 0 or self._done >= self._size:
            return ""
        return f", {clock(passed * (self._size - self._done) / self._moved)} left"


class Screen:
    """A bar per file and one for all, by rich."""

    def __init__(self, bars: Bars, files: int, size: int) -> None:
        self._bars, self._files, self._done = bars, files, 0
        self._lock = threading.Lock()
        self._tasks: dict[Path, TaskID] = {}
        self._came: dict[Path, int] = {}
        self._all = bars.add_task(f"0/{files} files", total=size or None)

    def begin(self, target: Path, size: int | None, have: int) -> None:
        """Adds the file's bar, or sets it back."""
        with self._lock:
            if target not in self._tasks:
                self._tasks[target] = self._bars.add_task(target.name, total=size)
            self._bars.update(self._tasks[target], completed=have, total=size)
            self._bars.advance(self._all, have - self._came.get(target, 0))
            self._came[target] = have

    def advance(self, target: Path, count: int) -> None:
        """Moves both bars."""
        with self._lock:
            self._bars.advance(self._tasks[target], count)
            self._bars.advance(self._all, count)
            self._came[target] += count

    def finish(self, target: Path, size: int, moved: bool) -> None:  # noqa: ARG002 - bars show either alike
        """Removes the file's bar."""
        with self._lock:
            if target in self._tasks:
                self._bars.remove_task(self._tasks.pop(target))
            self._done += 1
            self._bars.advance(self._all, size - self._came.pop(target, 0))
            self._bars.update(self._all, description=f"{self._done}/{self._files} files")


@contextmanager
def watch(files: int, size: int, console: Console | None = None) -> Iterator[Progress]:
    """Shows a fetch of so many files and bytes, as the place allows: bars on a terminal, else lines on stderr."""
    console = console or Console(file=sys.stderr, quiet=rich.get_console().quiet)
    if not console.is_terminal:
        yield Lines(files, size, console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Bars(*columns, console=console) as bars:
        yield Screen(bars, files, size)


def rate(count: int, seconds: float) -> str:
    """`3.4 MB/s`."""
    return f"{megabytes(int(count / max(seconds, 1e-3)))}/s"


def megabytes(count: int) -> str:
    """`41.3 MB`, or kB below one."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def clock(seconds: float) -> str:
    """`1:02:03`."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
