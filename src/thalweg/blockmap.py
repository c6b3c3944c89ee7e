"""The split as a drawing: blocks on the ground, coloured by part, those that touch drawn together."""

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely

from thalweg.errors import StageError

MAX_PIECES = 12
DEGREE_KM = 111.195
"""Length of a degree of latitude on the sphere of the split's blocks."""

Blocks = list[tuple[str, shapely.Polygon]]
"""Part and outline in degrees."""


class BlockPiece(NamedTuple):
    """Blocks that lie together, in kilometres from their north-western corner."""

    place: str
    view_box: str
    width_km: float
    height_km: float
    width_percent: float
    """Of the widest piece's width."""
    outlines: dict[str, str]
    """Part → SVG path."""


class BlockMap(NamedTuple):
    """The blocks of the split."""

    pieces: tuple[BlockPiece, ...]
    hidden: int
    counts: dict[str, int]
    """Part → blocks, of all pieces."""


def read_blocks(path: Path) -> BlockMap | None:
    """The split's blocks, north up, those that touch drawn together; None where there is no file or no block.

    Raises:
        StageError: The file is not what `split` writes.
    """
    if not path.is_file():
        return None
    try:
        features = json.loads(path.read_text("utf-8"))["features"]
        blocks = [
            (each["properties"]["part"], shapely.Polygon(each["geometry"]["coordinates"][0])) for each in features
        ]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise StageError(
            f"{path} holds no blocks with their part ({error!r}); run `dvc repro --force split`"
        ) from error
    if not blocks:
        return None
    groups = _touching(blocks)
    widest = max(_size_km(group)[0] for group in groups[:MAX_PIECES])
    pieces = tuple(_block_piece(group, widest) for group in groups[:MAX_PIECES])
    parts = [part for part, _ in blocks]
    counts = {part: parts.count(part) for part in sorted(set(parts))}
    return BlockMap(pieces, max(len(groups) - MAX_PIECES, 0), counts)


def _touching(blocks: Blocks) -> list[Blocks]:
    edge = max(polygon.bounds[3] - polygon.bounds[1] for _, polygon in blocks)
    joined = shapely.union_all([polygon.buffer(edge / 2, join_style="mitre") for _, polygon in blocks])
    tree = shapely.STRtree([polygon.representative_point() for _, polygon in blocks])
    groups = [[blocks[k] for k in sorted(tree.query(area, "intersects"))] for area in shapely.get_parts(joined)]
    return sorted(groups, key=lambda group: (-len(group), _bounds(group)))


def _block_piece(blocks: Blocks, widest_km: float) -> BlockPiece:
    west, south, east, north = _bounds(blocks)
    width, height = _size_km(blocks)
    outlines: dict[str, str] = {}
    for part, polygon in sorted(blocks, key=lambda block: (block[0], block[1].bounds)):
        points = np.array(polygon.exterior.coords)[:-1, :2]
        across, down = (points[:, 0] - west) / (east - west) * width, (north - points[:, 1]) * DEGREE_KM
        outlines[part] = (
            outlines.get(part, "") + f"M{'L'.join(f'{x:.2f} {y:.2f}' for x, y in zip(across, down, strict=True))}Z"
        )
    place = say_place((west + east) / 2, (south + north) / 2)
    return BlockPiece(place, f"0 0 {width:.2f} {height:.2f}", width, height, 100 * width / widest_km, outlines)


def _bounds(blocks: Blocks) -> tuple[float, float, float, float]:
    west, south, east, north = shapely.total_bounds([polygon for _, polygon in blocks])
    return float(west), float(south), float(east), float(north)


def _size_km(blocks: Blocks) -> tuple[float, float]:
    west, south, east, north = _bounds(blocks)
    return (east - west) * DEGREE_KM * math.cos(math.radians((south + north) / 2)), (north - south) * DEGREE_KM


def say_place(lon: float, lat: float) -> str:
    """A place as people write it, degrees to a hundredth."""
    return f"{abs(lat):.2f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.2f}° {'E' if lon >= 0 else 'W'}"
