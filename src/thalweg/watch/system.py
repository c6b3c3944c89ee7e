"""How hard the machine works, per epoch: `system.csv`, and `system/…` in the loggers."""

import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

FILE = "system.csv"
GIB = 2**30
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Of ru_maxrss, bytes. Source: getrusage(2)."""


class System(Callback):
    """Cores in use, peak memory, load, and what the device holds."""

    def __init__(self, run: Path) -> None:
        self._path = run / FILE
        self._before = (0.0, 0.0)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Starts the clocks."""
        self._before = (time.perf_counter(), _cpu_seconds())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Writes the epoch's row."""
        wall, busy = time.perf_counter() - self._before[0], _cpu_seconds() - self._before[1]
        row = {
            "cores_busy": busy / max(wall, 1e-9),
            "memory_peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / GIB,
            "load_1min": os.getloadavg()[0],
            **_device(),
        }
        if not self._path.is_file():
            self._path.write_text(f"epoch,{','.join(row)}\n", "utf-8")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{trainer.current_epoch},{','.join(f'{value:.4g}' for value in row.values())}\n")
        for logger in trainer.loggers:
            logger.log_metrics({f"system/{key}": value for key, value in row.items()}, step=trainer.global_step)


def _cpu_seconds() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def _device() -> dict[str, float]:
    if not torch.cuda.is_available():
        return {}
    peak, total = torch.cuda.max_memory_allocated(), torch.cuda.get_device_properties(0).total_memory
    return {"device_memory_peak_gib": peak / GIB, "device_memory_gib": total / GIB}
