"""A unit on its way to another process, and what it meets there: the same code, the same packages, the same folder."""

import ctypes
import hashlib
import os
import pickle
import platform
import socket
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from threading import Condition
from types import TracebackType
from typing import Any

import cloudpickle

import thalweg
from thalweg.errors import ExecutorError

_PACKAGES = ("numpy", "scipy", "rasterio", "pyproj", "shapely", "h5py", "xarray", "torch", "torchvision", "torchgeo",
             "timm", "segmentation-models-pytorch")  # fmt: skip
"""Whose versions decide bytes."""
_MALLOC = {-1: 64 * 2**20, -3: 32 * 2**20}
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, in bytes: where glibc itself lets them grow to. Source: mallopt(3)."""


@dataclass(frozen=True)
class Parcel:
    """A call, and where it belongs."""

    call: bytes
    """(function, arguments, named arguments), pickled."""
    home: str
    """The project's folder, absolute."""
    sent_by: tuple[tuple[str, str], ...]
    """Code and packages that the stage runs with."""
    mark: str
    """A file that the stage made below that folder, by which its disk is told from another's; empty: none."""


def pack(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], mark: str = "") -> Parcel:
    """A call as it travels."""
    return Parcel(cloudpickle.dumps((function, args, kwargs)), str(Path.cwd()), versions(), mark)


def run(parcel: Parcel) -> Any:
    """Does the call, on a worker.

    Raises:
        ExecutorError: The worker's code or packages are others, or it does not see the project's folder.
        RuntimeError: The call failed with an error that cannot travel, of which this one tells all.
    """
    _check(parcel)
    _keep_memory()
    with _places.at(parcel.home), _Tellable():
        function, args, kwargs = cloudpickle.loads(parcel.call)
        return function(*args, **kwargs)


@cache
def _keep_memory() -> None:
    """Lets glibc use freed memory again, as it does without Dask's nanny.

    The nanny sets MALLOC_TRIM_THRESHOLD_, upon which glibc no longer learns how large arrays are, and has the kernel
    make every tensor's pages anew: half the speed of a prediction (docs/benchmarks.md).
    """
    said = os.environ
    if "MALLOC_TRIM_THRESHOLD_" in said and "MALLOC_MMAP_THRESHOLD_" not in said and platform.libc_ver()[0] == "glibc":
        for what, size in _MALLOC.items():
            ctypes.CDLL(None).mallopt(what, size)


@cache
def versions() -> tuple[tuple[str, str], ...]:
    """Code and packages of this process, as they were when it first asked."""
    home, said = Path(thalweg.__file__).parent, hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        said.update(path.relative_to(home).as_posix().encode() + path.read_bytes())
    installed = ((name, _version(name)) for name in _PACKAGES)
    return (("thalweg's code", said.hexdigest()[:12]), ("python", platform.python_version()), *installed)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _check(parcel: Parcel) -> None:
    host = f"the worker {os.getpid()} on {socket.gethostname()}"
    for (name, wanted), (_, found) in zip(parcel.sent_by, versions(), strict=True):
        if wanted != found:
            raise ExecutorError(
                f"{host} has {name} {found}, but the stage has {wanted}; start the workers again, in the environment "
                "of the stage"
            )
    if not Path(parcel.home).is_dir():
        raise ExecutorError(
            f"{host} does not see the project's folder {parcel.home}; workers need the project's disk under the same "
            "path"
        )
    if parcel.mark and not Path(parcel.home, parcel.mark).is_file():
        raise ExecutorError(
            f"{host} has a folder {parcel.home}, but not the one that the stage works in: {parcel.mark}, which that "
            "wrote, is not there; workers need the project's own disk, no copy of it"
        )


class _Tellable(AbstractContextManager[None]):
    """Errors inside leave as themselves where pickle can carry them, else as their text.

    One that arrives but cannot be put together there would break a pool, and look like a process that was killed.
    """

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        if error is None:
            return
        try:
            pickle.loads(pickle.dumps(error))
        except (pickle.PickleError, TypeError, ValueError, AttributeError, ImportError):
            raise RuntimeError("".join(traceback.format_exception(error))) from None


class _Places:
    """The folder that the threads of this process work in: one project at a time."""

    def __init__(self) -> None:
        self._free = Condition()
        self._users = 0

    @contextmanager
    def at(self, home: str) -> Iterator[None]:
        """Works in a folder, after all units of other folders."""
        with self._free:
            self._free.wait_for(lambda: self._users == 0 or Path.cwd() == Path(home))
            os.chdir(home)
            self._users += 1
        try:
            yield
        finally:
            with self._free:
                self._users -= 1
                self._free.notify_all()


_places = _Places()
