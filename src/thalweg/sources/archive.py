"""Source `archive`: any data set by a list of its files with size and checksum; zips and tars are unpacked safely.

The list, `fetch.input`, is a YAML file in git; addresses may be `https://` or `file://`. What is verified once lies in
the store, unpacked, and is not fetched again; an interrupted download is resumed where the server can.
"""

import shutil
from pathlib import Path, PurePosixPath
from typing import ClassVar

from pydantic import Field

from thalweg import bring
from thalweg.errors import ParamsError, ProductError
from thalweg.http.disk import MARGIN, check_space, free_bytes
from thalweg.http.expected import Expected
from thalweg.http.progress import Progress, watch
from thalweg.http.session import Session
from thalweg.layout import Layout, link_found
from thalweg.manifest.listing import Archive, FileList, Part, read_list
from thalweg.manifest.products import Product
from thalweg.params import Section
from thalweg.sources import link_tree
from thalweg.unpack import unpack

_JOIN_CHUNK_BYTES = 1 << 20


class Options(Section):
    """A data set by its files: `fetch.options` of the source `archive`."""

    section: ClassVar[str] = "fetch"

    products: tuple[Layout, ...] = Field(min_length=1)
    """What lies in the unpacked data set, as for the source `local`."""
    masks: tuple[str, ...]
    """Globs of mask files in the unpacked data set, linked into build/raw/masks; empty where it has none."""


def deliver(options: Options, given: Path, raw: Path, store: Path) -> list[Product]:
    """Fetches, verifies and unpacks what the store lacks, then links products and masks into `raw`.

    Args:
        options: What lies in the data set.
        given: `fetch.input`, the list of files.
        raw: Folder to fill.
        store: Folder that outlives runs.

    Raises:
        ParamsError: The list does not fit, or a pattern leaves the data set.
        ProductError: A pattern finds nothing, or a product is damaged.
        ArchiveError: An archive is damaged, or would write outside its folder.
        DiskSpaceError: There is no room for what is to be fetched.
        HttpError: A file cannot be had, or is not what the list says.
    """
    files = read_list(FileList, given)
    session = Session(bring.PATIENCE, bring.connections(store), None)
    missing = [archive for archive in files.archives if not (store / archive.key).is_dir()]
    if missing:
        check_space(store, _needed(missing))
    parts = [part for archive in missing for part in archive.parts]
    with watch(len(parts), sum(part.size for part in parts)) as progress:
        for archive in missing:
            with bring.connections(store).claim(store / archive.key):
                if not (store / archive.key).is_dir():
                    _fetch(archive, store, session, progress)
    view = _assembled(files.archives, store, raw)
    try:
        _link_masks(options.masks, view, raw)
        return link_found(options.products, view, raw)
    finally:
        shutil.rmtree(view)


def _needed(archives: list[Archive]) -> int:
    """Downloads are removed once unpacked; both lie there for a while, and unpacked files are no smaller."""
    return 2 * sum(part.size for archive in archives for part in archive.parts)


def _fetch(archive: Archive, store: Path, session: Session, progress: Progress) -> None:
    """One archive into the store, by rename: whole and verified, or not there."""
    parts = [_bring_part(part, store / "parts", session, progress) for part in archive.parts]
    room = store / f".{archive.key}.part"
    shutil.rmtree(room, ignore_errors=True)
    folder = room / archive.into
    folder.mkdir(parents=True)
    whole = _joined(parts, store / "parts" / archive.key)
    if archive.pack == "none":
        whole.replace(folder / archive.name)
    else:
        unpack(whole, archive.pack, folder, free_bytes(store) - MARGIN)
    room.replace(store / archive.key)
    for path in (*parts, whole):
        path.unlink(missing_ok=True)


def _bring_part(part: Part, folder: Path, session: Session, progress: Progress) -> Path:
    expected = Expected(part.size, bring.to_checksum(part.checksum), None)
    return bring.bring(part.url, folder / part.checksum.replace(":", "-").lower(), expected, session, progress)


def _joined(parts: list[Path], target: Path) -> Path:
    """One part as it is; several one after the other."""
    if len(parts) == 1:
        return parts[0]
    with target.open("wb") as file:
        for part in parts:
            with part.open("rb") as content:
                shutil.copyfileobj(content, file, _JOIN_CHUNK_BYTES)
    return target


def _assembled(archives: tuple[Archive, ...], store: Path, raw: Path) -> Path:
    """All archives in one folder, as hard links."""
    view = raw.with_name(f".{raw.name}.view")
    shutil.rmtree(view, ignore_errors=True)
    for archive in archives:
        for path in _files(store / archive.key):
            target = view / path.relative_to(store / archive.key)
            if target.exists():
                raise ProductError(
                    f"two archives of the list hold {target.relative_to(view)}; the second is {archive.name}; give it "
                    "its own 'into'"
                )
            link_tree(path, target)
    return view


def _link_masks(patterns: tuple[str, ...], view: Path, raw: Path) -> None:
    for pattern in patterns:
        if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
            raise ParamsError(f"fetch.options.masks: the pattern '{pattern}' leaves the data set; give one below it")
        found = [path for path in sorted(view.glob(pattern)) if path.is_file()]
        if not found:
            raise ProductError(f"fetch.options.masks: '{pattern}' finds no file in the data set; correct params.yaml")
        for path in found:
            target = raw / "masks" / path.relative_to(view)
            if not target.exists():
                link_tree(path, target)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
