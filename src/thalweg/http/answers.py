"""What a server's answer means: take it, come back later, or give up."""

import email.utils
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from thalweg.errors import HttpError, NotFoundError, RefusedError, ThalwegError

_LATER = frozenset({408, 413, 425, 429})
"""Besides 5xx: what another moment may mend. 413 comes from the identity service under load."""
_SHOWN = 200
_FOR_GOOD = ("DAT-ZIP-608", "DAT-ZIP-609")
"""Licence or audience: no other token helps. Source: reference/copernicus-and-sentinel2.md, section 2."""


class LaterError(HttpError, ConnectionError):
    """This attempt failed, another may not; caught by `retry`, so no caller meets it."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s
        """As the server asks."""


class ExpiredError(HttpError, PermissionError):
    """The server no longer takes this token (401); caught by the exchange, which renews it once."""


def error_of(status: int, headers: Mapping[str, str], body: bytes, where: str) -> ThalwegError:
    """The error that an answer means, with what the server says about it."""
    said = f"{where} answered {status}{_quoted(body)}"
    if status == 401 and not any(code in said for code in _FOR_GOOD):
        return ExpiredError(said)
    if status == 404:
        return NotFoundError(f"{said}: there is no such thing; it may have been deleted or replaced")
    if status in _LATER or status >= 500:
        return LaterError(said, retry_after_s(headers))
    return RefusedError(f"{said}; asking again would not help, correct the request, the account or its licences")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The wait that a server asks for, in seconds, from seconds or a date; None if it asks for none."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d+", text):
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())


def message_in(body: bytes) -> str:
    """What the body of an error says, on one line; the shapes of CDSE's services, its firewall and Keycloak."""
    text = body.decode("utf-8", "replace")
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if isinstance(told, dict):
        words = _words(told)
        text = " ".join(words) if words else text
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())[:_SHOWN]


def _words(told: dict[str, Any]) -> list[str]:
    inner = [told[key] for key in ("data", "error", "detail") if isinstance(told.get(key), dict)]
    names = ("code", "error", "message", "error_description", "detail", "Message")
    words = [str(told[name]) for name in names if name in told and not isinstance(told[name], dict)]
    return words + [word for part in inner for word in _words(part)]


def _quoted(body: bytes) -> str:
    said = message_in(body)
    return f" ({said})" if said else ""
