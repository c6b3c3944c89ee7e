"""One login for all workers and processes: a bearer token kept on disk for its owner alone, renewed before it ends.

Every login opens a session at the identity service, and an account has a hundred of them: hence refresh, and one cache.
"""

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from thalweg.errors import CredentialsError, HttpError, NotFoundError, RefusedError
from thalweg.http.answers import LaterError
from thalweg.http.auth import is_trusted
from thalweg.http.credentials import LOGIN, PASSWORD, TOTP, Credentials, read_credentials
from thalweg.http.exchange import Ask, Exchange, shown
from thalweg.http.policy import Policy
from thalweg.http.retry import retried
from thalweg.http.secret import Secret

CLIENT = "cdse-public"
_EARLY_S = 60.0
"""Renewed so long before it ends, or at half its life where that is shorter."""
_FILE = "token.json"


@dataclass(frozen=True)
class Pair:
    """An access token and the refresh token that renews it, with the moments (Unix seconds) to use them until."""

    access: Secret
    until: float
    refresh: Secret | None
    refresh_until: float

    def to_text(self) -> str:
        """For the cache file; the one place where tokens are written."""
        refresh = self.refresh.reveal() if self.refresh else None
        return json.dumps([self.access.reveal(), self.until, refresh, self.refresh_until])


@dataclass
class Token:
    """The account's bearer token; threads may share it. Implements `auth.Auth`."""

    url: str
    """Of the identity service's token endpoint, the one place that the password is sent to."""
    folder: Path
    """Of the cache, shared by all processes with this account (`credentials.account_folder`)."""
    trusted: tuple[str, ...]
    """Origins that the token may be sent to, as patterns (`auth.is_trusted`)."""
    policy: Policy
    credentials: Callable[[], Credentials] = field(default=read_credentials, repr=False)
    """Asked only when a password is needed."""
    _pair: Pair | None = field(default=None, repr=False, init=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False, init=False)

    def headers(self, method: str, url: str) -> dict[str, Secret]:  # noqa: ARG002 - the same for every request
        """The bearer, renewed if it is about to end."""
        with self._guard:
            if self._pair is None or self._pair.until <= time.time():
                self._pair = self._shared_pair(refused=None)
            return _header(self._pair)

    def renew(self, refused: Mapping[str, Secret]) -> bool:
        """Renews the token unless another worker has done so since the refused request."""
        with self._guard:
            if self._pair is None or _header(self._pair) == dict(refused):
                self._pair = self._shared_pair(refused)
            return True

    def trusts(self, url: str) -> bool:
        """Whether the address lies at one of the trusted origins."""
        return is_trusted(url, self.trusted)

    def _shared_pair(self, refused: Mapping[str, Secret] | None) -> Pair:
        """What the cache holds, or what this process gets and puts there while the others wait."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(self.folder / "token.lock"):
            kept = _read_pair(self.folder / _FILE)
            if kept is not None and kept.until > time.time() and _header(kept) != dict(refused or {}):
                return kept
            pair = self._refreshed(kept) or self._logged_in()
            _write_pair(pair, self.folder / _FILE)
            return pair

    def _refreshed(self, kept: Pair | None) -> Pair | None:
        if kept is None or kept.refresh is None or kept.refresh_until <= time.time():
            return None
        try:
            return self._ask({"grant_type": "refresh_token", "refresh_token": kept.refresh})
        except (RefusedError, CredentialsError):  # ended early, or the session was closed: the password will do
            return None

    def _logged_in(self) -> Pair:
        said = self.credentials()
        form: dict[str, str | Secret] = {"grant_type": "password", "username": said.login, "password": said.password}
        if (totp := said.totp()) is not None:
            form["totp"] = Secret(totp)
        try:
            return self._ask(form)
        except (RefusedError, CredentialsError) as error:
            raise CredentialsError(
                f"{_said(error)}; check {LOGIN} and {PASSWORD}, and {TOTP} if the account has two-factor "
                "authentication, in the environment or in .env"
            ) from None
        except NotFoundError as error:
            raise CredentialsError(f"{error}; correct fetch.options.hosts.identity") from None

    def _ask(self, form: Mapping[str, str | Secret]) -> Pair:
        exchange = Exchange(self.policy)
        ask = Ask("POST", self.url, {"Accept": "application/json"}, form={"client_id": CLIENT, **form})
        return retried(self.policy, lambda: _pair_of(exchange.read(ask), self.url))


def _header(pair: Pair) -> dict[str, Secret]:
    return {"Authorization": Secret(f"Bearer {pair.access.reveal()}")}


def _pair_of(body: bytes, url: str) -> Pair:
    """A token answer.

    Raises:
        LaterError: It is none.
    """
    now = time.time()
    try:
        told = json.loads(body)
        refresh = told.get("refresh_token")
        return Pair(
            Secret(str(told["access_token"])),
            now + _usable_s(float(told["expires_in"])),
            Secret(str(refresh)) if refresh else None,
            now + _usable_s(float(told.get("refresh_expires_in", 0))),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LaterError(f"{shown(url)} answered {len(body)} bytes that are no token") from None


def _usable_s(lifetime_s: float) -> float:
    return lifetime_s - min(_EARLY_S, lifetime_s / 2)


def _said(error: HttpError | CredentialsError) -> str:
    """The server's own words, without the advice that does not fit a login."""
    return str(error).partition(";")[0]


def _read_pair(path: Path) -> Pair | None:
    """The cached tokens; None if there are none, they cannot be read, or others may read them."""
    try:
        if path.stat().st_mode & 0o077:
            return None
        told: Any = json.loads(path.read_text("ascii"))
        access, until, refresh, refresh_until = told
        return Pair(Secret(str(access)), float(until), Secret(refresh) if refresh else None, float(refresh_until))
    except (OSError, ValueError, TypeError):
        return None


def _write_pair(pair: Pair, path: Path) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".token")  # made readable by its owner only
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(pair.to_text())
    Path(name).replace(path)
