"""Histograms of weights after each epoch, and of gradients at its last step, for TensorBoard."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger


class Histograms(Callback):
    """Large: some megabytes per epoch for a network of ten million weights."""

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:  # noqa: ARG002
        """Gradients, before they are clipped."""
        if trainer.is_last_batch:
            for name, parameter in pl_module.network.architecture.named_parameters():
                if parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()):
                    self._add(trainer, f"gradients/{name}", parameter.grad)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Weights."""
        for name, parameter in pl_module.network.architecture.named_parameters():
            self._add(trainer, f"weights/{name}", parameter)

    def _add(self, trainer: pl.Trainer, tag: str, values: torch.Tensor) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_histogram(tag, values.detach().float().cpu(), trainer.current_epoch)
