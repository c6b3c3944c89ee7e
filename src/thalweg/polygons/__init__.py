"""A map's classes as polygons that exclude each other, with size, probability and doubt: what a GIS user edits.

Small patches go to their neighbours and small gaps are filled on the raster, before anything is drawn, so that the
polygons still are a partition; outlines are simplified together, so that shared borders stay shared. The raster is read
in stripes; memory goes with what is drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import geopandas
import numpy as np

from thalweg.classes import IGNORE
from thalweg.errors import MapError
from thalweg.grid import Window
from thalweg.mapfiles import MapFiles, read_map, read_scaled
from thalweg.polygons.components import absorb, find_patches
from thalweg.polygons.outlines import Outlines
from thalweg.vectors import FORMATS, write_vectors

LAYER = "polygons"
_ROWS = 512


@dataclass(frozen=True)
class Rules:
    """What is drawn, and how coarsely."""

    classes: tuple[str, ...]
    """Names of the classes that become polygons; all classes take part in what goes to whom."""
    min_area_m2: float
    """Patches that are smaller are given to the neighbours with which they share the most border."""
    max_hole_m2: float
    """Ground without a map that is smaller is filled likewise."""
    tolerance_m: float
    """Of the simplification: square root of the largest triangle cut off; 0 keeps the pixels' outlines."""


def build_polygons(files: MapFiles, rules: Rules, rows: int = _ROWS) -> geopandas.GeoDataFrame:
    """The polygons of a map in its CRS, in reading order of their first pixels.

    Columns: `id` from 1; `class_id`; `class`; `area_m2`, ground area of the pixels (before simplification);
    `mean_prob`, mean probability of the class over them, 0…1; `mean_uncertainty`, mean of the first band of
    uncertainty.tif. The means are NaN where the map has no such file.

    Args:
        files: The map.
        rules: What is drawn.
        rows: Pixel rows that are held at a time; no result depends on it.

    Raises:
        MapError: A class is none of the map's, or no class is given.
    """
    if not rules.classes:
        raise MapError(f"no class of {files.classes} is to be drawn; name one or more of {', '.join(files.names)}")
    wanted = np.array(sorted(files.label(name) for name in rules.classes))
    patches = find_patches(files, rows)
    into, classes = absorb(patches, rules.min_area_m2, rules.max_hole_m2)
    drawn = np.where(np.isin(classes, wanted), into, -1)
    outlines, sums = Outlines(files.grid.shape_yx[1]), _Sums(files, len(classes))
    for window, numbers in patches.iter_stripes(files):
        outlines.add(window, drawn[numbers])
        sums.add(window, into[numbers], classes[numbers])
    tolerance_px = rules.tolerance_m / math.sqrt(math.prod(files.grid.pixel_m_yx))
    found, shapes = outlines.finish(files.grid.transform, tolerance_px)
    return geopandas.GeoDataFrame(
        {"id": np.arange(1, len(found) + 1), "class_id": classes[found].astype(np.int32),
         "class": [files.names[label] for label in classes[found]], "area_m2": sums.area_m2[found],
         "mean_prob": sums.mean(0)[found], "mean_uncertainty": sums.mean(1)[found]},
        geometry=shapes, crs=files.grid.crs_wkt,
    )  # fmt: skip


def write_polygons(folder: Path, rules: Rules, formats: Sequence[str]) -> list[Path]:
    """Writes polygons.<suffix> beside a finished map, in each of the formats.

    Args:
        folder: The map's.
        rules: What is drawn; no classes stand for all of the map's.
        formats: Keys of `vectors.FORMATS`.

    Raises:
        MapError: It is no map, or a class is none of its.
    """
    files = read_map(folder)
    table = build_polygons(files, replace(rules, classes=rules.classes or files.names))
    paths = [folder / f"{LAYER}{FORMATS[name]}" for name in formats]
    for path in paths:
        write_vectors(path, {LAYER: table})
    return paths


class _Sums:
    """Ground area, probability and doubt per patch."""

    def __init__(self, files: MapFiles, patches: int) -> None:
        self._files = files
        self.area_m2 = np.zeros(patches)
        self._totals = np.zeros((2, patches))
        self._counts = np.zeros((2, patches))

    def add(self, window: Window, numbers: np.ndarray, classes: np.ndarray) -> None:
        """A window, by patch number and class of its pixels."""
        count = len(self.area_m2)
        weights = np.broadcast_to(self._files.row_m2[window.rows, None], numbers.shape)
        self.area_m2 += np.bincount(numbers.ravel(), weights.ravel(), minlength=count)
        for row, values in enumerate((self._probs(window, classes), self._doubt(window))):
            if values is not None:
                known = np.isfinite(values)
                self._totals[row] += np.bincount(numbers[known], values[known], minlength=count)
                self._counts[row] += np.bincount(numbers[known], minlength=count)

    def mean(self, row: int) -> np.ndarray:
        """Of probability (0) or doubt (1)."""
        totals, counts = self._totals[row], self._counts[row]
        return np.asarray(np.divide(totals, counts, out=np.full_like(totals, np.nan), where=counts > 0))

    def _probs(self, window: Window, classes: np.ndarray) -> np.ndarray | None:
        path = self._files.probs
        if path is None:
            return None
        values = np.full(classes.shape, np.nan, np.float32)
        present: Sequence[int] = np.setdiff1d(np.unique(classes), [IGNORE]).tolist()
        bands = tuple(label + 1 for label in present)
        for label, probs in zip(present, read_scaled(path, window, bands) if bands else (), strict=True):
            np.copyto(values, probs, where=classes == label)
        return values

    def _doubt(self, window: Window) -> np.ndarray | None:
        path = self._files.uncertainty
        return None if path is None else read_scaled(path, window, (1,))[0]
