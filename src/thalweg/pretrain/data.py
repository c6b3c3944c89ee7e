"""What an encoder learns from, and in which batches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from thalweg.errors import SceneError, TrainingError
from thalweg.manifest.chips import Stats, read_stats
from thalweg.manifest.scene import Channel
from thalweg.params import NOTHING
from thalweg.params.encoders import EncoderParams
from thalweg.params.train import Train
from thalweg.pretrain.ground import Seen, lattice
from thalweg.pretrain.pairs import PairChips, PairSampler, Sites, pixel_m


@dataclass(frozen=True)
class Data:
    """What an encoder learns from."""

    seen: Seen
    sites: Sites
    chips: pd.DataFrame
    chip_px: int
    stats: Stats
    channels: tuple[Channel, ...]

    @property
    def pixels_m(self) -> list[float]:
        """Ground size of a pixel of every scene that is learnt from."""
        return [pixel_m(self.sites.scenes[str(name)].grid) for name in sorted(set(self.chips["scene"]))]


def read_data(name: str, params: EncoderParams, scenes: Path, split: Path) -> Data:
    """Scenes, places and statistics of the encoder's grid.

    Raises:
        TrainingError: No ground may be seen, or no place has two dates where pairs of dates are wanted.
        SceneError: Scenes of the grid differ in their channels.
    """
    seen = Seen(scenes, split, params.grid, params.parts)
    found = seen.reader.scenes
    channels = {scene.record.channels for scene in found.values()}
    if len(channels) > 1:
        raise SceneError(f"scenes in {scenes} differ in their channels; run `dvc repro preprocess`")
    chip_px = math.ceil(params.crops.chip_m / min(pixel_m(scene.grid) for scene in found.values()))
    chips = lattice(seen, chip_px, params.least_valid)
    sites = Sites(found, params.sites)
    if params.positives == "dates" and not any(sites.others[str(scene)] for scene in set(chips["scene"])):
        remedy = "add scenes of another date" if params.sites == NOTHING else f"correct {params.sites}"
        raise TrainingError(
            f"encoders.{name}: positives are dates, but no place on grid {params.grid} has two; {remedy}, or set "
            "positives to augmented"
        )
    return Data(seen, sites, chips, chip_px, read_stats(split, params.grid), channels.pop())


def loader(params: EncoderParams, train: Train, data: Data, seasons: bool) -> DataLoader[Any]:
    """Batches of pairs, whose plan follows the epoch; with `seasons`, of scenes over which another lies alone."""
    places: Any = PairSampler(data.chips, params.chips_per_epoch, data.chip_px, data.sites, params.seed,
                              params.positives == "dates", seasons)  # fmt: skip
    chips: Any = PairChips(data.seen, data.sites)
    return DataLoader(
        chips, params.batch_size, sampler=places, num_workers=train.workers, collate_fn=_collate, drop_last=True,
        persistent_workers=train.workers > 0, pin_memory=torch.cuda.is_available())  # fmt: skip


def _collate(chips: Sequence[tuple[Any, ...]]) -> tuple[Tensor, ...]:
    first, second, places_m, paired, *sizes = zip(*chips, strict=True)
    stacked = [torch.from_numpy(np.stack(each)) for each in (first, second, places_m)]
    return *stacked, torch.tensor(paired), *(torch.tensor(each, dtype=torch.float64) for each in sizes)
