"""The store of finished scenes: one folder per fingerprint, whole or not there, hard-linked into the stage's out."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from functools import cache, partial
from pathlib import Path
from typing import Any

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


def link_all(wanted: Sequence[tuple[str, str, Callable[[Path], None]]], target: Path, store: Path,
             track: Callable[[list[Any]], Iterable[Any]], executor: Executor | None) -> None:  # fmt: skip
    """Folders of scenes or packs into `target`, each built first where the store lacks it.

    Args:
        wanted: Name, key, and what fills an empty folder.
        target: Gets a folder per name.
        store: Finished folders by key.
        track: Shows progress while it passes the names on one by one.
        executor: Builds elsewhere, several at once; None: here, one by one.
    """
    each = map if executor is None else executor.map
    folders = each(partial(_stored, store), wanted)
    for name, folder in zip(track([name for name, _, _ in wanted]), folders, strict=True):
        link_folder(folder, target / name)
    _sweep(store, frozenset(key for _, key, _ in wanted))


def _stored(store: Path, wanted: tuple[str, str, Callable[[Path], None]]) -> Path:
    _, key, build = wanted
    return stored(store, key, build)


def stored(store: Path, key: str, build: Callable[[Path], None]) -> Path:
    """The folder of a key, built first where the store lacks it; an interrupted build leaves nothing under the key.

    Several may build one key at once, on one machine or several: the first that ends counts. Its files are read-only:
    whoever wrote into a scene, which is a hard link, would change the store for all time.
    """
    folder = store / key
    if not folder.is_dir():
        partial = store / f".{key}.{uuid.uuid4().hex[:12]}.part"
        partial.mkdir(parents=True)
        try:
            build(partial)
            for path in partial.iterdir():
                path.chmod(0o444)
            _name(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _name(partial: Path, folder: Path) -> None:
    try:
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _sweep(store: Path, keys: frozenset[str]) -> None:
    """Removes what builds of finished folders left that were killed, or that nobody waits for any more."""
    for left in store.glob(".*.part"):
        if left.name.split(".")[1] in keys:
            shutil.rmtree(left, ignore_errors=True)


def link_folder(source: Path, target: Path) -> None:
    """Hard links of a flat folder's files; copies where the target lies on another disk."""
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        try:
            os.link(path, target / path.name)
        except OSError:
            shutil.copy2(path, target / path.name)
