"""Segmentation as a probe: one linear layer on frozen features of every pixel, on a project's own split.

Features of all strides are brought to the chip's pixels by bilinear interpolation and stacked. Both steps are linear,
so that the layer is applied to the maps as they are, and scores instead of features are interpolated.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from thalweg import metrics
from thalweg.classes import IGNORE
from thalweg.dataset.chips import ChipReader, Place
from thalweg.dataset.sampler import lattice
from thalweg.errors import FeatureError
from thalweg.features import Encoder
from thalweg.features.scenes import order_of, to_inputs
from thalweg.manifest.chips import read_chips, read_stats
from thalweg.manifest.scene import SceneRecord
from thalweg.probe.classifiers import Linear, fit_linear
from thalweg.probe.draw import draw_fraction
from thalweg.probe.results import Row

STRENGTHS = (1e-4, 1e-2, 1.0)
_VAL_PX = 10_000


@dataclass(frozen=True)
class Maker:
    """What makes maps of inputs (B, C, h, w)."""

    maps: Callable[[Tensor], list[Tensor]]
    strides: tuple[int, ...]
    """Per map."""


@dataclass(frozen=True)
class Ground:
    """A project's labelled chips on one grid."""

    reader: ChipReader
    chips: pd.DataFrame
    names: tuple[str, ...]
    """Of the classes."""

    @classmethod
    def open(cls, scenes: Path, split: Path) -> "Ground":
        """Of `build/scenes/<grid>` and `build/split`.

        Raises:
            SplitError: There is no split of that grid.
            FeatureError: Its part train or test holds no label.
        """
        chips = read_chips(split, scenes.name)
        chips = chips[chips["labelled_px"] > 0].reset_index(drop=True)
        for part in ("train", "test"):
            if not (chips["part"] == part).any():
                raise FeatureError(f"{split / scenes.name} has no labelled chip of part {part}; change `split`")
        return cls(ChipReader(scenes, split, scenes.name), chips, tuple(read_stats(split, scenes.name).class_px))

    @property
    def record(self) -> SceneRecord:
        """Of the first scene; all have the same channels."""
        return next(iter(self.reader.scenes.values())).record

    def places(self, part: str) -> list[Place]:
        """Windows of a part, once each."""
        return lattice(self.chips[self.chips["part"] == part])


def probe_ground(encoder: Encoder, ground: Ground, fractions: Sequence[float], seeds: Sequence[int], pixels: int,
                 baselines: bool, track: Callable[[Sequence[Place]], Iterable[Place]] = iter) -> list[Row]:  # fmt: skip
    """Rows of the linear probe on the encoder's features, a fresh network's, and pixels themselves.

    Args:
        encoder: The one in question.
        ground: Labelled chips.
        fractions: Of the training chips, 0…1; those of a class' rarest blocks are not sought for.
        seeds: Of chips, pixels and fresh weights.
        pixels: Labelled pixels that a layer learns from, at most.
        baselines: Whether the others are probed, too; a fresh network is its own.
        track: Shows progress while it passes chips on.

    Raises:
        FeatureError: Scenes lack a band of the encoder's, or hold it in another scale or unit.
    """
    order = order_of(encoder, ground.record)
    known: dict[str, Callable[[int], Maker]] = {"encoder": lambda _: Maker(encoder.maps, encoder.strides)}
    if baselines and encoder.weights:
        known["random"] = lambda seed: Maker(encoder.untrained(seed).maps, encoder.strides)
    if baselines:
        known["pixels"] = lambda _: Maker(lambda inputs: [inputs], (1,))
    rows = []
    for fraction in fractions:
        for features, make in known.items():
            scores = tuple(_scored(_Seen(encoder, make(seed), ground, order), fraction, seed, pixels, track)
                           for seed in seeds)  # fmt: skip
            rows.append(Row(features, "linear", fraction, scores))
    return rows


