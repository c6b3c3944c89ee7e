"""What watches a training and cannot change it: records, logs, timings, pictures, profiles.

Nothing in this room draws from a shared random generator or touches a weight, so no stage depends on it
(tests/thalweg/train/test_watch.py trains with and without, to the same bytes).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback

from thalweg.params.train import Train
from thalweg.watch.histograms import Histograms
from thalweg.watch.panels import Panels
from thalweg.watch.samples import Samples
from thalweg.watch.system import System
from thalweg.watch.timings import Timings
from thalweg.watch.trace import Trace


@dataclass(frozen=True)
class Shown:
    """What pictures show."""

    chips: Sequence[tuple[Any, Any]]
    """Pixels (h, w, C) and target (h, w) of the chips that are shown after every epoch."""
    channels: tuple[int, int, int]
    """Which channels are red, green and blue."""
    colors: tuple[str, ...]
    """Per class, "#rrggbb"."""


def observers(train: Train, run: Path, shown: Shown) -> list[Callback]:
    """The callbacks that params ask for, and timings.

    Args:
        train: What is watched, and how it is profiled.
        run: Folder of this run's logs.
        shown: What pictures show.
    """
    made: list[Callback] = [Timings(run)]
    if "panels" in train.watch and shown.chips:
        made.append(Panels(run / "panels", shown.chips, shown.channels, shown.colors))
    if "samples" in train.watch:
        made.append(Samples(run, shown.channels, shown.colors))
    if "system" in train.watch:
        made.append(System(run))
    if "histograms" in train.watch:
        made.append(Histograms())
    if train.profiler == "torch":
        made.append(Trace(run / "trace.json"))
    return made
