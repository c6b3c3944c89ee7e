"""Faults by script: what a server does instead of what it should, each as a record that the stand-in acts out."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """One way to fail. Made by the functions below; fields may be combined."""

    status: int | None = None
    """Answer with this status and `body` instead."""
    body: bytes | None = None
    """Instead of the file's bytes (with 200 where no status is given)."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent besides, or instead of, the usual ones; '' removes one."""
    cut: int | None = None
    """Send so many bytes of the body, then close the connection in good order."""
    reset: int | None = None
    """Send so many bytes of the body, then reset the connection (RST)."""
    stall: tuple[int, float] | None = None
    """Send so many bytes, then nothing for so many seconds, then close."""
    drip: tuple[int, float] | None = None
    """Send so many bytes at a time, with so many seconds in between."""
    longer: int = 0
    """Bytes too many; with Content-Length of the whole unless chunked."""
    flip: int | None = None
    """Index of a byte whose bits are turned."""
    chunked: bool = False
    """Transfer in chunks, without Content-Length."""
    chunk_end: bool = True
    """Whether the last, empty chunk comes."""
    delay: float = 0.0
    """Seconds before the answer."""
    ranges: bool | None = None
    """Whether this answer honours Range; None as the stand-in does."""
    shift: int = 0
    """Begin a 206 so many bytes beside what was asked for, and say so."""
    act: Callable[[], None] | None = None
    """Called first."""


def status(code: int, body: object = b"", **headers: str) -> Fault:
    """An answer with a status; a body that is not bytes goes as JSON. Headers: `Retry_After="2"`."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Fault(status=code, body=content, headers={name.replace("_", "-"): text for name, text in headers.items()})


def redirect(location: str, code: int = 301) -> Fault:
    """A redirect."""
    return status(code, b"", Location=location)


def zipper(code: int, number: int, message: str, **headers: str) -> Fault:
    """An error of the download host: `zipper(429, 100, "Max session number 4 exceeded")`."""
    return status(code, {"code": f"DAT-ZIP-{number}", "message": message}, **headers)


def says(body: bytes) -> Fault:
    """200, with a body of its own: an error page that calls itself a file."""
    return Fault(body=body)
