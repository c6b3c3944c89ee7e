"""The identity host: password and refresh grants as Keycloak answers them, and who holds which token."""

import threading
import time
import urllib.parse
from dataclasses import dataclass, field

from standin.reply import Reply, told

LOGIN, PASSWORD = "someone@example.org", "correct-horse-battery"


@dataclass
class IdentityRoom:
    """Issues tokens; every field may be changed while it runs."""

    login: str = LOGIN
    password: str = PASSWORD
    totp: str | None = None
    """Six digits that are asked for, or None."""
    expires_in: float = 600
    refresh_expires_in: float = 3600
    access: dict[str, float] = field(default_factory=dict)
    """Token → when it ends."""
    refresh: set[str] = field(default_factory=set)
    issued: list[str] = field(default_factory=list)
    """Grant type of every token issued."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def revoke(self, refresh: bool = False) -> None:
        """Ends all access tokens, and the refresh tokens too where asked."""
        with self._lock:
            self.access.clear()
            if refresh:
                self.refresh.clear()

    def fault_of(self, header: str) -> tuple[int, str] | None:
        """Number and text of the error that an Authorization header leads to, or None."""
        kind, _, token = header.partition(" ")
        if kind != "Bearer" or not token:
            return 604, "Token not found"
        if self.access.get(token, 0) < time.time():
            return 109, "Token expired"
        return None

    def answer(self, method: str, path: str, body: bytes) -> Reply:  # noqa: PLR0911 - an answer per case
        """A token, or why not."""
        if method != "POST" or not path.endswith("/protocol/openid-connect/token"):
            return told(404, {"error": "HTTP 404 Not Found"})
        form = {key: values[-1] for key, values in urllib.parse.parse_qs(body.decode()).items()}
        with self._lock:
            match form.get("grant_type"):
                case "password":
                    if (form.get("username"), form.get("password")) != (self.login, self.password):
                        return _denied(401, "Invalid user credentials")
                    if self.totp is not None and form.get("totp") != self.totp:
                        return _denied(401, "Invalid user credentials")
                case "refresh_token":
                    if form.get("refresh_token") not in self.refresh:
                        return _denied(400, "Token is not active")
                case _:
                    return told(400, {"error": "unsupported_grant_type"})
            if form.get("client_id") != "cdse-public":
                return told(401, {"error": "invalid_client"})
            return self._issue(form["grant_type"])

    def _issue(self, grant: str) -> Reply:
        self.issued.append(grant)
        number = len(self.issued)
        access, refresh = f"access-{number:04d}-secret", f"refresh-{number:04d}-secret"
        self.access[access] = time.time() + self.expires_in
        self.refresh.add(refresh)
        return told(200, {
            "access_token": access, "expires_in": self.expires_in, "refresh_expires_in": self.refresh_expires_in,
            "refresh_token": refresh, "token_type": "Bearer", "not-before-policy": 0, "session_state": "s",
            "scope": "AUDIENCE_PUBLIC openid email profile user-context",
        })  # fmt: skip


def _denied(status: int, description: str) -> Reply:
    return told(status, {"error": "invalid_grant", "error_description": description})
