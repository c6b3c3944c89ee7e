"""Shares of a map's rows, which several calls predict: which are finished, and whose turn it is.

A share leaves a mark when it has come to its end. Marks, bands and locks lie in the folder of what is on the way, which
all calls see; whoever makes the map removes it.
"""

import errno
import fcntl
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from thalweg.errors import DegradedDataWarning, ShareError
from thalweg.infer.memory import BAND_PX, Group
from thalweg.infer.state import State
from thalweg.manifest import Record, read_record, write_record

MARKS, STATES, BATCHES = "shares", "state", "batches"
_REMEDY = "predict the share again"
_WAIT_S = 5.0
"""For one who only looks whether a share is held."""


@dataclass(frozen=True)
class Share:
    """Bands of rows that one of several calls predicts."""

    number: int
    """From 1."""
    of: int

    def rows(self, height: int) -> tuple[int, int]:
        """First row and the one behind the last, of an image of so many; where bands are few, some have none."""
        bands = -(-height // BAND_PX)
        first, last = ((number * bands // self.of) * BAND_PX for number in (self.number - 1, self.number))
        return min(first, height), min(last, height)


class Kept(Record):
    """What a share kept of one image."""

    height: int
    """Of the image, pixels."""
    folder: str
    """Of its bands, among the states: it stands for the model, the image, how it is swept, batches and code."""


class Mark(Record):
    """A share that came to its end."""

    code: str
    """Hash of what decides values."""
    images: dict[str, Kept]


class Batches(Record):
    """In what batches an image is predicted."""

    device: str
    """Kind of device."""
    windows: dict[str, int]
    """Edge of a window, pixels → windows per batch."""


def agreed(place: Path, image: str, device: str, part: Group) -> Group:
    """A plan with the batches of the first share of an image, if that is predicted on this kind of device.

    The last bits depend on them, and they on how much of an accelerator's memory is free just then.

    Args:
        place: Folder of what is on the way.
        image: Its name.
        device: Kind of device here.
        part: What would be done alone.
    """
    path = place / BATCHES / f"{image}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            windows = {str(size): count for size, count in part.batches.items()}
            write_record(Batches(device=device, windows=windows), path)
        first = read_record(Batches, path, _REMEDY)
    if first.device != device:
        return part
    return replace(part, batches={int(size): count for size, count in first.windows.items()})


def write_mark(place: Path, share: Share, mark: Mark) -> None:
    """Says that a share is finished."""
    write_record(mark, _mark(place, share))


def read_finished(place: Path, of: int, code: str) -> dict[int, Mark]:
    """Shares that are finished, by number: their bands are there, of this code, and of one kind with the newest.

    Args:
        place: Folder of what is on the way.
        of: Number of shares.
        code: Hash of today's.
    """
    shares = {number: Share(number, of) for number in range(1, of + 1)}
    times = {number: path.stat().st_mtime_ns for number, one in shares.items() if (path := _mark(place, one)).is_file()}
    marks = {number: read_record(Mark, _mark(place, shares[number]), _REMEDY)
             for number in sorted(times, key=times.__getitem__)}  # fmt: skip
    whole = {
        number: mark for number, mark in marks.items() if mark.code == code and _is_whole(place, shares[number], mark)
    }
    newest = list(whole.values())[-1] if whole else None
    return {number: mark for number, mark in sorted(whole.items()) if mark == newest}


def to_rows(marks: Mapping[int, Mark], missing: list[int], of: int) -> str:
    """The rows that some shares lack, in words; all, where no other share says how high images are."""
    heights = {name: kept.height for mark in marks.values() for name, kept in mark.images.items()}
    runs = [(name, *Share(number, of).rows(height)) for name, height in heights.items() for number in missing]
    said = [f"{start} to {stop} of {name}" for name, start, stop in runs if start < stop]
    return f"rows {', '.join(said)}" if said else "all rows"


@contextmanager
def taking(work: Path, share: Share) -> Iterator[None]:
    """Holds a share for this process; meanwhile nobody makes the map.

    Raises:
        ShareError: Another call holds it, or makes the map.
    """
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock(work, share))
    holder = _lock(work, share).with_suffix(".holder")
    with _opened(work, fcntl.LOCK_SH, lambda: f"{_map(work)} is just being made by another call; wait for it"):
        try:
            lock.acquire(timeout=_WAIT_S)
        except Timeout as error:
            said = _said(holder)
            raise ShareError(f"{said} of {_map(work)} already; wait for it, or end that process") from error
        try:
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}: {share.number} of {share.of}", "utf-8")
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()


@contextmanager
def making(work: Path) -> Iterator[None]:
    """Holds the map for this process; meanwhile nobody predicts a share of it.

    Raises:
        ShareError: A share is at work, or another call makes the map.
    """
    work.mkdir(parents=True, exist_ok=True)
    with _opened(work, fcntl.LOCK_EX, lambda: _busy(work)):
        yield


def _busy(work: Path) -> str:
    """Who is at work on the map."""
    held = [path.with_suffix(".holder") for path in sorted(work.glob("share-*.lock")) if _is_held(path)]
    said = "; ".join(_said(path) for path in held) or "another call makes it"
    return f"{_map(work)} cannot be made yet: {said}; wait for it, and run this again"


def _said(holder: Path) -> str:
    """Whoever holds a share."""
    who, _, which = (holder.read_text("utf-8") if holder.is_file() else "another call: one").rpartition(": ")
    return f"{who} predicts share {which}"


@contextmanager
def _opened(work: Path, kind: int, refusal: Callable[[], str]) -> Iterator[None]:
    """Holds the map's lock: with others, or alone. The system lets go of it when a process ends, however it ends."""
    with (work / "map.lock").open("a+b") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ShareError(refusal()) from error
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
                raise
            warnings.warn(f"{work} lies on a disk without locks ({error.strerror}); see yourself that no share is at "
                          "work when the map is made", DegradedDataWarning, stacklevel=4)  # fmt: skip
        yield


def _is_held(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _is_whole(place: Path, share: Share, mark: Mark) -> bool:
    """Whether all bands are there that a mark speaks of."""
    return all(State(place / STATES / kept.folder).has(top)
               for kept in mark.images.values() for top in range(*share.rows(kept.height), BAND_PX))  # fmt: skip


def _mark(place: Path, share: Share) -> Path:
    return place / MARKS / f"{share.number}-of-{share.of}.json"


def _lock(work: Path, share: Share) -> Path:
    return work / f"share-{share.number}-of-{share.of}.lock"


def _map(work: Path) -> str:
    """The map that a folder of what is on the way is for."""
    return work.name.removeprefix(".").removesuffix(".unfinished")
