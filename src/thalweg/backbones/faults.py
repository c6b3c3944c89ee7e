"""What is said of an encoder that smp or timm cannot make."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def encoder_faults(name: str, depth: int) -> Iterator[None]:
    """What smp and timm raise for an unknown name, a depth or an option, as one sentence.

    Raises:
        ValueError: Something inside failed.
    """
    try:
        yield
    except (KeyError, RuntimeError, NotImplementedError, AttributeError, ValueError, TypeError) as error:
        said = " ".join(str(error).split())[:300]
        raise ValueError(f"encoder {name!r} at depth {depth} cannot be used: {said}") from error
