"""The same faults for Thalweg, eodag and CDSETool: how many does each survive?

Run: `PYTHONPATH=src:tests:. python benchmarks/fetch_peers.py [--faults NAME …]`. The rivals are installed by pip, each
in an environment of its own below /tmp, so the first run takes minutes.

Each fetches one product as the whole zip from the stand-in (tests/standin), once per fault. Fair play: waits between
attempts are cut to 50 ms and read timeouts to 3 s for all three; eodag gets discovery, keys and a token in the query as
it wants them; CDSETool, whose hosts are fixed, has the function that makes the address patched. Survived means: of a
fault that passes, the zip is there and whole; of one that stays, the fetch ends with an error and leaves no file that
looks finished.
"""

import argparse
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from standin import LOGIN, PASSWORD, Record, Standin, faults
from standin.download import id_of, zip_of
from standin.faults import Fault
from standin.reply import Reply, told

from thalweg import sample

HOME = Path(tempfile.gettempdir()) / "thalweg-peers"
PEERS = {"eodag": "eodag==4.10.1", "cdsetool": "cdsetool==0.3.3"}
CLIENTS = {"thalweg": "thalweg", "eodag": "eodag", "eodag, extract=False": "eodag", "cdsetool": "cdsetool"}
"""Column → whose runner. eodag unpacks by default, which finds some damage; CDSETool and Thalweg keep the zip."""
HERE = Path(__file__).parent
LIMIT_S = 40
LONGEST_WAIT_S, READ_S = 0.05, 3.0


@dataclass(frozen=True)
class Case:
    """One fault."""

    name: str
    fault: Fault | None
    times: int | None = 1
    passes: bool = True
    """Whether it goes away; else the fetch should end with an error."""
    where: str = "/$value"
    """Part of the path of the requests that it befalls."""
    killed: bool = False
    """Whether the fetch is killed in the middle and run again."""

    @property
    def is_fault(self) -> bool:
        """Whether anything goes wrong; one case is there to show that each client works at all."""
        return self.fault is not None or self.killed


def make_cases(size: int, whole: bytes) -> list[Case]:
    """The script, for a zip of so many bytes."""
    half = size // 2
    busy = {"code": "DAT-ZIP-100", "message": "Max session number 4 exceeded"}
    json_error = b'{"code":"DAT-ZIP-500","message":"Internal error"}'
    return [
        Case("no fault", None),
        Case("T5 token 503 once", faults.status(503), where="/token"),
        Case("T20 401 once", faults.zipper(401, 109, "Token expired")),
        Case("T22 404", faults.zipper(404, 404, "Not found"), times=None, passes=False),
        Case("T21 403", faults.zipper(403, 608, "Access forbidden"), times=None, passes=False),
        Case("T23 429 once, no Retry-After", faults.status(429, busy)),
        Case("T23 429 once, Retry-After: 1", faults.status(429, busy, Retry_After="1")),
        Case("T23 429 five times", faults.status(429, busy), times=5),
        Case("T25 500 once", faults.status(500)),
        Case("T25 503 three times", faults.status(503), times=3),
        Case("T25 503 always", faults.status(503), times=None, passes=False),
        Case("T26 short body, Content-Length", Fault(cut=half)),
        Case("T27 short body, chunked", Fault(cut=half, chunked=True, chunk_end=False)),
        Case("T27 short body, chunked, ended", Fault(body=whole[:half], chunked=True)),
        Case("T28 longer than promised", Fault(longer=1000)),
        Case("T29 reset in the middle", Fault(reset=half)),
        Case("T30 stall", Fault(stall=(half, 60.0))),
        Case("T33 flipped byte once", Fault(flip=half)),
        Case("T33 flipped byte always", Fault(flip=half), times=None, passes=False),
        Case("T38 JSON error with 200", faults.says(json_error)),
        Case("T39 truncated zip that looks whole", faults.says(whole[:half])),
        Case("T40 kill -9 in the middle, run again", None, killed=True),
    ]


