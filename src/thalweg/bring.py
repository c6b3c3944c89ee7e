"""One public file from where a list says it lies, `https://` or `file://`, verified before it counts."""

import os
import shutil
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from thalweg.errors import DamagedError, NotFoundError
from thalweg.http.connections import Connections
from thalweg.http.expected import Checksum, Expected
from thalweg.http.policy import Policy
from thalweg.http.progress import Progress

PATIENCE = Policy(connect_s=15, read_s=60, stall_s=120, attempts=6, backoff_s=2, backoff_max_s=120)
"""For public files of some megabytes, whose lists have no say in it."""
_AT_ONCE = 4
TIFF = b"II"
"""First bytes of a little-endian TIFF, as GDAL writes COGs."""


class Downloads(Protocol):
    """What this needs of `thalweg.http.session.Session`."""

    def download(self, url: str, target: Path, expected: Expected, progress: Progress | None = None) -> Path:
        """The file at `target`, whole and verified."""
        ...


def connections(store: Path, limit: int = _AT_ONCE) -> Connections:
    """The bound that all public downloads into one store share."""
    return Connections(store / ".connections", limit)


def to_checksum(text: str) -> Checksum:
    """`sha256:9e59…` as a list writes it."""
    algorithm, _, value = text.partition(":")
    return Checksum(algorithm, value)


def is_there(target: Path, expected: Expected) -> bool:
    """Whether the file lies there already, as expected."""
    return target.is_file() and expected.fault(target) is None


def bring(url: str, target: Path, expected: Expected, session: Downloads, progress: Progress | None = None) -> Path:
    """The file at `target`; one that is there already, whole and as expected, is not fetched again.

    Raises:
        NotFoundError: There is no such file.
        DamagedError: It is not what the list says.
        HttpError: The server does not give it.
    """
    if is_there(target, expected):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    parts = urlsplit(url)
    if parts.scheme != "file":
        return session.download(url, target, expected, progress)
    return _copy(Path(unquote(parts.path)), target, expected)


def _copy(source: Path, target: Path, expected: Expected) -> Path:
    if not source.is_file():
        raise NotFoundError(f"file://{source} is not there; correct the address in the list")
    partial = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, partial)
    if fault := expected.fault(partial):
        partial.unlink()
        raise DamagedError(f"file://{source} {fault}; correct the list or replace the file")
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(target)
    return target
