"""Scores a pool of chips with a network that does not notice."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from thalweg.active import scores
from thalweg.active.pick import pick
from thalweg.errors import ParamsError
from thalweg.models import Network
from thalweg.params.active import Active


class Scorer:
    """Chooses chips of a pool by the member's params."""

    def __init__(self, active: Active, network: Network, shares: Tensor, batch_size: int,
                 learner: Network | None = None) -> None:  # fmt: skip
        """Takes params, the network that judges, the classes' training shares (K,), and chips per forward pass.

        A judge that is not the `learner` itself goes to the device where that is.

        Raises:
            ParamsError: A score has no file, or needs dropout that the network has not.
        """
        self.active, self.network = active, network
        self._shares, self._batch_size = shares, batch_size
        self.needs = check(active, network)
        self._learner = network if learner is None else learner

    @property
    def passes(self) -> int:
        """Forward passes over every chip of a pool."""
        if "passes" in self.needs:
            return self.active.passes
        return int("logits" in self.needs or self.active.diversity > 0)

    @torch.no_grad()
    def choose(self, pixels: Tensor, target: Tensor, irreducible: Tensor | None, count: int,
               random: torch.Generator) -> Tensor:  # fmt: skip
        """Which chips (count,) int64 of a pool to train on.

        Args:
            pixels: (B, h, w, C) stored values.
            target: (B, h, w).
            irreducible: (B,) or None.
            count: Chips to take.
            random: On the CPU; the same state gives the same choice.
        """
        logits, features = self._look(pixels, random)
        device = target.device if logits is None else logits.device
        pool = scores.Pool(target.to(device), logits, irreducible, self._shares.to(device), random)
        found = scores.total(pool, self.active.scores)
        return pick(found, count, self.active.temperature, random, features, self.active.diversity)

    def _look(self, pixels: Tensor, random: torch.Generator) -> tuple[Tensor | None, Tensor | None]:
        """Logits (P, B, K, h, w) and features (B, F) of a pool, where wanted."""
        if not self.passes:
            return None, None
        device = self._learner.gain.device
        self.network.to(device)
        seed = int(torch.randint(2**62, (1,), generator=random))
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices), _judging(self.network, "passes" in self.needs), self._precision(device):
            torch.manual_seed(seed)
            with _features(self.network, self.active.diversity > 0) as seen:
                passes = [
                    torch.cat([self.network(part.to(device)).float() for part in torch.split(pixels, self._batch_size)])
                    for _ in range(self.passes)
                ]
        count = len(pixels)
        return torch.stack(passes), _first(seen, count) if self.active.diversity > 0 else None

    def _precision(self, device: torch.device) -> torch.autocast | nullcontext[None]:
        low = self.active.precision == "bf16"
        return torch.autocast(device.type, torch.bfloat16) if low else nullcontext()


def _first(seen: list[Tensor], count: int) -> Tensor:
    """(B, F) of the first pass over B chips, from what its forward passes gave.

    Raises:
        ParamsError: The network has no convolution, or its last one does not see chip by chip.
    """
    features = torch.cat(seen) if seen else torch.empty(0, 0)
    if len(features) < count or len(features) % count:
        raise ParamsError(
            "active.diversity wants what the last convolution of the network that judges reads of every chip, but "
            f"{count} chips gave {len(features)} vectors; set active.diversity to 0 for this architecture"
        )
    return features[:count]


def check(active: Active, network: nn.Module | None) -> frozenset[str]:
    """What the scores need together.

    Args:
        active: The member's block.
        network: That judges; None where it is not known yet.

    Raises:
        ParamsError: A score has no file, or needs dropout that the network has not.
    """
    needs = frozenset[str]().union(*(scores.load(name).needs for name in active.scores))
    modules = [] if network is None else list(network.modules())
    if "passes" in needs and modules and not any(isinstance(each, _DropoutNd) and each.p > 0 for each in modules):
        raise ParamsError(
            "active.scores asks what passes with dropout disagree about, but the network that judges has none; "
            "give its options a dropout above 0, or take another score"
        )
    return needs


@contextmanager
def _judging(network: nn.Module, dropout: bool) -> Iterator[None]:
    """Evaluation mode, with dropout still at work if asked for; afterwards every module is as it was."""
    before = {module: module.training for module in network.modules()}
    for module in before:
        module.training = dropout and isinstance(module, _DropoutNd)
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


@contextmanager
def _features(network: nn.Module, wanted: bool) -> Iterator[list[Tensor]]:
    """Collects what the last convolution of every forward pass reads, averaged over pixels: (B, F) each."""
    seen: list[Tensor] = []
    if not wanted:
        yield seen
        return
    latest: list[Tensor] = []

    def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        latest[:] = [inputs[0].float().flatten(2).mean(2)]

    def close(*_: object) -> None:
        seen.extend(latest)
        latest.clear()

    convolutions = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Conv3d))]
    hooks = [module.register_forward_pre_hook(note) for module in convolutions]
    hooks.append(network.register_forward_hook(close))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
