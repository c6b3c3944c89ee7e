"""Steps of a network on a batch that lies in memory, and epochs with its loader: how long, and how much memory."""

import resource
from typing import Any

import torch

from thalweg import optimise
from thalweg.active.costs import of_chip
from thalweg.infer.predictor import to_device
from thalweg.profiling.data import Bench
from thalweg.watch.system import GIB, RSS_UNIT

STEPS = ("normalise and augment", "forward and loss", "backward", "optimiser")
WARM_UP = 2
"""Steps that are not counted: the first ones allocate, and choose their kernels."""


def run_steps(bench: Bench, device: str, steps: int) -> None:
    """Trains on one batch; the stopwatch gets `normalise and augment`, `forward and loss`, `backward`, `optimiser`."""
    batch = [each.to(to_device(device)) for each in bench.batch()[:2]]
    mover = _mover(bench, device)
    for number in range(WARM_UP + steps):
        if number == WARM_UP:
            for step in STEPS:
                bench.watch.taken.pop(step, None)
        _step(bench, mover, batch)


def run_epochs(bench: Bench, device: str, epochs: int) -> int:
    """Trains whole epochs with the loader, nothing else; the stopwatch gets `epoch`. Chips that were trained on."""
    mover, chips = _mover(bench, device), 0
    for epoch in range(epochs):
        bench.turn_to(epoch)
        with bench.watch.timing("epoch"):
            for batch in bench.batches:
                _step(bench, mover, [each.to(to_device(device)) for each in batch[:2]])
                chips += len(batch[0])
    return chips


def facts(bench: Bench, device: str) -> dict[str, float]:
    """Parameters, operations of a chip, and the most memory that was held so far."""
    place = to_device(device)
    weights = [parameter.numel() for parameter in bench.task.network.parameters()]
    cost = of_chip(bench.task.network, bench.batch()[0][:1].to(place))
    found = {
        "parameters": float(sum(weights)),
        "GFLOP per chip, forward": cost.forward / 1e9,
        "GFLOP per chip, forward and backward": cost.step / 1e9,
        "peak memory of the process, GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / GIB,
    }
    if place.type == "cuda":
        found["peak memory of the device, GiB"] = torch.cuda.max_memory_allocated(place) / GIB
    return found


def _mover(bench: Bench, device: str) -> torch.optim.Optimizer:
    bench.task.to(to_device(device)).train()
    return optimise.optimizer(bench.member, bench.task.network.parameters(), bench.task.lr or 1e-3)


def _step(bench: Bench, mover: torch.optim.Optimizer, batch: Any) -> None:
    watch, task = bench.watch, bench.task
    with watch.timing(STEPS[0]):
        mixed = task.augmented((batch[0], batch[1]), 0)
        _wait(task.device)
    with watch.timing(STEPS[1]):
        logits = task.network.architecture(mixed.inputs).float()
        loss = task.loss(logits, mixed.target)
        _wait(task.device)
    with watch.timing(STEPS[2]):
        loss.backward()
        _wait(task.device)
    with watch.timing(STEPS[3]):
        mover.step()
        mover.zero_grad()
        _wait(task.device)


def _wait(device: torch.device) -> None:
    """A GPU is handed its work and does it later."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
