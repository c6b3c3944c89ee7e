"""Answers that repeat what they were sent, tokens that no header can hold, and bodies without an end."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from transport_builder import HASTY, credentials

from thalweg.errors import CredentialsError, RefusedError
from thalweg.http.connections import Connections
from thalweg.http.expected import Expected
from thalweg.http.session import Session
from thalweg.http.token import Token


class _Mirror(BaseHTTPRequestHandler):
    """POST gives a token, or the form back with 400 at /form; GET refuses with the right it got, or has no length."""

    token = "s3cr3t-token"

    def do_POST(self):
        form = self.rfile.read(int(self.headers["Content-Length"]))
        body = form if self.path == "/form" else json.dumps({"access_token": self.token, "expires_in": 600}).encode()
        self._say(400 if self.path == "/form" else 200, body)

    def do_GET(self):
        if self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"II" + bytes(1000))
        else:
            self._say(403, str(self.headers["Authorization"]).encode())

    def log_message(self, *_):
        pass

    def _say(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def mirror():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Mirror) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _session(mirror, folder, path="/token"):
    token = Token(f"{mirror}{path}", folder, (mirror,), HASTY, lambda: credentials("me@example.org", "pa ss/word"))
    return Session(HASTY, Connections(folder, 1), token)


def test_a_refusal_that_repeats_the_token_does_not_show_it(mirror, tmp_path):
    with pytest.raises(RefusedError, match=r"answered 403 \(\*\*\*\)") as caught:
        _session(mirror, tmp_path).read(f"{mirror}/file")
    assert _Mirror.token not in str(caught.value)


def test_a_login_that_repeats_the_form_does_not_show_it(mirror, tmp_path):
    with pytest.raises(CredentialsError, match=r"username=\*\*\*&password=\*\*\*") as caught:
        _session(mirror, tmp_path, "/form").read(f"{mirror}/file")
    assert not any(word in str(caught.value) for word in ("example.org", "ss%2Fword", "ss/word"))


@pytest.mark.parametrize("token", ["s3cr3t\nx", "s3cr3t…"])
def test_a_token_that_no_header_holds_is_told_without_it(mirror, tmp_path, monkeypatch, token):
    monkeypatch.setattr(_Mirror, "token", token)
    with pytest.raises(CredentialsError, match="holds a character that no request may hold") as caught:
        _session(mirror, tmp_path).read(f"{mirror}/file")
    assert "s3cr3t" not in str(caught.value)


def test_an_address_that_is_none_is_told_without_its_query(tmp_path):
    with pytest.raises(RefusedError, match="is no address to ask") as caught:
        Session(HASTY, Connections(tmp_path, 1)).read("http://127.0.0.1:99999/a?sig=s3cr3t")
    assert "s3cr3t" not in str(caught.value)


def test_a_body_of_unknown_length_is_no_file(mirror, tmp_path):
    with pytest.raises(RefusedError, match="without its length"):
        Session(HASTY, Connections(tmp_path, 1)).download(
            f"{mirror}/endless", tmp_path / "a.tif", Expected(None, None, b"II")
        )
    assert not (tmp_path / "a.tif").exists()
