"""What is true on a map's ground, and whose ground it is: masks and parts of the scenes, under a map's pixels."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from thalweg.classes import IGNORE
from thalweg.grid import Grid, Window
from thalweg.guard import looked_up
from thalweg.manifest.chips import PARTS, scene_parts
from thalweg.manifest.scene import Scene
from thalweg.split.ground import sphere

CONTESTED = 255
"""In parts: scenes disagree whose ground it is."""


class Here(NamedTuple):
    """Of one window."""

    truth: np.ndarray
    """(h, w) uint8 class ids, `IGNORE` where nothing is labelled or not valid."""
    parts: np.ndarray
    """(h, w) uint8, values of `PARTS` and `WITHHELD`, or `CONTESTED`."""
    scenes: np.ndarray
    """(h, w) int64 number of the scene whose pixel it is, the first that labels it; −1 without any."""

    @property
    def scored(self) -> np.ndarray:
        """(h, w) bool: test ground with a truth."""
        return np.asarray((self.parts == PARTS["test"]) & (self.truth != IGNORE))


class Ground:
    """The scenes of a grid, looked up by ground position."""

    def __init__(self, scenes: Sequence[Scene], split: Path, grid: Grid) -> None:
        """Takes scenes, `build/split`, and the map's grid."""
        self._scenes = [scene for scene in scenes if scene.record.georeferenced]
        self._spheres = [sphere(scene.grid) for scene in self._scenes]
        self._split, self._grid = split, grid
        self.names = tuple(scene.name for scene in self._scenes)

    def read(self, window: Window) -> Here:
        """Of a window of the map."""
        shape = (window.height, window.width)
        truth, parts = np.full(shape, IGNORE, np.uint8), np.zeros(shape, np.uint8)
        scenes = np.full(shape, -1, np.int64)
        centre, radius_m = sphere(self._grid.crop(window))
        for number, (there, reach_m) in enumerate(self._spheres):
            if np.linalg.norm(there - centre) <= radius_m + reach_m:
                self._add(number, window, truth, parts, scenes)
        return Here(truth, parts, scenes)

    def _add(self, number: int, window: Window, truth: np.ndarray, parts: np.ndarray, scenes: np.ndarray) -> None:
        scene = self._scenes[number]
        whose = np.asarray(scene_parts(self._split, scene))
        inside, found = looked_up(self._grid, window, scene.grid, whose)
        before = parts[inside]
        parts[inside] = np.where((before == 0) | (before == found) | (found == 0), np.maximum(before, found), CONTESTED)
        labels = np.full(len(found), IGNORE, np.uint8)
        if scene.mask is not None:
            usable = looked_up(self._grid, window, scene.grid, scene.valid)[1] != 0
            labels[usable] = looked_up(self._grid, window, scene.grid, scene.mask)[1][usable]
        first = (truth[inside] == IGNORE) & (labels != IGNORE)
        scenes[inside] = np.where(first | (scenes[inside] < 0), number, scenes[inside])
        truth[inside] = np.where(first, labels, truth[inside])
