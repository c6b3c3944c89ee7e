"""Two threads beside the one that predicts: one works ahead of it, one behind it, each only a few items away.

Whatever a thread raises is raised, as it is, where its work is asked for.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Item = TypeVar("Item")
DEPTH = 1
"""Items that either thread is away from the one between, itself working on the last of them."""
_END: Any = object()


def ahead(items: Iterator[Item]) -> Generator[Item]:
    """The items, each made in a thread while the one before it is used; to be closed where it is not run to its end."""
    with ThreadPoolExecutor(1, "ahead") as pool:
        coming = deque(pool.submit(next, items, _END) for _ in range(DEPTH))
        try:
            while (item := coming.popleft().result()) is not _END:
                coming.append(pool.submit(next, items, _END))
                yield item
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class Behind(Generic[Item]):
    """Hands items to a function, in order, in a thread; the context ends when all are done, or one has failed."""

    def __init__(self, consume: Callable[[Item], None]) -> None:
        self._consume = consume
        self._pool = ThreadPoolExecutor(1, "behind")
        self._waiting: deque[Future[None]] = deque()

    def put(self, item: Item) -> None:
        """Takes one more item, as soon as there is room for it."""
        while len(self._waiting) > DEPTH:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._consume, item))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            while self._waiting and error is None:
                self._waiting.popleft().result()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
