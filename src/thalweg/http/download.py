"""One file: resumed where the server can, restarted where it cannot, and in its place only when verified."""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import requests

from thalweg.errors import DamagedError, RefusedError
from thalweg.http.answers import LaterError
from thalweg.http.connections import Connections
from thalweg.http.exchange import Ask, Exchange, shown
from thalweg.http.expected import HEAD, Expected
from thalweg.http.partial import Partial
from thalweg.http.progress import Progress, Silent
from thalweg.http.retry import Patience

_MOVED_ON = 1 << 20
"""Bytes by which a resumed transfer must have grown for its failure not to count against the patience."""
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def fetch_file(exchange: Exchange, connections: Connections, url: str, target: Path, expected: Expected,
               progress: Progress | None) -> Path:  # fmt: skip
    """As `Session.download` says."""
    heard = progress or Silent()
    if _is_there(target, expected):
        heard.finish(target, target.stat().st_size, moved=False)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Partial(target)
    with part.claimed():
        moved = not _is_there(target, expected)  # someone else may just have brought it
        if moved:
            _Transfer(exchange, connections, url, part, expected, heard).run()
    heard.finish(target, target.stat().st_size, moved)
    return target


def _is_there(target: Path, expected: Expected) -> bool:
    return target.is_file() and expected.fault(target) is None


@dataclass
class _Transfer:
    """The attempts at one file."""

    exchange: Exchange
    connections: Connections
    url: str
    part: Partial
    expected: Expected
    progress: Progress
    resumed: bool = False
    """Whether the bytes in hand come from more than one answer."""
    faults: int = 0
    spared: bool = False

    def run(self) -> None:
        """Brings the file.

        Raises:
            DamagedError: It came twice and was not as expected.
            UnreachableError: It did not come in as many attempts as the policy allows.
        """
        patience = Patience(self.exchange.policy)
        while True:
            had = self.part.size
            try:
                fault = self._bring()
            except LaterError as error:
                if self.resumed and self.part.size >= had + _MOVED_ON:
                    patience.restore()
                patience.wait(error)
                continue
            if fault is None:
                self.part.accept()
                return
            self._judge(fault)

    def _judge(self, fault: str) -> None:
        """Lets a damaged file be fetched once again; a mixture of answers is not yet the server's fault."""
        if self.resumed and not self.spared:
            self.spared = True
        else:
            self.faults += 1
        if self.faults == 2:
            aside = self.part.quarantine()
            raise DamagedError(
                f"{shown(self.url)} {fault}, twice; the last is kept as {aside}, nothing else was; try again later, or "
                "choose another product"
            )
        self.part.drop()
        time.sleep(self.exchange.policy.wait_s(1))

    def _bring(self) -> str | None:
        """One attempt at the rest of the file; what is wrong with the whole, or None."""
        have, size = self.part.size, self.expected.size
        self.resumed = have > 0
        if size is None or have != size:  # else a killed run left it whole
            if size is not None and have > size:
                self.part.drop()
            with self.connections.slot():
                fault = self._receive()
            if fault is not None:
                return fault
        return self.expected.fault(self.part.path)

    def _receive(self) -> str | None:
        """Asks for what is missing, and for everything where that does not fit what is in hand."""
        have, etag = self.part.size, self.part.etag
        if have > 0 and self.expected.checksum is not None:  # a power cut may have left zeros, and a tag tells nothing
            headers = {"Range": f"bytes={have}-"} | ({"If-Range": etag} if etag is not None else {})
            with self.exchange.open(Ask("GET", self.url, headers), passing=(416,)) as response:
                if self._continues(response, have, etag):
                    return self._take(response, have)
                if response.status_code == 200:
                    return self._take(response, 0)
        with self.exchange.open(Ask("GET", self.url)) as response:
            if response.status_code != 200:
                raise LaterError(f"{shown(self.url)} answered {response.status_code} when asked for all")
            return self._take(response, 0)

    def _continues(self, response: requests.Response, have: int, etag: str | None) -> bool:
        """Whether an answer is the rest of the very version in hand."""
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status_code != 206 or found is None or int(found[1]) != have:
            return False
        total, now = found[2], _strong_tag(response)
        right_size = self.expected.size is None or total in ("*", str(self.expected.size))
        return right_size and (etag is None or now in (None, etag))

    def _take(self, response: requests.Response, have: int) -> str | None:
        """Writes the body; what can be told to be wrong with it on the way, or None."""
        self.resumed = have > 0
        promised = _length(response)
        if promised is None and self.expected.size is None and self.expected.checksum is None and not _ends(response):
            raise RefusedError(
                f"{shown(self.url)} comes without its length, and nothing else tells whether it is whole; fetch it "
                "from elsewhere"
            )
        whole = None if promised is None else have + promised
        self.progress.begin(self.part.target, self.expected.size or whole, have)
        with self.part.writing(_strong_tag(response), resume=have > 0) as file:
            count, fault = self._write(response, file, have, whole)
        if fault is None and self._is_short(count, whole):
            raise LaterError(f"{shown(self.url)} ended after {count} bytes of {self.expected.size or whole}")
        return fault

    def _write(self, response: requests.Response, file: BinaryIO, count: int, whole: int | None
               ) -> tuple[int, str | None]:  # fmt: skip
        head, size = b"", self.expected.size
        for chunk in self.exchange.iter_body(response, self.url):
            file.write(chunk)
            self.progress.advance(self.part.target, len(chunk))
            if count == len(head) < HEAD:
                head += chunk[: HEAD - len(head)]
                if len(head) == HEAD and (fault := self.expected.fault_of_head(head)):
                    return count, fault
                if size is not None and whole is not None and whole != size and len(head) == HEAD:
                    return count, f"is announced with {whole} bytes instead of {size}"
            count += len(chunk)
            if size is not None and count > size:
                return count, f"sends more than its {size} bytes"
        return count, self.expected.fault_of_head(head) if count == len(head) else None

    def _is_short(self, count: int, whole: int | None) -> bool:
        return any(due is not None and count < due for due in (whole, self.expected.size))


def _length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _ends(response: requests.Response) -> bool:
    """Whether the body says itself where it ends."""
    return response.headers.get("Transfer-Encoding", "").lower() == "chunked"


def _strong_tag(response: requests.Response) -> str | None:
    """The entity tag where it identifies bytes; a weak one does not. Source: RFC 9110, section 8.8.3."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') and tag.isascii() else None
