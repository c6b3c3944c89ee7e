"""Blocks in the order in which to draw them: each is judged beside what is drawn and what ranks before it."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

_SAMPLE = 2000
"""Blocks to which others are compared for how typical they are."""


@dataclass(frozen=True)
class Weights:
    """What counts how much; only their ratio matters."""

    doubt: float
    """How unsure the map is of the block."""
    novelty: float
    """How unlike all that is drawn, or ranked before it, the block looks."""
    typical: float
    """How many blocks look like it."""
    cost: float
    """How little there is to draw."""

    @property
    def total(self) -> float:
        """Their sum."""
        return self.doubt + self.novelty + self.typical + self.cost


@dataclass(frozen=True)
class Ranking:
    """Blocks in order; arrays of the same length."""

    order: np.ndarray
    """Their numbers among the candidates."""
    score: np.ndarray
    """0…1, at the time when it was the best."""
    novelty: np.ndarray
    """0…1, at that time: distance from the nearest that is drawn or ranked before, over the largest at the start."""


def rank(doubt: np.ndarray, cost: np.ndarray, features: np.ndarray, taught: np.ndarray, weights: Weights,
         count: int) -> Ranking:  # fmt: skip
    """The best blocks, one after the other; with novelty alone this is k-centre greedy.

    Args:
        doubt: (n,) of each candidate.
        cost: (n,) 0…1.
        features: (n, f) of candidates, as `features_of` scales them.
        taught: (m, f) of ground that is drawn already.
        weights: What counts.
        count: How many.
    """
    still = weights.doubt * relative(doubt) + weights.cost * (1 - cost) + weights.typical * typical(features)
    apart = _distances(features, taught)
    scale = float(apart.max()) if len(taught) else float(_distances(features, features.mean(0)[None]).max() * 2)
    left = np.ones(len(features), bool)
    picked, scores, novelties = [], [], []
    for _ in range(min(count, len(features))):
        novelty = np.minimum(apart / scale, 1.0) if scale > 0 else np.zeros(len(features))
        score = np.where(left, (still + weights.novelty * novelty) / weights.total, -np.inf)
        best = int(score.argmax())
        picked.append(best)
        scores.append(score[best])
        novelties.append(novelty[best])
        left[best] = False
        apart = np.minimum(apart, _distances(features, features[best][None]))
    return Ranking(np.array(picked, int), np.array(scores), np.array(novelties))


def features_of(free: np.ndarray, taught: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of every channel on free and on taught ground (n, 2 C), in units of its deviation over all.

    Args:
        free: (n, 1 + 2 C) pixels, sums and sums of squares per block, as `tally_scenes` gives them.
        taught: The same.
    """
    both = np.concatenate([free, taught])
    pixels = np.maximum(both[:, :1], 1)
    channels = (both.shape[1] - 1) // 2
    mean = both[:, 1 : 1 + channels] / pixels
    spread = np.sqrt(np.maximum(both[:, 1 + channels :] / pixels - mean**2, 0))
    values = np.concatenate([mean, spread], 1)
    values -= values.mean(0) if len(values) else 0
    values /= np.maximum(values.std(0), 1e-9) if len(values) else 1
    values /= np.sqrt(max(values.shape[1], 1))
    return values[: len(free)], values[len(free) :]


def typical(features: np.ndarray) -> np.ndarray:
    """(n,) 0…1: share of a seeded sample of blocks that look more like a block than two blocks do on the median."""
    if len(features) < 2:
        return np.zeros(len(features))
    chosen = np.random.default_rng(0).permutation(len(features))[:_SAMPLE]
    sample = features[chosen]
    among = cdist(sample, sample[:500])
    reach = float(np.median(among[among > 0])) if (among > 0).any() else 0.0
    near = cKDTree(sample).query_ball_point(features, reach, return_length=True) - np.isin(
        np.arange(len(features)), chosen
    )
    return np.asarray(near / max(len(sample) - 1, 1)).clip(0, 1)


def relative(values: np.ndarray) -> np.ndarray:
    """Over the largest, 0…1."""
    largest = float(values.max(initial=0.0))
    return values / largest if largest > 0 else np.zeros(len(values))


def _distances(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(n,) to the nearest centre; as far as can be where there is none."""
    if not len(centres):
        return np.full(len(features), np.inf)
    return np.asarray(cKDTree(centres).query(features)[0])
