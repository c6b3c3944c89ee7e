"""An executor that outlives its engine: what was handed to a pool or scheduler that is gone is handed to the next one.

A worker that dies is the engine's own business (Dask gives its units to others). What no engine answers for is its own
end: the futures of a scheduler that restarts are cancelled, those of a pool that lost a process are broken. Units leave
what they finish on the disk, whole or not at all, so that one that is run again finds it.
"""

import time
import uuid
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from pathlib import Path
from threading import Event, RLock, Thread
from typing import Any, ParamSpec, Protocol, TypeVar

from thalweg.errors import ExecutorError
from thalweg.executor.shipped import Parcel, pack, run

_LOOK_S = 0.5
_PART_S = 1
"""How long who ends waits for what may itself be waiting for a scheduler."""
_MARKS = Path(".cache/executor")
_OLD_S = 7 * 24 * 3600
"""Marks so old are of stages that were killed."""

P = ParamSpec("P")
T = TypeVar("T")


class Engine(Protocol):
    """What runs parcels somewhere."""

    losses: tuple[type[BaseException], ...]
    """What futures, and handing over, raise when the engine is gone."""

    def open(self) -> Executor:
        """An executor; called again after a loss, when it may wait for the engine to come back.

        Raises:
            ExecutorError: There is none.
        """
        ...

    def alive(self) -> bool:
        """Whether what was opened last still stands."""
        ...

    def close(self) -> None:
        """Lets go of what was opened last."""
        ...

    def words(self, error: BaseException) -> BaseException:
        """What a unit failed with, as it should be told."""
        ...


class Enduring(Executor):
    """Units on an engine, handed over again after a loss."""

    def __init__(self, engine: Engine) -> None:
        """Opens the engine.

        Raises:
            ExecutorError: It cannot be opened.
        """
        self._engine = engine
        self._guard = RLock()
        self._open: dict[Future[Any], Parcel] = {}
        self._opened = 0
        """Engines so far: what an earlier one says of its end is no news."""
        self._gone, self._over = Event(), Event()
        self._current: Executor | None = engine.open()
        self._mark, self._home = _set_mark(), Path.cwd()
        self._keeper = Thread(target=self._keep, name="executor", daemon=True)
        self._keeper.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Takes a unit: any callable that may run twice; it runs in this project's folder wherever that is.

        Raises:
            ExecutorError: The executor is shut down.
        """
        parcel, future = pack(fn, args, kwargs, str(self._mark)), Future[T]()
        with self._guard:
            if self._over.is_set():
                raise ExecutorError("the executor is shut down and takes no more units; please report it")
            self._open[future] = parcel
            future.add_done_callback(self._drop)
            self._hand(future, parcel)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the engine; units that run elsewhere may end there, to nobody's harm."""
        with self._guard:
            waiting = list(self._open)
        for future in waiting:
            if cancel_futures:
                future.cancel()
            elif wait:
                future.exception()
        self._over.set()
        self._gone.set()
        try:
            self._keeper.join(_PART_S)
            self._engine.close()
        finally:  # a second Ctrl-C ends here
            (self._home / self._mark).unlink(missing_ok=True)

    def _hand(self, future: "Future[Any]", parcel: Parcel) -> None:
        if self._current is None:  # between two engines: the next gets all that is open
            return
        opened = self._opened
        try:
            inner = self._current.submit(run, parcel)
        except self._engine.losses:
            self._gone.set()
            return
        future.add_done_callback(lambda outer: inner.cancel() if outer.cancelled() else None)
        inner.add_done_callback(lambda done: self._take(future, opened, done))

    def _take(self, future: "Future[Any]", opened: int, inner: "Future[Any]") -> None:
        """What became of a unit; of several copies the first that ends counts."""
        error = None if inner.cancelled() else inner.exception()
        if inner.cancelled() or isinstance(error, self._engine.losses):
            if opened == self._opened and not future.done():
                self._gone.set()
            return
        if not self._forget(future) or not future.set_running_or_notify_cancel():
            return
        if error is None:
            future.set_result(inner.result())
        else:
            future.set_exception(self._engine.words(error))

    def _drop(self, future: "Future[Any]") -> None:
        self._forget(future)
        if future.cancelled():
            future.set_running_or_notify_cancel()  # else who waits for several would wait for this one, too

    def _forget(self, future: "Future[Any]") -> bool:
        """Whether it was still open."""
        with self._guard:
            return self._open.pop(future, None) is not None

    def _keep(self) -> None:
        """Opens the engine again when it is gone, until the executor is shut down."""
        while not self._over.is_set():
            self._gone.wait(_LOOK_S)
            if self._over.is_set() or not (self._gone.is_set() or not self._engine.alive()):
                continue
            try:
                self._again()
            except ExecutorError as error:
                self._fail(error)

    def _again(self) -> None:
        with self._guard:
            self._opened += 1
            self._current = None
        self._engine.close()
        current = self._engine.open()
        if self._over.is_set():
            self._engine.close()
            return
        with self._guard:
            self._current = current
            self._gone.clear()
            for future, parcel in list(self._open.items()):
                self._hand(future, parcel)

    def _fail(self, error: ExecutorError) -> None:
        with self._guard:
            waiting = list(self._open)
            self._over.set()
        for future in waiting:
            if self._forget(future) and future.set_running_or_notify_cancel():
                future.set_exception(error)


def _set_mark() -> Path:
    """A file by which workers know the stage's disk; those of stages that were killed long ago go."""
    _MARKS.mkdir(parents=True, exist_ok=True)
    for path in _MARKS.iterdir():
        with suppress(FileNotFoundError):  # another stage's, which has just ended
            if time.time() - path.stat().st_mtime > _OLD_S:
                path.unlink()
    mark = _MARKS / uuid.uuid4().hex
    mark.touch()
    return mark
