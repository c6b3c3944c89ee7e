"""The ground of each part, as it lies under any scene, and the pixels that yield to it."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from thalweg.grid import Grid, Window
from thalweg.manifest.chips import PARTS
from thalweg.split.blocks import BlockTable
from thalweg.split.position import ecef, pixels_in

YIELDS: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {"train": ("val", "test"), "val": ("test",)},
    "test": {"test": ("train", "val"), "val": ("train",)},
    "none": {},
}
"""`split.yields` → part → parts whose ground it keeps clear of."""


@dataclass(frozen=True)
class Footprint:
    """The ground of one scene or of several with the same pixels: its grid and the part that a rule gives it."""

    grid: Grid
    part: str | None
    """None where the blocks decide."""


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
        return self.table.parts_at(footprint.grid, window)

    def covered(self, grid: Grid, window: Window, parts: tuple[str, ...], near: list[Footprint]) -> np.ndarray:
        """(h, w) bool: whether the pixel's centre lies on ground of one of the parts, in any scene.

        Where another raster's pixels lie askew, its ground is widened by the pixel or two that centres may miss, so
        that the pixel under each of its pixels is always covered.
        """
        by_block = np.isin(self.table.parts_at(grid, window), [PARTS[part] for part in parts])
        covered = np.zeros(by_block.shape, bool)
        for footprint in near:
            exact = aligned(grid, footprint.grid)
            inside = _inside(grid, window, footprint.grid, 0 if exact else 1)
            if footprint.part is None:
                covered |= inside & (by_block if exact else ndimage.binary_dilation(by_block, np.ones((5, 5))))
            elif footprint.part in parts:
                covered |= inside
        return covered


def part_band(ground: Ground, footprint: Footprint, window: Window, buffer_m: float, yields: str) -> np.ndarray:
    """(h, w) uint8 final part of a band of a scene: pixels that must yield within the buffer are `unused`.

    Distances are between pixel centres, in true metres. Half a pixel's diagonal is added to the buffer, because the
    pixel that stands for one of another raster may lie so far from it.
    """
    parts = ground.own(footprint, window)
    pixel_m = footprint.grid.crop(window).pixel_m_yx
    reach_m = buffer_m + math.hypot(*pixel_m) / 2
    pad_y, pad_x = (math.ceil(reach_m / edge_m) + 1 for edge_m in pixel_m)
    padded = Window(window.row - pad_y, window.col - pad_x, window.height + 2 * pad_y, window.width + 2 * pad_x)
    inner = (slice(pad_y, pad_y + window.height), slice(pad_x, pad_x + window.width))
    near = ground.near(footprint.grid.crop(padded), 0)
    yielded = np.zeros(parts.shape, bool)
    for part, others in YIELDS[yields].items():
        mine = parts == PARTS[part]
        covered = ground.covered(footprint.grid, padded, others, near) if mine.any() else mine
        if covered.any():
            distance_m = ndimage.distance_transform_edt(~covered, sampling=pixel_m)[inner]
            yielded |= mine & (distance_m <= reach_m)
    parts[yielded] = PARTS["unused"]
    return parts


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
