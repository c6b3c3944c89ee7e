"""Bands of one product on a scene's grid: digital numbers, physical values, and where they can be trusted."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from thalweg.grid import Grid, Window
from thalweg.preprocess import radiometry
from thalweg.preprocess.decode import Reader
from thalweg.preprocess.resample import Lattice, between
from thalweg.preprocess.warp import Warp
from thalweg.products import Layer


class Band(NamedTuple):
    """One band, its file, and how that lies under the grid."""

    layer: Layer
    reader: Reader
    place: Lattice | Warp
    as_delivered: bool
    """Whether the file's pixels are the grid's, one by one, so that nothing is resampled."""

    def load(self, window: Window) -> None:
        """Decodes what a window of the grid needs, from the top down.

        Raises:
            RasterError: The file cannot be decoded to its end.
        """
        at = self._under(window)
        if at.height and at.width:
            self.reader.load(at.row, at.row + at.height)

    def digital(self, window: Window) -> np.ndarray:
        """Digital numbers (h, w) of a loaded window of a band as delivered."""
        return self.reader.digital(self.layer, window.row, window.row + window.height)

    def physical(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Of a loaded window: values (h, w) float32, NaN where not measured; and where they are bright, (h, w) bool.

        Bright is what is saturated; of a resampled band, what any saturated pixel has a part in.
        """
        at = self._under(window)
        if not (at.height and at.width):
            return np.full((window.height, window.width), np.nan, np.float32), np.zeros(window[2:], bool)
        digital = self.reader.digital(self.layer, at.row, at.row + at.height)
        mask = self.reader.there(self.layer, at.row, at.row + at.height)
        values, bright = radiometry.to_physical(digital, self.layer), radiometry.saturated(digital, self.layer)
        if mask is not None:
            values[~mask] = np.nan
        if self.as_delivered:
            return values, bright
        shared = bright.astype(np.float32) if bright.any() else None
        spread = np.zeros(window[2:], bool) if shared is None else np.abs(self.place.resample(shared, at, window)) > 0
        return self.place.resample(values, at, window), spread

    def _under(self, window: Window) -> Window:
        at = self.place.source_window(window)
        return at._replace(col=self.reader.cols.start, width=self.reader.cols.stop - self.reader.cols.start)


def bands_on(grid: Grid, layers: Mapping[str, Layer], resampling: str) -> dict[str, Band]:
    """Bands ready to be read in windows of a grid; those of one file share its reader.

    Args:
        grid: The scene's.
        layers: Of one product; label bands are read elsewhere.
        resampling: Of layers on another lattice.
    """
    groups: dict[object, list[Layer]] = {}
    for layer in layers.values():
        groups.setdefault(_file(layer), []).append(layer)
    found: dict[object, tuple[Reader, Lattice | Warp, bool]] = {}
    for key, group in groups.items():
        place = between(group[0].grid, grid, resampling) or Warp(group[0].grid, grid, resampling)
        at = place.source_window(grid.full)
        same = isinstance(place, Lattice) and place.identical and group[0].grid.shape_yx == grid.shape_yx
        found[key] = Reader(group, at.cols), place, same
    return {name: Band(layer, *found[_file(layer)]) for name, layer in layers.items()}


def _file(layer: Layer) -> object:
    return (layer.path, layer.grid) if layer.read is None else layer
