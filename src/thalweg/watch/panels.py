"""The same chips after every epoch: image, target and what the member says, `panels/epoch_007.png`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from thalweg.watch import canvas


class Panels(Callback):
    """Looks while validation runs, with the weights that are validated; without a validation part, after the epoch."""

    def __init__(self, folder: Path, chips: Sequence[tuple[Any, Any]], channels: tuple[int, int, int],
                 colors: Sequence[str]) -> None:  # fmt: skip
        """Takes chips (h, w, C) with their targets (h, w), all of one size."""
        self._folder, self._channels, self._colors = folder, channels, colors
        self._pixels = torch.from_numpy(np.stack([pixels for pixels, _ in chips]))
        self._target = canvas.colored(np.stack([target for _, target in chips]), colors)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Runs before the task takes averaged weights out again."""
        self._draw(trainer, pl_module)

    @torch.no_grad()
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Where there is nothing to validate."""
        if not trainer.val_dataloaders:
            pl_module.network.eval()
            self._draw(trainer, pl_module)
            pl_module.network.train()

    def _draw(self, trainer: pl.Trainer, task: Any) -> None:
        inputs = task.network.normalise(self._pixels.to(task.device))
        labels = task.network.architecture(inputs).argmax(1).to(torch.uint8).cpu().numpy()
        columns = [canvas.pictures(inputs, self._channels), self._target, canvas.colored(labels, self._colors)]
        canvas.write_png(canvas.side_by_side(columns), self._folder / f"epoch_{trainer.current_epoch:03d}.png")
