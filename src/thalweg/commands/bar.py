"""The progress bar of commands that take their time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def bar(words: str) -> Iterator[Callable[[float], None]]:
    """A progress bar on standard error, told shares 0…1; it is full when the block ends."""
    from rich.console import Console  # noqa: PLC0415 - the other commands need not wait for it
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(words, total=1.0)
        yield lambda share: progress.update(task, completed=share)
        progress.update(task, completed=1.0)


def track(names: Sequence[str], /, description: str) -> Iterable[str]:
    """Hands names on, one by one, with a progress bar on standard error."""
    import rich.progress  # noqa: PLC0415 - the other commands need not wait for it
    from rich.console import Console  # noqa: PLC0415

    return rich.progress.track(names, description=description, console=Console(stderr=True))
