"""An account's secrets, from the environment or an untracked `.env`, kept out of every text that Thalweg writes."""

import base64
import binascii
import hashlib
import hmac
import os
import re
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thalweg.errors import CredentialsError
from thalweg.http.secret import Secret
from thalweg.machine import ENV_FILE, read_settings

LOGIN, PASSWORD, TOTP = "COPERNICUS_LOGIN", "COPERNICUS_PASS", "COPERNICUS_TOTP"
S3_KEY, S3_SECRET = "COPERNICUS_S3_KEY", "COPERNICUS_S3_SECRET"
_TOTP_STEP_S = 30


@dataclass(frozen=True)
class Credentials:
    """Login of an account at the Copernicus Data Space."""

    login: Secret
    password: Secret
    second_factor: Secret | None
    """Six digits that serve one login, or the base32 secret that they are computed from."""

    def totp(self) -> str | None:
        """The six digits for now, where the account asks for them.

        Raises:
            CredentialsError: The second factor is neither six digits nor base32.
        """
        if self.second_factor is None:
            return None
        text = self.second_factor.reveal().replace(" ", "")
        return text if re.fullmatch(r"\d{6}", text) else totp_code(text, time.time())


def totp_code(secret: str, now_s: float) -> str:
    """The one-time password of a moment.

    Raises:
        CredentialsError: The secret is no base32.

    Source: RFC 6238 with the defaults of RFC 4226 (SHA-1, 30 s, six digits).
    """
    try:
        key = base64.b32decode(secret.upper() + "=" * (-len(secret) % 8))
    except binascii.Error:
        raise CredentialsError(
            f"{TOTP} is neither six digits nor a base32 secret; correct it in the environment or in .env"
        ) from None
    digest = hmac.new(key, struct.pack(">Q", int(now_s // _TOTP_STEP_S)), hashlib.sha1).digest()
    start = digest[-1] & 0x0F
    number = struct.unpack(">I", digest[start : start + 4])[0] & 0x7FFF_FFFF
    return f"{number % 1_000_000:06d}"


def read_credentials(file: Path = ENV_FILE) -> Credentials:
    """The account, from the environment or else from `.env`.

    Raises:
        CredentialsError: Login or password is in neither.
    """
    said = read_settings(file, "COPERNICUS_")
    login, password = _require(said, file, LOGIN, PASSWORD)
    totp = said.get(TOTP)
    return Credentials(login, password, Secret(totp) if totp else None)


def read_s3_keys(file: Path = ENV_FILE) -> tuple[Secret, Secret]:
    """Access key and secret key of the S3 store, from the environment or else from `.env`.

    Raises:
        CredentialsError: One of them is in neither.
    """
    key, secret = _require(read_settings(file, "COPERNICUS_"), file, S3_KEY, S3_SECRET)
    return key, secret


def account_folder(login: Secret) -> Path:
    """Where this user keeps what all processes with one account share: its token and its count of connections.

    Outside the project, because the limits are the account's; named by a hash, because a login is often an address.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "thalweg" / hashlib.sha256(login.reveal().encode()).hexdigest()[:16]


def _require(said: Mapping[str, str], file: Path, *names: str) -> list[Secret]:
    missing = [name for name in names if not said.get(name)]
    if missing:
        raise CredentialsError(
            f"{' and '.join(missing)} not set in the environment or in {file}; `cp env.sample .env`, "
            "fill it in, and leave it out of git"
        )
    return [Secret(said[name]) for name in names]
