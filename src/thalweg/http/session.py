"""The door to the transport: answers as JSON or bytes, and files that are whole when they appear."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from thalweg.http import download
from thalweg.http.answers import LaterError
from thalweg.http.auth import Auth
from thalweg.http.connections import Connections
from thalweg.http.exchange import Ask, Exchange, shown
from thalweg.http.expected import Expected
from thalweg.http.policy import Policy
from thalweg.http.progress import Progress
from thalweg.http.retry import retried


class Session:
    """Asks one provider; threads may share it.

    Args:
        policy: How patient.
        connections: How many transfers at a time, and who fetches which file.
        auth: Lends the account's right; None where none is needed. With it, every address and every redirect must lie
            at a trusted host; without it, a redirect may lead anywhere but from HTTPS to HTTP.
    """

    def __init__(self, policy: Policy, connections: Connections, auth: Auth | None = None) -> None:
        self._policy, self._connections = policy, connections
        self._exchange = Exchange(policy, auth)

    def json(self, method: str, url: str, *, payload: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """The decoded answer. It takes no connection of the account's when no token goes with it.

        Args:
            method: `GET` or `POST`.
            url: The address, its query included.
            payload: Sent as JSON.
            headers: Sent besides our own.

        Raises:
            NotFoundError: The server answers 404.
            RefusedError: The server refuses for good.
            UnreachableError: It has not answered in JSON as often as the policy asks.
            CredentialsError: It does not take the account.
        """
        ask = Ask(method, url, {"Accept": "application/json", **(headers or {})}, payload=payload)
        return retried(self._policy, lambda: self._decoded(ask))

    def read(self, url: str) -> bytes:
        """A small file's bytes, unverified: nothing says what they should be.

        Raises:
            NotFoundError, RefusedError, UnreachableError, CredentialsError: As `json`.
        """
        return retried(self._policy, lambda: self._body(Ask("GET", url)))

    def download(self, url: str, target: Path, expected: Expected, progress: Progress | None = None) -> Path:
        """The file at `target`, verified; what lies there already and is as expected is not fetched again.

        Several threads or processes may ask for one file: one fetches it. What an interrupted run left in
        `<target>.part` is resumed where the server can, else replaced.

        Args:
            url: Of the file.
            target: Where it appears by rename, once it is verified and on the disk.
            expected: What it must be.
            progress: Hears of every step.

        Raises:
            DamagedError: It arrived twice and was not as expected; the second is kept as `<target>.bad`.
            DiskSpaceError: The disk is full; what has come stays for the next run.
            NotFoundError, RefusedError, UnreachableError, CredentialsError: As `json`.
        """
        return download.fetch_file(self._exchange, self._connections, url, target, expected, progress)

    def _decoded(self, ask: Ask) -> Any:
        body = self._body(ask)
        try:
            return json.loads(body)
        except ValueError:
            raise LaterError(f"{shown(ask.url)} answered no JSON but {body[:80]!r}") from None

    def _body(self, ask: Ask) -> bytes:
        with self._place():
            return self._exchange.read(ask)

    def _place(self) -> AbstractContextManager[None]:
        return self._connections.slot() if self._exchange.has_account else nullcontext()
