"""Chips read from memory-mapped scenes: pixels and target of any window, padded past the scene's edge."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from thalweg import raster
from thalweg.classes import IGNORE
from thalweg.errors import SceneError
from thalweg.grid import Window, cut
from thalweg.manifest.chips import HIDDEN, PARTS, scene_parts
from thalweg.manifest.scene import NODATA, Scene, read_scenes


class ChipReader:
    """The scenes of one grid with their split, opened once; safe to send to a loader process, which opens its own."""

    def __init__(self, scenes: Path, split: Path, grid: str) -> None:
        """Takes `build/scenes/<grid>`, `build/split` and the grid's name."""
        self._origin = (scenes, split, grid)
        self.scenes: dict[str, Scene] = read_scenes(scenes)
        self._planes: dict[str, _Planes] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return ChipReader, self._origin

    def pixels(self, scene: str, window: Window) -> np.ndarray:
        """(h, w, C) stored values of a window, nodata where it reaches past the scene; always a copy."""
        image = self._open(scene).image
        return cut(image, window, NODATA)

    def parts(self, scene: str) -> np.ndarray:
        """(H, W) uint8 part of every pixel, values of `manifest.chips.PARTS`."""
        return self._open(scene).parts

    def target(self, scene: str, window: Window, part: str) -> np.ndarray:
        """(h, w) class ids; 255 outside the part, where not valid, unlabelled, or past the scene's edge."""
        planes = self._open(scene)
        if planes.mask is None:
            return np.full((window.height, window.width), IGNORE, np.uint8)
        target = cut(planes.mask, window, IGNORE)
        outside = cut(planes.parts, window, PARTS["unused"]) != PARTS[part]
        outside |= cut(planes.valid, window, 0) == 0
        target[outside] = IGNORE
        return target

    def read(self, scene: str, window: Window, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (h, w, C) and target (h, w) of a window for one part, as models see it while they learn.

        Test ground and what is withheld around it are nodata, unless the part is `test`.
        """
        pixels = self.pixels(scene, window)
        if part != "test":
            pixels[np.isin(cut(self._open(scene).parts, window, PARTS["unused"]), HIDDEN)] = NODATA
        return pixels, self.target(scene, window, part)

    def _open(self, scene: str) -> "_Planes":
        if scene not in self._planes:
            if scene not in self.scenes:
                raise SceneError(
                    f"scene {scene} is in the chip table but not in {self._origin[0]}; run `dvc repro split`"
                )
            record = self.scenes[scene]
            image = raster.plain(record.image)
            arrays = (record.valid, scene_parts(self._origin[1], record), record.mask)
            self._planes[scene] = _Planes(image, *(None if array is None else np.asarray(array) for array in arrays))  # type: ignore[arg-type]
        return self._planes[scene]


class _Planes(NamedTuple):  # plain views of the maps: slicing np.memmap itself costs more than the copy of a chip
    image: np.ndarray | raster.Stacked
    valid: np.ndarray
    parts: np.ndarray
    mask: np.ndarray | None


class Place(NamedTuple):
    """Where a chip is read."""

    scene: str
    window: Window


Away = Mapping[str, np.ndarray]
"""Scene → (N, 3) row, column and edge of windows."""


class Chips:
    """A map-style dataset for torch's loader whose index is a `Place`: what is read follows from the place alone."""

    def __init__(self, reader: ChipReader, part: str, away: Away | None = None, alone: Away | None = None) -> None:
        """Takes the scenes and a part.

        Args:
            reader: The scenes.
            part: Whose labels count.
            away: Windows whose labels are another member's, whatever reaches into them.
            alone: Windows outside which no label counts; None: there are no such.
        """
        self.reader = reader
        self.part = part
        self._away = away or {}
        self._alone = alone

    def __getitem__(self, place: Place) -> tuple[np.ndarray, np.ndarray]:
        pixels, target = self.reader.read(place.scene, place.window, self.part)
        if self._away:
            target[_inside(self._away, place)] = IGNORE
        if self._alone is not None:
            target[~_inside(self._alone, place)] = IGNORE
        return pixels, target


def _inside(windows: Away, place: Place) -> np.ndarray:
    """(h, w) bool: pixels of a place that lie in one of the windows."""
    found = np.zeros((place.window.height, place.window.width), bool)
    for row, col, size in _reached(windows, place):
        rows = slice(max(row - place.window.row, 0), max(row - place.window.row + size, 0))
        found[rows, max(col - place.window.col, 0) : max(col - place.window.col + size, 0)] = True
    return found


def _reached(windows: Away, place: Place) -> list[list[int]]:
    if place.scene not in windows:
        return []
    (rows, cols, sizes), window = windows[place.scene].T, place.window
    hit = (rows < window.row + window.height) & (rows + sizes > window.row)
    hit &= (cols < window.col + window.width) & (cols + sizes > window.col)
    found: list[list[int]] = windows[place.scene][hit].tolist()
    return found


def stack(chips: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Chips of one size as a batch: pixels (B, h, w, C), target (B, h, w)."""
    return np.stack([pixels for pixels, _ in chips]), np.stack([target for _, target in chips])
