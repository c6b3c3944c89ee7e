"""Recorded responses of real catalogues over a local HTTP server: the addresses in them are rewritten to the server's."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT.parent / "shared/data/api_fixtures"
needs_fixtures = pytest.mark.skipif(not FIXTURES.is_dir(), reason=f"{FIXTURES} is not here: recorded responses")


class Replay:
    """A server that answers as recorded; `requests` holds what it was asked."""

    def __init__(self, records: list[dict], url: str = "") -> None:
        self.records, self.url = records, url
        self.requests: list[tuple[str, str, dict | None]] = []
        self.served: dict[tuple[str, str], int] = {}

    def answer(self, method: str, path: str, body: dict | None) -> tuple[int, str, bytes]:
        """The recorded response: the next of that method and path, the last one over again."""
        self.requests.append((method, path, body))
        found = [record for record in self.records if self._place(record) == (method, path.rstrip("/"))]
        if not found:
            return 404, "application/json", b'{"detail": "not recorded"}'
        number = self.served.get((method, path), 0)
        self.served[method, path] = number + 1
        response = found[min(number, len(found) - 1)]["response"]
        text = json.dumps(response["body"]) if not isinstance(response["body"], str) else response["body"]
        for host in {"{0.scheme}://{0.netloc}".format(urlsplit(record["request"]["uri"])) for record in self.records}:
            text = text.replace(host, self.url)
        return response["status"], response["headers"]["content-type"][0], text.encode()

    @staticmethod
    def _place(record: dict) -> tuple[str, str]:
        return record["request"]["method"], urlsplit(record["request"]["uri"]).path.rstrip("/")


def recorded(folder: str) -> list[dict]:
    """The records of one folder, in order."""
    return [json.loads(path.read_text()) for path in sorted((FIXTURES / folder).glob("*.json"))]


def record(method: str, uri: str, body: object, status: int = 200, kind: str = "application/json") -> dict:
    """One made-up record."""
    return {"request": {"method": method, "uri": uri, "body": None},
            "response": {"status": status, "headers": {"content-type": [kind]}, "body": body}}  # fmt: skip


@contextmanager
def replaying(records: list[dict]) -> Iterator[Replay]:
    """Serves records on the loopback."""
    replay = Replay(records)

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, kind, content = replay.answer(self.command, urlsplit(self.path).path, body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer  # noqa: N815 - the server calls these names

        def log_message(self, *_given: object) -> None:
            """Tests stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    replay.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield replay
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def loopback_only() -> Iterator[None]:
    """No connection leaves this machine."""
    import socket

    real = socket.socket.connect

    def connect(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"tests do not talk to {address[0]}")
        real(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        yield
