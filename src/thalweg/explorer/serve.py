"""The viewer before a local server: pages, tiles and single pixels, to this machine alone."""

import json
import sys
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

import rasterio

from thalweg.errors import ThalwegError, ViewError
from thalweg.explorer import page
from thalweg.explorer.tiles import Source

HOST = "127.0.0.1"
AT_ONCE = 4
"""Tiles that are read at once: each holds a few megabytes."""
CACHE_MIB = 128
"""Of decoded blocks."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection; `server` knows what there is."""

    protocol_version = "HTTP/1.1"
    server: "Viewer"
    _KINDS: ClassVar[dict[str, str]] = {"html": "text/html; charset=utf-8", "json": "application/json"}

    def do_GET(self) -> None:
        """A page, a tile or a pixel; anything else is not found."""
        port = self.server.server_address[1]
        if self.headers.get("Host") not in {f"{HOST}:{port}", f"localhost:{port}"}:
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"ask for this machine by its own name")
            return
        address = urlsplit(self.path)
        try:
            kind, content = self.server.answer(unquote(address.path), parse_qs(address.query))
        except ThalwegError as error:
            self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", str(error).encode())
            return
        if kind == "moved":
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", content.decode())
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._send(HTTPStatus.OK, self._KINDS.get(kind, f"image/{kind}"), content)

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "max-age=300" if kind.startswith("image") else "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Says nothing of each request."""


class Viewer(ThreadingHTTPServer):
    """A server on a free port of this machine, or on the one that is asked for."""

    daemon_threads = True

    def __init__(self, sources: Mapping[str, Source], data: Callable[[], str] | None = None, port: int = 0) -> None:
        """Takes what there is to look at, and what makes the page about the data, where there is one.

        Raises:
            ViewError: The port is taken.
        """
        self._sources, self._data = dict(sources), data
        self._reading = threading.Semaphore(AT_ONCE)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise ViewError(f"port {port} of {HOST} is taken ({error.strerror}); give another by --port") from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Passes over a browser that went away before its tile was there; all else is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """What to open."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def run(self) -> None:
        """Serves until it is shut down."""
        with rasterio.Env(GDAL_CACHEMAX=CACHE_MIB):
            self.serve_forever()

    def answer(self, path: str, query: Mapping[str, list[str]]) -> tuple[str, bytes]:
        """Kind (`html`, `json`, `moved`, or a picture's) and content.

        Raises:
            ViewError: There is no such page, layer, tile or pixel.
            RasterError: A raster cannot be read.
        """
        if path == "/":
            return "moved", f"/at/{quote(next(iter(self._sources)))}/".encode()
        if path == "/data" and self._data:
            return "html", self._data().encode()
        name, _, rest = self._split(path)
        source = self._sources[name]
        match rest.split("/"):
            case [""]:
                others = {each: f"/at/{quote(each)}/" for each in self._sources}
                return "html", page.view(source.describe(), name, others, bool(self._data)).encode()
            case ["tile", key, *numbers] if len(numbers) == 3:
                with self._reading:
                    return tuple(source.tile(key, *map(_whole, numbers)))  # type: ignore[return-value]
            case ["value"]:
                at = [_whole(query.get(key, [""])[0]) for key in ("row", "col")]
                with self._reading:
                    return "json", json.dumps(source.values(*at)).encode()
        raise ViewError(f"there is no page {path}; open {self.address}")

    def _split(self, path: str) -> tuple[str, str, str]:
        """Name of a source, and what is wanted of it."""
        for name in self._sources:
            if path.startswith(f"/at/{name}/"):
                return name, "/", path.removeprefix(f"/at/{name}/")
        raise ViewError(f"there is no page {path}; open {self.address}")


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ViewError(f"a row, column or level should be a whole number, got '{text}'; open the page anew")
    return int(text)
