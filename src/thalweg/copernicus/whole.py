"""A whole product as one zip: nothing in it counts before every member is what the product's own manifest states."""

import zipfile
import zlib
from pathlib import Path, PurePosixPath

from thalweg.copernicus.manifest_safe import MANIFEST, read_files
from thalweg.errors import ProductError
from thalweg.products.container import Container


def check_zip(path: Path, name: str) -> None:
    """Verifies a zip as it came.

    Raises:
        ProductError: It is truncated, a member is damaged, missing or leads out of the product, or it is no product.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members([info.filename for info in archive.infolist()], path, name)
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ProductError(f"{path} is not a whole zip ({error}); run again to fetch {name} anew") from error
    if damaged is not None:
        raise ProductError(f"{path}: its member {damaged} is damaged; run again to fetch {name} anew")
    _check_stated(Container(path), name)


def _check_members(members: list[str], path: Path, name: str) -> None:
    for member in members:
        parts = PurePosixPath(member).parts
        if member.startswith("/") or ".." in parts or "\\" in member or not parts or parts[0] != f"{name}.SAFE":
            raise ProductError(f"{path}: its member '{member}' lies outside {name}.SAFE; the zip is not used")


def _check_stated(container: Container, name: str) -> None:
    if MANIFEST not in container.sizes:
        raise ProductError(f"{container.path} has no {MANIFEST}, so nothing verifies it; run again to fetch it anew")
    for file, stated in read_files(container.read(MANIFEST), name).items():
        if container.sizes.get(file) != stated.size:
            raise ProductError(
                f"{container.path}: {file} has {container.sizes.get(file, 'no')} bytes, its manifest says "
                f"{stated.size}; run again to fetch {name} anew"
            )
        if container.checksum(file, stated.algorithm) != stated.checksum:
            raise ProductError(
                f"{container.path}: {file} has another {stated.algorithm} than its manifest says; run again to fetch "
                f"{name} anew"
            )
