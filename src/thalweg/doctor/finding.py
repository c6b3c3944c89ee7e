"""One thing that was looked at."""

from typing import Literal, NamedTuple

Level = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """What was found, and how bad it is."""

    level: Level
    """`fail`: a run cannot go well. `warn`: it can, but read this."""
    said: str
    """One line; if it is not `ok`, what to do ends it."""
