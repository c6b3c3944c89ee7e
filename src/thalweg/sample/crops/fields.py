"""The fields of one patch in one year: which parcel each pixel lies in, what grows there and what was declared."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thalweg.sample.crops.kinds import CODES, shares
from thalweg.sample.crops.seasons import Stand
from thalweg.sample.noise import Floats, Ints, key_of, uniform
from thalweg.sample.parcels import parcels

_FINER = 6.0
"""Estates, strips and parcels are so many times smaller than the Chaco's: some 160 m by 250 m."""
_FARMED = 0.82
_DAYS_PER_M = 4 / 122
"""Source: Hopkins 1918, Periodical events and natural law: four days later per 400 feet."""
_PARCEL_DAYS, _SEASON_DAYS, _VIGOUR = 6.0, 9.0, 0.11


@dataclass(frozen=True)
class Fields:
    """Of a patch; parcels are numbered from 1 in it, 0 is no field."""

    parcel: NDArray[np.int32]
    """(H, W)."""
    edge_m: Floats
    """(H, W) to the parcel's edge."""
    stand: Stand
    """Of the parcels 1 … P, in order."""
    declared: NDArray[np.int16]
    """(P,) codes; 0 where nothing was declared."""

    @property
    def grown(self) -> NDArray[np.int16]:
        """(P,) codes of what truly grows."""
        return CODES[self.stand.kind].astype(np.int16)

    def drawn(self, codes: NDArray[np.int16]) -> NDArray[np.int16]:
        """Codes of the parcels as (H, W), 0 outside."""
        return np.concatenate([[np.int16(0)], codes])[self.parcel]


@dataclass(frozen=True)
class Habits:
    """What holds for all fields of a patch."""

    seed: int
    year: int
    tile: str
    imbalance: float
    spread: float
    label_noise: float
    undeclared: float


def fields(habits: Habits, xs: Floats, ys: Floats, height_m: Floats) -> Fields:
    """The fields under eastings (1, W) and northings (H, 1) of pixel centres."""
    found = parcels(key_of(habits.seed, "fields"), xs * _FINER, ys * _FINER)
    token = (found.luck[0] * 2.0**53).astype(np.int64)
    farmed = found.luck[2] < _FARMED
    known = np.unique(token[farmed])
    parcel = np.where(farmed, np.searchsorted(known, token) + 1, 0).astype(np.int32)
    count = np.maximum(np.bincount(parcel.ravel(), minlength=len(known) + 1)[1:], 1)
    height = np.bincount(parcel.ravel(), height_m.ravel(), len(known) + 1)[1:] / count
    kind = _chosen(shares(habits.imbalance), _luck(habits, known, "crop"))
    return Fields(parcel, found.edge_m / _FINER, _stand(habits, known, kind, height), _declared(habits, known, kind))


def _stand(habits: Habits, known: Ints, kind: Ints, height_m: Floats) -> Stand:
    season = _SEASON_DAYS * (2 * uniform(key_of(habits.seed, habits.year, habits.tile, "season"), np.zeros(1, np.int64))
                             - 1)  # fmt: skip
    delay = season + _DAYS_PER_M * (height_m - 300) + habits.spread * _PARCEL_DAYS * _bell(habits, known, "delay")
    vigour = np.clip(1 + habits.spread * _VIGOUR * _bell(habits, known, "vigour"), 0.5, 1.4)
    pale = uniform(key_of(habits.seed, "soil"), known)  # soils stay where they are
    return Stand(kind, delay, vigour, pale)


def _declared(habits: Habits, known: Ints, kind: Ints) -> NDArray[np.int16]:
    """The crop that grows, another one by the share of label noise, or none."""
    share = shares(habits.imbalance)
    others = np.tile(share, (len(known), 1))
    others[np.arange(len(known)), kind] = 0
    wrong = _chosen(others / others.sum(axis=1, keepdims=True), _luck(habits, known, "wrong crop"))
    said = np.where(_luck(habits, known, "mistake") < habits.label_noise, CODES[wrong], CODES[kind])
    return np.where(_luck(habits, known, "silence") < habits.undeclared, 0, said).astype(np.int16)


def _luck(habits: Habits, known: Ints, what: str) -> Floats:
    """[0, 1) per parcel, another in every year."""
    return uniform(key_of(habits.seed, habits.year, what), known)


def _bell(habits: Habits, known: Ints, what: str) -> Floats:
    """About normal, with unit deviation: the sum of twelve uniform numbers."""
    key = key_of(habits.seed, habits.year, what)
    return np.asarray(sum(uniform(key + salt, known) for salt in range(12)) - 6.0, np.float64)


def _chosen(share: Floats, luck: Floats) -> Ints:
    """Places whose cumulative shares (K,) or (P, K) the luck (P,) falls into."""
    ends = np.cumsum(share, axis=-1)
    return np.asarray(np.minimum((luck[:, None] >= ends).sum(axis=1), share.shape[-1] - 1), np.int64)
