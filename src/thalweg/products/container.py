"""The files of a SAFE product, whether it lies as a folder or as a zip."""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from thalweg.errors import ProductError

_HASHES: dict[str, Callable[[], Any]] = {"MD5": hashlib.md5, "SHA3-256": hashlib.sha3_256, "SHA-256": hashlib.sha256}
"""Checksum names in manifest.safe: MD5 in older products, SHA3-256 since baseline 04.00."""
_CHUNK = 1 << 20


class Container:
    """Files of one product by their path below the SAFE folder.

    Raises:
        ProductError: The zip is truncated or no zip, or nothing in it is Sentinel-2 product metadata.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            sizes = _zip_sizes(path) if path.is_file() else _folder_sizes(path)
        except zipfile.BadZipFile as error:
            raise ProductError(
                f"{path} is not a whole zip ({error}); deliver it again, then run `dvc repro`"
            ) from error
        self.root = _product_root(path, sizes)
        self.sizes = {name[len(self.root) :]: size for name, size in sizes.items() if name.startswith(self.root)}
        """Path below the SAFE folder → bytes."""

    def gdal_path(self, name: str) -> str:
        """What GDAL opens."""
        inside = f"{self.root}{name}"
        return f"/vsizip/{{{self.path.absolute()}}}/{inside}" if self.path.is_file() else str(self.path / inside)

    def read(self, name: str) -> bytes:
        """A whole (small) file."""
        with self._open(name) as stream:
            return stream.read()

    def checksum(self, name: str, algorithm: str) -> str:
        """Lower-case hex digest of a file.

        Raises:
            ProductError: The algorithm is unknown, or the zip member is damaged.
        """
        if algorithm.upper() not in _HASHES:
            raise ProductError(f"{self.path}: manifest.safe uses the unknown checksum '{algorithm}'; please report it")
        digest = _HASHES[algorithm.upper()]()
        try:
            with self._open(name) as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
            raise ProductError(f"{self.path}: {name} is damaged ({error}); deliver the product again") from error
        return str(digest.hexdigest())

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        if self.path.is_file():
            with zipfile.ZipFile(self.path) as archive, archive.open(self.root + name) as stream:
                yield stream
        else:
            with (self.path / self.root / name).open("rb") as stream:
                yield stream


def _zip_sizes(path: Path) -> dict[str, int]:
    with zipfile.ZipFile(path) as archive:
        return {info.filename: info.file_size for info in archive.infolist() if not info.is_dir()}


def _folder_sizes(path: Path) -> dict[str, int]:
    files = (file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): file.stat().st_size for file in files}


def _product_root(path: Path, sizes: dict[str, int]) -> str:
    roots = {name[: -len(Path(name).name)] for name in sizes if Path(name).name in ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")}
    if not roots:
        raise ProductError(
            f"{path} has neither MTD_MSIL2A.xml nor MTD_MSIL1C.xml, so it is no Sentinel-2 SAFE product; "
            "deliver it whole"
        )
    return min(roots, key=lambda root: (root.count("/"), root))
