"""Sessions towards the stand-in with a short patience, and downloads in processes of their own, to be killed at will."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from standin import LOGIN, PASSWORD, Standin

from thalweg.http.connections import Connections
from thalweg.http.credentials import Credentials
from thalweg.http.expected import JP2, Checksum, Expected
from thalweg.http.policy import Policy
from thalweg.http.secret import Secret
from thalweg.http.session import Session
from thalweg.http.token import Token

POLICY = Policy(connect_s=2, read_s=2, stall_s=2, attempts=4, backoff_s=0.01, backoff_max_s=0.05)
HASTY = Policy(connect_s=1, read_s=0.3, stall_s=0.4, attempts=3, backoff_s=0.01, backoff_max_s=0.05)
BAND = "B02_60m.jp2"


def credentials(login: str = LOGIN, password: str = PASSWORD, totp: str | None = None) -> Credentials:
    """The stand-in's account."""
    return Credentials(Secret(login), Secret(password), Secret(totp) if totp else None)


def make_token(cdse: Standin, folder: Path, policy: Policy = POLICY, **changes: str) -> Token:
    """Its bearer token, cached below a folder."""
    return Token(cdse.hosts.identity, folder / "account", cdse.origins, policy, lambda: credentials(**changes))


def make_session(cdse: Standin, folder: Path, policy: Policy = POLICY, limit: int = 4, **changes: str) -> Session:
    """A session in the account's name."""
    return Session(policy, Connections(folder / "account", limit), make_token(cdse, folder, policy, **changes))


def anonymous(folder: Path, policy: Policy = POLICY) -> Session:
    """A session without an account."""
    return Session(policy, Connections(folder / "account", 4))


def find_file(safe: Path, end: str = BAND) -> Path:
    """The one file of a product whose name ends so."""
    [path] = safe.rglob(f"*{end}")
    return path


def promise(path: Path, algorithm: str = "sha3_256", signature: bytes | None = JP2, **changes) -> Expected:
    """What a file must be, worked out apart from the code under test."""
    content = path.read_bytes()
    facts = {"size": len(content), "checksum": Checksum(algorithm, hashlib.new(algorithm, content).hexdigest())}
    return Expected(**(facts | {"signature": signature} | changes))


def url_of(cdse: Standin, path: Path) -> str:
    """Where the stand-in serves a file of a product."""
    safe = next(safe for safe in cdse.products if path.is_relative_to(safe))
    return cdse.file_url(path.relative_to(safe).as_posix(), safe)


def start_download(cdse: Standin, folder: Path, files: Mapping[Path, Path], limit: int = 4, **options
                   ) -> subprocess.Popen[str]:  # fmt: skip
    """Fetches files (source → target) in a process of its own, all at once."""
    asked = {
        "identity": cdse.hosts.identity, "origins": cdse.origins, "folder": str(folder), "limit": limit,
        "files": [[url_of(cdse, source), str(target), source.stat().st_size,
                   hashlib.sha3_256(source.read_bytes()).hexdigest()] for source, target in files.items()],
    } | options  # fmt: skip
    return subprocess.Popen([sys.executable, __file__, json.dumps(asked)], text=True, stderr=subprocess.PIPE)


def main(asked: dict) -> None:
    """What that process does."""
    import resource
    from concurrent.futures import ThreadPoolExecutor

    if "largest_file" in asked:  # EFBIG instead of ENOSPC: the nearest to a full disk that needs no mount
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["largest_file"], resource.RLIM_INFINITY))
    account = Path(asked["folder"]) / "account"
    token = Token(asked["identity"], account, tuple(asked["origins"]), POLICY, credentials)
    session = Session(POLICY, Connections(account, asked["limit"]), token)

    def bring(file: tuple[str, str, int, str]) -> None:
        url, target, size, digest = file
        session.download(url, Path(target), Expected(size, Checksum("SHA3-256", digest), JP2))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(bring, asked["files"]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
