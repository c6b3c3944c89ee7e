"""Counts per parcel, block by block, and what follows from them."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from thalweg.classes import IGNORE
from thalweg.errors import ParcelError
from thalweg.manifest.chips import PARTS
from thalweg.parcels.ground import CONTESTED, Here
from thalweg.parcels.sources import Parcels

MIXED = "mixed"
_PARTS = ("train", "val", "test")


class Tally:
    """Votes, probabilities, truth, parts and places of P parcels."""

    def __init__(self, parcels: Parcels, names: Sequence[str]) -> None:
        """Takes the parcels and the map's classes."""
        count, classes = len(parcels.ids), len(names)
        self._parcels, self._names = parcels, tuple(names)
        self._area_m2, self._pixels = np.zeros(count), np.zeros(count, np.int64)
        self._votes, self._probs = (np.zeros((2, count, classes)) for _ in range(2))
        """Of the inner pixels, and of all."""
        self._truth = np.zeros((count, classes), np.int64)
        self._parts = np.zeros((count, len(_PARTS)), np.int64)
        self._places: dict[str, Counter[tuple[int, int]]] = {"scene": Counter(), "region": Counter()}
        self._has_probs = False

    def add(self, numbers: np.ndarray, inner: np.ndarray, labels: np.ndarray, probs: np.ndarray | None,
            row_m2: np.ndarray, here: Here | None, regions: np.ndarray | None) -> None:  # fmt: skip
        """Counts one block.

        Args:
            numbers: (h, w) of the parcels, −1 without.
            inner: (h, w) bool: votes.
            labels: (h, w) of the map, `IGNORE` without.
            probs: (K, h, w) of the map, NaN without, or None.
            row_m2: (h,) ground area of a pixel.
            here: Truth and parts.
            regions: (h, w), −1 without.
        """
        inside = numbers >= 0
        if not inside.any():
            return
        present, local = np.unique(numbers[inside], return_inverse=True)
        area = np.broadcast_to(row_m2[:, None], numbers.shape)[inside]
        self._area_m2[present] += np.bincount(local, area, len(present))
        self._pixels[present] += np.bincount(local, minlength=len(present))
        said = labels[inside]
        for row, wanted in enumerate((inner[inside], np.ones(len(local), bool))):
            known = wanted & (said != IGNORE)
            self._votes[row, present] += self._counts(local[known], said[known], len(present))
            if probs is not None:
                self._has_probs = True
                for k, band in enumerate(probs):
                    self._probs[row, present, k] += np.bincount(local[known], band[inside][known], len(present))
        if here is not None:
            self._add_ground(present, local, Here(*(plane[inside] for plane in here)))
        if regions is not None:
            self._note("region", present[local], regions[inside])

    def table(self, scenes: Sequence[str], regions: Sequence[str]) -> pd.DataFrame:
        """One row per parcel.

        `label`: the class that most voting pixels have; of equals the one with the higher mean probability, then the
        first. A parcel so narrow that no pixel votes is judged by all of its pixels (`narrow`). `share`: of the vote.
        `mean_prob`: mean probability of the label. `prob_label`: the class with the highest mean probability, `prob`.
        `truth`: what the file says, else the class that most labelled pixels have, with its `truth_share`. Empty where
        there is nothing to say it by.
        """
        narrow = (self._votes[0].sum(1) == 0) & (self._votes[1].sum(1) > 0)
        votes = np.where(narrow[:, None], self._votes[1], self._votes[0])
        voting = votes.sum(1)
        sums = np.where(narrow[:, None], self._probs[1], self._probs[0])
        mean = np.divide(sums, voting[:, None], out=np.full_like(sums, np.nan), where=voting[:, None] > 0)
        known = voting > 0
        winner = _winner(votes, mean if self._has_probs else np.zeros_like(mean))
        likely = np.where(np.isnan(mean), -1, mean).argmax(1)
        truth, truth_share = self._true()
        row = np.arange(len(votes))
        likeliest = known & self._has_probs
        return pd.DataFrame({
            "id": self._parcels.ids, "source": self._parcels.sources, "area_m2": self._area_m2, "pixels": self._pixels,
            "voting_px": voting.astype(np.int64), "narrow": narrow, "label": self._called(winner, known),
            "share": np.where(known, votes[row, winner] / np.maximum(voting, 1), np.nan),
            "mean_prob": np.where(likeliest, mean[row, winner], np.nan), "prob_label": self._called(likely, likeliest),
            "prob": np.where(likeliest, mean[row, likely], np.nan), "truth": truth, "truth_share": truth_share,
            "part": self._part(), "scene": self._where("scene", scenes), "region": self._where("region", regions),
        })  # fmt: skip

    def _add_ground(self, present: np.ndarray, local: np.ndarray, here: Here) -> None:
        known = here.truth != IGNORE
        self._truth[present] += self._counts(local[known], here.truth[known], len(present)).astype(np.int64)
        for column, part in enumerate(_PARTS):
            at = (here.parts == PARTS[part]) | (here.parts == CONTESTED)
            self._parts[present, column] += np.bincount(local[at], minlength=len(present))
        self._note("scene", present[local], here.scenes)

    def _counts(self, local: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
        classes = len(self._names)
        pairs = np.bincount(local * classes + labels, minlength=count * classes)
        return np.asarray(pairs.reshape(count, classes))

    def _note(self, what: str, numbers: np.ndarray, places: np.ndarray) -> None:
        at = places >= 0
        pairs, counts = np.unique(np.stack([numbers[at], places[at]]), axis=1, return_counts=True)
        for parcel, place, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
            self._places[what][parcel, place] += count

    def _true(self) -> tuple[list[str | None], np.ndarray]:
        given = self._parcels.truth
        if given is not None:
            for name in given:
                if name is not None and name not in self._names:
                    raise ParcelError(
                        f"a parcel's truth is '{name}', but the map's classes are {', '.join(self._names)}; rename it "
                        "in the file, or leave the field empty where it is none of them"
                    )
            return list(given), np.where([name is not None for name in given], 1.0, np.nan)
        total = self._truth.sum(1)
        share = np.divide(self._truth.max(1), total, out=np.full(len(total), np.nan), where=total > 0)
        return self._called(self._truth.argmax(1), total > 0), share

    def _part(self) -> list[str | None]:
        reached = self._parts > 0
        first, several = reached.argmax(1), reached.sum(1)
        return [
            MIXED if n > 1 else _PARTS[k] if n else None for k, n in zip(first.tolist(), several.tolist(), strict=True)
        ]

    def _where(self, what: str, names: Sequence[str]) -> list[str | None]:
        """The place that most pixels of each parcel are in, the first of equals."""
        best: dict[int, tuple[int, int]] = {}
        for (parcel, place), count in self._places[what].items():
            best[parcel] = max(best.get(parcel, (0, 0)), (count, -place))
        return [names[-best[k][1]] if k in best else None for k in range(len(self._pixels))]

    def _called(self, labels: np.ndarray, known: np.ndarray) -> list[str | None]:
        return [self._names[k] if there else None for k, there in zip(labels.tolist(), known.tolist(), strict=True)]


def _winner(votes: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(P,) most votes, then highest mean probability, then first."""
    most = votes == votes.max(1, keepdims=True)
    return np.asarray(np.where(most, np.nan_to_num(mean), -1).argmax(1))
