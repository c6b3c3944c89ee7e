"""Names dealt by chance: shuffled and cut, or stratified by binned columns as the crop system bins them."""

from collections.abc import Sequence

import numpy as np


def bin_numbers(values: np.ndarray, bins: int | None) -> np.ndarray:
    """(n,) int: which of `bins` bins of equal width each value lies in; None for min(100, n / 20) bins."""
    count = bins or max(int(min(100, len(values) / 20)), 1)
    low, high = float(values.min()), float(values.max())
    if high == low:
        return np.zeros(len(values), int)
    numbers: np.ndarray = np.minimum(((values - low) / (high - low) * count).astype(int), count - 1)
    return numbers


def merged(numbers: np.ndarray) -> np.ndarray:
    """(n,) int: bins that hold one value alone joined to a neighbour, the nearest first, other such bins preferred."""
    groups = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
    while len(groups) > 1 and any(len(group) == 1 for group in groups):
        _, _, left = min(
            (_gap(numbers, groups, place), len(groups[place]) + len(groups[place + 1]), place)
            for place in range(len(groups) - 1)
            if 1 in (len(groups[place]), len(groups[place + 1]))
        )
        groups[left : left + 2] = [np.concatenate(groups[left : left + 2])]
    joined = np.zeros(len(numbers), int)
    for number, group in enumerate(groups):
        joined[group] = number
    return joined


def _gap(numbers: np.ndarray, groups: list[np.ndarray], place: int) -> int:
    return int(numbers[groups[place + 1]].min() - numbers[groups[place]].max())


def strata_of(columns: Sequence[tuple[np.ndarray, int | None]]) -> np.ndarray:
    """(n,) int stratum of each row of some columns with their bins; later columns are merged inside earlier ones."""
    stratum = np.zeros(len(columns[0][0]), int)
    for values, bins in columns:
        numbers = bin_numbers(values, bins)
        finer = np.zeros_like(stratum)
        for group in np.unique(stratum):
            inside = stratum == group
            finer[inside] = merged(numbers[inside])
        stratum = np.unique(np.stack([stratum, finer], 1), axis=0, return_inverse=True)[1].reshape(-1)
    return stratum


def shuffled(count: int, shares: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """(count,) int: which share each row falls to, cut at rounded cumulative shares; −1 for what is left over."""
    dealt = np.full(count, -1)
    order = rng.permutation(count)
    cuts = np.rint(np.cumsum([0.0, *shares]) * count).astype(int)
    for number in range(len(shares)):
        dealt[order[cuts[number] : cuts[number + 1]]] = number
    return dealt


def stratified(stratum: np.ndarray, shares: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """(n,) int: which share each row falls to, every stratum in proportion; −1 for what is left over.

    The shares are taken off one after another, each as its part of what remains, by largest remainders.
    """
    dealt = np.full(len(stratum), -1)
    remaining = 1.0
    for number, share in enumerate(shares):
        free = np.flatnonzero(dealt < 0)
        wanted = min(round(share * len(stratum)), len(free))
        kinds, counts = np.unique(stratum[free], return_counts=True)
        exact = counts * min(share / max(remaining, 1e-9), 1)
        for kind, take in zip(kinds, _rounded(exact, counts, wanted), strict=True):
            dealt[rng.permutation(free[stratum[free] == kind])[:take]] = number
        remaining -= share
    return dealt


def _rounded(exact: np.ndarray, limits: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers near `exact`, at most `limits`, with the given total where the limits allow."""
    whole: np.ndarray = np.minimum(np.floor(exact + 1e-9).astype(int), limits)
    for place in np.argsort(-(exact - whole), kind="stable").tolist() * 2:
        if whole.sum() < total and whole[place] < limits[place]:
            whole[place] += 1
    return whole
