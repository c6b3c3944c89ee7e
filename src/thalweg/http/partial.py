"""A file on its way in: `<target>.part`, and beside it what the server called the version that it belongs to.

Who fetches a file holds a lock on its `.part`, so that of several threads, processes or accounts one fetches it. The
kernel frees the lock when its process ends, however it ends.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from thalweg.errors import DiskSpaceError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Partial:
    """The part of a file that has come so far; only used inside `claimed`."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self._etag = target.with_name(f"{target.name}.part.etag")

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Waits until nobody else fetches this file, and holds that; what is left empty is removed.

        The one before may have renamed the file while this one waited; then the lock is on what is no longer a part.
        """
        while True:
            with _locked(self.path) as handle:
                if self._is(handle):
                    try:
                        yield
                    finally:
                        self._tidy(handle)
                    return

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size

    @property
    def etag(self) -> str | None:
        """Strong entity tag of the version that it is a part of, if the server gave one."""
        return (self._etag.read_text("ascii") or None) if self._etag.exists() else None

    @contextmanager
    def writing(self, etag: str | None, resume: bool) -> Iterator[BinaryIO]:
        """The open file, at its end or emptied; when the block ends well, its bytes are on the disk.

        The tag goes first and is written after the file is emptied, so that it never speaks of other bytes.

        Raises:
            DiskSpaceError: The disk is full.
        """
        try:
            if not resume:
                self.drop()
                if etag is not None:
                    self._etag.write_text(etag, "ascii")
            with self.path.open("ab") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise DiskSpaceError(
                f"{self.path} cannot grow beyond {self.size} bytes: {os.strerror(error.errno or 0)}; make room and run "
                "it again, what has come stays"
            ) from error

    def accept(self) -> Path:
        """Puts the whole file in its place, for good: the folder is synced as well."""
        self._etag.unlink(missing_ok=True)
        self.path.replace(self.target)
        folder = os.open(self.target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return self.target

    def quarantine(self) -> Path:
        """Puts the file aside as `<target>.bad`, for a look; nothing takes it for the file."""
        self._etag.unlink(missing_ok=True)
        return self.path.replace(self.target.with_name(f"{self.target.name}.bad"))

    def drop(self) -> None:
        """Forgets what has come; the file stays, since the lock is on it."""
        self._etag.unlink(missing_ok=True)
        os.truncate(self.path, 0)

    def _tidy(self, handle: int) -> None:
        if self._is(handle) and self.size == 0:
            self._etag.unlink(missing_ok=True)
            self.path.unlink()

    def _is(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self.path.stat())
        except FileNotFoundError:
            return False


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """An open file, made if need be, that nobody else has locked."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)
