"""Runs Lightning's trainer on a task: progress, logs, early stopping, resuming, and its failures as our errors."""

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch.utils.data import DataLoader

from thalweg import models, optimise, resume, trainer, world
from thalweg.active.loader import Batches
from thalweg.errors import TrainingError
from thalweg.loading import undivided
from thalweg.params.train import Train
from thalweg.resume import Keeper
from thalweg.task import MONITOR, SegmentationTask
from thalweg.watch import loggers

RANGE_STEPS = 100
"""Steps of the range test that `lr: auto` runs."""


@dataclass(frozen=True)
class Fitted:
    """What a finished training leaves, beside the weights in its task."""

    keeper: Keeper
    device: str
    """Where it ran, torch's name."""
    resumed_from: int
    """Epochs that an earlier, killed run had done."""
    lr: float
    """The highest rate of the schedule."""
    loggers: Sequence[Any]
    """Lightning's, still open."""


def fit(task: SegmentationTask, train: Train, training: Batches, validation: DataLoader[Any] | None,
        run: Path, state: Path, watchers: Sequence[Callback] = ()) -> Fitted:  # fmt: skip
    """Trains to the last epoch or until patience runs out, from `state` on if an earlier run was killed.

    Args:
        task: What is trained, in place.
        train: The machine.
        training: One epoch per iteration.
        validation: The whole part per iteration, or None: then there is no early stopping.
        run: Folder of this run's logs.
        state: File that a killed run leaves and the next one picks up.
        watchers: Callbacks that look on (`watch.observers`).

    Raises:
        TrainingError: The machine is not as params say, cannot compile the network, or the loss is not finite.
        DeviceMemoryError: Its memory does not suffice.
        SystemExit: 143 on SIGTERM, where Lightning would exit 0 (Lightning-AI/pytorch-lightning#19916).
    """
    member, here = task.member, world.read(train)
    keeper = Keeper(state, task.judged_weights, MONITOR)
    if train.channels_last:
        models.channels_last(task.network.architecture)
    if train.compile:
        task.compile()
    patience = EarlyStopping(MONITOR, mode="max", patience=member.patience, check_on_train_epoch_end=True)
    stopping = [patience] if validation else []
    on_terminal = sys.stderr.isatty() and here.first
    shown = ("train_loss", "val_loss", MONITOR, "val_accuracy", "lr")
    lines: list[Callback] = [trainer.EpochLines(shown)] if here.first and not on_terminal else []
    lines += [world.AtOnce()] if here.size > 1 else []
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # filling costs a tenth
    batch = f"batch_size {member.batch_size} × chip_px {member.chip_px}"
    with trainer.quiet(), trainer.translated(f"models.{task.name}", batch, train):
        left = resume.found(state)
        if member.lr == "auto" and left is None:
            task.lr = find_lr(task, undivided(training), train.accelerator)
        wanted = train.loggers if here.first else ()
        kept = loggers.build(wanted, run, task.name, member.model_dump(mode="json"))
        lightning = pl.Trainer(
            accelerator=train.accelerator, devices=train.devices, num_nodes=train.num_nodes,
            strategy=world.strategy(train, here), plugins=[world.environment()],
            sync_batchnorm=world.sync_batchnorm(train, here),
            precision=trainer.precision(train), gradient_clip_val=member.clip_norm,
            accumulate_grad_batches=member.accumulate, max_epochs=member.max_epochs, logger=kept,
            profiler=loggers.profiler(train.profiler, run), callbacks=[*stopping, *watchers, keeper, *lines],
            deterministic="warn", num_sanity_val_steps=0, use_distributed_sampler=False, enable_model_summary=False,
            enable_progress_bar=on_terminal, log_every_n_steps=len(training))  # fmt: skip
        lightning.fit(task, training, validation, ckpt_path=left, weights_only=False)
        task.unshard()
        world.part()
    return Fitted(keeper, str(lightning.strategy.root_device), keeper.resumed_from, task.lr, kept)


def find_lr(task: SegmentationTask, training: Batches, accelerator: str = "auto") -> float:
    """The rate for `lr: auto`: one pass of rising rates, after which the weights are as they were.

    Raises:
        TrainingError: The loss never falls.
    """
    network, device = (
        task.network,
        torch.device("cuda" if accelerator in ("auto", "cuda") and torch.cuda.is_available() else "cpu"),
    )
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.to(device).train()
    task.loss.to(device)
    rates, losses = optimise.range_rates(RANGE_STEPS), []
    mover = optimise.optimizer(task.member, network.parameters(), rates[0])
    for rate, (pixels, target) in zip(rates, _endless(training), strict=False):
        for group in mover.param_groups:
            group["lr"] = rate
        mover.zero_grad()
        loss = task.loss(network(pixels.to(device)).float(), target.to(device))
        losses.append(float(loss.detach()))
        if not torch.isfinite(loss):
            break
        loss.backward()
        mover.step()
    network.load_state_dict(before)
    network.cpu()
    task.loss.cpu()
    found = optimise.steepest(rates, losses)
    if found is None:
        raise TrainingError(
            f"models.{task.name}: the range test of lr: auto found no rate at which the loss falls; give lr a number"
        )
    return found


def _endless(training: Batches) -> Iterator[Any]:
    """Batches of epoch after epoch."""
    for epoch in itertools.count():
        if hasattr(training.sampler, "set_epoch"):
            training.sampler.set_epoch(epoch)
        yield from training
