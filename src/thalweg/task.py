"""The Lightning module of semantic segmentation: one step, one validation, one optimiser."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from thalweg import losses, metrics
from thalweg.classes import IGNORE
from thalweg.dataset import augment
from thalweg.errors import TrainingError
from thalweg.models import Network
from thalweg.params.models import Member

Batch = tuple[Tensor, Tensor]
"""Pixels (B, h, w, C) stored values, target (B, h, w) uint8."""

WARMUP = 0.25
"""Share of a one-cycle schedule in which the rate rises."""


class SegmentationTask(pl.LightningModule):
    """Trains a network on chips; logs per epoch `train_loss`, `lr`, `val_loss`, and `val_<score>` of the whole part."""

    def __init__(
        self, name: str, member: Member, network: Network, classes: Sequence[str], class_weights: Tensor | None
    ) -> None:
        super().__init__()
        self.name = name
        self.member = member
        self.network = network
        self.classes = tuple(classes)
        self.loss = losses.build(member.loss, class_weights)
        self._start_tally()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; all that is random in it follows from (seed, epoch, step).

        Raises:
            TrainingError: The loss is not finite.
        """
        random = augment.generator(self.member.seed, self.current_epoch, batch_idx)
        torch.manual_seed(random.initial_seed())  # dropout, which draws from torch's own generator
        pixels, target = batch
        inputs, target = augment.augment(self.network.normalise(pixels), target, self.member.augment, random)
        loss: Tensor = self.loss(self.network.architecture(inputs).float(), target)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"models.{self.name}: the loss is {loss.item()} in epoch {self.current_epoch}, step {batch_idx}; "
                f"lower its lr (now {self.member.lr:g}), or set train.precision to 32-true, and run `dvc repro` again"
            )
        self.log("train_loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(pixels))
        return loss

    def on_train_epoch_end(self) -> None:
        """Logs the learning rate of the epoch's last step."""
        self.log("lr", float(self.trainer.optimizers[0].param_groups[0]["lr"]))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Adds one batch to the confusion matrix and the loss of the whole part."""
        pixels, target = batch
        logits = self.network(pixels).float()
        labelled = int((target != IGNORE).sum())
        self._loss_sum += float(self.loss(logits, target)) * labelled
        labels = logits.argmax(1).to(torch.uint8)
        self._confusion += metrics.confusion(target.cpu().numpy(), labels.cpu().numpy(), len(self.classes))

    def on_validation_epoch_end(self) -> None:
        """Logs scores of the whole validation part and starts anew."""
        values = metrics.scores(self._confusion, self.classes)
        named = {f"val_{key}": values[key] for key in self._logged() if key in values}
        self.log_dict({"val_loss": self._loss_sum / max(self._confusion.sum(), 1), **named}, prog_bar=True)
        self._start_tally()

    def configure_optimizers(self) -> Any:
        """AdamW, with the rate of one cycle or constant."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=self.member.lr, weight_decay=self.member.weight_decay
        )
        if self.member.schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        rise = max(WARMUP, 2 / max(steps, 2))  # OneCycleLR divides by the steps of each phase
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.member.lr, total_steps=max(steps, 4), pct_start=min(rise, 0.5)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _logged(self) -> tuple[str, ...]:
        return "miou", "accuracy", *(f"iou_{name}" for name in self.classes)

    def _start_tally(self) -> None:
        self._confusion = np.zeros((len(self.classes), len(self.classes)), np.int64)
        self._loss_sum = 0.0
