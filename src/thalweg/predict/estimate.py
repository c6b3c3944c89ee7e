"""What a prediction will take: windows times a timed window, and the budget's formula for memory."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from thalweg.grid import Grid
from thalweg.infer.area import Area, Inside, to_inside
from thalweg.infer.lattice import How, Lattice
from thalweg.infer.memory import Ground, plan
from thalweg.infer.predictor import Predicts
from thalweg.manifest.scene import NODATA

_TIMED = 2


@dataclass(frozen=True)
class Estimate:
    """Of one scene."""

    shape_yx: tuple[int, int]
    windows: int
    window_px: int
    batch: int
    """Windows at once."""
    seconds: float
    """Of prediction alone; reading and writing run beside it."""
    peak_bytes: int
    """At most, of all members that are predicted together, beside the models and Python itself."""


def estimate(members: Mapping[str, Predicts], grid: Grid, area: Area | None, dtype: str, how: How, memory_gib: float,
             timed: dict[tuple[str, int], float]) -> dict[str, Estimate]:  # fmt: skip
    """What a scene will take of each member.

    Args:
        members: What predicts, by name; all of the scene's grid.
        grid: The scene's.
        area: What of it is wanted; None: all.
        dtype: Of its pixels.
        how: How windows sweep it.
        memory_gib: The budget.
        timed: Seconds of a window by member and size, as far as measured; added to here.

    Raises:
        BudgetError: Not even one window fits.
    """
    kind, card = np.dtype(dtype), next(iter(members.values())).card
    ground = Ground(grid.shape_yx[1], len(card.classes), len(card.channels) * kind.itemsize)
    lattices = {name: Lattice.over(grid.shape_yx, member.card.window_px, how) for name, member in members.items()}
    inside, found = to_inside(area, grid), {}
    for group in plan(members, lattices, ground, memory_gib, kind):
        for name in group.members:
            size_px = lattices[name].window_px
            batch = group.batches[size_px]
            if (name, size_px) not in timed:
                timed[name, size_px] = _seconds(members[name], size_px, batch, kind)
            windows = _windows(lattices[name], inside)
            seconds = windows * timed[name, size_px]
            found[name] = Estimate(grid.shape_yx, windows, size_px, batch, seconds, group.peak_bytes)
    return found


def _windows(lattice: Lattice, inside: Inside) -> int:
    """Windows that hold wanted pixels."""
    return sum(
        bool(inside(window.clip(lattice.shape_yx)).any()) for top in lattice.tops for window in lattice.windows(top)
    )


def _seconds(member: Predicts, size_px: int, batch: int, kind: np.dtype[np.generic]) -> float:
    """Of one window, the fastest of some batches after a first one that warms up."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 3000, (batch, size_px, size_px, len(member.card.channels))).astype(kind)
    pixels[pixels == NODATA] = 0
    member.predict(pixels)
    found = []
    for _ in range(_TIMED):
        start = time.perf_counter()
        member.predict(pixels)
        found.append(time.perf_counter() - start)
    return min(found) / batch


def to_lines(found: Mapping[str, Estimate]) -> list[str]:
    """For the terminal."""
    lines = [
        f"{name}: {one.shape_yx[0]} × {one.shape_yx[1]} pixels, {one.windows} windows of {one.window_px} in batches of "
        f"{one.batch}, about {_words(one.seconds)}, at most {one.peak_bytes / 2**30:.2f} GiB beside the model"
        for name, one in found.items()
    ]
    total = sum(one.seconds for one in found.values())
    return [*lines, f"in all about {_words(total)} of prediction; preparing the images and writing come on top"]


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
