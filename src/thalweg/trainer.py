"""Lightning's trainer, as members and encoders use it: silence, precision, lines, failures as our errors."""

import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console
from torch._dynamo.exc import TorchDynamoException

from thalweg.errors import DeviceMemoryError, TrainingError
from thalweg.params.train import Train

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
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused", "gloo")
"""Likewise."""


def precision(train: Train) -> Any:
    """What `train.precision` means on this machine, in Lightning's words."""
    return auto_precision(train.accelerator) if train.precision == "auto" else train.precision


def auto_precision(accelerator: str) -> str:
    """What `precision: auto` means on this machine, in Lightning's words.

    bfloat16 only where the card computes in it (compute capability 8 on); float16 where it has tensor cores (7 on); a
    Pascal card is slower in float16 than in float32.
    """
    if accelerator in ("cpu", "mps") or not torch.cuda.is_available():
        return "32-true"
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16-mixed"
    return "16-mixed" if torch.cuda.get_device_capability()[0] >= 7 else "32-true"


def alone() -> dict[str, Any]:
    """Where one process trains, in Lightning's words, which would else ask the scheduler of a cluster that it is on."""
    return {"devices": 1, "num_nodes": 1, "plugins": [LightningEnvironment()]}


class EpochLines(Checkpoint):
    """One line per epoch, where there is no terminal for a bar; a Checkpoint, so that the rate is logged by then."""

    def __init__(self, scores: Sequence[str]) -> None:
        """Takes what is shown."""
        self._scores = tuple(scores)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the epoch's scores to standard error."""
        known = trainer.callback_metrics
        scores = (f"{key} {float(known[key]):.4g}" for key in self._scores if key in known)
        name = getattr(pl_module, "name", "")
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"{name} epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {'  '.join(scores)}"
        )


@contextmanager
def translated(where: str, batch: str, train: Train) -> Iterator[None]:
    """Failures of the trainer inside as our errors.

    Args:
        where: What is trained, as it stands in params: `models.unet`.
        batch: What the device's memory has to hold, by its params: `batch_size 16 × chip_px 64`.
        train: The machine.

    Raises:
        TrainingError: The machine is not as params say, cannot compile the network, or one of several processes died.
        DeviceMemoryError: Its memory does not suffice.
        SystemExit: 143 on SIGTERM, where Lightning would exit 0 (Lightning-AI/pytorch-lightning#19916).
    """
    try:
        yield
    except SIGTERMException:
        raise SystemExit(128 + signal.SIGTERM) from None
    except MisconfigurationException as error:
        fault = " ".join(str(error).split())
        raise TrainingError(
            f"train: this machine cannot run {train.accelerator} × {train.devices} ({fault}); set accelerator: auto"
        ) from error
    except TorchDynamoException as error:  # a RuntimeError, too
        fault = " ".join(str(error).split())[:200]
        raise TrainingError(
            f"{where}: train.compile is true, but torch cannot compile it here ({fault}); set compile: false"
        ) from error
    except (MemoryError, RuntimeError) as error:
        if is_lost(error):
            fault = " ".join(str(error).split())[:200]
            raise TrainingError(
                f"{where}: another of the processes that train it is gone ({fault}); see what it said, and run the "
                "stage again: it goes on after the last whole epoch"
            ) from error
        if not is_out_of_memory(error):
            raise
        raise DeviceMemoryError(f"{where}: the device's memory does not hold {batch}; lower batch_size") from error


def is_lost(error: BaseException) -> bool:
    """Whether it says that another process of the training cannot be reached.

    Source: messages of gloo's TCP transport and of c10d's store, which has a class of its own for NCCL's alone.
    """
    if isinstance(error, torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _LOST)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory does not suffice: PyTorch has an error of its own for one of its many ways alone.

    Source: messages of c10's allocators, cuDNN, cuBLAS, and of torch's loader where the kernel ends a process of it.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences what Lightning says that is known, or said by us."""
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
            # On a cluster's machine it is there; what starts processes is for `world` to tell.
            warnings.filterwarnings("ignore", "The `srun` command is available")
            # Every process has the same: counts are summed, and losses are those of the whole batch.
            warnings.filterwarnings("ignore", ".*sync_dist=True")
            # Lightning 2.6 calls torch's LeafSpec, which torch 2.14 deprecates.
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
