"""Products in the store: the manifest first, then the wanted files, each verified before it appears.

Whoever comes second, in this run or another, finds what is verified and fetches only what is missing.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from thalweg.copernicus import nodes
from thalweg.copernicus.catalogue import Asks
from thalweg.copernicus.manifest_safe import MANIFEST, File, choose_files, read_files
from thalweg.copernicus.whole import check_zip
from thalweg.errors import ProductError
from thalweg.http.expected import JP2, XML, ZIP, Checksum, Expected
from thalweg.http.progress import Progress
from thalweg.manifest.lock import LockedProduct

Bands = Mapping[str, Sequence[str]]
"""Resolution folder (`R60m`, or `L1C`) → bands, `SCL` among them; empty for the whole zip."""
_SIGNATURES = {".jp2": JP2, ".xml": XML}


class Downloads(Protocol):
    """What this needs of `thalweg.http.session.Session`."""

    def download(self, url: str, target: Path, expected: Expected, progress: Progress | None = None) -> Path:
        """The file at `target`, whole and verified."""
        ...


@dataclass(frozen=True)
class Way:
    """How files of products are had."""

    listing: Asks
    """Asks without an account."""
    files: Callable[[], Downloads]
    """Opens the account when the first file is fetched, so that a run that lacks nothing needs none."""
    base: str
    """Of the download host."""
    file_url: Callable[[LockedProduct, str], str]
    """Address of a file by its path below the SAFE folder."""


@dataclass(frozen=True)
class Piece:
    """One file to be in the store."""

    product: LockedProduct
    url: str
    target: Path
    expected: Expected
    is_whole_zip: bool = False

    @property
    def is_there(self) -> bool:
        """Whether it lies in the store, verified anew; a whole zip only gets there by that."""
        return self.target.is_file() and (self.is_whole_zip or self.expected.fault(self.target) is None)

    @property
    def missing_bytes(self) -> int:
        """What is still to move, what an interrupted run left counted as here."""
        part = self.incoming.with_name(f"{self.incoming.name}.part")
        return max((self.expected.size or 0) - (part.stat().st_size if part.is_file() else 0), 0)

    @property
    def incoming(self) -> Path:
        """Where it arrives: a zip counts only once its members are verified."""
        return self.target.with_name(f".{self.target.name}.unchecked") if self.is_whole_zip else self.target


def list_pieces(product: LockedProduct, bands: Bands, way: Way, store: Path) -> list[Piece]:
    """The files that a fetch wants of a product; fetches its manifest if the store lacks it.

    Raises:
        ProductError: The manifest cannot be trusted, or a wanted band is not in it.
        HttpError: The manifest cannot be had.
    """
    if not bands:
        return [_zip_piece(product, way, store)]
    folder = safe_folder(product, store)
    manifest = folder / MANIFEST
    if not manifest.is_file():
        expected = Expected(_manifest_size(product, way), None, XML)
        way.files().download(way.file_url(product, MANIFEST), manifest, expected)
    files = choose_files(read_files(manifest.read_bytes(), product.name), bands, product.name)
    return [Piece(product, way.file_url(product, file.path), folder / file.path, _expected(file)) for file in files]


def fetch_pieces(pieces: Sequence[Piece], way: Way, connections: int, progress: Progress) -> None:
    """Brings files side by side; the first failure stops those that have not begun.

    Raises:
        ProductError: A zip's members are not what its manifest states; it is kept as `.bad`.
        HttpError: A file cannot be had, or is not what was promised.
    """
    if not pieces:
        return
    session, stop = way.files(), threading.Event()

    def fetch(piece: Piece) -> None:
        if stop.is_set():
            return
        with _claimed(piece):
            if piece.is_whole_zip and piece.target.is_file():
                return  # another process has just verified it
            session.download(piece.url, piece.incoming, piece.expected, progress)
            _accept(piece)

    with ThreadPoolExecutor(connections) as pool:
        running = [pool.submit(fetch, piece) for piece in pieces]
        try:
            for one in running:
                one.result()
        finally:
            stop.set()


def measure(product: LockedProduct, bands: Bands, way: Way, store: Path) -> tuple[int, int]:
    """Bytes that fetching a product would move, and that its wanted files have, to the byte and without an account.

    Raises:
        ProductError: A wanted band is not in it.
        CatalogueError: The server does not list it.
    """
    if bands and not (safe_folder(product, store) / MANIFEST).is_file():
        total = sum(_listed(product, bands, way))
        return total, total
    pieces = list_pieces(product, bands, way, store)
    return sum(piece.missing_bytes for piece in pieces if not piece.is_there), sum(
        piece.expected.size or 0 for piece in pieces
    )


def safe_folder(product: LockedProduct, store: Path) -> Path:
    """Where a product's files lie."""
    return store / f"{product.name}.SAFE"


def _zip_piece(product: LockedProduct, way: Way, store: Path) -> Piece:
    """Size and checksum are the catalogue's where it has them; the members are verified in any case."""
    stated = product.checksum
    checksum = None if stated is None else Checksum(stated.algorithm, stated.value)
    expected = Expected(product.size, checksum, ZIP)
    return Piece(product, nodes.zip_url(way.base, product), store / f"{product.name}.zip", expected, is_whole_zip=True)


@contextmanager
def _claimed(piece: Piece) -> Iterator[None]:
    """A zip is downloaded, verified and named in one go; other files are safe by the download's own lock."""
    with FileLock(piece.target.with_name(f".{piece.target.name}.lock")) if piece.is_whole_zip else nullcontext():
        yield


def _accept(piece: Piece) -> None:
    """Gives a zip its name once its members are verified."""
    if not piece.is_whole_zip:
        return
    try:
        check_zip(piece.incoming, piece.product.name)
    except ProductError:
        piece.incoming.replace(piece.target.with_name(f"{piece.target.name}.bad"))
        raise
    piece.incoming.replace(piece.target)


def _manifest_size(product: LockedProduct, way: Way) -> int:
    listed = nodes.list_sizes(way.listing, way.base, product)
    if not listed.get(MANIFEST):
        raise ProductError(f"{product.name} has no {MANIFEST} on the server; set fetch.options.whole_zip")
    return listed[MANIFEST]


def _listed(product: LockedProduct, bands: Bands, way: Way) -> list[int]:
    """Sizes of manifest, metadata and wanted images by the server's listing of folders."""

    def sizes(folder: str) -> dict[str, int]:
        return nodes.list_sizes(way.listing, way.base, product, folder)

    granule = f"GRANULE/{next(iter(sizes('GRANULE')), '')}"
    metadata = [size for folder in ("", granule) for name, size in sizes(folder).items() if _is_metadata(name)]
    images = []
    for place, names in bands.items():
        there = sizes(f"{granule}/IMG_DATA" + ("" if place == "L1C" else f"/{place}"))
        for band in names:
            ends = (f"_{band}.jp2", f"_{band}_{place[1:]}.jp2")
            found = [size for name, size in there.items() if name.endswith(ends)]
            if not found:
                raise ProductError(
                    f"{product.name} has no {band} in {place}, there it has {', '.join(sorted(there)) or 'nothing'}; "
                    "change fetch.options.bands or leave the product out"
                )
            images.append(found[0])
    return metadata + images


def _is_metadata(name: str) -> bool:
    return name in (MANIFEST, "MTD_MSIL2A.xml", "MTD_MSIL1C.xml", "MTD_TL.xml")


def _expected(file: File) -> Expected:
    checksum = Checksum(file.stated.algorithm, file.stated.checksum)
    return Expected(file.stated.size, checksum, _SIGNATURES.get(Path(file.path).suffix))
