"""One attempt at one request: bounded in time, redirects followed by hand, every failure named.

`requests` alone would read ~/.netrc, drop the bearer on a redirect to another port, and decode bodies.
"""

import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions
from requests.utils import get_environ_proxies

import thalweg
from thalweg.errors import CredentialsError, RefusedError
from thalweg.http.answers import ExpiredError, LaterError, error_of
from thalweg.http.auth import Auth
from thalweg.http.policy import STALL_FLOOR_BYTES_S, Policy
from thalweg.http.secret import Secret, revealed, without

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_MAX = 5
_CHUNK = 1 << 17
_TEXT_MAX = 64 * 2**20
"""Largest body that is read into memory."""
_ERROR_MAX = 1 << 14
_ASIDE = (urllib3.exceptions.HTTPError, requests.RequestException)


@dataclass(frozen=True)
class Ask:
    """One request."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str | Secret] | None = None
    """Fields of a form."""
    payload: Any = None
    """Body as JSON."""


class Exchange:
    """Sends requests; safe to share between threads, each of which has its own connections."""

    def __init__(self, policy: Policy, auth: Auth | None = None) -> None:
        self.policy = policy
        self._auth = auth
        self._local = threading.local()

    @property
    def has_account(self) -> bool:
        """Whether requests go out in an account's name."""
        return self._auth is not None

    @contextmanager
    def open(self, ask: Ask, passing: tuple[int, ...] = ()) -> Iterator[requests.Response]:
        """The answer with its body unread; a token that has expired is renewed once.

        Args:
            ask: The request.
            passing: Statuses besides 2xx that the caller deals with.

        Raises:
            LaterError: Another attempt may do.
            NotFoundError: There is no such thing.
            RefusedError: Another attempt would not do, or a redirect leads where it must not.
            CredentialsError: The server does not take the account.
        """
        with closing(self._answer(ask, passing)) as response:
            yield response

    def read(self, ask: Ask) -> bytes:
        """The whole body of an answer, for small ones.

        Raises:
            LaterError: As `open`, or the body broke off.
            RefusedError: As `open`, or the body is too large to be what was asked for.
        """
        with self.open(ask) as response:
            return self._read(response, _TEXT_MAX, ask.url)

    def iter_body(self, response: requests.Response, where: str) -> Iterator[bytes]:
        """The body as it comes, undecoded.

        Raises:
            LaterError: It broke off, or came slower than the stall budget allows.
        """
        began, count = time.monotonic(), 0
        try:
            while chunk := response.raw.read1(_CHUNK):
                yield chunk
                count += len(chunk)
                if (passed := time.monotonic() - began) >= self.policy.stall_s:
                    if count < STALL_FLOOR_BYTES_S * passed:
                        raise LaterError(f"{shown(where)} stalled: {count} bytes in {passed:.1f} s")
                    began, count = time.monotonic(), 0
        except _ASIDE as error:
            raise LaterError(f"{shown(where)} broke off ({_reason(error)})") from None

    def _answer(self, ask: Ask, passing: tuple[int, ...]) -> requests.Response:
        for renewed in (False, True):
            right = self._right(ask.method, ask.url)
            try:
                return self._follow(ask, right, passing)
            except ExpiredError as error:
                if self._auth is None or renewed or not self._auth.renew(right):
                    raise CredentialsError(
                        f"{error}; the account may not read this, or its credentials are wrong (see env.sample)"
                    ) from None
        raise CredentialsError(f"{shown(ask.url)} takes no token")

    def _follow(self, ask: Ask, right: Mapping[str, Secret], passing: tuple[int, ...]) -> requests.Response:
        """The answer after redirects, each checked before anything is sent there."""
        url, seen = ask.url, {ask.url}
        while True:
            response = self._send(ask, url, right)
            if response.status_code not in _REDIRECTS:
                return self._checked(response, url, passing, (*right.values(), *_secrets(ask)))
            target = urljoin(url, response.headers.get("Location", ""))
            response.close()
            self._check_redirect(ask, url, target)
            if target in seen or len(seen) > _REDIRECTS_MAX:
                raise RefusedError(f"{shown(ask.url)} redirects in a circle by {shown(target)}; ask the provider")
            seen.add(target)
            url, right = target, self._right(ask.method, target)

    def _check_redirect(self, ask: Ask, url: str, target: str) -> None:
        before, after = urlsplit(url), urlsplit(target)
        if ask.form is not None:
            raise RefusedError(f"{shown(url)} redirects to {shown(target)}, but a login goes nowhere else; correct it")
        if self._auth is not None and not self._auth.trusts(target):
            raise RefusedError(
                f"{shown(url)} redirects to the foreign host {after.netloc or target[:80]!r}, where no token may go; "
                "if it belongs to the provider, add it to the trusted hosts"
            )
        if after.scheme not in ("https", "http") or (before.scheme == "https" and after.scheme == "http"):
            raise RefusedError(f"{shown(url)} redirects to {shown(target)}, which is not secure; ask the provider")

    def _right(self, method: str, url: str) -> dict[str, Secret]:
        if self._auth is None:
            return {}
        if not self._auth.trusts(url):
            raise RefusedError(
                f"{shown(url)} is not among the trusted hosts of this account, so no token is sent there; correct the "
                "hosts in fetch.options"
            )
        return self._auth.headers(method, url)

    def _send(self, ask: Ask, url: str, right: Mapping[str, Secret]) -> requests.Response:
        try:
            return self._connection().request(
                ask.method, url, headers={**ask.headers, **revealed(right)},
                data=None if ask.form is None else revealed(ask.form), json=ask.payload,
                allow_redirects=False, stream=True, timeout=(self.policy.connect_s, self.policy.read_s),
                proxies=get_environ_proxies(url),
            )  # fmt: skip
        except (UnicodeEncodeError, requests.exceptions.InvalidHeader):
            raise CredentialsError(
                f"{shown(url)} cannot be asked: the token, login or key holds a character that no request may hold, "
                "such as a line break; correct it in the environment or in .env"
            ) from None  # the reason would quote it
        except _ASIDE as error:
            if isinstance(error, ValueError):  # an address that is none
                raise RefusedError(f"{shown(url)} is no address to ask ({_reason(error)}); correct it") from None
            raise LaterError(f"{shown(url)} cannot be reached ({_reason(error)})") from None

    def _checked(
        self, response: requests.Response, url: str, passing: tuple[int, ...], secrets: tuple[Secret, ...]
    ) -> requests.Response:
        status = response.status_code
        if 200 <= status < 300 or status in passing:
            return response
        with closing(response):
            body = self._read(response, _ERROR_MAX, url, whole=False)
        raise error_of(status, response.headers, without(body, secrets), shown(url))

    def _read(self, response: requests.Response, most: int, url: str, whole: bool = True) -> bytes:
        body = bytearray()
        for chunk in self.iter_body(response, url):
            body += chunk
            if len(body) > most:
                break
        if whole and len(body) > most:
            raise RefusedError(f"{shown(url)} sends more than {most} bytes where a short answer was due; correct it")
        return bytes(body)

    def _connection(self) -> requests.Session:
        if not hasattr(self._local, "connection"):
            connection = requests.Session()
            connection.trust_env = False  # ~/.netrc would add another account's password
            connection.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
            connection.headers.update({"Accept-Encoding": "identity", "User-Agent": f"thalweg/{thalweg.__version__}"})
            self._local.connection = connection
        found: requests.Session = self._local.connection
        return found


def shown(url: str) -> str:
    """An address as messages show it: without query and user, which may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _secrets(ask: Ask) -> tuple[Secret, ...]:
    return tuple(text for text in (ask.form or {}).values() if isinstance(text, Secret))


def _reason(error: Exception) -> str:
    """The innermost cause of a failure of urllib3 or requests, without addresses."""
    inner: BaseException = error
    while inner.args and isinstance(inner.args[0], BaseException):
        inner = inner.args[0]
    reason = getattr(inner, "reason", None)
    if isinstance(reason, BaseException):
        inner = reason
    text = re.sub(r"\?\S*", "?…", str(inner).rpartition(">: ")[2] or str(inner))
    return f"{type(inner).__name__}: {text[:160]}"
