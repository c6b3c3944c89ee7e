"""Confusion matrices of pixels and parcels on test ground, and the tables that follow from them.

Levels: `pixels`, all labelled test pixels of the map; `inner_pixels`, those of them that lie in a parcel and off its
border; `parcels`, each parcel of the test part once, by its vote; `parcels_by_prob`, by its highest mean probability.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from thalweg import metrics
from thalweg.classes import IGNORE
from thalweg.parcels.ground import Here

PIXELS = ("pixels", "inner_pixels")
VOTES = {"parcels": "label", "parcels_by_prob": "prob_label"}
"""Level → column of the parcels' table."""
Matrices = Mapping[str, np.ndarray]
"""Level → (K, K), rows truth."""


class PixelScores:
    """Matrices of pixels: of everything, per scene and per region."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        empty = np.zeros((len(names), len(names)), np.int64)
        self._empty = empty
        self._whole = {level: empty.copy() for level in PIXELS}
        self._by: dict[str, dict[int, dict[str, np.ndarray]]] = {"scene": {}, "region": {}}

    def add(self, labels: np.ndarray, here: Here, regions: np.ndarray | None, inner: np.ndarray) -> None:
        """Counts one block: the map's labels, truth and parts, regions, and which pixels are a parcel's inner ones."""
        scored = here.scored & (labels != IGNORE)
        for level, wanted in zip(PIXELS, (scored, scored & inner), strict=True):
            self._whole[level] += self._matrix(wanted, here.truth, labels)
            for what, places in (("scene", here.scenes), ("region", regions)):
                if places is None:
                    continue
                for place in np.unique(places[wanted]).tolist():
                    kept = self._by[what].setdefault(place, {each: self._empty.copy() for each in PIXELS})
                    kept[level] += self._matrix(wanted & (places == place), here.truth, labels)

    def with_parcels(self, table: pd.DataFrame) -> dict[str, np.ndarray]:
        """All levels."""
        return self._whole | self._of_parcels(table)

    def by(self, what: str, names: Sequence[str], table: pd.DataFrame) -> dict[str, dict[str, np.ndarray]]:
        """All levels per scene or region, of those that have anything to score."""
        found = {}
        for number, name in enumerate(names):
            pixels = self._by[what].get(number, dict.fromkeys(PIXELS, self._empty))
            levels = pixels | self._of_parcels(table[table[what] == name])
            if any(matrix.any() for matrix in levels.values()):
                found[name] = levels
        return found

    def _matrix(self, wanted: np.ndarray, truth: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return metrics.confusion(truth[wanted], labels[wanted], len(self._names))

    def _of_parcels(self, table: pd.DataFrame) -> dict[str, np.ndarray]:
        number = {name: k for k, name in enumerate(self._names)}
        test = table[(table["part"] == "test") & table["truth"].notna()]
        found = {}
        for level, column in VOTES.items():
            rows = test[test[column].notna()]
            truth, said = (rows[each].map(number).to_numpy(np.uint8) for each in ("truth", column))
            found[level] = metrics.confusion(truth, said, len(self._names))
        return found


def score_table(groups: Mapping[str, Matrices], called: str, names: Sequence[str]) -> pd.DataFrame:
    """A row per group and level: `count` of pixels or parcels, and `metrics.scores`."""
    rows: list[dict[str, Any]] = []
    for group, levels in groups.items():
        for level, matrix in levels.items():
            found = metrics.scores(matrix, names)
            count = int(found.pop("pixels"))
            rows.append({called: group, "level": level, "count": count} | (found if count else {}))
    keys = ["accuracy", "miou", "macro_f1", "weighted_iou"]
    keys += [f"{key}_{name}" for name in names for key in ("precision", "recall", "f1", "iou")]
    return pd.DataFrame(rows, columns=[called, "level", "count", *keys])


def class_table(levels: Matrices, names: Sequence[str]) -> pd.DataFrame:
    """A row per level and class: `true` and `found` pixels or parcels, precision, recall, F1, IoU."""
    rows = []
    for level, matrix in levels.items():
        found = metrics.scores(matrix, names)
        for k, name in enumerate(names):
            counts = {"level": level, "class": name, "true": int(matrix[k].sum()), "found": int(matrix[:, k].sum())}
            rows.append(counts | {key: found.get(f"{key}_{name}") for key in ("precision", "recall", "f1", "iou")})
    return pd.DataFrame(rows)


def confusion_table(levels: Matrices, names: Sequence[str]) -> pd.DataFrame:
    """A row per level and true class, a column per class that the map says."""
    rows = [{"level": level, "true": name} | dict(zip(names, matrix[k].tolist(), strict=True))
            for level, matrix in levels.items() for k, name in enumerate(names)]  # fmt: skip
    return pd.DataFrame(rows)
