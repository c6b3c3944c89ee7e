"""The Lightning module of semantic segmentation: one step, one validation, one optimiser."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from thalweg import losses, metrics, models, optimise, shards, world
from thalweg.classes import IGNORE
from thalweg.dataset import augment
from thalweg.errors import TrainingError
from thalweg.models import Network
from thalweg.params.models import Member, Plateau

Batch = tuple[Tensor, Tensor]
"""Pixels (B, h, w, C) stored values, target (B, h, w) uint8."""

MONITOR = "val_miou"
"""Global score that stops training, chooses the epoch and steers plateaus."""


class SegmentationTask(pl.LightningModule):
    """Trains a network on chips; logs per epoch `train_loss`, `lr`, `val_loss`, and `val_<score>` of the whole part."""

    _confusion: np.ndarray
    _loss_sum: float

    def __init__(
        self, name: str, member: Member, network: Network, classes: Sequence[str], class_weights: Tensor | None,
        prior: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name = name
        self.member = member
        self.network = network
        self.classes = tuple(classes)
        self.lr = 0.0 if member.lr == "auto" else member.lr
        self.loss = losses.build(member.loss, class_weights, prior)
        self.average = None if member.ema is None else optimise.Average(network.architecture, member.ema)
        models.freeze(network, member.freeze)
        self._stashed: dict[str, Tensor] | None = None
        self._steps_run: list[Callable[[Tensor], Tensor]] = [
            network.architecture
        ]  # in a list: as an attribute its weights would be saved twice
        self._whole: list[nn.Module] = []  # beside a divided network: as it was; in a list likewise
        self._start_tally()

    def configure_model(self) -> None:
        """Divides the network among processes, where the strategy asks for it; an average is of shares, too."""
        mesh, architecture = self.device_mesh, self.network.architecture
        if mesh is None:
            return
        self._whole.append(copy.deepcopy(architecture))
        shards.shard(architecture, mesh["data_parallel"], f"models.{self.name}")
        if self.member.ema is not None:
            self.average = optimise.Average(architecture, self.member.ema)

    def unshard(self) -> None:
        """Puts a divided network together again when training is over; all processes must call."""
        while self._whole:
            architecture, divided = self._whole.pop(), self.network.architecture
            architecture.load_state_dict(shards.gathered(divided))
            if self.average is not None:
                average = optimise.Average(architecture, self.average.decay)
                average.load_state_dict(shards.gathered(self.average))
                self.average = average
            self.network.architecture = architecture
            self._steps_run = [architecture]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; all that is random in it follows from (seed, epoch, step).

        Raises:
            TrainingError: The loss is not finite.
        """
        torch.manual_seed(self._random(batch_idx).initial_seed())  # dropout, which draws from torch's own generator
        mixed = self.augmented(batch, batch_idx)
        logits, target, other = self._everyones(self._steps_run[0](mixed.inputs).float(), mixed.target, mixed.other)
        loss: Tensor = self.loss(logits, target)
        if other is not None:
            loss = mixed.share * loss + (1 - mixed.share) * self.loss(logits, other)
        if not torch.isfinite(loss):
            raise self._diverged(f"the loss is {loss.item()} in epoch {self.current_epoch}, step {batch_idx}")
        self.log("train_loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(batch[0]))
        return loss * self._share_of_window(batch_idx) * self._world.size  # their mean is taken, and is to be a sum

    def augmented(self, batch: Batch, batch_idx: int) -> augment.Batch:
        """A batch as this epoch's step sees it."""
        pixels, target = batch
        random = self._random(batch_idx)
        with torch.autocast(self.device.type, enabled=False):  # where pixels move to does not fit 16 bits
            inputs = self.network.normalise(pixels)
            return augment.augment(inputs, target, self.member.augment, self._radiometry(), random,
                                   self._common(batch_idx))  # fmt: skip

    def on_train_epoch_start(self) -> None:
        """Thaws what is to learn from this epoch on."""
        if self.member.freeze:
            frozen = models.still_frozen(self.member.freeze, self.current_epoch, self.member.thaw_epochs)
            models.freeze(self.network, frozen)

    def on_train_epoch_end(self) -> None:
        """Logs the learning rate of the epoch's last step, and lets a plateau have its say once the rate has risen.

        Raises:
            TrainingError: The last step left weights that are not finite.
        """
        if not all(bool(shards.whole(tensor.isfinite().all())) for tensor in self.network.architecture.parameters()):
            raise self._diverged(f"weights are not finite after epoch {self.current_epoch}")
        self.log("lr", float(self.trainer.optimizers[0].param_groups[0]["lr"]))
        plateau = self.lr_schedulers()
        score = self.trainer.callback_metrics.get(MONITOR)
        risen = self.trainer.global_step > self._rise()
        if isinstance(plateau, ReduceLROnPlateau) and score is not None and risen:
            plateau.step(float(score))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Adds one batch to the confusion matrix and the loss of the whole part."""
        pixels, target = batch
        logits = self.network(pixels).float()
        labels = logits.argmax(1).to(torch.uint8)
        self._confusion += metrics.confusion(target.cpu().numpy(), labels.cpu().numpy(), len(self.classes))
        logits, target, _ = self._everyones(logits, target)
        self._loss_sum += float(self.loss(logits, target)) * int((target != IGNORE).sum())

    def on_validation_epoch_end(self) -> None:
        """Logs scores of the whole validation part and starts anew.

        Raises:
            TrainingError: The loss is not finite.
        """
        counts = torch.from_numpy(self._confusion).to(self.device)
        self._confusion = self.trainer.strategy.reduce(counts, reduce_op="sum").cpu().numpy()
        loss = self._loss_sum / max(self._confusion.sum(), 1)
        if not math.isfinite(loss):
            raise self._diverged(f"the validation loss is {loss} in epoch {self.current_epoch}")
        values = metrics.scores(self._confusion, self.classes)
        named = {f"val_{key}": values[key] for key in self._logged() if key in values}
        if self._stashed is not None:
            self.network.architecture.load_state_dict(self._stashed)
            self._stashed = None
        self.log_dict({"val_loss": loss, **named}, prog_bar=True)
        self._start_tally()

    def compile(self) -> None:
        """Trains through torch.compile from now on; validation, which sees other shapes, does not."""
        self._steps_run = [torch.compile(self.network.architecture)]

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """One step, at the warm-up's rate where the schedule itself counts epochs, and into the average."""
        if isinstance(self.member.schedule, Plateau):
            rise = self._rise()
            if self.trainer.global_step <= rise and rise:
                for group in optimizer.param_groups:
                    group["lr"] = self.lr * min((self.trainer.global_step + 1) / (rise + 1), 1.0)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.average is not None:
            self.average.update(self.network.architecture)

    def judged_weights(self) -> dict[str, Tensor]:
        """The weights that are validated and kept: the average where there is one, else the network's own."""
        source = self.network.architecture.state_dict() if self.average is None else self.average.weights()
        return {name: shards.whole(tensor).clone().cpu() for name, tensor in source.items()}

    def on_validation_epoch_start(self) -> None:
        """Puts the averaged weights in, if there are any, and the first process's buffers."""
        if self.average is not None:
            architecture = self.network.architecture
            self._stashed = {name: tensor.clone() for name, tensor in architecture.state_dict().items()}
            architecture.load_state_dict(self.average.weights())
        world.share_buffers(self.network.architecture)

    def configure_optimizers(self) -> Any:
        """The member's optimiser and schedule, at the first process's rate: each sought that of `lr: auto` itself."""
        self.lr = self.trainer.strategy.broadcast(self.lr)
        chosen = optimise.optimizer(self.member, self.network.parameters(), self.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        return {"optimizer": chosen, "lr_scheduler": optimise.schedule(self.member, chosen, self.lr, steps, MONITOR)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The rate, which `lr: auto` does not seek again when a killed training goes on; tensors in one order."""
        checkpoint["lr"] = self.lr
        for part in ("state_dict", "optimizer_states"):
            checkpoint[part] = shards.contiguous(checkpoint[part])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The counterpart."""
        self.lr = checkpoint["lr"]

    def _share_of_window(self, batch_idx: int) -> float:
        """1, but in an epoch's last window that has fewer batches: Lightning divides by `accumulate` there as well."""
        whole = self.trainer.accumulate_grad_batches
        left = int(self.trainer.num_training_batches) - batch_idx // whole * whole
        return whole / min(whole, left)

    def _rise(self) -> int:
        return optimise.warmup_steps(self.member, int(self.trainer.estimated_stepping_batches))

    def _diverged(self, what: str) -> TrainingError:
        return TrainingError(
            f"models.{self.name}: {what}; lower its lr (now {self.lr:g}), or set train.precision to 32-true, and run "
            "`dvc repro` again"
        )

    def _everyones(self, logits: Tensor, target: Tensor,
                   other: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:  # fmt: skip
        """Logits and targets of all processes' chips, in their order: a loss is that of the whole batch.

        Gradients flow through this process's own logits alone. Chips that stand in for none are left out.
        """
        rank, size = self._world
        if size == 1:
            return logits, target, other
        parts = world.gather(logits)
        parts[rank] = logits
        everyones = torch.cat(world.gather(target))
        others = None if other is None else torch.cat(world.gather(other))
        if self.training:
            return torch.cat(parts), everyones, others
        there = (everyones != IGNORE).flatten(1).any(1)
        return torch.cat(parts)[there], everyones[there], None

    @property
    def _world(self) -> world.World:
        if self._trainer is None:
            return world.ALONE
        return world.World(self.trainer.global_rank, self.trainer.world_size)

    def _random(self, batch_idx: int) -> torch.Generator:
        return augment.generator(self.member.seed, self.current_epoch, batch_idx, self._world.rank)

    def _common(self, batch_idx: int) -> torch.Generator | None:
        size = self._world.size
        return augment.generator(self.member.seed, self.current_epoch, batch_idx, size) if size > 1 else None

    def _radiometry(self) -> augment.Radiometry:
        return augment.Radiometry(self.network.bias, self.network.reflectance)

    def _logged(self) -> tuple[str, ...]:
        return "miou", "accuracy", *(f"iou_{name}" for name in self.classes)

    def _start_tally(self) -> None:
        self._confusion = np.zeros((len(self.classes), len(self.classes)), np.int64)
        self._loss_sum = 0.0
