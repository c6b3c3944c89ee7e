"""The ground of each part, as it lies under any scene, and the pixels that yield to it."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from thalweg.grid import Grid, Window
from thalweg.manifest.chips import PARTS, WITHHELD
from thalweg.split.blocks import BlockTable
from thalweg.split.pieces import Pieces, pixel_centres
from thalweg.split.position import ecef, pixels_in

YIELDS: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {"train": ("val", "test"), "val": ("test",)},
    "test": {"test": ("train", "val"), "val": ("train",)},
    "none": {},
}
"""`split.yields` → part → parts whose ground it keeps clear of."""


@dataclass(frozen=True)
class Footprint:
    """The ground of one scene or of several with the same pixels: its grid and what decides on the parts of it."""

    grid: Grid
    part: str | None
    """Of the whole scene, or None."""
    pieces: Pieces | None = None
    """Rectangles of the scene whose parts the table has; None, with no part either, where the lattice's blocks have."""


class Ground:
    """All footprints with the block table: what lies where, whichever scene shows it."""

    def __init__(self, footprints: list[Footprint], table: BlockTable) -> None:
        self.footprints = footprints
        self.table = table
        spheres = [sphere(footprint.grid) for footprint in footprints]
        self._centres = np.array([centre for centre, _ in spheres])
        self._radii = np.array([radius for _, radius in spheres])
        self._tree = cKDTree(self._centres)

    def near(self, grid: Grid, within_m: float) -> list[Footprint]:
        """Footprints that may have ground within a distance of a grid, never too few."""
        centre, radius = sphere(grid)
        found = self._tree.query_ball_point(centre, radius + within_m + float(self._radii.max()))
        gaps = np.linalg.norm(self._centres[found] - centre, axis=1) - self._radii[found]
        return [self.footprints[index] for index, gap in zip(found, gaps, strict=True) if gap <= radius + within_m]

    def own(self, footprint: Footprint, window: Window) -> np.ndarray:
        """(h, w) uint8 part of a footprint's pixels before any yields."""
        if footprint.part is not None:
            return np.full((window.height, window.width), PARTS[footprint.part], np.uint8)
        if footprint.pieces is not None:
            pieces = footprint.pieces
            return pieces.pick(self.table.parts_of(pieces.codes), *pixel_centres(window), PARTS["unused"])
        return self.table.parts_at(footprint.grid, window)

    def blocks(self, grid: Grid, window: Window, near: list[Footprint]) -> np.ndarray:
        """(h, w) uint8 part of the block under each pixel, or `unused` where no blocks decide near by."""
        if any(footprint.part is None and footprint.pieces is None for footprint in near):
            return self.table.parts_at(grid, window)
        return np.full((window.height, window.width), PARTS["unused"], np.uint8)

    def covered(self, grid: Grid, window: Window, part: str, near: list[Footprint], blocks: np.ndarray) -> np.ndarray:
        """(h, w) bool: whether the pixel's centre lies on ground of the part, in any scene.

        Where another raster's pixels lie askew, its ground is widened by the pixel or two that centres may miss, so
        that the pixel under each of its pixels is always covered.

        Args:
            grid: Of the window.
            window: Which pixels.
            part: Which part.
            near: Footprints that may lie there.
            blocks: What `blocks` gives for them.
        """
        value, by_block = PARTS[part], blocks == PARTS[part]
        covered = np.zeros(blocks.shape, bool)
        for footprint in near:
            if footprint.part not in (None, part):
                continue
            exact = aligned(grid, footprint.grid)
            if footprint.pieces is not None:
                covered |= self._on_pieces(grid, window, footprint.grid, footprint.pieces, value, exact)
                continue
            inside = _inside(grid, window, footprint.grid, 0 if exact else 1)
            if footprint.part is None:
                inside &= by_block if exact else ndimage.binary_dilation(by_block, np.ones((5, 5)))
            covered |= inside
        return covered

    def _on_pieces(self, grid: Grid, window: Window, other: Grid, pieces: Pieces, value: int,
                   exact: bool) -> np.ndarray:  # fmt: skip
        wanted = self.table.parts_of(pieces.codes) == value
        hit = np.zeros((window.height, window.width), bool)
        if not wanted.any():
            return hit
        if exact:
            shift = ~other.transform @ grid.transform
            rows, cols = pixel_centres(window)
            return pieces.pick(wanted, rows + shift.f, cols + shift.c, outside=False)
        rows, cols = pixels_in(grid, window, other)
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                hit |= pieces.pick(wanted, rows + down, cols + right, outside=False)
        return hit


