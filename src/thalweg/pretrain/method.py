"""What a method of pre-training is: which views it wants, a loss of them, and what it keeps."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from lightly.models.utils import deactivate_requires_grad, update_momentum
from torch import Tensor, nn

from thalweg.params.encoders import Crops
from thalweg.pretrain.encoder import Encoder, pooled
from thalweg.pretrain.views import Look, View

PAIR = (Look(0, 0, 0), Look(1, 1, 1))
"""Two views of one place, of both dates where there are two."""


@dataclass(frozen=True)
class Plan:
    """What a method may need to know of the training."""

    channels: int
    crops: Crops
    epochs: int


class Views(NamedTuple):
    """Of one batch."""

    wide: Sequence[View]
    """As the method's `looks` say."""
    small: Sequence[View]
    """Of multi-crop."""
    places_m: Tensor
    """(B, 3) where the chips lie, so that those which share ground are not taken for strangers."""


class Outcome(NamedTuple):
    """Of one step."""

    loss: Tensor
    features: tuple[Tensor, ...]
    """(B, D) pooled features of the encoder, of one view or of a pair, without gradient."""


class Method(nn.Module, ABC):
    """The base of all methods; `encoder` learns, `step` says by what."""

    looks: Sequence[Look] = PAIR
    seasons: bool = False
    """Whether it is about dates, so that a place of one date teaches it what is wrong."""
    multi_crop: bool = False
    """Whether it looks at small views."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def step(self, views: Views, epoch: int) -> Outcome:
        """The loss of a batch, in some epoch from 0."""

    def follow(self, momentum: float) -> None:
        """After each step of the optimiser: a second network follows the first."""

    @property
    def kept(self) -> Encoder:
        """The encoder that is handed over."""
        return self.encoder

    def pool(self, view: View) -> Tensor:
        """(B, D) features of a view's measured ground."""
        return pooled(self.encoder(view.inputs)[-1], view.valid)


class Pooled(nn.Module):
    """An encoder, the mean of its coarsest map over measured ground, and a head."""

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, view: View) -> tuple[Tensor, Tensor]:
        """Features (B, D) and what the head makes of them."""
        features = pooled(self.encoder(view.inputs)[-1], view.valid)
        return features, self.head(features)


def follower(network: nn.Module) -> nn.Module:
    """A copy that learns by following alone."""
    second = copy.deepcopy(network)
    deactivate_requires_grad(second)
    return second


@torch.no_grad()
def follow(network: nn.Module, second: nn.Module, momentum: float) -> None:
    """Second ← momentum × second + (1 − momentum) × network, weight by weight; statistics of norms are its own."""
    update_momentum(network, second, momentum)
