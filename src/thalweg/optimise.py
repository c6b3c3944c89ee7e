"""How weights move: optimisers, learning-rate schedules, the range test that finds a rate, and averaged weights."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau

from thalweg.params.models import Member, Plateau, Steps

RISE = 0.25
"""Share of a one-cycle schedule in which the rate rises."""
MOMENTUM = 0.9
NEVER = 10**9
"""Lightning steps a plateau after checkpoints are written, so that a resumed training would miss a step: the task does
it itself, before."""
RANGE = (1e-6, 1.0)
"""Rates that the range test passes through."""


def optimizer(member: Member, parameters: Iterable[nn.Parameter], lr: float) -> Optimizer:
    """The member's optimiser. `weight_decay` is decoupled for adamw, an L2 penalty for the others."""
    chosen = list(parameters)  # frozen ones, too: without a gradient they stay, and they may be unfrozen later
    if member.optimizer == "adamw":
        return torch.optim.AdamW(chosen, lr=lr, weight_decay=member.weight_decay)
    if member.optimizer == "adam":
        return torch.optim.Adam(chosen, lr=lr, weight_decay=member.weight_decay)
    return torch.optim.SGD(chosen, lr=lr, weight_decay=member.weight_decay, momentum=MOMENTUM, nesterov=True)


def schedule(member: Member, of: Optimizer, lr: float, steps: int, monitor: str) -> dict[str, Any]:
    """Lightning's description of the member's schedule.

    Args:
        member: Its block.
        of: The optimiser.
        lr: The highest rate.
        steps: Optimiser steps of the whole training.
        monitor: Validation score, higher is better.
    """
    if isinstance(member.schedule, Plateau):
        chosen = member.schedule
        plateau = ReduceLROnPlateau(of, mode="max", factor=chosen.factor, patience=chosen.patience,
                                    threshold=chosen.threshold, min_lr=chosen.min_lr)  # fmt: skip
        return {"scheduler": plateau, "interval": "epoch", "frequency": NEVER, "monitor": monitor, "strict": False}
    if member.schedule == "one_cycle":
        rise = min(max(RISE, 2 / max(steps, 2)), 0.5)  # OneCycleLR divides by the steps of each phase
        return {"scheduler": OneCycleLR(of, lr, total_steps=max(steps, 4), pct_start=rise), "interval": "step"}
    return {"scheduler": LambdaLR(of, factor(member, steps)), "interval": "step"}


def factor(member: Member, steps: int) -> Callable[[int], float]:
    """Step → share of the highest rate, for schedules that follow from the step alone; warm-up is linear."""
    per_epoch = max(steps / member.max_epochs, 1)
    rise = warmup_steps(member, steps)

    def share(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)
        if isinstance(member.schedule, Steps):
            return float(member.schedule.factor ** int(step / per_epoch / member.schedule.epochs))
        if member.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * min((step - rise) / max(steps - rise, 1), 1)))
        return 1.0

    return share


def warmup_steps(member: Member, steps: int) -> int:
    """Optimiser steps of the warm-up."""
    return round(member.warmup_epochs * steps / member.max_epochs)


class Average(nn.Module):
    """A moving average of a network's weights and floating buffers; other buffers follow.

    The decay starts low, min(decay, (1 + t) / (10 + t)) after t steps, so that the first weights are soon forgotten.
    Source: Tarvainen and Valpola 2017, https://arxiv.org/abs/1703.01780; the start as in TensorFlow's
    ExponentialMovingAverage.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.names = [name for name, _ in network.state_dict().items()]
        for number, tensor in enumerate(network.state_dict().values()):
            self.register_buffer(f"average_{number}", tensor.detach().clone())

    steps: Tensor

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Takes one step of the network into the average."""
        self.steps += 1
        count = int(self.steps)
        decay = min(self.decay, (1 + count) / (10 + count))
        state = network.state_dict()
        for number, name in enumerate(self.names):
            mine = getattr(self, f"average_{number}")
            if mine.is_floating_point():
                mine.lerp_(state[name].to(mine), 1 - decay)
            else:
                mine.copy_(state[name])

    def weights(self) -> dict[str, Tensor]:
        """The average, by the network's own names."""
        return {name: getattr(self, f"average_{number}") for number, name in enumerate(self.names)}


def steepest(rates: list[float], losses: list[float]) -> float | None:
    """The rate at which a range test's loss falls fastest, or None where it never falls.

    Losses are smoothed (bias-corrected moving average, 0.9) and what follows four times the least is left out.
    Source: Smith 2017, Cyclical Learning Rates, https://arxiv.org/abs/1506.01186; the choice is fastai's.
    """
    smooth: list[float] = []
    average = 0.0
    for number, loss in enumerate(losses):
        average = 0.9 * average + 0.1 * loss
        smooth.append(average / (1 - 0.9 ** (number + 1)))
        if not math.isfinite(loss) or smooth[-1] > 4 * min(smooth):
            smooth.pop()
            break
    logs = [math.log(rate) for rate in rates]
    slopes = [(smooth[k + 1] - smooth[k - 1]) / (logs[k + 1] - logs[k - 1]) for k in range(1, len(smooth) - 1)]
    if not slopes or min(slopes) >= 0:
        return None
    return rates[1 + slopes.index(min(slopes))]


def range_rates(count: int) -> list[float]:
    """Rates of a range test, evenly spaced in their logarithm."""
    low, high = (math.log(edge) for edge in RANGE)
    return [math.exp(low + (high - low) * k / max(count - 1, 1)) for k in range(count)]
