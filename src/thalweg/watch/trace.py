"""torch's profiler over some steps: `trace.json`, which https://ui.perfetto.dev and chrome://tracing show."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch.profiler import ProfilerActivity

SKIPPED = 2
STEPS = 6


class Trace(Callback):
    """Skips the first steps, which warm up, and then traces six, from wherever this run starts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = 0
        self._profile: Any = None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Starts."""
        if self._seen == SKIPPED:
            there = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
            self._profile = torch.profiler.profile(activities=there, record_shapes=True, acc_events=True)
            self._profile.start()
        self._seen += 1

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Ends."""
        if self._seen == SKIPPED + STEPS:
            self._end()

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Ends early where there are fewer steps."""
        self._end()

    def _end(self) -> None:
        if self._profile is not None:
            self._profile.stop()
            self._profile.export_chrome_trace(str(self._path))
            self._profile = None
