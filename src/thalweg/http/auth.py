"""Who asks: what a session adds to a request so that the server lets it through, and where that may go."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Protocol
from urllib.parse import urlsplit

from thalweg.http.secret import Secret

_HOST = re.compile(r"[a-z0-9.-]+")
"""Nothing that one parser of addresses takes for a host and another for its end, such as a backslash."""


class Auth(Protocol):
    """What lends a session its right: a bearer token (`token.Token`) or a signature (`s3.S3Keys`)."""

    def headers(self, method: str, url: str) -> dict[str, Secret]:
        """The headers that carry the right.

        Raises:
            CredentialsError: There are no credentials, or the server does not take them.
        """
        ...

    def renew(self, refused: Mapping[str, Secret]) -> bool:
        """Whether these headers, just refused, can be had anew; renews them if nobody has meanwhile.

        Raises:
            CredentialsError: There are no credentials, or the server does not take them.
        """
        ...

    def trusts(self, url: str) -> bool:
        """Whether the headers may be sent there."""
        ...


def is_trusted(url: str, origins: tuple[str, ...]) -> bool:
    """Whether an address lies at one of the origins: `https://*.dataspace.copernicus.eu`, `http://127.0.0.1:8000`.

    A pattern speaks of scheme, host and port together, so a bearer for HTTPS never goes out in the clear.
    """
    parts = urlsplit(url)
    if parts.username is not None or not _HOST.fullmatch(parts.hostname or ""):
        return False
    standard = {"https": 443, "http": 80}.get(parts.scheme)
    port = "" if parts.port in (None, standard) else f":{parts.port}"
    return any(fnmatchcase(f"{parts.scheme}://{parts.hostname}{port}", origin) for origin in origins)


def origin_of(url: str) -> str:
    """Scheme, host and port of an address, as `is_trusted` compares them."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
