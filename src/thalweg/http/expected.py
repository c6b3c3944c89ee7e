"""What a file must be before it counts: its size, its checksum and its first bytes."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from thalweg.errors import ParamsError

JP2 = bytes.fromhex("0000000c6a5020200d0a870a")
"""First bytes of a JPEG 2000 file. Source: ISO/IEC 15444-1, signature box."""
ZIP = b"PK\x03\x04"
XML = b"<?xml"
HEAD = 64
"""Bytes that tell a kind of file."""
_NAMES = {"md5": "md5", "sha1": "sha1", "sha256": "sha256", "sha512": "sha512", "sha3256": "sha3_256",
          "sha3512": "sha3_512"}  # fmt: skip
_PROSE = re.compile(rb"\s*(\{|\[|<!doctype html|<html)", re.IGNORECASE)


@dataclass(frozen=True)
class Checksum:
    """A checksum as a provider states it; kind and digits in any case, `SHA3-256` like `sha3_256`."""

    algorithm: str
    value: str

    def __post_init__(self) -> None:
        _ = self.method  # an algorithm that cannot be computed is told before the bytes move

    @property
    def method(self) -> str:
        """The algorithm's name for hashlib.

        Raises:
            ParamsError: Nothing here computes it.
        """
        name = _NAMES.get(re.sub(r"[^a-z0-9]", "", self.algorithm.lower()))
        if name is None:
            raise ParamsError(f"no checksum of kind '{self.algorithm}' can be computed; use one of {', '.join(_NAMES)}")
        return name

    def fits(self, path: Path) -> bool:
        """Whether a file has this checksum."""
        with path.open("rb") as file:
            found = hashlib.file_digest(file, self.method).hexdigest()
        return found == self.value.strip().lower()


@dataclass(frozen=True)
class Expected:
    """What is known of a file beforehand; None where nothing is."""

    size: int | None
    checksum: Checksum | None
    signature: bytes | None
    """First bytes: `JP2`, `ZIP`, `XML`."""

    def fault(self, path: Path) -> str | None:
        """What is wrong with a whole file, as half a sentence; None if it is as expected."""
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"has {size} bytes instead of {self.size}"
        with path.open("rb") as file:
            head = file.read(HEAD)
        if len(head) < len(self.signature or b""):
            return f"has {size} bytes, too few for its kind of file"
        wrong = self.fault_of_head(head)
        if wrong is None and self.checksum is not None and not self.checksum.fits(path):
            return f"has another {self.checksum.algorithm} than the promised {self.checksum.value}"
        return wrong

    def fault_of_head(self, head: bytes) -> str | None:
        """What the first bytes give away, as far as they have come: an error page sent with 200 is no file."""
        begin = (self.signature or b"")[: len(head)]
        if not head.startswith(begin):
            return f"begins with {head[:24]!r} instead of {self.signature!r}: another kind of file, or an error page"
        if self.signature is None and self.checksum is None and self.size is None and _PROSE.match(head):
            return f"begins with {head[:24]!r}: an error page"
        return None
