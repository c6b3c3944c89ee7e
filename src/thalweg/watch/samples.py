"""The first batch as the network sees it, augmented: `samples.png`."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from thalweg.watch import canvas

MOST = 16


class Samples(Callback):
    """Augments the first batch as the task will, by the same draws, and shows image and target."""

    def __init__(self, run: Path, channels: tuple[int, int, int], colors: tuple[str, ...]) -> None:
        self._run, self._channels, self._colors = run, channels, colors

    @torch.no_grad()
    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Once, and not where a killed training goes on."""
        if trainer.current_epoch == 0 and batch_idx == 0:
            seen = pl_module.augmented(batch, 0)
            columns = [canvas.pictures(seen.inputs[:MOST], self._channels),
                       canvas.colored(seen.target[:MOST].cpu().numpy(), self._colors)]  # fmt: skip
            canvas.write_png(canvas.side_by_side(columns), self._run / "samples.png")
