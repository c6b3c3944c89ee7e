"""The store of finished scenes: one folder per fingerprint, whole or not there, hard-linked into the stage's out."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

_HOME = Path(__file__).parents[1]
ROOMS = ("preprocess", "products", "indices", "elevation", "composite", "bands", "classes", "grid", "raster",
         "manifest/__init__", "manifest/rounds", "manifest/scene")  # fmt: skip
"""Whose code decides a scene's bytes; params do so by their values."""
_SOURCES = tuple(path for room in ROOMS for path in sorted((*_HOME.glob(f"{room}.py"), *_HOME.glob(f"{room}/**/*.py"))))


def fingerprint(parts: object) -> str:
    """Key of a scene: SHA-256 of everything that decides its bytes, the code that makes it included."""
    text = json.dumps([parts, _code()], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _code() -> list[str]:
    """SHA-256 of each source file, read once however many scenes there are."""
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in _SOURCES]


def stored(store: Path, key: str, build: Callable[[Path], None]) -> Path:
    """The folder of a key, built first where the store lacks it; an interrupted build leaves nothing under the key.

    Its files are read-only: whoever wrote into a scene, which is a hard link, would change the store for all time.
    """
    folder = store / key
    if not folder.is_dir():
        for left in store.glob(f".{key}.*.part"):  # by a build that was killed
            shutil.rmtree(left, ignore_errors=True)
        partial = store / f".{key}.{os.getpid()}.part"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            build(partial)
            for path in partial.iterdir():
                path.chmod(0o444)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def link_folder(source: Path, target: Path) -> None:
    """Hard links of a flat folder's files; copies where the target lies on another disk."""
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        try:
            os.link(path, target / path.name)
        except OSError:
            shutil.copy2(path, target / path.name)
