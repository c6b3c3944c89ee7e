"""The Typer boundary that all stage scripts share: errors as one line, outs by rename, params checked at the end."""

import ctypes
import errno
import glob
import os
import shutil
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import rich
import typer
from filelock import FileLock, Timeout

from thalweg import params
from thalweg.errors import DegradedDataWarning, StageError, ThalwegError

STAGING = Path(".cache/staging")
_LOCK = ".lock"
QUIET = "THALWEG_QUIET"
"""Environment variable of `thalweg --quiet`: stages that a command starts show no progress either."""
_OF_THE_DISK = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "see to it that this user may, or name another place"),
}
"""Errors of the system that are no fault of the code, and what to do."""
_PR_SET_PDEATHSIG = 1
"""Source: prctl(2)."""


def run(main: Callable[..., None]) -> None:
    """Runs a stage's `main` as a command: exits 1 with one line on our own errors and the disk's, 143 on SIGTERM.

    A stage ends with the dvc that started it: one that trained on alone would hand over outs that dvc.lock does not
    know, and meet the next run at the same files.
    """
    end_with_parent()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    run_app(app)


def run_app(app: typer.Typer) -> None:
    """The same for an app of several commands."""
    signal.signal(signal.SIGTERM, _terminate)
    warnings.showwarning = _warn(warnings.showwarning)
    if os.environ.get(QUIET):
        be_quiet()
    color = False if os.environ.get("NO_COLOR") else None  # rich heeds it by itself, click does not
    try:
        app(color=color)
    except ThalwegError as error:
        typer.secho(f"error: {error}", fg="red", err=True, color=color)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        said = f"{error.filename or 'a file'}: {error.strerror}; {_OF_THE_DISK[error.errno]}, then run it again"
        typer.secho(f"error: {said}", fg="red", err=True, color=color)
        sys.exit(1)


def be_quiet() -> None:
    """No progress from here on, here and in the processes that this one starts; results, warnings and errors stay."""
    os.environ[QUIET] = "1"
    rich.reconfigure(quiet=True)


@contextmanager
def outs(*targets: str | Path) -> Iterator[list[Path]]:
    """Empty staging paths, one per declared out, renamed onto the outs when the block ends without an error.

    Outs that an interrupted stage leaves are thus the whole result or nothing. Each path's parent exists; the path
    itself does not, so that a stage may make a file or a folder of it.

    Raises:
        StageError: The block did not make one of its outs.
        ParamsChangedError: params.yaml changed meanwhile; nothing is handed over.
    """
    with _room() as room:
        staged = [room / str(number) / Path(target).name for number, target in enumerate(targets)]
        for path in staged:
            path.parent.mkdir(parents=True)
        yield staged
        params.check_unchanged()
        for path, target in zip(staged, targets, strict=True):
            if not path.exists():
                raise StageError(f"{target} was not made; this is a fault of the stage, please report it")
        for path, target in zip(staged, targets, strict=True):
            _hand_over(path, Path(target))


@contextmanager
def _room() -> Iterator[Path]:
    room = STAGING / f"{socket.gethostname()}-{os.getpid()}"
    lock = FileLock(room / _LOCK)
    STAGING.mkdir(parents=True, exist_ok=True)
    with FileLock(STAGING.with_name("staging.lock")):
        _sweep()
        room.mkdir(exist_ok=True)
        lock.acquire(timeout=0)
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)
        lock.release()


def _sweep() -> None:
    """Removes what stages of this machine left that were killed: nobody holds their locks.

    Another machine's locks on a shared disk may not be seen here.
    """
    for room in STAGING.glob(f"{glob.escape(socket.gethostname())}-*/"):
        lock = FileLock(room / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        shutil.rmtree(room, ignore_errors=True)
        lock.release()


def _hand_over(staged: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    try:
        staged.replace(target)
    except OSError:  # .cache lies on another disk
        beside = target.with_name(f".{target.name}.partial")
        shutil.move(staged, beside)
        beside.replace(target)


def end_with_parent() -> None:
    """A SIGTERM for this process when the one that started it ends, however it does; on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _terminate(_signum: int, _frame: FrameType | None) -> None:
    sys.exit(143)  # Lightning would exit 0 on SIGTERM, and DVC would record the stage as done


def _warn(default: Callable[..., None]) -> Callable[..., None]:
    """Degraded data as one line; all other warnings as Python shows them."""

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, DegradedDataWarning):
            typer.secho(f"warning: {message}", fg="yellow", err=True)
        else:
            default(message, category, *rest, **more)

    return show