class PeerStandin(Standin):
    """The stand-in with what the rivals ask for besides: discovery, signed tokens, a token in the query, HEAD."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def answer(self, record: Record) -> tuple[Reply, Fault]:
        """As the stand-in, tokens as JSON web tokens."""
        path, _, query = record.path.partition("?")
        if record.host == "identity" and path.endswith("openid-configuration"):
            return told(200, self._discovery()), Fault()
        if record.host == "identity" and path.endswith("certs"):
            return told(200, {"keys": [self._public()]}), Fault()
        if query.startswith("token="):
            record.headers["Authorization"] = f"Bearer {query.removeprefix('token=')}"
            record.path = path
        reply, fault = super().answer(record)
        if record.host == "identity" and reply.status == 200 and fault.status is None:
            reply = told(200, self._signed(json.loads(reply.body)))
        return reply, fault

    def _discovery(self) -> dict[str, object]:
        base = f"{self.origin('identity')}/auth/realms/CDSE/protocol/openid-connect"
        return {"token_endpoint": f"{base}/token", "jwks_uri": f"{base}/certs", "issuer": base,
                "authorization_endpoint": base, "id_token_signing_alg_values_supported": ["RS256"]}  # fmt: skip

    def _public(self) -> dict[str, str]:
        numbers = self._key.public_key().public_numbers()
        return {"kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256", "n": _b64(numbers.n.to_bytes(256)),
                "e": _b64(numbers.e.to_bytes(3))}  # fmt: skip

    def _signed(self, told_token: dict[str, object]) -> dict[str, object]:
        opaque, now = str(told_token["access_token"]), int(time.time())
        claims = {"exp": now + 600, "iat": now, "aud": "CLOUDFERRO_PUBLIC", "jti": opaque}
        parts = [_b64(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "1", "typ": "JWT"}, claims)]
        signature = self._key.sign(".".join(parts).encode(), padding.PKCS1v15(), hashes.SHA256())
        token = ".".join([*parts, _b64(signature)])
        self.identity.access[token] = self.identity.access.pop(opaque)
        return told_token | {"access_token": token}


def main() -> None:
    """Prints a table in Markdown; exits 1 where Thalweg misses one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", nargs="*", default=[], help="Only those whose names hold one of these.")
    chosen = parser.parse_args().faults
    known = {"thalweg": Path(sys.executable)} | {name: _environment(name, pin) for name, pin in PEERS.items()}
    pythons = {column: known[name] for column, name in CLIENTS.items()}
    with tempfile.TemporaryDirectory() as room:
        safe = sample.make_product(Path(room), tile="T20KNA", date="2025-10-03", baseline="05.11", seed=3,
                                   size_60m_px=60, cloud_cover=0.0)  # fmt: skip
        cases = [case for case in make_cases(len(zip_of(safe)), zip_of(safe))
                 if not chosen or any(word in case.name for word in chosen)]  # fmt: skip
        print(f"| fault | {' | '.join(pythons)} |\n|{'---|' * (len(pythons) + 1)}", flush=True)
        survived = dict.fromkeys(pythons, 0)
        for case in cases:
            said = {name: _try(case, name, python, safe) for name, python in pythons.items()}
            for name, (good, _) in said.items():
                survived[name] += good and case.is_fault
            cells = [f"{'yes' if good else '**no**'}: {how}" for good, how in said.values()]
            print(f"| {case.name} | {' | '.join(cells)} |", flush=True)
        count = sum(case.is_fault for case in cases)
        print(f"| **survived of {count}** | {' | '.join(str(number) for number in survived.values())} |")
    sys.exit(0 if survived["thalweg"] == count else 1)


def _environment(name: str, pin: str) -> Path:
    python = HOME / name / "bin/python"
    if not python.is_file():
        HOME.mkdir(exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", HOME / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", pin], check=True)
    return python


def _try(case: Case, column: str, python: Path, safe: Path) -> tuple[bool, str]:
    """Whether one client survives one fault, and what became of the fetch."""
    with tempfile.TemporaryDirectory() as room, PeerStandin([safe], throttle=0.01 if case.killed else 0.0) as cdse:
        if case.fault is not None:
            cdse.fault(_when(case), case.fault, times=case.times)
        job, out = _job(cdse, safe, Path(room), extract="extract=False" not in column)
        name = CLIENTS[column]
        if case.killed:
            _kill_midway(cdse, name, python, job, len(zip_of(safe)) // 3)
            cdse.throttle = 0.0
        code = _run(name, python, job)
        found, whole = _left(out, safe)
    if code is None:
        return False, f"still running after {LIMIT_S} s"
    end = "said done" if code == 0 else "ended with an error"
    left = "whole product" if whole else "a wrong file in its place" if found else "no file"
    good = (code == 0 and whole) if case.passes else (code != 0 and not found)
    return good, f"{end}, {left}"


def _left(out: Path, safe: Path) -> tuple[bool, bool]:
    """Whether anything lies where a product should, and whether it is the whole product, packed or not."""
    zips = [path for path in out.rglob("*.zip") if path.is_file()]
    folders = [path.parent for path in out.rglob("MTD_MSIL2A.xml")]
    files = [path.relative_to(safe) for path in safe.rglob("*") if path.is_file()]
    whole = any(path.read_bytes() == zip_of(safe) for path in zips) or any(
        all((folder / name).is_file() and (folder / name).read_bytes() == (safe / name).read_bytes() for name in files)
        for folder in folders
    )
    return bool(zips or folders), whole


def _when(case: Case) -> Callable[[Record], bool]:
    host = "identity" if case.where == "/token" else "download"
    return lambda record: record.host == host and case.where in record.path and record.method in ("GET", "POST")


def _job(cdse: PeerStandin, safe: Path, room: Path, extract: bool) -> tuple[Path, Path]:
    home, out = room / "home", room / "out"
    home.mkdir()
    out.mkdir()
    identity = cdse.hosts.identity
    job = room / "job.json"
    job.write_text(json.dumps({
        **cdse.hosts._asdict(), "origin": cdse.origin("download"), "login": LOGIN, "password": PASSWORD,
        "discovery": f"{identity.partition('/protocol')[0]}/.well-known/openid-configuration", "id": id_of(safe.name),
        "name": safe.stem, "out": str(out), "home": str(home), "longest_wait_s": LONGEST_WAIT_S, "read_s": READ_S,
        "give_up_min": LIMIT_S / 60, "extract": extract,
    }))  # fmt: skip
    return job, out


def _start(name: str, python: Path, job: Path) -> subprocess.Popen[bytes]:
    ways = [str(Path(way).resolve()) for way in sys.path if way] if name == "thalweg" else []
    log = (job.parent / "log").open("ab")
    return subprocess.Popen(
        [python, HERE / "peers" / f"run_{name}.py", job], stdout=log, stderr=log, start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(ways)}, cwd=job.parent,
    )  # fmt: skip


def _run(name: str, python: Path, job: Path) -> int | None:
    """Exit status; None where it did not end in time."""
    process = _start(name, python, job)
    try:
        return process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None
    finally:
        if "DEBUG" in os.environ:
            shutil.copyfileobj((job.parent / "log").open(), sys.stderr)


def _kill_midway(cdse: PeerStandin, name: str, python: Path, job: Path, after: int) -> None:
    process = _start(name, python, job)
    began = time.monotonic()
    while cdse.sent_bytes("/$value") < after and process.poll() is None and time.monotonic() - began < LIMIT_S:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


if __name__ == "__main__":
    main()
