"""Where the time goes: `epochs.csv` and `batches.csv`, with the rate of every step.

On a GPU a batch's time is that of queueing it, until the queue is full; an epoch's is true.
"""

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

EPOCHS = "epochs.csv"
BATCHES = "batches.csv"


class Timings(Callback):
    """Notes times in memory and writes once per epoch."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._rows: list[str] = []
        self._chips = 0
        self._validation_s = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Writes the headings."""
        self._run.mkdir(parents=True, exist_ok=True)
        (self._run / EPOCHS).write_text("epoch,seconds,validation_seconds,chips_per_second\n", "utf-8")
        (self._run / BATCHES).write_text("epoch,batch,wait_seconds,seconds,lr\n", "utf-8")

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Starts the clocks."""
        self._epoch_began = self._last = time.perf_counter()
        self._rows, self._chips, self._validation_s = [], 0, 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """The batch has been waited for."""
        self._began = time.perf_counter()
        self._rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """The batch is done."""
        now = time.perf_counter()
        waited, took = self._began - self._last, now - self._began
        self._rows.append(f"{trainer.current_epoch},{batch_idx},{waited:.5f},{took:.5f},{self._rate:.6g}\n")
        self._chips += len(batch[0]) * trainer.world_size
        self._last = now

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Validation is timed apart."""
        self._validation_began = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Likewise."""
        self._validation_s = time.perf_counter() - self._validation_began

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Writes the epoch's rows."""
        took = time.perf_counter() - self._epoch_began
        rate = self._chips / max(took - self._validation_s, 1e-9)
        with (self._run / BATCHES).open("a", encoding="utf-8") as file:
            file.writelines(self._rows)
        with (self._run / EPOCHS).open("a", encoding="utf-8") as file:
            file.write(f"{trainer.current_epoch},{took:.3f},{self._validation_s:.3f},{rate:.2f}\n")
