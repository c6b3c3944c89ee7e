"""Fetches in processes of their own, to be killed, doubled or starved of disk; forked from a clean server, so fast."""

import multiprocessing
import os
import resource
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

from standin import LOGIN, PASSWORD, Standin

from thalweg import params
from thalweg.errors import ThalwegError
from thalweg.manifest.lock import write_lock
from thalweg.sources import copernicus

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["fetch_runner"])
PATIENCE = {"connections": 4, "connect_s": 2.0, "read_s": 5.0, "stall_s": 10.0, "attempts": 8, "backoff_s": 0.05,
            "backoff_max_s": 0.5}  # fmt: skip


def options(cdse: Standin, **changes) -> dict:
    """`fetch.options` that point at a stand-in."""
    return {
        "search": None, "products": [safe.stem for safe in cdse.products], "groups": [], "bands": {"R60m": ["B02", "B03", "SCL"]},
        "whole_zip": False, "backend": "https", "hosts": cdse.hosts._asdict(), "patience": PATIENCE,
    } | changes  # fmt: skip


def parse(said: dict) -> copernicus.Options:
    return params.parse(copernicus.Options, said, "fetch.options", Path("params.yaml"))


def freeze(cdse: Standin, folder: Path, **changes) -> tuple[dict, Path]:
    """Options, and the lock that they find."""
    said = options(cdse, **changes)
    path = folder / "recipe.products.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_lock(copernicus.find(parse(said)).lock, path)
    return said, path


def start(said: dict, given: Path, home: Path, raw: str = "raw", file_limit: int | None = None) -> BaseProcess:
    """A process that fetches; exit code 0, or 3 with the error in `<home>/error.txt`."""
    process = CONTEXT.Process(target=_fetch, args=(said, given, home, raw, file_limit))
    process.start()
    return process


def _fetch(said: dict, given: Path, home: Path, raw: str, file_limit: int | None) -> None:
    os.environ |= {"COPERNICUS_LOGIN": LOGIN, "COPERNICUS_PASS": PASSWORD, "COPERNICUS_S3_KEY": "key",
                   "COPERNICUS_S3_SECRET": "very-secret", "XDG_CACHE_HOME": str(home / "cache")}  # fmt: skip
    home.mkdir(parents=True, exist_ok=True)
    sys.stderr = (home / "log.txt").open("a", buffering=1)
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    try:
        copernicus.deliver(parse(said), given, home / raw, home / "store")
    except ThalwegError as error:
        (home / "error.txt").write_text(f"{type(error).__name__}: {error}")
        sys.exit(3)


def complete(home: Path) -> set[Path]:
    """Files that the store calls whole, below it."""
    store = home / "store"
    return {path.relative_to(store) for path in store.glob("*.SAFE/**/*")
            if path.is_file() and not path.name.endswith((".part", ".part.etag", ".bad"))}  # fmt: skip


def differing(home: Path, safes: list[Path]) -> list[Path]:
    """Files in the store that are not, byte by byte, the original's."""
    originals = {safe.name: safe for safe in safes}
    return [path for path in complete(home)
            if (home / "store" / path).read_bytes() != (originals[path.parts[0]].parent / path).read_bytes()]  # fmt: skip
