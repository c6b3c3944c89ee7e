"""A loader of training batches that looks at more chips than it hands on."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from thalweg.active.costs import NOBODY, Before
from thalweg.active.irreducible import Irreducible
from thalweg.active.scorer import Scorer
from thalweg.classes import IGNORE
from thalweg.dataset.chips import Away, ChipReader, Chips, Place

_SALT = 0xAC71
"""Tells the choice's draws from those of chips and augmentation, which start from the same seed."""


class PoolChips(Chips):
    """Chips with the holdout member's mean loss, NaN where there is none."""

    def __init__(
        self, reader: ChipReader, part: str, known: Irreducible | None, away: Away | None = None,
        alone: Away | None = None,
    ) -> None:  # fmt: skip
        super().__init__(reader, part, away, alone)
        self._known = known

    def __getitem__(self, place: Place) -> tuple[Any, ...]:
        pixels, target = super().__getitem__(place)
        mean = float("nan") if self._known is None else self._known.mean(*place, target != IGNORE)
        return pixels, target, mean


class ActiveLoader:
    """Batches of the best chips of pools; what is chosen follows from seed, epoch and the network's weights alone."""

    def __init__(self, plain: DataLoader[Any], pool: DataLoader[Any], scorer: Scorer, batch_size: int,
                 seed: int, before: Before = NOBODY) -> None:  # fmt: skip
        """Takes the loader of the warm-up's epochs and one whose batches are whole pools.

        Args:
            plain: Batches as without active sampling.
            pool: Batches (pixels, target, irreducible) of `pool` × `every` × batch_size chips, the last one maybe less.
            scorer: Chooses.
            batch_size: Chips of a batch.
            seed: The member's.
            before: What the judge has cost.
        """
        self._plain, self._pool, self.scorer, self.before = plain, pool, scorer, before
        self._batch_size, self._seed = batch_size, seed
        self.sampler, self.epoch = self, 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose plan the next iteration follows; Lightning calls it."""
        self.epoch = epoch
        for loader in (self._plain, self._pool):
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self._plain)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.epoch < self.scorer.active.warmup_epochs:
            yield from self._plain
            return
        for number, (pixels, target, irreducible) in enumerate(self._pool):
            count = len(target) // self.scorer.active.pool
            kept = self.scorer.choose(pixels, target, irreducible, count, self._random(number))
            for part in torch.split(kept, self._batch_size):
                yield pixels[part], target[part]

    def _random(self, number: int) -> torch.Generator:
        seed = int(np.random.default_rng([self._seed, self.epoch, number, _SALT]).integers(2**62))
        return torch.Generator().manual_seed(seed)


Batches = DataLoader[Any] | ActiveLoader
"""Training batches, one epoch per iteration."""
