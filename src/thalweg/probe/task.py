"""Scene classification as a task: an encoder under a linear layer, both learn; what is unlabelled is ignored."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from thalweg.classes import IGNORE
from thalweg.errors import FeatureError
from thalweg.features import Encoder
from thalweg.pretrain.encoder import pooled
from thalweg.trainer import alone, quiet

BATCH = 32
LR = 1e-3
DECAY = 0.05
_HEAD_TIMES = 10.0
"""The fresh layer's rate over the encoder's."""

Read = Callable[[Sequence[int]], tuple[Tensor, Tensor]]
"""Numbers of pictures → inputs (B, C, h, w) and labels (B,) uint8, 255 = unlabelled."""


class ClassificationTask(pl.LightningModule):
    """Learns one label per chip; `IGNORE` takes no part in the loss, and a batch of nothing else moves nothing."""

    def __init__(self, encoder: nn.Module, width: int, classes: int, lr: float, steps: int) -> None:
        """Takes an encoder (B, C, h, w) → maps, the width of its last map, and how many steps there will be."""
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(width, classes)
        self.lr, self.steps = lr, steps

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, h, w) normalised, 0 = not measured, to logits (B, K)."""
        deepest = self.encoder(inputs)[-1]
        logits: Tensor = self.head(pooled(deepest, (inputs != 0).any(1, keepdim=True).to(deepest)))
        return logits

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, the mean over labelled chips; 0 where there are none."""
        labelled = (labels != IGNORE).sum().clamp(min=1)
        return F.cross_entropy(logits, labels.long(), ignore_index=IGNORE, reduction="sum") / labelled

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002
        """One step.

        Raises:
            FeatureError: The loss is not finite.
        """
        loss = self.loss(self(batch[0]), batch[1])
        if not torch.isfinite(loss):
            raise FeatureError(f"the loss is {loss.item()} while fine-tuning; the rate {self.lr:g} is too high for it")
        self.log("train_loss", loss, batch_size=len(batch[1]))
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW whose rate falls to nothing by a cosine; the fresh layer learns faster."""
        groups = [{"params": self.encoder.parameters(), "lr": self.lr},
                  {"params": self.head.parameters(), "lr": self.lr * _HEAD_TIMES}]  # fmt: skip
        chosen = torch.optim.AdamW(groups, weight_decay=DECAY)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(chosen, self.steps)
        return {"optimizer": chosen, "lr_scheduler": {"scheduler": falling, "interval": "step"}}


def finetune(encoder: Encoder, classes: int, read: Read, numbers: Sequence[int], epochs: int, seed: int,
             lr: float = LR) -> ClassificationTask:  # fmt: skip
    """Trains a copy of an encoder with a fresh layer on it.

    Args:
        encoder: Stays as it is.
        classes: K.
        read: Gives pictures by their numbers.
        numbers: Of the pictures to learn from; several times as many steps as batches of them are made.
        epochs: How often each is seen.
        seed: Of order and layer.
        lr: Highest rate of the encoder.
    """
    pl.seed_everything(seed, workers=True, verbose=False)
    device = next(encoder.network.parameters()).device
    trunk = copy.deepcopy(encoder.network.architecture).requires_grad_()
    with torch.inference_mode():
        width = encoder.maps(read(list(numbers[:1]))[0])[-1].shape[1]
    batch = min(BATCH, len(numbers))
    loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
        list(numbers), batch, shuffle=True, collate_fn=read, drop_last=len(numbers) >= 2 * batch,  # type: ignore[arg-type]
        generator=torch.Generator().manual_seed(seed))  # fmt: skip
    task = ClassificationTask(trunk, width, classes, lr, epochs * len(loader))
    with quiet():
        trainer = pl.Trainer(
            **alone(), accelerator="cuda" if device.type == "cuda" else "cpu", max_epochs=epochs, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
        trainer.fit(task, loader)
    return task.to(device).eval()


@torch.inference_mode()
def predict(task: ClassificationTask, read: Callable[[Sequence[int]], Tensor], numbers: Sequence[int]) -> np.ndarray:
    """Labels (N,) uint8 of pictures by their numbers."""
    said = [task(read(numbers[start : start + BATCH]).to(task.device)).argmax(1).cpu()
            for start in range(0, len(numbers), BATCH)]  # fmt: skip
    return torch.cat(said).numpy().astype(np.uint8)
