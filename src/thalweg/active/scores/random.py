"""Chance: the control that every other score is to be measured against, at the same pool and the same steps."""

import torch
from torch import Tensor

from thalweg.active.scores import Pool

NEEDS: frozenset[str] = frozenset()


def score(pool: Pool) -> Tensor:
    """(B,) uniform in 0…1, by the pool's own generator."""
    return torch.rand(len(pool.target), generator=pool.random, dtype=torch.float64)
