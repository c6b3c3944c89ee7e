"""A folder that is made whole or not at all, says what it was made of, and is not destroyed unasked."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from thalweg.errors import RepackError
from thalweg.manifest import Record, read_record, write_record
from thalweg.sources import sha256_of

FILE = "repack.json"
SCHEMA = 1


class FileRecord(Record):
    """One file of the folder."""

    size: int
    sha256: str


class RepackRecord(Record):
    """`repack.json`."""

    schema_version: int
    made: Literal["pack", "chips"]
    request: dict[str, Any]
    """All that decided what was made, as JSON."""
    files: dict[str, FileRecord]
    """Path below the folder → what it is."""


def is_standing(out: Path, made: Literal["pack", "chips"], request: Mapping[str, Any], force: bool) -> bool:
    """Whether the folder is there already, made of just this, and every byte of it as it was written.

    Args:
        out: The folder.
        made: What it should hold.
        request: All that decides what it should hold.
        force: Whether what stands there otherwise may be destroyed.

    Raises:
        RepackError: Something else stands there, or this damaged, and `force` is false.
    """
    if not out.exists():
        return False
    fault = _fault(out, made, request)
    if fault and not force:
        raise RepackError(f"{out} is there already and {fault}; give another --out, or --force to replace it")
    return fault is None


@contextmanager
def replacing(out: Path, made: Literal["pack", "chips"], request: Mapping[str, Any]) -> Iterator[Path]:
    """A folder to fill beside `out`, which takes its place at the end, with its record.

    What stood there is removed only then; an error inside leaves it, and nothing else.

    Raises:
        RepackError: The folder that `out` should lie in is none.
    """
    if not out.absolute().parent.is_dir():
        raise RepackError(f"{out.absolute().parent} is no folder; make it, or give another --out")
    beside, before = (out.absolute().with_name(f".{out.name}.{kind}") for kind in ("unfinished", "before"))
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        yield beside
        write_record(RepackRecord(schema_version=SCHEMA, made=made, request=dict(request), files=listed(beside)),
                     beside / FILE)  # fmt: skip
        if out.exists():
            out.rename(before)
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if out.exists():
            shutil.rmtree(before, ignore_errors=True)


def listed(folder: Path) -> dict[str, FileRecord]:
    """Size and SHA-256 of every file below a folder but its record, read from the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / FILE)
    return {path.relative_to(folder).as_posix(): FileRecord(size=path.stat().st_size, sha256=sha256_of(path))
            for path in files}  # fmt: skip


def _fault(out: Path, made: str, request: Mapping[str, Any]) -> str | None:
    """What is wrong with what stands there, or None."""
    if not (out / FILE).is_file():
        return "was not made by `thalweg repack`"
    record = read_record(RepackRecord, out / FILE, "remove the folder, or give another --out")
    if record.made != made:
        return f"holds {record.made}"
    if differing := [key for key in {*request, *record.request} if request.get(key) != record.request.get(key)]:
        return f"was made of something else (other {', '.join(sorted(differing))})"
    now = listed(out)
    if damaged := sorted(name for name in {*now, *record.files} if now.get(name) != record.files.get(name)):
        return f"{damaged[0]} is not as it was written ({len(damaged)} of {len(record.files)} files)"
    return None
