"""A project after its first round, for tests: scenes with partly drawn masks, their split, and a map that is sure."""

from pathlib import Path

import numpy as np
from affine import Affine
from plain_map import make_map
from scene_builder import make_scene
from split_builder import CLASSES, params, run

from thalweg.grid import Grid
from thalweg.manifest.rounds import RoundFolder
from thalweg.mapfiles import MapFiles
from thalweg.params.split import Split
from thalweg.pseudo.write import Project

SHAPE = (96, 96)
DRAWN_COLS = 60
"""Columns from the left with drawn labels; the others have none."""


def make_truth(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Class 1 in slanted stripes eight pixels wide."""
    rows, cols = np.indices(shape)
    return (((rows + cols) // 8) % 3 == 0).astype(np.uint8)


class FirstRound:
    """Scenes at 60 m and 20 m of the same ground, split into blocks of 900 m; `map` is of 60 m pixels."""

    def __init__(self, root: Path, split: Split | None = None, confident: float = 0.97) -> None:
        self.root = root
        self.truth = make_truth()
        drawn = self.truth.copy()
        drawn[:, DRAWN_COLS:] = 255
        self.drawn = drawn
        self.scene = make_scene(root / "scenes/g60", "a", shape=SHAPE, mask=drawn)
        fine = drawn.repeat(3, 0).repeat(3, 1)
        self.fine = make_scene(root / "scenes/g20", "a", pixel=20.0, shape=(288, 288), mask=fine)
        self.split = split or params()
        self.folder = run_split(root / "scenes", self.split, root / "split")
        self.map = self.make_map("main", self.truth, confident)

    def make_map(
        self, name: str, labels: np.ndarray, confident: float | np.ndarray, grid: Grid | None = None
    ) -> MapFiles:
        """A map that gives its labels this probability."""
        sure = np.broadcast_to(np.asarray(confident, float), labels.shape)
        second = np.where(labels == 1, sure, 1 - sure)
        probs = np.where(labels == 255, np.nan, np.stack([1 - second, second]))
        grid = grid or Grid("EPSG:32720", Affine(60, 0, 600_000, 0, -60, 7_000_000), labels.shape)
        return make_map(
            self.root / "maps" / name, labels, CLASSES.names, grid, probs, np.where(labels == 255, np.nan, 0.1)
        )

    def project(self, earlier: RoundFolder | None = None) -> Project:
        """For `write_pseudo_labels`."""
        return Project(CLASSES, self.split, self.root / "scenes", self.folder, earlier)


def run_split(scenes: Path, split: Split, target: Path, earlier: RoundFolder | None = None) -> Path:
    """Both grids."""
    from thalweg.split.build import build_split

    build_split(scenes, ("g20", "g60"), split, CLASSES, target, earlier)
    return target


__all__ = ["FirstRound", "make_truth", "run", "run_split"]
