"""An account's S3 keys as the right to read: each request signed for its own address, Range and resume included."""

import datetime
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from thalweg.http.auth import is_trusted
from thalweg.http.secret import Secret

_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_SIGNED = "host;x-amz-content-sha256;x-amz-date"


@dataclass(frozen=True)
class S3Keys:
    """Signs GET and HEAD requests in path style. Implements `auth.Auth`.

    Source: AWS Signature Version 4, "Create a signed AWS API request".
    """

    access: Secret
    secret: Secret
    trusted: tuple[str, ...]
    """Origins that a signature may be sent to, as patterns (`auth.is_trusted`)."""
    region: str
    """`default` at the Copernicus Data Space."""

    def headers(self, method: str, url: str) -> dict[str, Secret]:
        """Date and signature of one request."""
        return {
            name: Secret(text) for name, text in sign(method, url, self, datetime.datetime.now(datetime.UTC)).items()
        }

    def renew(self, refused: Mapping[str, Secret]) -> bool:  # noqa: ARG002
        """Never: keys that are refused stay so."""
        return False

    def trusts(self, url: str) -> bool:
        """Whether the address lies at one of the trusted origins."""
        return is_trusted(url, self.trusted)


def sign(method: str, url: str, keys: S3Keys, now: datetime.datetime) -> dict[str, str]:
    """The headers of a request without a body, at one moment."""
    parts, stamp = urlsplit(url), now.strftime("%Y%m%dT%H%M%SZ")
    path = quote(unquote(parts.path), safe="/-_.~")
    canonical = "\n".join([
        method, path, _query(parts.query), f"host:{parts.netloc}", f"x-amz-content-sha256:{_EMPTY_SHA256}",
        f"x-amz-date:{stamp}", "", _SIGNED, _EMPTY_SHA256,
    ])  # fmt: skip
    scope = f"{stamp[:8]}/{keys.region}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{keys.secret.reveal()}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    return {
        "x-amz-content-sha256": _EMPTY_SHA256,
        "x-amz-date": stamp,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={keys.access.reveal()}/{scope}, SignedHeaders={_SIGNED}, "
        f"Signature={signature}",
    }


def _query(text: str) -> str:
    """Names and values in the one form that both sides sign."""
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in parse_qsl(text, True))
    return "&".join(f"{name}={value}" for name, value in pairs)
