"""At most so many transfers per account, counted across threads and processes by file locks.

The kernel frees a lock when its process ends, however it ends, so a killed run blocks nobody.
"""

import hashlib
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

_LOOK_AGAIN_S = 0.05


@dataclass(frozen=True)
class Connections:
    """A bound on transfers that all processes with the same folder share."""

    folder: Path
    """Of the lock files; one per account, on a local disk."""
    limit: int
    """Most transfers at a time."""

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Waits for one of the places and holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        locks = [FileLock(self.folder / f"slot-{number}.lock") for number in range(self.limit)]
        taken = _take_any(locks)
        while taken is None:
            time.sleep(_LOOK_AGAIN_S * random.uniform(0.5, 1.5))
            taken = _take_any(locks)
        try:
            yield
        finally:
            taken.release()

    @contextmanager
    def claim(self, place: Path) -> Iterator[None]:
        """Waits until nobody else works on a file or folder, and holds that: for steps of several files.

        A download needs it not, since it locks its own `.part`.
        """
        folder = self.folder / "claims"
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(str(place.absolute()).encode()).hexdigest()[:32]
        with FileLock(folder / f"{name}.lock", poll_interval=_LOOK_AGAIN_S):
            yield


def _take_any(locks: list[FileLock]) -> FileLock | None:
    for lock in random.sample(locks, len(locks)):
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        return lock
    return None
