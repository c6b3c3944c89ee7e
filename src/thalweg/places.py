"""Which scenes show the same ground: another date of a place is no other place, whatever a fit makes of it."""

from collections.abc import Sequence

from rasterio.warp import transform_bounds
from shapely import box
from shapely.geometry.base import BaseGeometry

from thalweg.manifest.scene import Scene


def find_places(scenes: Sequence[Scene]) -> dict[str, int]:
    """Scene → number of its place: scenes that share more than half of the smaller one's ground show the same place.

    Several dates of a tile are no other ground; neighbouring tiles, which overlap by a tenth, are.
    """
    found: dict[str, int] = {}
    boxes: list[tuple[BaseGeometry, int]] = []
    for number, scene in enumerate(scenes):
        found[scene.name] = number
        if not scene.record.georeferenced:
            continue
        west, south, east, north = transform_bounds(scene.grid.crs_wkt, "EPSG:4326", *scene.grid.bounds)
        here = box(west, south, east + 360 * (east < west), north)
        same = [place for other, place in boxes
                if here.intersection(other).area > min(here.area, other.area) / 2]  # fmt: skip
        found[scene.name] = min(same, default=number)
        boxes.append((here, found[scene.name]))
    return found