def part_band(ground: Ground, footprint: Footprint, window: Window, buffer_m: float, yields: str) -> np.ndarray:
    """(h, w) uint8 final part of a band of a scene: pixels that must yield within the buffer are `unused`.

    Pixels of no part are `WITHHELD` within the buffer of test ground. Distances are between pixel centres, in true
    metres. Half a pixel's diagonal is added to the buffer, because the pixel that stands for one of another raster may
    lie so far from it.
    """
    parts = ground.own(footprint, window)
    if footprint.part == "unused":
        return parts
    reach = _Reach(ground, footprint, window, buffer_m)
    yielded = np.zeros(parts.shape, bool)
    for part, others in YIELDS[yields].items():
        mine = parts == PARTS[part]
        for other in others if mine.any() else ():
            yielded |= mine & reach.within(other)
    parts[yielded] = PARTS["unused"]
    idle = parts == PARTS["unused"]
    if idle.any():
        parts[idle & reach.within("test")] = WITHHELD
    return parts


class _Reach:
    """Which pixels of a band lie within the buffer of a part's ground, each part looked up once."""

    def __init__(self, ground: Ground, footprint: Footprint, window: Window, buffer_m: float) -> None:
        self._pixel_m = footprint.grid.crop(window).pixel_m_yx
        self._reach_m = buffer_m + math.hypot(*self._pixel_m) / 2
        pad_y, pad_x = (math.ceil(self._reach_m / edge_m) + 1 for edge_m in self._pixel_m)
        self._padded = Window(
            window.row - pad_y, window.col - pad_x, window.height + 2 * pad_y, window.width + 2 * pad_x
        )
        self._inner = (slice(pad_y, pad_y + window.height), slice(pad_x, pad_x + window.width))
        self._ground, self._grid = ground, footprint.grid
        self._near = ground.near(footprint.grid.crop(self._padded), 0)
        self._blocks = ground.blocks(self._grid, self._padded, self._near)
        self._found: dict[str, np.ndarray] = {}

    def within(self, part: str) -> np.ndarray:
        """(h, w) bool."""
        if part not in self._found:
            covered = self._ground.covered(self._grid, self._padded, part, self._near, self._blocks)
            near = covered
            if covered.any():
                near = ndimage.distance_transform_edt(~covered, sampling=self._pixel_m) <= self._reach_m
            self._found[part] = near[self._inner]
        return self._found[part]


def sphere(grid: Grid) -> tuple[np.ndarray, float]:
    """Centre (3,) and radius, metres, of a ball around a grid's ground."""
    height, width = grid.shape_yx
    rows = np.array([0.5, 0, 0, 1, 1, 0, 1, 0.5, 0.5]) * height
    cols = np.array([0.5, 0, 1, 0, 1, 0.5, 0.5, 0, 1]) * width
    points = ecef(*grid.lonlat(rows, cols))
    return points[0], float(np.linalg.norm(points - points[0], axis=1).max()) * 1.01


def aligned(grid: Grid, other: Grid) -> bool:
    """Whether the pixels of two grids are those of one larger grid."""
    if grid.crs_wkt != other.crs_wkt:
        return False
    a, b, c, d, e, f = tuple(~other.transform @ grid.transform)[:6]
    return bool(np.allclose([a, b, d, e, c, f], [1, 0, 0, 1, round(c), round(f)], rtol=0, atol=1e-6))


def _inside(grid: Grid, window: Window, other: Grid, margin_px: float) -> np.ndarray:
    rows, cols = pixels_in(grid, window, other)
    bottom, right = other.shape_yx[0] + margin_px, other.shape_yx[1] + margin_px
    return (rows >= -margin_px) & (rows < bottom) & (cols >= -margin_px) & (cols < right)
