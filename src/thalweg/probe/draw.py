"""Which pictures are learnt from: parts and label fractions, each class alike, by a seed."""

import numpy as np

from thalweg.classes import IGNORE

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
"""Of each class, where a data set has no parts of its own: ssl4rs' shares for UC Merced and AID."""


def draw_parts(labels: np.ndarray, given: np.ndarray | None, seed: int) -> np.ndarray:
    """(N,) part of every picture, each class alike; what nobody labelled is in none (`""`).

    Parts that a data set gives stay; one without `val` gets a tenth of its training pictures.
    """
    random = np.random.default_rng([seed, 0])
    parts = np.full(len(labels), "", "<U5")
    for label in np.unique(labels[labels != IGNORE]):
        mine = random.permutation(np.flatnonzero(labels == label))
        if given is None:
            edges = np.rint(np.cumsum(list(SHARES.values())) * len(mine)).astype(int)
            edges[0] = max(edges[0], 1)
            for part, numbers in zip(SHARES, np.split(mine, edges[:-1]), strict=True):
                parts[numbers] = part
            continue
        parts[mine] = given[mine]
        train = mine[given[mine] == "train"]
        if "val" not in given:
            parts[train[: round(SHARES["val"] * len(train))]] = "val"
    return parts


def draw_fraction(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Places of a share of each class, at least one of each; a smaller share is part of a larger one of its seed."""
    random = np.random.default_rng([seed, 1])
    drawn = []
    for label in np.unique(labels):
        mine = random.permutation(np.flatnonzero(labels == label))
        drawn.append(mine[: max(round(fraction * len(mine)), 1)])
    return np.sort(np.concatenate(drawn))
