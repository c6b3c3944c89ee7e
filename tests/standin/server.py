"""The stand-in's hosts: four HTTP servers on ports of their own, so that a client really changes hosts."""

import contextlib
import hashlib
import json
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from standin.catalogue import CatalogueRoom
from standin.download import DownloadRoom
from standin.faults import Fault
from standin.identity import LOGIN, PASSWORD, IdentityRoom
from standin.reply import Reply

__all__ = ["LOGIN", "PASSWORD", "Record", "Standin"]


class Urls(NamedTuple):
    """Base addresses, as `thalweg.copernicus.hosts.Hosts` wants them."""

    catalogue: str
    download: str
    identity: str
    s3: str


@dataclass
class Record:
    """One request as it arrived, and what became of it."""

    host: str
    """`catalogue`, `download`, `identity` or `foreign`."""
    method: str
    path: str
    """Unquoted, with its query."""
    headers: dict[str, str]
    body: bytes
    status: int = 0
    sent: int = 0
    """Bytes of the body that were handed to the socket."""


@dataclass
class _Script:
    when: Callable[[Record], bool]
    what: Fault
    left: int | None


@dataclass
class Standin:
    """CDSE in small. `with Standin([safe, …]) as cdse:`; every field may be changed while it runs.

    Example:
        >>> with Standin([safe]) as cdse:
        ...     cdse.fault("B02_60m", status(503), times=2)
        ...     Hosts(**cdse.hosts._asdict())
    """

    products: list[Path] = field(default_factory=list)
    """SAFE folders."""
    ranges: bool = False
    """Whether the download host honours Range; CDSE's does not."""
    limit: int | None = 4
    """Streams at a time above which the download host answers 429 DAT-ZIP-100."""
    pause: float = 0.0
    """Seconds that each file's answer waits, so that streams overlap."""
    throttle: float = 0.0
    """Seconds between pieces of 16 kB, so that a client can be caught in the middle."""

    def __post_init__(self) -> None:
        self.requests: list[Record] = []
        self.identity = IdentityRoom()
        self.files = DownloadRoom(self.products, self.identity)
        self.catalogue = CatalogueRoom(self.files)
        self.max_concurrent = 0
        self._scripts: list[_Script] = []
        self._lock = threading.Lock()
        self._streams = 0
        self._servers: dict[str, ThreadingHTTPServer] = {}

    def __enter__(self) -> "Standin":
        for host in ("identity", "catalogue", "download", "foreign"):
            server = _Server(("127.0.0.1", 0), _handler(self, host))
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            self._servers[host] = server
        self.catalogue.base = self.hosts.catalogue
        self.files.base = self.hosts.download
        return self

    def __exit__(self, *_error: object) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def origin(self, host: str) -> str:
        """`http://127.0.0.1:<port>` of `identity`, `catalogue`, `download` or `foreign`."""
        return f"http://127.0.0.1:{self._servers[host].server_address[1]}"

    @property
    def hosts(self) -> Urls:
        """Base addresses of all hosts."""
        return Urls(
            f"{self.origin('catalogue')}/odata/v1",
            f"{self.origin('download')}/odata/v1",
            f"{self.origin('identity')}/auth/realms/CDSE/protocol/openid-connect/token",
            self.origin("download"),
        )

    @property
    def origins(self) -> tuple[str, ...]:
        """Those that a token may be sent to."""
        return self.origin("catalogue"), self.origin("download")

    def file_url(self, path: str, safe: Path | None = None) -> str:
        """Address of one file of a product (the first if none is given) by Nodes, or of the zip if path is ''."""
        return self.files.file_url(self.hosts.download, path, safe or self.products[0])

    def fault(self, when: str | Callable[[Record], bool], what: Fault, times: int | None = 1) -> None:
        """Lets the next `times` requests (None: all) fail whose path holds a text, or that a function picks.

        Several faults for one request are acted out one after the other, in the order in which they were given.
        """
        picks = when if callable(when) else lambda record: when in record.path
        self._scripts.append(_Script(picks, what, times))

    def seen(self, text: str = "", host: str | None = None) -> list[Record]:
        """Requests whose path holds a text, in order."""
        return [one for one in list(self.requests) if text in one.path and host in (None, one.host)]

    def sent_bytes(self, text: str = "") -> int:
        """Body bytes that the download host sent for paths that hold a text."""
        return sum(one.sent for one in self.seen(text, "download"))

    def answer(self, record: Record) -> tuple[Reply, Fault]:
        """What a host says, and the fault that it acts out meanwhile."""
        fault = self._next_fault(record)
        if fault.act is not None:
            fault.act()
        time.sleep(fault.delay)
        if fault.status is not None:
            return Reply(fault.status, fault.body or b"", "application/json"), fault
        path, _, query = record.path.partition("?")
        asked = {key: values[-1] for key, values in urllib.parse.parse_qs(query, keep_blank_values=True).items()}
        match record.host:
            case "identity":
                return self.identity.answer(record.method, path, record.body), fault
            case "catalogue":
                return self.catalogue.answer(path, asked, record.body), fault
            case "download":
                return self.files.answer(path, record.headers), fault
        return Reply(200, b"hello, stranger", "text/plain"), fault

    @contextlib.contextmanager
    def streaming(self, reply: Reply) -> Any:
        """Counts a file's stream; yields whether it is allowed."""
        if not reply.is_file:
            yield True
            return
        with self._lock:
            self._streams += 1
            self.max_concurrent = max(self.max_concurrent, self._streams)
            allowed = self.limit is None or self._streams <= self.limit
        try:
            yield allowed
        finally:
            with self._lock:
                self._streams -= 1

    def _next_fault(self, record: Record) -> Fault:
        with self._lock:
            for script in self._scripts:
                if script.left != 0 and script.when(record):
                    script.left = None if script.left is None else script.left - 1
                    return script.what
        return Fault()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is no matter."""


def _handler(standin: Standin, host: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def log_message(self, *_arguments: Any) -> None:
            """Silent."""

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.title(): text for name, text in self.headers.items()}
            where, _, query = self.path.partition("?")
            path = urllib.parse.unquote(where) + (f"?{query}" if query else "")
            record = Record(host, self.command, path, headers, body)
            standin.requests.append(record)
            reply, fault = standin.answer(record)
            with standin.streaming(reply) as allowed:
                if not allowed:
                    told = {"code": "DAT-ZIP-100", "message": "Max session number 4 exceeded"}
                    reply, fault = Reply(429, json.dumps(told).encode(), "application/json"), Fault()
                time.sleep(standin.pause if reply.is_file else 0)
                _Sending(self, record, reply, fault, standin).run()

    return Handler


@dataclass
class _Sending:
    """One answer on its way out, with its fault."""

    handler: BaseHTTPRequestHandler
    record: Record
    reply: Reply
    fault: Fault
    standin: Standin

    def run(self) -> None:
        """Sends status, headers and body."""
        code, content, headers = self._content()
        self.record.status = code
        self.handler.send_response(code)
        for name, text in headers.items():
            if text:
                self.handler.send_header(name, text)
        self.handler.end_headers()
        self._send(content)

    def _content(self) -> tuple[int, bytes, dict[str, str]]:
        fault, code = self.fault, self.reply.status
        content = self.reply.body if fault.body is None else fault.body
        if fault.flip is not None:
            content = content[: fault.flip] + bytes([content[fault.flip] ^ 0xFF]) + content[fault.flip + 1 :]
        headers = {"Content-Type": self.reply.kind, "trace-id": "0123456789abcdef", "Location": self.reply.location}
        if self.reply.is_file:
            headers["ETag"] = f'"{hashlib.md5(self.reply.body).hexdigest()}"' if self._ranges() else ""
            code, content = self._part(content, headers)
        content += b"\0" * fault.longer
        headers |= {"Transfer-Encoding": "chunked"} if fault.chunked else {"Content-Length": str(len(content))}
        return code, content, headers | dict(fault.headers)

    def _ranges(self) -> bool:
        return self.standin.ranges if self.fault.ranges is None else self.fault.ranges

    def _part(self, content: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """The rest of a file where it is asked for, honoured and of the same version."""
        asked = self.record.headers.get("Range", "")
        tag = self.fault.headers.get("ETag", headers["ETag"])
        if not asked or not self._ranges() or self.record.headers.get("If-Range", tag) != tag:
            return self.reply.status, content
        start = int(asked.removeprefix("bytes=").partition("-")[0]) + self.fault.shift
        if start >= len(content):
            headers["Content-Range"] = f"bytes */{len(content)}"
            return 416, b""
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return 206, content[start:]

    def _send(self, content: bytes) -> None:
        fault = self.fault
        stop = next((limit for limit in (fault.cut, fault.reset, (fault.stall or (None,))[0]) if limit is not None),
                    len(content))  # fmt: skip
        step, gap = fault.drip or (1 << 14, self.standin.throttle if self.reply.is_file else 0.0)
        for start in range(0, min(stop, len(content)), step):
            self._write(content[start : min(start + step, stop)])
            time.sleep(gap)
        if fault.stall is not None:
            time.sleep(fault.stall[1])
        if fault.reset is not None:
            self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.handler.connection.close()
        if stop < len(content):
            self.handler.close_connection = True
        if fault.chunked and fault.chunk_end and fault.reset is None:
            self.handler.wfile.write(b"0\r\n\r\n")

    def _write(self, piece: bytes) -> None:
        if self.fault.chunked:
            self.handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        else:
            self.handler.wfile.write(piece)
        self.record.sent += len(piece)
