"""How much a chip is worth a step, one file each."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from thalweg.classes import IGNORE
from thalweg.errors import ParamsError


@dataclass(frozen=True)
class Pool:
    """What scores may look at: B chips of h × w pixels, K classes."""

    target: Tensor
    """(B, h, w) uint8, `IGNORE` where unlabelled, not valid, or not of the training part."""
    logits: Tensor | None
    """(P, B, K, h, w) float32, P passes, one unless a score needs more; None if no score needs any."""
    irreducible: Tensor | None
    """(B,) mean loss of the holdout member over the labelled pixels, NaN without any."""
    shares: Tensor
    """(K,) of the classes in the training part's labelled pixels."""
    random: torch.Generator

    @property
    def labelled(self) -> Tensor:
        """(B, h, w) bool."""
        return self.target != IGNORE

    @property
    def log_probs(self) -> Tensor:
        """(P, B, K, h, w)."""
        if self.logits is None:
            raise ParamsError("a score reads logits that it does not name in NEEDS; add 'logits' there")
        return torch.log_softmax(self.logits, 2)

    @property
    def losses(self) -> Tensor:
        """(B, h, w) cross-entropy of the first pass, 0 where unlabelled."""
        labels = torch.where(self.labelled, self.target, 0).long()
        picked = self.log_probs[0].gather(1, labels[:, None])[:, 0]
        return torch.where(self.labelled, -picked, 0.0)


class Score(NamedTuple):
    """One score file."""

    needs: frozenset[str]
    score: Callable[[Pool], Tensor]


def names() -> list[str]:
    """All scores there are."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def load(name: str) -> Score:
    """The score of that name.

    Raises:
        ParamsError: There is no such file.
    """
    if name not in names():
        raise ParamsError(
            f"score '{name}' has no file src/thalweg/active/scores/{name}.py; there are {', '.join(names())}"
        )
    module = importlib.import_module(f"{__name__}.{name}")
    return Score(module.NEEDS, module.score)


def total(pool: Pool, weights: Mapping[str, float]) -> Tensor:
    """The weighted sum (B,) of several scores, float64 on the CPU; NaN where one of them is, or nothing is labelled."""
    parts = [weight * load(name).score(pool).cpu().double() for name, weight in weights.items()]
    return torch.where(pool.labelled.any(2).any(1).cpu(), torch.stack(parts).sum(0), torch.nan)


def mean_over(values: Tensor, pixels: Tensor) -> Tensor:
    """Mean (B,) of values (B, h, w) over some pixels (B, h, w) bool, float64 on the CPU; NaN where there are none."""
    sums = torch.where(pixels, values, 0.0).sum((1, 2))  # float32 is what every accelerator has
    return sums.cpu().double() / pixels.sum((1, 2)).cpu()
