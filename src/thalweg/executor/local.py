"""Processes of this machine."""

from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from multiprocessing import get_context

from thalweg.errors import ExecutorError
from thalweg.stage import end_with_parent

_OPENED = 4
"""Pools, one after another, before it is taken for granted that the next would break, too."""


class Local:
    """A pool of processes; one that is killed breaks it, and units go on in the next."""

    losses: tuple[type[BaseException], ...] = (BrokenExecutor,)

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._opened = 0
        self._pool: ProcessPoolExecutor | None = None

    def open(self) -> Executor:
        """A new pool, whose processes are started afresh, since GDAL and torch do not survive a fork.

        Raises:
            ExecutorError: Too many have broken.
        """
        if self._opened == _OPENED:
            raise ExecutorError(
                f"a process of the pool was killed {_OPENED} times, most likely for want of memory; set "
                "THALWEG_EXECUTOR to fewer processes, or to local"
            )
        self._opened += 1
        self._pool = ProcessPoolExecutor(self._processes, get_context("spawn"), end_with_parent)
        return self._pool

    def alive(self) -> bool:
        """A pool that breaks says so itself."""
        return True

    def close(self) -> None:
        """Ends the processes, whatever they are at: nobody waits for it any more, and it leaves no half of anything."""
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.terminate()
            self._pool.shutdown(wait=True, cancel_futures=True)

    def words(self, error: BaseException) -> BaseException:
        """As it is."""
        return error
