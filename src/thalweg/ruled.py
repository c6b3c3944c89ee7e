"""Ground that a rule of the split gave to a part scene by scene, as the part rasters have it, for drawings.

Such scenes are dealt no blocks, so blocks.geojson does not know of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely
from affine import Affine
from rasterio.features import shapes

from thalweg.grid import Grid
from thalweg.manifest.chips import PARTS, part_file, scene_parts
from thalweg.manifest.scene import Scene
from thalweg.params.split import Split
from thalweg.split.whole import apply_rules

MAX_PX = 256
"""Longer edge of what is looked at of a scene: the middle pixel of every square."""


class Ruled(NamedTuple):
    """Whole scenes of the parts, without those that are unused."""

    outlines: tuple[tuple[str, shapely.Polygon], ...]
    """Part and ground in degrees, what scenes share once; what yielded to other parts is cut out."""
    scenes: Mapping[str, int]
    """Part → scenes."""


def read_ruled(scenes: Mapping[str, Sequence[Scene]], folder: Path, split: Split) -> Ruled:
    """What rules gave away, each scene in the first grid that has it.

    Args:
        scenes: By grid.
        folder: `build/split`; scenes whose part raster is not there are left out.
        split: Its rules.
    """
    by_name = {grid: {scene.name: scene for scene in members} for grid, members in scenes.items()}
    part_of = {name: part for name, part in apply_rules(by_name, split, every=False).items() if part != "unused"}
    found: dict[str, tuple[str, Scene]] = {}
    for members in by_name.values():
        for name, scene in members.items():
            if name in part_of and scene.record.georeferenced and part_file(folder, scene).is_file():
                found.setdefault(name, (part_of[name], scene))
    outlines = []
    for part in sorted({part for part, _ in found.values()}):
        grounds = [_ground(scene, folder, part) for which, scene in found.values() if which == part]
        outlines += [(part, each) for each in _polygons(shapely.union_all(grounds))]
    parts = [part for part, _ in found.values()]
    return Ruled(tuple(outlines), {part: parts.count(part) for part in sorted(set(parts))})


def _ground(scene: Scene, folder: Path, part: str) -> shapely.Geometry:
    """What a scene has of a part, degrees."""
    step = -(-max(scene.grid.shape_yx) // MAX_PX)
    mine = scene_parts(folder, scene)[step // 2 :: step, step // 2 :: step] == PARTS[part]
    found = shapes(mine.astype(np.uint8), mask=mine, transform=Affine.scale(step))
    return shapely.union_all([_placed(scene.grid, shapely.geometry.shape(outline)) for outline, _ in found])


def _placed(grid: Grid, outline: shapely.Geometry) -> shapely.Geometry:
    """From columns and rows to degrees."""
    return shapely.transform(outline, lambda xy: np.stack(grid.lonlat(xy[:, 1], xy[:, 0]), 1))


def _polygons(area: shapely.Geometry) -> Iterable[shapely.Polygon]:
    return [each for each in shapely.get_parts(area) if isinstance(each, shapely.Polygon)]
