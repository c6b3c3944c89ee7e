"""The scenes below a map, pixel by pixel: what was seen there and what was drawn as its truth."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import shapely
from affine import Affine
from pyproj import Transformer

from thalweg import pictures, raster
from thalweg.classes import IGNORE
from thalweg.grid import Grid, Window
from thalweg.manifest.scene import NODATA, Scene
from thalweg.mosaic import footprint

TOGETHER = 0.5
"""Share of a map that scenes must cover for it to be shown as one piece."""
_LOOK_PX = 256


class Ground:
    """Scenes on the pixels of a map's grid: the nearest pixel of the first scene that has one there."""

    def __init__(self, scenes: Sequence[Scene], grid: Grid) -> None:
        """Takes scenes of one pixel grid definition, in any CRS, and the map's grid."""
        self.scenes = tuple(scenes)
        self.grid = grid

    @property
    def labelled(self) -> bool:
        """Whether any scene has a mask."""
        return any(scene.record.labelled for scene in self.scenes)

    @property
    def pieces(self) -> list[Window]:
        """Parts of the map's grid that its scenes cover, by `find_pieces`."""
        return find_pieces([footprint(self.grid, scene.grid) for scene in self.scenes], self.grid.shape_yx)

    @cached_property
    def choices(self) -> list[tuple[list[int], str]]:
        """Channels (1-based) that can be shown as a picture, and what to call that."""
        return pictures.choices(pictures.shown_channels(self.scenes[0])) if self.scenes else []

    def mask(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Labels (h, w) uint8 at rows (h,) and columns (w,) of the map's grid, `IGNORE` where nobody said anything."""
        found = np.full((len(rows), len(cols)), IGNORE, np.uint8)
        for scene in self.scenes:
            if scene.mask is not None:
                at, inside = self._places(scene, rows, cols)
                found[inside] = np.where(found[inside] == IGNORE, scene.mask[at], found[inside])
                raster.release(scene.mask)
        return found

    def values(self, rows: np.ndarray, cols: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
        """Stored values (N, h, w) float64 of channels (1-based), NaN where no scene has any."""
        found = np.full((len(numbers), len(rows), len(cols)), np.nan)
        for scene in self.scenes:
            at, inside = self._places(scene, rows, cols)
            for plane, number in zip(found, numbers, strict=True):
                stored = np.asarray(scene.image[(*at, number - 1)], np.float64)
                plane[inside] = np.where(np.isnan(plane[inside]) & (stored != NODATA), stored, plane[inside])
            raster.release(scene.image)  # else all that was ever looked at would count as this process's memory
        return found

    def picture(self, rows: np.ndarray, cols: np.ndarray, choice: int) -> tuple[np.ndarray, np.ndarray]:
        """(h, w, 3) uint8 as the whole map's contrast has it, and (h, w) bool, where there is anything."""
        numbers, _ = self.choices[choice]
        seen = self.values(rows, cols, numbers)
        there = ~np.isnan(seen).any(0)
        bright = [pictures.stretched(plane, *span) for plane, span in zip(seen, self._spans[choice], strict=True)]
        return np.stack(bright, -1), there

    @cached_property
    def _spans(self) -> list[list[tuple[float, float, float]]]:
        """Per choice and colour, the `spread` of a sparse look at the whole map."""
        rows, cols = (np.linspace(0, edge - 1, min(edge, _LOOK_PX)).astype(np.int64) for edge in self.grid.shape_yx)
        spans = []
        for numbers, _ in self.choices:
            seen = self.values(rows, cols, numbers)
            there = ~np.isnan(seen).any(0)
            spans.append([pictures.spread(plane[there]) if there.any() else (0.0, 1.0, 1.0) for plane in seen])
        return spans

    def _places(self, scene: Scene, rows: np.ndarray,
                cols: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:  # fmt: skip
        """Rows and columns of a scene for those pixels of the map that it covers, and (h, w) bool, which these are."""
        offset = scene.grid.offset_px(self.grid)
        if offset is not None:
            at_rows, at_cols = np.broadcast_arrays(rows[:, None] + offset[0], cols[None] + offset[1])
        else:
            places = np.broadcast_arrays(cols[None] + 0.5, rows[:, None] + 0.5)
            bring = Transformer.from_crs(self.grid.crs, scene.grid.crs, always_xy=True)
            there = bring.transform(*_through(self.grid.transform, *places))
            at_cols, at_rows = (np.floor(at).astype(np.int64) for at in _through(~scene.grid.transform, *there))
        height, width = scene.grid.shape_yx
        inside = (at_rows >= 0) & (at_rows < height) & (at_cols >= 0) & (at_cols < width)
        return (at_rows[inside], at_cols[inside]), inside


def find_pieces(windows: Sequence[Window], shape_yx: tuple[int, int]) -> list[Window]:
    """The parts of a map that scenes cover, largest first; the whole map where they cover half of it or are unknown."""
    whole = Window(0, 0, *shape_yx)
    inside = [clipped for window in windows if (clipped := window.clip(shape_yx)).height and clipped.width]
    boxes = [shapely.box(area.col, area.row, area.col + area.width, area.row + area.height) for area in inside]
    union = shapely.union_all(boxes)
    if not boxes or union.area >= TOGETHER * shape_yx[0] * shape_yx[1]:
        return [whole]
    bounds = [tuple(map(round, part.bounds)) for part in shapely.get_parts(union)]
    found = [Window(top, left, bottom - top, right - left) for left, top, right, bottom in bounds]
    return sorted(found, key=lambda area: (-area.height * area.width, area))


def _through(transform: Affine, across: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d, e, f = transform[:6]
    return a * across + b * down + c, d * across + e * down + f
