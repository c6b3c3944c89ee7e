"""Ground that no label but a drawn one may reach: validation and test ground of a finished split, on any grid.

Two sources say it, and either suffices: the part rasters, which hold every pixel whatever decided on it, and the
outlines of blocks.geojson, which hold blocks whole, also where no scene shows them.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from pyproj import Transformer
from scipy import ndimage

from thalweg import raster
from thalweg.classes import IGNORE
from thalweg.errors import SplitError
from thalweg.grid import Grid, Window
from thalweg.manifest.chips import scene_parts
from thalweg.manifest.rounds import RoundFolder
from thalweg.manifest.scene import Scene, read_scenes
from thalweg.split.earlier import HELD_OUT, read_outlines
from thalweg.split.ground import sphere
from thalweg.split.position import pixels_in

BLOCKS = "blocks.geojson"
_HELD = ("val", "test")
_NODE_DEG = 0.01
"""Outlines get a node at least every kilometre, so that their edges stay where they are in any CRS."""


def scenes_of(scenes_root: Path, split: Path) -> dict[str, dict[str, Scene]]:
    """Scenes by grid and name, of all grids that the split knows.

    Raises:
        SplitError: There is no split.
        SceneError: A scene is missing.
    """
    if not (split / BLOCKS).is_file():
        raise SplitError(f"{split / BLOCKS} is missing; run `dvc repro split`")
    return {path.parent.name: read_scenes(scenes_root / path.parent.name) for path in sorted(split.glob("*/parts"))}


def iter_parts(scenes: Mapping[str, Mapping[str, Scene]], split: Path) -> Iterator[tuple[str, Grid, np.ndarray]]:
    """Name, grid and part raster of every scene on every grid."""
    for members in scenes.values():
        for scene in members.values():
            yield f"{scene.name} ({scene.record.grid})", scene.grid, scene_parts(split, scene)


class Guard:
    """Validation and test ground."""

    def __init__(self, scenes: Mapping[str, Mapping[str, Scene]], split: Path, buffer_m: float) -> None:
        """Takes the scenes (`scenes_of`), the split's folder, and how far other labels stay away, true metres."""
        self.buffer_m = buffer_m
        self.outlines, self.parts = read_outlines(split / BLOCKS)
        self._rasters = [
            (grid, parts, *sphere(grid))
            for _, grid, parts in iter_parts(scenes, split)
            if np.isin(parts, HELD_OUT).any()
        ]
        self.held: list[shapely.Polygon] = [
            shape for shape, part in zip(self.outlines, self.parts, strict=True) if part in _HELD
        ]

    def on(self, grid: Grid, window: Window) -> np.ndarray:
        """(h, w) bool: pixels whose centre lies on validation or test ground of a part raster."""
        held = np.zeros((window.height, window.width), bool)
        for other, parts in self._near(grid.crop(window)):
            held |= under(grid, window, other, parts, HELD_OUT)
        return held

    def near(self, grid: Grid, window: Window) -> np.ndarray:
        """(h, w) bool: pixels that lie on such ground, or so near that some of it may lie within the buffer of them.

        Pixels of part rasters finer than the grid's are looked up one by one; half the diagonals of both pixels are
        added to the buffer, so that no point of a pixel is nearer than it.
        """
        pixel_m = grid.crop(window).pixel_m_yx
        coarsest = max((math.hypot(*other.pixel_m_yx) for other, *_ in self._rasters), default=0.0)
        reach_m = self.buffer_m + (math.hypot(*pixel_m) + coarsest) / 2
        pads = [math.ceil(reach_m / edge_m) + 1 for edge_m in pixel_m]
        padded = Window(window.row - pads[0], window.col - pads[1], window.height + 2 * pads[0],
                        window.width + 2 * pads[1])  # fmt: skip
        held = self._outlined(grid.crop(padded))
        for other, parts in self._near(grid.crop(padded)):
            held |= _finely(grid, padded, other, parts)
        if held.any():
            held = ndimage.distance_transform_edt(~held, sampling=pixel_m) <= reach_m
        return held[pads[0] : pads[0] + window.height, pads[1] : pads[1] + window.width]

    def _near(self, grid: Grid) -> Iterator[tuple[Grid, np.ndarray]]:
        centre, radius_m = sphere(grid)
        for other, parts, there, reach_m in self._rasters:
            if np.linalg.norm(there - centre) <= radius_m + reach_m:
                yield other, parts

    def _outlined(self, grid: Grid) -> np.ndarray:
        """(h, w) bool: pixels that an outline touches."""
        if not self.held:
            return np.zeros(grid.shape_yx, bool)
        project = Transformer.from_crs(4326, grid.crs, always_xy=True).transform
        shapes = shapely.transform(shapely.segmentize(np.array(self.held), _NODE_DEG),
                                   lambda xy: np.stack(project(xy[:, 0], xy[:, 1]), 1))  # fmt: skip
        sound = [shape for shape in shapes if np.isfinite(shapely.bounds(shape)).all()]
        if not sound:
            return np.zeros(grid.shape_yx, bool)
        burnt = rasterio.features.rasterize(sound, out_shape=grid.shape_yx, transform=grid.transform, all_touched=True)
        return np.asarray(burnt > 0)