class _Seen:
    """Chips of a ground as an encoder's inputs, and what it makes of them."""

    def __init__(self, encoder: Encoder, maker: Maker, ground: Ground, order: Sequence[int]) -> None:
        self.maker, self.ground = maker, ground
        self._encoder, self._order = encoder, order

    def read(self, place: Place, part: str) -> tuple[Tensor, np.ndarray]:
        """Inputs (1, C, h, w) and target (h, w)."""
        pixels, target = self.ground.reader.read(*place, part)
        return to_inputs(self._encoder, [pixels], self._order), target

    def drawn(self, places: Sequence[Place], part: str, count: int, seed: int,
              track: Callable[[Sequence[Place]], Iterable[Place]]) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Features (N, D) and labels (N,) of about `count` labelled pixels, spread over all chips alike."""
        random, found = np.random.default_rng(seed), []
        for place in track(places):
            inputs, target = self.read(place, part)
            rows, cols = np.nonzero(target != IGNORE)
            chosen = random.permutation(len(rows))[: -(-count // len(places))]
            rows, cols = rows[chosen], cols[chosen]
            found.append((at_pixels(self.maker.maps(inputs), self.maker.strides, rows, cols), target[rows, cols]))
        features, labels = zip(*found, strict=True)
        return np.concatenate(features), np.concatenate(labels)


def _scored(seen: _Seen, fraction: float, seed: int, pixels: int,
            track: Callable[[Sequence[Place]], Iterable[Place]]) -> dict[str, float]:  # fmt: skip
    ground, train = seen.ground, seen.ground.places("train")
    kept = draw_fraction(np.zeros(len(train), np.uint8), fraction, seed)
    features, labels = seen.drawn([train[place] for place in kept], "train", pixels, seed, track)
    if len(np.unique(labels)) < 2:
        raise FeatureError(
            f"{100 * fraction:g} % of the training chips ({len(kept)}) show one class alone with seed {seed}; probe "
            "a larger fraction, or other seeds"
        )
    held, asked = seen.drawn(val, "val", _VAL_PX, seed, track) if (val := ground.places("val")) else (features, labels)
    count = len(ground.names)

    def judge(layer: Linear) -> float:
        return metrics.scores(metrics.confusion(asked, layer.labels(held), count), ground.names)["miou"]

    layer = fit_linear(features, labels, count, judge, STRENGTHS, (False, True))
    total = np.zeros((count, count), np.int64)
    for place in track(ground.places("test")):
        inputs, target = seen.read(place, "test")
        total += metrics.confusion(target, labels_of(layer, seen.maker, inputs), count)
    chosen = {"train_chips": float(len(kept)), "strength": layer.strength, "balanced": float(layer.balanced)}
    return metrics.scores(total, ground.names) | chosen


@torch.inference_mode()
def at_pixels(maps: Sequence[Tensor], strides: Sequence[int], rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """(N, ΣD) float32: maps (1, D, h, w) of a chip as they are at some of its pixels."""
    found = []
    for each, stride in zip(maps, strides, strict=True):
        height, width = each.shape[2] * stride, each.shape[3] * stride
        y = (torch.from_numpy(rows).float() + 0.5) / height * 2 - 1
        x = (torch.from_numpy(cols).float() + 0.5) / width * 2 - 1
        grid = torch.stack([x, y], -1)[None, None].to(each)
        sampled = F.grid_sample(each, grid, mode="bilinear", padding_mode="border", align_corners=False)
        found.append(sampled[0, :, 0].T.cpu())
    return torch.cat(found, 1).numpy()


@torch.inference_mode()
def labels_of(layer: Linear, maker: Maker, inputs: Tensor) -> np.ndarray:
    """(h, w) uint8: what a linear layer on stacked features says of every pixel of a chip (1, C, h, w)."""
    maps, (height, width) = maker.maps(inputs), inputs.shape[2:]
    weights = torch.split(torch.from_numpy(layer.weight).float(), [each.shape[1] for each in maps], 1)
    total = torch.from_numpy(layer.bias).float()[None, :, None, None]
    for weight, each, stride in zip(weights, maps, maker.strides, strict=True):
        scores = torch.einsum("kd,bdhw->bkhw", weight.to(each), each).cpu()
        whole = F.interpolate(scores, scale_factor=stride, mode="bilinear", align_corners=False)
        total = total + whole[..., :height, :width]
    return total[0].argmax(0).numpy().astype(np.uint8)
