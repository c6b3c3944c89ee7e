"""The download host: the Nodes tree of each product, single files and whole zips, and the S3 store's objects."""

import hashlib
import io
import re
import urllib.parse
import uuid
import zipfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from standin.identity import IdentityRoom
from standin.reply import Reply, told, zipper_error

_PRODUCT = re.compile(r"/odata/v1/Products\(([^)]*)\)(.*)")
_NODE = re.compile(r"/Nodes\(([^)]*)\)")


@dataclass
class DownloadRoom:
    """Serves SAFE folders."""

    products: list[Path]
    identity: IdentityRoom
    base: str = ""
    folders: dict[str, Path] = field(default_factory=dict)
    """Id → SAFE folder."""
    gone: set[str] = field(default_factory=set)
    """Ids that are answered with 404 although the catalogue lists them."""

    def __post_init__(self) -> None:
        for safe in self.products:
            self.add(safe)

    def add(self, safe: Path) -> str:
        """Serves one more product; its id."""
        self.folders[id_of(safe.name)] = safe
        return id_of(safe.name)

    def file_url(self, base: str, path: str, safe: Path) -> str:
        """Address of a file below a SAFE folder, or of the zip."""
        nodes = "".join(f"/Nodes({urllib.parse.quote(part)})" for part in [safe.name, *path.split("/")] if path)
        return f"{base}/Products({id_of(safe.name)}){nodes}/$value"

    def answer(self, path: str, headers: dict[str, str]) -> Reply:  # noqa: PLR0911 - an answer per case
        """A listing, a file, a zip, or why not."""
        found = _PRODUCT.fullmatch(path)
        if found is None:
            return self._object(path, headers)
        number, rest = found.groups()
        if number.startswith("'"):
            return told(422, {"detail": [{"msg": "DAT-ZIP-111 badly formed hexadecimal UUID string"}]})
        names = _NODE.findall(rest)
        if any(name[:1] in "'\"" for name in names):
            return zipper_error(400, 104, "Malformed OData request path")
        if number not in self.folders or number in self.gone:
            return zipper_error(404, 404, f"Product {number} not found")
        if rest.endswith("/Nodes"):
            return self._listing(number, names)
        if (fault := self.identity.fault_of(headers.get("Authorization", ""))) is not None:
            return zipper_error(401, *fault)
        return self._file(number, names, rest)

    def _listing(self, number: str, names: list[str]) -> Reply:
        safe = self.folders[number]
        if not names:
            return told(200, {"result": [self._node(number, safe)]})
        place = safe.parent.joinpath(*names)
        if not place.exists():
            return zipper_error(404, 404, "Node not found")
        children = sorted(place.iterdir()) if place.is_dir() else []
        return told(200, {"result": [self._node(number, child) for child in children]})

    def _node(self, number: str, place: Path) -> dict[str, object]:
        safe = self.folders[number]
        names = "".join(f"/Nodes({part})" for part in place.relative_to(safe.parent).parts)
        children = len(list(place.iterdir())) if place.is_dir() else 0
        return {
            "Id": place.name, "Name": place.name, "ContentLength": 0 if place.is_dir() else place.stat().st_size,
            "ChildrenNumber": children, "Nodes": {"uri": f"{self.base}/Products({number}){names}/Nodes"},
        }  # fmt: skip

    def _file(self, number: str, names: list[str], rest: str) -> Reply:
        safe = self.folders[number]
        if not rest.endswith("/$value"):
            return zipper_error(400, 104, "Malformed OData request path")
        if not names:
            return Reply(200, zip_of(safe), "application/zip", is_file=True)
        place = safe.parent.joinpath(*names)
        if not place.is_file() or names[0] != safe.name:
            return zipper_error(404, 404, "Node not found")
        return Reply(200, place.read_bytes(), "application/octet-stream", is_file=True)

    def _object(self, path: str, headers: dict[str, str]) -> Reply:
        """`/eodata/…/<name>.SAFE/<file>`, for whoever signs."""
        name, _, inside = path.partition(".SAFE/")
        safe = self.folders.get(id_of(f"{name.rpartition('/')[2]}.SAFE"))
        if not path.startswith("/eodata/") or safe is None or not (safe / inside).is_file():
            return Reply(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")
        if not headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 Credential="):
            return Reply(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")
        return Reply(200, (safe / inside).read_bytes(), "application/octet-stream", is_file=True)


def id_of(name: str) -> str:
    """The uuid that the stand-in gives a product's name (with `.SAFE`)."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


@cache
def zip_of(safe: Path) -> bytes:
    """The product as the download host packs it: stored, not compressed, the same bytes each time."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(safe.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(safe.parent).as_posix(), (2025, 10, 3, 0, 0, 0))
                archive.writestr(entry, path.read_bytes())
    return held.getvalue()


def md5_of(content: bytes) -> str:
    """Of a zip, as the catalogue states it."""
    return hashlib.md5(content).hexdigest()
