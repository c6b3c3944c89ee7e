"""Where the time of a training goes, measured bare: without Lightning, loggers or callbacks, and nothing is written."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Stopwatch:
    """Milliseconds of named steps."""

    taken: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def timing(self, step: str) -> Iterator[None]:
        """Times what happens inside; an error inside is not timed."""
        began = time.perf_counter()
        yield
        self.taken.setdefault(step, []).append(1e3 * (time.perf_counter() - began))

    def lines(self) -> Iterator[str]:
        """A row per step: how often, least, mean, most, and their sum."""
        yield f"{'step':<28}{'times':>8}{'min ms':>12}{'mean ms':>12}{'max ms':>12}{'sum s':>10}"
        for step, ms in self.taken.items():
            yield (f"{step:<28}{len(ms):>8}{min(ms):>12.2f}{np.mean(ms):>12.2f}{max(ms):>12.2f}{sum(ms) / 1e3:>10.2f}")

    def seconds(self, step: str) -> float:
        """All that a step took."""
        return sum(self.taken[step]) / 1e3
