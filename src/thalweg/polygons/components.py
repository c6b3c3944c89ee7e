"""A map's connected patches, found stripe by stripe, and small ones given to their neighbours.

A patch is what of one class hangs together by pixel edges; ground without a map makes patches too, of the class
`IGNORE`. Patches are numbered by their first pixel in reading order, so that nothing depends on the stripes.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage import measure

from thalweg.classes import IGNORE
from thalweg.grid import Window
from thalweg.mapfiles import MapFiles

_DECIMALS = 3
"""Of areas in m²: sums of equal pixels are equal, in whatever order they were added."""

_HALF, _LOW = 32, 2**32 - 1


@dataclass
class Patches:
    """All patches of a map; memory goes with their number and their borders, not with the raster."""

    numbers: np.ndarray
    """(pieces,) patch of each piece that a stripe found, in order of stripes."""
    starts: list[int]
    """First piece of each stripe."""
    rows: int
    """Height of a stripe."""
    classes: np.ndarray
    """(patches,) uint8."""
    area_m2: np.ndarray
    """(patches,) ground area."""
    borders: np.ndarray
    """(pairs, 3) int64: two patches that touch and the pixel edges that they share."""

    def iter_stripes(self, files: MapFiles) -> Iterator[tuple[Window, np.ndarray]]:
        """Stripes from top to bottom with each pixel's patch (h, W) int64."""
        for start, window in zip(self.starts, files.iter_stripes(self.rows), strict=True):
            yield window, self.numbers[_label(files.read_labels(window)) + start]


def find_patches(files: MapFiles, rows: int) -> Patches:
    """The patches of a map.

    Args:
        files: The map.
        rows: Pixel rows that are held at a time.
    """
    starts, pieces, joins, borders = [], _Pieces(), [], []
    above: tuple[np.ndarray, np.ndarray] | None = None
    for window in files.iter_stripes(rows):
        labels = files.read_labels(window)
        start = pieces.count
        numbers = _label(labels) + start
        starts.append(start)
        pieces.add(numbers - start, labels, window, files)
        borders += [_pairs(numbers[:, :-1], numbers[:, 1:]), _pairs(numbers[:-1], numbers[1:])]
        if above is not None:
            same = above[1] == labels[0]
            joins.append(np.stack([above[0][same], numbers[0][same]], 1))
            borders.append(_pairs(above[0][~same], numbers[0][~same]))
        above = numbers[-1].copy(), labels[-1].copy()
    return _joined(pieces, starts, rows, joins, borders)


def absorb(patches: Patches, min_area_m2: float, max_hole_m2: float) -> tuple[np.ndarray, np.ndarray]:
    """Gives patches that are too small to their neighbours, the smallest first.

    A small patch becomes of that class with which it shares the most border, and joins all neighbours of it. Ground
    without a map counts as a neighbour only where there is no other, so that a lone speck vanishes.

    Args:
        patches: Of the map.
        min_area_m2: Patches of a class that are smaller are given away.
        max_hole_m2: Ground without a map that is smaller is filled.

    Returns:
        (patches,) int64: the patch that each is now part of, its number the least of its parts'; (patches,) uint8 its
        class.
    """
    limits = np.where(patches.classes == IGNORE, max_hole_m2, min_area_m2)
    small = patches.area_m2 < limits
    heap = [(float(patches.area_m2[number]), int(number)) for number in np.flatnonzero(small)]
    heapq.heapify(heap)
    state = _State(patches, small)
    while heap:
        area, number = heapq.heappop(heap)
        if state.is_current(number, area) and area < state.limit(number, min_area_m2, max_hole_m2):
            grown = state.give(number)
            if grown is not None and state.area[grown] < state.limit(grown, min_area_m2, max_hole_m2):
                heapq.heappush(heap, (state.area[grown], grown))
    into = np.array([state.root(number) for number in range(len(patches.classes))], np.int64)
    return into, np.array([state.classes[number] for number in into], np.uint8)


