"""Unpacking archives from strangers: nothing outside the folder, no links, no more bytes than stated.

A member that is refused fails the whole archive, because a data set that lacks a file is not that data set.
"""

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Literal

from thalweg.errors import ArchiveError

Pack = Literal["zip", "tar", "none"]
"""How files are packed: `tar` also compressed by gzip, bzip2 or xz; `none` is a file that is taken as it is."""
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    is_file: bool
    """False for links and devices, which are refused."""


def unpack(archive: Path, pack: Pack, folder: Path, limit_bytes: int) -> int:
    """Unpacks all files of an archive into `folder`, which may hold others already.

    Args:
        archive: The whole file.
        pack: How it is packed.
        folder: Made if it is not there. Use one that is thrown away after an error.
        limit_bytes: Most bytes that the members may have together, so that a bomb does not fill the disk.

    Returns:
        Bytes written.

    Raises:
        ArchiveError: The archive is damaged, or a member is absolute, climbs out by `..`, is a link, overwrites another
            file, or makes the whole larger than the limit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if pack == "none":
        raise ArchiveError(f"{archive} is not packed; take it as it is")
    try:
        return _unpack_zip(archive, folder, limit_bytes) if pack == "zip" else _unpack_tar(archive, folder, limit_bytes)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        NotImplementedError,
        RuntimeError,
        FileExistsError,  # a member is a file where another needs a folder
        NotADirectoryError,
        IsADirectoryError,
    ) as error:
        if isinstance(error, ArchiveError):
            raise
        raise ArchiveError(
            f"{archive} is not a whole {pack} archive ({error}); correct 'pack' or its checksum, or remove it to have "
            "it fetched again"
        ) from error


def _unpack_zip(path: Path, folder: Path, limit_bytes: int) -> int:
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename: info for info in archive.infolist() if not info.is_dir()}
        members = [_Member(info.filename, info.file_size, _is_plain(info)) for info in archive.infolist()
                   if not info.is_dir()]  # fmt: skip
        return sum(
            _write(archive.open(infos[member.name]), member, path, target)
            for member, target in _placed(members, path, folder, limit_bytes)
        )


def _unpack_tar(path: Path, folder: Path, limit_bytes: int) -> int:
    with tarfile.open(path) as archive:
        infos = {info.name: info for info in archive if not info.isdir()}
        members = [_Member(info.name, info.size, info.isreg()) for info in archive if not info.isdir()]
        written = 0
        for member, target in _placed(members, path, folder, limit_bytes):
            content = archive.extractfile(infos[member.name])
            if content is None:
                raise ArchiveError(f"{path}: its member {member.name} is no file; get the data set from its publisher")
            written += _write(content, member, path, target)
        return written


def _is_plain(info: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(info.external_attr >> 16)  # Unix mode; 0 where the zip was made elsewhere
    return kind in (0, stat.S_IFREG)


def _placed(
    members: Iterable[_Member], archive: Path, folder: Path, limit_bytes: int
) -> Iterator[tuple[_Member, Path]]:
    """Members with the path that each gets; all are checked before the first is written."""
    placed: dict[Path, _Member] = {}
    for member in members:
        target = folder / _checked_name(member, archive)
        if target in placed:
            raise ArchiveError(f"{archive} holds {member.name} twice; get the data set from its publisher")
        if target.exists():
            raise ArchiveError(f"{archive}: its member {member.name} would overwrite a file of another archive; give "
                               "the two their own 'into'")  # fmt: skip
        placed[target] = member
    total = sum(member.size for member in placed.values())
    if total > limit_bytes:
        raise ArchiveError(
            f"{archive} unpacks to {total} bytes, but there is room for {limit_bytes}; free some disk, or distrust it"
        )
    return ((member, target) for target, member in placed.items())


def _checked_name(member: _Member, archive: Path) -> PurePosixPath:
    name = PurePosixPath(member.name)
    climbs = ".." in name.parts or ".." in PureWindowsPath(member.name).parts
    if name.is_absolute() or PureWindowsPath(member.name).drive or climbs or "\0" in member.name or not name.parts:
        raise ArchiveError(f"{archive}: its member {member.name!r} leaves the folder it is unpacked into; nothing was "
                           "unpacked, get the data set from its publisher")  # fmt: skip
    if not member.is_file:
        raise ArchiveError(f"{archive}: its member {member.name} is a link or device, not a file; nothing was unpacked")
    return name


def _write(content: IO[bytes], member: _Member, archive: Path, target: Path) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("xb") as file:
        shutil.copyfileobj(content, file, _CHUNK_BYTES)
        written = file.tell()
    if written != member.size:
        raise ArchiveError(f"{archive}: its member {member.name} has {written} bytes instead of {member.size}; fetch "
                           "the archive again")  # fmt: skip
    return written
