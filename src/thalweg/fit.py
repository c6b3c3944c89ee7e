"""Runs Lightning's trainer on a task: progress, logs, early stopping, resuming, and its failures as our errors."""

import itertools
import logging
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console
from torch._dynamo.exc import TorchDynamoException
from torch.utils.data import DataLoader

from thalweg import models, optimise, resume
from thalweg.active.loader import Batches
from thalweg.errors import DeviceMemoryError, TrainingError
from thalweg.params.train import Train
from thalweg.resume import Keeper
from thalweg.task import MONITOR, SegmentationTask
from thalweg.watch import loggers

RANGE_STEPS = 100
"""Steps of the range test that `lr: auto` runs."""
_NO_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "Cannot allocate memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "is killed by signal: Killed",
)
"""Parts of messages."""


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
    member = task.member
    if train.devices > 1:
        raise TrainingError(f"train.devices is {train.devices}, but one member trains on one device; set it to 1")
    keeper = Keeper(state, task.judged_weights, MONITOR)
    if train.channels_last:
        models.channels_last(task.network.architecture)
    if train.compile:
        task.compile()
    patience = EarlyStopping(MONITOR, mode="max", patience=member.patience, check_on_train_epoch_end=True)
    stopping = [patience] if validation else []
    on_terminal = sys.stderr.isatty()
    lines = [] if on_terminal else [EpochLines()]
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # filling costs a tenth
    with _quiet(), _translated(task, train):
        left = resume.found(state)
        if member.lr == "auto" and left is None:
            task.lr = find_lr(task, training, train.accelerator)
        trainer = pl.Trainer(
            accelerator=train.accelerator, devices=train.devices, num_nodes=train.num_nodes, strategy=train.strategy,
            precision=_precision(train), gradient_clip_val=member.clip_norm, accumulate_grad_batches=member.accumulate,
            max_epochs=member.max_epochs, logger=loggers.build(train.loggers, run, task.name),
            profiler=loggers.profiler(train.profiler, run), callbacks=[*stopping, *watchers, keeper, *lines],
            deterministic="warn", num_sanity_val_steps=0, use_distributed_sampler=False, enable_model_summary=False,
            enable_progress_bar=on_terminal, log_every_n_steps=len(training))  # fmt: skip
        trainer.fit(task, training, validation, ckpt_path=left, weights_only=False)
    return Fitted(keeper, str(trainer.strategy.root_device), keeper.resumed_from, task.lr)


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


def _precision(train: Train) -> Any:
    return optimise.auto_precision(train.accelerator) if train.precision == "auto" else train.precision


class EpochLines(Checkpoint):
    """One line per epoch, where there is no terminal for a bar; a Checkpoint, so that the rate is logged by then."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the epoch's scores to standard error."""
        wanted = ("train_loss", "val_loss", MONITOR, "val_accuracy", "lr")
        scores = (
            f"{key} {float(trainer.callback_metrics[key]):.4g}" for key in wanted if key in trainer.callback_metrics
        )
        name = getattr(pl_module, "name", "")
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"{name} epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {'  '.join(scores)}"
        )


@contextmanager
def _translated(task: SegmentationTask, train: Train) -> Iterator[None]:
    try:
        yield
    except SIGTERMException:
        raise SystemExit(128 + signal.SIGTERM) from None
    except MisconfigurationException as error:
        fault = " ".join(str(error).split())
        raise TrainingError(
            f"train: this machine cannot run {train.accelerator} × {train.devices} ({fault}); set accelerator: auto"
        ) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceMemoryError(
            f"models.{task.name}: the device's memory does not hold batch_size {task.member.batch_size} × chip_px "
            f"{task.member.chip_px}; lower batch_size"
        ) from error
    except TorchDynamoException as error:
        fault = " ".join(str(error).split())[:200]
        raise TrainingError(
            f"models.{task.name}: train.compile is true, but torch cannot compile it here ({fault}); set compile: false"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory does not suffice: PyTorch has an error of its own for one of its many ways alone.

    Source: messages of c10's allocators, cuDNN, cuBLAS, and of torch's loader where the kernel ends a process of it.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY)


@contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Frozen stages are: their batch norms keep their statistics.
            warnings.filterwarnings("ignore", ".*in eval mode at the start of training")
            # Loader processes do not pay for memory maps.
            warnings.filterwarnings("ignore", ".*does not have many workers")
            # The record lies there already; Lightning's logger only replaces its own file.
            warnings.filterwarnings("ignore", ".*exists and is not empty")
            # Said by us where it matters: `keep: last` trains without a validation part.
            warnings.filterwarnings("ignore", ".*have no `val_dataloader`")
            # Lightning 2.6 calls torch's LeafSpec, which torch 2.14 deprecates.
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