class _State:
    """Who has been given to whom; only small patches know their neighbours."""

    def __init__(self, patches: Patches, small: np.ndarray) -> None:
        self.parent = list(range(len(patches.classes)))
        self.area: list[float] = patches.area_m2.tolist()
        self.classes: list[int] = patches.classes.tolist()
        self.neighbours: dict[int, dict[int, int]] = {int(number): {} for number in np.flatnonzero(small)}
        touching = patches.borders[small[patches.borders[:, 0]] | small[patches.borders[:, 1]]]
        for one, other, length in touching.tolist():
            for here, there in ((one, other), (other, one)):
                if here in self.neighbours:
                    self.neighbours[here][there] = length

    def root(self, number: int) -> int:
        """The patch that a patch belongs to by now."""
        while self.parent[number] != number:
            self.parent[number] = self.parent[self.parent[number]]
            number = self.parent[number]
        return number

    def is_current(self, number: int, area: float) -> bool:
        """Whether it is nobody's yet, and has not grown."""
        return self.parent[number] == number and self.area[number] == area

    def limit(self, number: int, min_area_m2: float, max_hole_m2: float) -> float:
        """Area below which it is given away: a hole's or a class's."""
        return max_hole_m2 if self.classes[number] == IGNORE else min_area_m2

    def give(self, number: int) -> int | None:
        """Joins a patch with its neighbours of one class; the number of what comes of it."""
        borders: defaultdict[int, int] = defaultdict(int)
        around = {self.root(other): 0 for other in self.neighbours[number]}
        for other, length in self.neighbours[number].items():
            borders[self.classes[self.root(other)]] += length
        around.pop(number, None)
        if not around:
            return None
        mapped = {label: length for label, length in borders.items() if label != IGNORE}
        chosen = min(mapped or borders, key=lambda label: (-borders[label], label))
        parts = sorted([number, *(other for other in around if self.classes[other] == chosen)])
        return self._join(parts, chosen)

    def _join(self, parts: list[int], label: int) -> int:
        root, others = parts[0], parts[1:]
        merged: defaultdict[int, int] = defaultdict(int)
        known = all(part in self.neighbours for part in parts)
        for part in parts:
            for other, length in self.neighbours.pop(part, {}).items():
                merged[other] += length
        for other in others:
            self.parent[other] = root
            self.area[root] += self.area[other]
        self.classes[root] = label
        if known:  # else it holds a patch that was large enough
            self.neighbours[root] = {other: length for other, length in merged.items() if self.root(other) != root}
        return root


class _Pieces:
    """What stripes found: class, area and first pixel of each."""

    def __init__(self) -> None:
        self.count = 0
        self.classes: list[np.ndarray] = []
        self.area_m2: list[np.ndarray] = []
        self.first: list[np.ndarray] = []

    def add(self, numbers: np.ndarray, labels: np.ndarray, window: Window, files: MapFiles) -> None:
        """The pieces of the next stripe, numbered from 0 in it."""
        flat = numbers.ravel()
        at = np.empty(int(flat.max()) + 1, np.int64)
        at[flat[::-1]] = np.arange(len(flat))[::-1]  # the last that is written stays: each piece's first pixel
        self.count += len(at)
        self.classes.append(labels.ravel()[at])
        self.first.append(at + window.row * window.width)
        weights = np.broadcast_to(files.row_m2[window.rows, None], numbers.shape)
        self.area_m2.append(np.bincount(numbers.ravel(), weights.ravel()))


def _label(labels: np.ndarray) -> np.ndarray:
    """Piece of each pixel, from 0, numbered in reading order."""
    label: Any = measure.label
    return np.asarray(label(labels.astype(np.int16) + 1, background=0, connectivity=1), np.int64) - 1


def _pairs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(pairs, 3): distinct pairs of unequal numbers, and how often they meet."""
    differ = one != other
    keys = np.sort(_keyed(one[differ], other[differ]))
    begins = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    keys, lengths = keys[begins], np.diff(np.append(begins, len(keys)))
    return np.column_stack([keys >> _HALF, keys & _LOW, lengths])


def _summed(one: np.ndarray, other: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The same of pairs that met before, however often each comes."""
    keys = _keyed(one, other)
    order = np.argsort(keys)
    keys, lengths = keys[order], lengths[order]
    begins = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    keys, lengths = keys[begins], np.add.reduceat(lengths, begins) if len(begins) else lengths
    return np.column_stack([keys >> _HALF, keys & _LOW, lengths])


def _keyed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pairs of numbers below 2³² as one number each, the lesser first: they sort as the pairs do."""
    return np.asarray((np.minimum(one, other) << _HALF) | np.maximum(one, other))


def _joined(
    pieces: _Pieces, starts: list[int], rows: int, joins: list[np.ndarray], borders: list[np.ndarray]
) -> Patches:
    met = np.concatenate([np.zeros((0, 2), np.int64), *joins])
    graph = coo_array((np.ones(len(met), np.int8), (met[:, 0], met[:, 1])), shape=(pieces.count, pieces.count))
    _, groups = connected_components(graph, directed=False)
    first, classes = np.concatenate(pieces.first), np.concatenate(pieces.classes)
    _, leaders = np.unique(groups, return_index=True)
    rank = np.empty(len(leaders), np.int64)
    rank[np.argsort(first[leaders])] = np.arange(len(leaders))
    numbers = rank[groups]
    of_patch = np.empty(len(leaders), np.uint8)
    of_patch[numbers] = classes
    met = np.concatenate([np.zeros((0, 3), np.int64), *borders])
    return Patches(
        numbers=numbers, starts=starts, rows=rows, classes=of_patch,
        area_m2=np.round(np.bincount(numbers, np.concatenate(pieces.area_m2)), _DECIMALS),
        borders=_summed(numbers[met[:, 0]], numbers[met[:, 1]], met[:, 2]),
    )  # fmt: skip
