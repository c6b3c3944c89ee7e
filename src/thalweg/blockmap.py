"""The split as a drawing: blocks and ruled scenes on the ground, coloured by part, those that touch drawn together."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely
from shapely.geometry.polygon import orient

from thalweg.errors import StageError
from thalweg.ruled import Ruled

MAX_PIECES = 12
DEGREE_KM = 111.195
"""Length of a degree of latitude on the sphere of the split's blocks."""


class Outline(NamedTuple):
    """Ground of one part, in degrees."""

    part: str
    polygon: shapely.Polygon
    ruled: bool = False
    """Of whole scenes that a rule names, not a block."""


class BlockPiece(NamedTuple):
    """Ground that lies together, in kilometres from their north-western corner."""

    place: str
    view_box: str
    width_km: float
    height_km: float
    width_percent: float
    """Of the widest piece's width."""
    outlines: dict[str, str]
    """Part → SVG path of its blocks."""
    ruled: dict[str, str]
    """Part → SVG path of the scenes that a rule names, to be drawn over the blocks, which reach beyond scenes."""


class BlockMap(NamedTuple):
    """The ground of the split."""

    pieces: tuple[BlockPiece, ...]
    hidden: int
    counts: dict[str, int]
    """Part → blocks, of all pieces."""
    scenes: Mapping[str, int]
    """Part → whole scenes that a rule names."""


def read_blocks(path: Path, ruled: Ruled | None = None) -> BlockMap | None:
    """The split's ground, north up, what touches drawn together; None where there is no file or no ground.

    Args:
        path: blocks.geojson.
        ruled: What rules gave away scene by scene.

    Raises:
        StageError: The file is not what `split` writes.
    """
    if not path.is_file():
        return None
    blocks, (grounds, scenes) = _read(path), ruled or Ruled((), {})
    outlines = [*blocks, *(Outline(part, polygon, True) for part, polygon in grounds)]
    if not outlines:
        return None
    groups = _touching(outlines, _reach(blocks or outlines))
    widest = max(_size_km(group)[0] for group in groups[:MAX_PIECES])
    pieces = tuple(_block_piece(group, widest) for group in groups[:MAX_PIECES])
    parts = [block.part for block in blocks]
    counts = {part: parts.count(part) for part in sorted(set(parts))}
    return BlockMap(pieces, max(len(groups) - MAX_PIECES, 0), counts, scenes)


def _read(path: Path) -> list[Outline]:
    try:
        features = json.loads(path.read_text("utf-8"))["features"]
        return [
            Outline(each["properties"]["part"], shapely.Polygon(each["geometry"]["coordinates"][0]))
            for each in features
        ]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise StageError(
            f"{path} holds no blocks with their part ({error!r}); run `dvc repro --force split`"
        ) from error


def _reach(outlines: list[Outline]) -> float:
    """Half the height of the highest, degrees: what lies nearer to another is drawn with it."""
    return max(each.polygon.bounds[3] - each.polygon.bounds[1] for each in outlines) / 2


def _touching(outlines: list[Outline], reach: float) -> list[list[Outline]]:
    joined = shapely.union_all([each.polygon.buffer(reach, join_style="mitre") for each in outlines])
    tree = shapely.STRtree([each.polygon.representative_point() for each in outlines])
    groups = [[outlines[k] for k in sorted(tree.query(area, "intersects"))] for area in shapely.get_parts(joined)]
    return sorted(groups, key=lambda group: (-len(group), _bounds(group)))


def _block_piece(outlines: list[Outline], widest_km: float) -> BlockPiece:
    west, south, east, north = _bounds(outlines)
    width, height = _size_km(outlines)

    def to_km(points: np.ndarray) -> np.ndarray:
        across, down = (points[:, 0] - west) / (east - west) * width, (north - points[:, 1]) * DEGREE_KM
        return np.stack([across, down], 1)

    paths: dict[bool, dict[str, str]] = {False: {}, True: {}}
    for each in sorted(outlines, key=lambda each: (each.part, each.polygon.bounds)):
        drawn = paths[each.ruled]
        drawn[each.part] = drawn.get(each.part, "") + _path(shapely.transform(each.polygon, to_km))
    place = say_place((west + east) / 2, (south + north) / 2)
    box = f"0 0 {width:.2f} {height:.2f}"
    return BlockPiece(place, box, width, height, 100 * width / widest_km, paths[False], paths[True])


def _path(polygon: shapely.Polygon) -> str:
    """An SVG path; holes turn the other way round, so that nothing fills them."""
    rings = [polygon.exterior, *polygon.interiors]
    if polygon.interiors:
        turned = orient(polygon)
        rings = [turned.exterior, *turned.interiors]
    return "".join(f"M{'L'.join(f'{x:.2f} {y:.2f}' for x, y in list(ring.coords)[:-1])}Z" for ring in rings)


def _bounds(outlines: list[Outline]) -> tuple[float, float, float, float]:
    west, south, east, north = shapely.total_bounds([each.polygon for each in outlines])
    return float(west), float(south), float(east), float(north)


def _size_km(outlines: list[Outline]) -> tuple[float, float]:
    west, south, east, north = _bounds(outlines)
    return (east - west) * DEGREE_KM * math.cos(math.radians((south + north) / 2)), (north - south) * DEGREE_KM


def say_place(lon: float, lat: float) -> str:
    """A place as people write it, degrees to a hundredth."""
    return f"{abs(lat):.2f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.2f}° {'E' if lon >= 0 else 'W'}"
