"""How many processes train one member together, and which of them this is.

They are started by torchrun, by SLURM's `srun`, or, on one machine, by the first of them (Lightning's launcher). A
batch is that of all processes together, each of which takes its share, so that a member's params mean the same for any
number of them.
"""

import ctypes
import inspect
import os
import signal
import sys
from types import FrameType
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from thalweg import shards
from thalweg.errors import TrainingError
from thalweg.params.models import Member
from thalweg.params.train import Train


class World(NamedTuple):
    """One process among those that train a member."""

    rank: int
    """From 0; that one alone writes."""
    size: int

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0


ALONE = World(0, 1)
_PR_SET_PDEATHSIG = 1
"""Source: prctl(2)."""


def environment() -> ClusterEnvironment:
    """What started this process, in Lightning's words."""
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:  # of srun: a batch script itself is one process of several
        return SLURMEnvironment(auto_requeue=False)
    return LightningEnvironment()


def read(train: Train) -> World:
    """This process's place.

    Raises:
        TrainingError: As many processes were started as `train` does not say.
    """
    size = train.devices * train.num_nodes
    started = environment()
    if isinstance(started, LightningEnvironment):
        return World(started.node_rank() * train.devices + started.local_rank(), size) if size > 1 else ALONE
    if started.world_size() != size:
        raise TrainingError(
            f"{started.world_size()} processes were started, but train says num_nodes {train.num_nodes} × devices "
            f"{train.devices}; set train.devices to the processes of a node, and num_nodes to the nodes"
        )
    return World(started.global_rank(), size)


def check(name: str, member: Member, world: World) -> None:
    """What only one process can do, and what does not divide.

    Raises:
        TrainingError: The member's params ask for it.
    """
    if world.size == 1:
        return
    among = f"{world.size} processes (train.devices × num_nodes)"
    if member.batch_size % world.size:
        raise TrainingError(
            f"models.{name}: batch_size is {member.batch_size}, the chips of all processes together, and does not "
            f"divide by {among}; make it a multiple of {world.size}"
        )
    if member.chips_per_epoch < member.batch_size:
        raise TrainingError(
            f"models.{name}: chips_per_epoch {member.chips_per_epoch} does not fill one batch of {member.batch_size} "
            f"for {among}; raise it, or lower batch_size"
        )
    if member.active is not None:
        raise TrainingError(
            f"models.{name}: active sampling judges a pool in one process, not in {among}; set train.devices and "
            "num_nodes to 1, or active to null"
        )
    if member.thaw_epochs is not None:
        raise TrainingError(
            f"models.{name}: stages that thaw while {among} train would learn apart from each other; set "
            "train.devices and num_nodes to 1, or thaw_epochs to null"
        )


def strategy(train: Train, world: World) -> str | Strategy:
    """Lightning's strategy. Buffers are the first process's when they count, at validation, and not at every step."""
    if train.strategy == "fsdp":
        return shards.strategy(world.size)
    if world.size == 1:
        return train.strategy
    named = inspect.signature(DistributedDataParallel).parameters
    sync = "forward_sync_buffers" if "forward_sync_buffers" in named else "broadcast_buffers"  # until torch 2.12
    options: dict[str, Any] = {sync: False}
    return DDPStrategy(find_unused_parameters=train.strategy.endswith("_true"), **options)


def sync_batchnorm(train: Train, world: World) -> bool:
    """Whether batch norms see the batch of all processes: torch has that for GPUs alone."""
    return world.size > 1 and train.accelerator in ("auto", "cuda") and torch.cuda.is_available()


def end_with_starter() -> None:
    """A process that follows is killed when what started it dies.

    It may wait for the first one in a call that no handler of SIGTERM interrupts, for half an hour; it writes nothing.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def gather(tensor: Tensor) -> list[Tensor]:
    """Every process's tensor, in the order of ranks; all have one shape, and gradients do not flow."""
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format)
             for _ in range(torch.distributed.get_world_size())]  # fmt: skip
    torch.distributed.all_gather(parts, tensor.detach().contiguous())
    return parts


def share_buffers(module: torch.nn.Module) -> None:
    """Gives every process the first one's buffers, such as the statistics of batch norms."""
    if torch.distributed.is_initialized():
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, 0)


def part() -> None:
    """Lets go of the other processes, which need not wait for what the first one does alone."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class AtOnce(Callback):
    """SIGTERM ends one of several processes at once.

    Lightning's own handler waits for the others in a broadcast that they may never come to, since it falls between any
    two of their steps. Nothing is lost: what a training goes on from is written at the end of every epoch.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Runs after Lightning has set its handler, and before the first step."""
        signal.signal(signal.SIGTERM, _end)


def _end(_signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)