class Drawn:
    """Ground with drawn labels: what scenes' masks label, but for what an earlier round's masks did."""

    def __init__(self, scenes: Mapping[str, Mapping[str, Scene]], earlier: RoundFolder | None) -> None:
        self._scenes = [scene for members in scenes.values() for scene in members.values() if scene.mask is not None]
        self._earlier = (
            [] if earlier is None else [(raster.read_grid(path), raster.read_band(path)) for path in earlier.masks]
        )

    def on(self, grid: Grid, window: Window) -> np.ndarray:
        """(h, w) bool."""
        labelled = np.zeros((window.height, window.width), bool)
        for scene in self._scenes:
            if scene.mask is not None:
                inside, labels = looked_up(grid, window, scene.grid, scene.mask)
                inside[inside] = labels != IGNORE
                labelled |= inside
        for other, plane in self._earlier:
            inside, labels = looked_up(grid, window, other, plane)
            inside[inside] = labels != IGNORE
            labelled &= ~inside
        return labelled


def under(grid: Grid, window: Window, other: Grid, plane: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
    """(h, w) bool: whether the pixel of another raster under each pixel's centre has one of some values."""
    inside, found = looked_up(grid, window, other, plane)
    inside[inside] = np.isin(found, values)
    return inside


def looked_up(grid: Grid, window: Window, other: Grid, plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each pixel's centre lies on another raster (h, w), and the values there (n,)."""
    rows, cols = pixels_in(grid, window, other)
    with np.errstate(invalid="ignore"):
        inside = (rows >= 0) & (rows < other.shape_yx[0]) & (cols >= 0) & (cols < other.shape_yx[1])
    return inside, np.asarray(plane[rows[inside].astype(np.int64), cols[inside].astype(np.int64)])


def _finely(grid: Grid, window: Window, other: Grid, parts: np.ndarray) -> np.ndarray:
    """Whether any pixel of a part raster under a pixel is held out: of a finer raster, each is looked up."""
    shares = [mine / theirs for mine, theirs in zip(grid.crop(window).pixel_m_yx, other.pixel_m_yx, strict=True)]
    times = max(1, math.ceil(max(shares) - 1e-3))
    height, width = grid.shape_yx
    fine = Grid(grid.crs_wkt, grid.transform @ Affine.scale(1 / times), (height * times, width * times))
    rows = Window(window.row * times, window.col * times, window.height * times, window.width * times)
    held = under(fine, rows, other, parts, HELD_OUT)
    return np.asarray(held.reshape(window.height, times, window.width, times).any((1, 3)))
