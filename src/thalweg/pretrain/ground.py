"""What may be seen without labels: training ground, by choice ground of no part, never that of validation and test."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from thalweg.dataset.chips import ChipReader
from thalweg.errors import TrainingError
from thalweg.grid import Window, cut, iter_blocks, iter_windows
from thalweg.guard import Guard
from thalweg.manifest.chips import PARTS
from thalweg.manifest.scene import NODATA

_BAND_PX = 1024


class Seen:
    """The scenes of one grid, of which only some ground is shown; safe to send to a loader process."""

    def __init__(self, scenes: Path, split: Path, grid: str, parts: Sequence[str]) -> None:
        """Takes `build/scenes/<grid>`, `build/split`, the grid's name, and `train` with or without `unlabelled`."""
        self.reader = ChipReader(scenes, split, grid)
        self._split, self._parts = split, tuple(parts)
        self._held: dict[str, np.ndarray] = {}
        if "unlabelled" in parts:
            self._held = self._held_out(grid)

    def allowed(self, scene: str, window: Window) -> np.ndarray:
        """(h, w) bool: valid pixels of ground that may be seen; none past the scene's edge."""
        parts = cut(self.reader.parts(scene), window, PARTS["unused"])
        valid = cut(self.reader.scenes[scene].valid, window, 0) > 0
        shown = np.zeros(parts.shape, bool)
        if "train" in self._parts:
            shown |= parts == PARTS["train"]
        if "unlabelled" in self._parts:
            shown |= (parts == PARTS["unused"]) & ~cut(self._held[scene], window, True)
        return np.asarray(shown & valid)

    def pixels(self, scene: str, window: Window) -> np.ndarray:
        """(h, w, C) stored values, nodata wherever the ground may not be seen."""
        pixels = self.reader.pixels(scene, window)
        pixels[~self.allowed(scene, window)] = NODATA
        return pixels

    def _held_out(self, grid: str) -> dict[str, np.ndarray]:
        """Per scene where ground of no part in this scene is that of val or test in another, or in their blocks."""
        guard = Guard({grid: self.reader.scenes}, self._split, 0.0)
        found = {}
        for name, scene in self.reader.scenes.items():
            found[name] = held = np.zeros(scene.grid.shape_yx, bool)
            for window in iter_blocks(scene.grid.shape_yx, _BAND_PX):
                held[window.rows, window.cols] = guard.near(scene.grid, window)
        return found


def lattice(seen: Seen, chip_px: int, least: float) -> pd.DataFrame:
    """The windows of a regular lattice of which enough may be seen, one row each; `shown_px` counts pixels.

    Args:
        seen: The ground.
        chip_px: Edge of a window.
        least: Share of a window's pixels.

    Raises:
        TrainingError: There is none.
    """
    rows = []
    for name, scene in seen.reader.scenes.items():
        height, width = scene.record.shape_yx
        if min(height, chip_px) * min(width, chip_px) < least * chip_px**2:
            continue  # no window of it can show enough, however large a window is
        for window in iter_windows(scene.record.shape_yx, chip_px, chip_px):
            shown = int(seen.allowed(name, window).sum())
            if shown >= least * chip_px**2:
                rows.append((name, window.row, window.col, chip_px, shown))
    if not rows:
        raise TrainingError(
            f"no window of {chip_px} px shows {least:g} of ground that may be seen; lower least_valid or crops.chip_m, "
            "or add unlabelled to parts"
        )
    return pd.DataFrame(rows, columns=["scene", "row", "col", "size", "shown_px"])
