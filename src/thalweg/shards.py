"""FSDP: each process holds a share of every weight, and has a block's weights whole only while it computes with them.

By PyTorch's `fully_shard` (FSDP2), which Lightning drives on CPUs as well. Source: Zhao et al. 2023, PyTorch FSDP,
https://arxiv.org/abs/2304.11277.
"""

from collections.abc import Iterator
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.utils._pytree import tree_map_only

from thalweg import trainer
from thalweg.errors import TrainingError
from thalweg.params.models import Member
from thalweg.params.train import Train

BLOCK = 2**18
"""Weights of a block that is gathered by itself; what is smaller is gathered with what it lies in."""


def check(name: str, member: Member, train: Train) -> None:
    """What needs the whole network in one process.

    Raises:
        TrainingError: Params ask for it beside `strategy: fsdp`.
    """
    if train.strategy != "fsdp":
        return
    wrong = {
        "train.compile true": train.compile,
        "train.precision 16-mixed": trainer.precision(train) == "16-mixed",
        "panels or histograms in train.watch": bool({"panels", "histograms"} & set(train.watch)),
        f"models.{name}.lr auto": member.lr == "auto",
        f"models.{name}.active": member.active is not None,
        f"models.{name}.thaw_epochs": member.thaw_epochs is not None,
    }
    if found := [what for what, asked in wrong.items() if asked]:
        raise TrainingError(
            f"train.strategy fsdp leaves each process a share of the network, which does not go with "
            f"{', '.join(found)}; change these, or set train.strategy to ddp"
        )


def strategy(size: int) -> ModelParallelStrategy:
    """Lightning's, for so many processes; what a killed training goes on from is one file, as with any other."""
    return ModelParallelStrategy(data_parallel_size=size, tensor_parallel_size=1, save_distributed_checkpoint=False)


def shard(architecture: nn.Module, mesh: DeviceMesh, where: str) -> None:
    """Divides an architecture's weights among processes, in place; buffers stay whole in each.

    On GPUs batch norms see the batch of all processes from now on.

    Args:
        architecture: With the same weights in every process.
        mesh: The processes.
        where: Whose it is, as it stands in params: `models.unet`.

    Raises:
        TrainingError: PyTorch cannot divide it.
    """
    if mesh.device_type == "cuda" and mesh.size() > 1:
        nn.SyncBatchNorm.convert_sync_batchnorm(architecture)  # type: ignore[no-untyped-call] # Lightning: for DDP alone
    for weight in architecture.parameters():
        weight.data = weight.data.contiguous()  # PyTorch divides no other memory order
    try:
        for block in (*_blocks(architecture), architecture):
            fully_shard(block, mesh=mesh, reshard_after_forward=True)  # else the root stays whole through validation
    except (ValueError, NotImplementedError) as error:
        raise TrainingError(
            f"{where}: its weights cannot be divided among processes ({error}); set train.strategy to ddp"
        ) from error


def whole(tensor: Tensor) -> Tensor:
    """A weight of which processes hold shares, put together in each; all of them must ask. Another one is returned."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gathered(module: nn.Module) -> dict[str, Tensor]:
    """All that a module keeps, whole, on the CPU; all processes must ask."""
    return {name: whole(tensor).cpu() for name, tensor in module.state_dict().items()}


def contiguous(state: Any) -> Any:
    """The same state with its tensors in row-major order: PyTorch hands others on to processes as if they were."""
    return tree_map_only(Tensor, Tensor.contiguous, state)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Large members of sequences and lists, the inner ones first: what is called as a module, whoever holds it."""
    for child in module.children():
        yield from _blocks(child)
        listed = isinstance(module, nn.Sequential | nn.ModuleList) and not isinstance(
            child, nn.ModuleList | nn.ModuleDict
        )
        if listed and sum(weight.numel() for weight in child.parameters()) >= BLOCK:
            yield child
