"""What commands show while they take their time: on standard error, and nothing of it after `thalweg --quiet`.

Imports of rich's progress are late: commands that are done at once need not wait for it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import rich

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")


@contextmanager
def bar(words: str) -> Iterator[Callable[[float], None]]:
    """A progress bar, told shares 0…1; it is full when the block ends."""
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=_console()) as progress:
        task = progress.add_task(words, total=1.0)
        yield lambda share: progress.update(task, completed=share)
        progress.update(task, completed=1.0)


def track(each: Sequence[T], /, description: str) -> Iterable[T]:
    """Hands things on, one by one, with a progress bar."""
    import rich.progress  # noqa: PLC0415

    return rich.progress.track(each, description=description, console=_console())


@contextmanager
def busy(words: str) -> Iterator[None]:
    """A turning mark and the seconds so far beside these words, for work whose share nobody knows; gone when it ends.

    What is said inside to standard output would go to the terminal instead of a pipe, so nothing should be.
    """
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = _console()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task(words, total=None)
        yield


def _console() -> "Console":
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=True, quiet=rich.get_console().quiet)
