"""Loaded by the workers of tests (`dask worker --preload`): units take a while, and each tells a log what it did."""

import json
import os
import time
from pathlib import Path
from typing import Any

from thalweg import preprocess

LOG, PAUSE = "UNITS_LOG", "UNITS_PAUSE"


def tell(what: str, unit: str) -> None:
    """One line, written at once, so that several workers can share the file."""
    line = json.dumps({"what": what, "unit": unit, "worker": os.getpid()}) + "\n"
    handle = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, line.encode())
    os.close(handle)


def _scenes() -> None:
    build_scene = preprocess.build_scene

    def told(product: Any, *rest: Any) -> None:
        tell("start", product.name)
        time.sleep(float(os.environ[PAUSE]))
        build_scene(product, *rest)
        tell("end", product.name)

    preprocess.build_scene = told


def _bands() -> None:
    from thalweg.infer.state import State

    keep = State.keep

    def told(self: Any, top: int, held: Any) -> None:
        unit = f"{self.folder.name} {top}"
        tell("start", unit)
        time.sleep(float(os.environ[PAUSE]))
        keep(self, top, held)
        tell("end", unit)

    State.keep = told  # type: ignore[method-assign]


def dask_setup(worker: Any) -> None:  # noqa: ARG001 - Dask calls it so, once per worker
    """Has both kinds of units told."""
    _scenes()
    if Path("models").exists():
        _bands()
