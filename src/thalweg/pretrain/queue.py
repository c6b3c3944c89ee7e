"""Negatives of momentum contrast: a queue of keys that knows their ground, so that a place is never its own stranger.

lightly's memory bank knows no places and is not saved with a training that is to be resumed.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Queue(nn.Module):
    """The last keys, unit length, first in, first out."""

    def __init__(self, length: int, dim: int, chip_m: float) -> None:
        super().__init__()
        self.apart_m = chip_m * math.sqrt(2)  # from which two squares of that edge share no ground, however turned
        self.register_buffer("keys", torch.zeros(length, dim))
        self.register_buffer("places_m", torch.full((length, 3), math.nan, dtype=torch.float64))
        self.register_buffer("at", torch.zeros((), dtype=torch.int64))

    keys: Tensor
    places_m: Tensor
    """(L, 3) as of `PairChips`; NaN where nothing waits yet."""
    at: Tensor

    @torch.no_grad()
    def add(self, keys: Tensor, places_m: Tensor) -> None:
        """Takes keys (B, D) of places (B, 3) in place of the oldest; of more than it holds, the last."""
        length = len(self.keys)
        keys, places_m = keys[-length:], places_m[-length:]
        rows = (int(self.at) + torch.arange(len(keys), device=keys.device)) % length
        self.keys[rows], self.places_m[rows] = keys.detach().to(self.keys), places_m.to(self.places_m)
        self.at.copy_((self.at + len(keys)) % length)

    def strangers(self, places_m: Tensor) -> Tensor:
        """(B, L) bool: keys in the queue whose chips share no ground with these."""
        apart = torch.cdist(places_m.to(self.places_m), self.places_m, compute_mode="donot_use_mm_for_euclid_dist")
        return apart >= self.apart_m  # NaN is not


def info_nce(query: Tensor, keys: Tensor, negatives: Tensor, strangers: Tensor, temperature: float) -> Tensor:
    """Mean over positives (B, P, D) of −log softmax of query · key / temperature, against negatives that are strangers.

    Source: He et al. 2020, MoCo, https://arxiv.org/abs/1911.05722, equation 1.

    Args:
        query: (B, D), unit length, as are all.
        keys: (B, P, D) positives.
        negatives: (L, D), or (B, L, D) for each query its own.
        strangers: (B, L) bool.
        temperature: Above 0.
    """
    near = torch.einsum("bd,bpd->bp", query, keys) / temperature
    far = torch.einsum("bd,ld->bl" if negatives.dim() == 2 else "bd,bld->bl", query, negatives) / temperature
    far = far.masked_fill(~strangers, -torch.inf)
    losses = [
        F.cross_entropy(torch.cat([near[:, [k]], far], 1), torch.zeros(len(query), dtype=torch.int64).to(query.device))
        for k in range(near.shape[1])
    ]
    return torch.stack(losses).mean()
