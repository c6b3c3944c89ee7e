"""Negatives of momentum contrast: a queue of keys that knows their places, so that a place is never its own stranger.

lightly's memory bank knows no places and is not saved with a training that is to be resumed.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_EMPTY = -1


class Queue(nn.Module):
    """The last keys, unit length, first in, first out."""

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(length, dim))
        self.register_buffer("sites", torch.full((length,), _EMPTY))
        self.register_buffer("at", torch.zeros((), dtype=torch.int64))

    keys: Tensor
    sites: Tensor
    at: Tensor

    @torch.no_grad()
    def add(self, keys: Tensor, sites: Tensor) -> None:
        """Takes keys (B, D) of places (B,) in place of the oldest."""
        length = len(self.keys)
        places = (int(self.at) + torch.arange(len(keys), device=keys.device)) % length
        self.keys[places], self.sites[places] = keys.detach().to(self.keys), sites.to(self.sites)
        self.at.copy_((self.at + len(keys)) % length)

    def strangers(self, sites: Tensor) -> Tensor:
        """(B, L) bool: keys in the queue that are of other places."""
        return (self.sites[None] != _EMPTY) & (self.sites[None] != sites[:, None])


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
