"""Linear things of a map as lines: centrelines with length, width and mean probability.

The class's skeleton is found in windows and joined pixel by pixel, so that lines know nothing of the windows; what is
held is the skeleton alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import shapely
from pyproj import Geod

from thalweg.centrelines.graph import drop_short, iter_paths, prune
from thalweg.centrelines.skeleton import Skeleton, find_skeleton
from thalweg.centrelines.smooth import smooth
from thalweg.grid import Grid
from thalweg.mapfiles import MapFiles, read_map
from thalweg.vectors import FORMATS, write_vectors

LAYER = "lines"
_BLOCK_PX = 1024
_WGS84 = Geod(ellps="WGS84")


@dataclass(frozen=True)
class LineRules:
    """What becomes a line."""

    name: str
    """Class."""
    max_width_m: float
    """Largest width of a linear thing; decides how far windows overlap."""
    spur_widths: float
    """Dead ends that are shorter than so many widths are no branches."""
    min_length_m: float
    """Connected lines that are shorter together are left out."""
    tolerance_m: float | None
    """Of the smoothing; 0 keeps the pixels' steps, None stands for a pixel."""


def build_lines(files: MapFiles, rules: LineRules, block_px: int = _BLOCK_PX) -> geopandas.GeoDataFrame:
    """The centrelines of a class in the map's CRS, from node to node: ends, branchings.

    Columns: `id` from 1; `class`; `length_m` of the smoothed line on the ellipsoid; `width_m` and `mean_prob`, means
    over the line's pixels, the latter NaN where the map has no probabilities.

    Args:
        files: The map.
        rules: What becomes a line.
        block_px: Edge of the windows; no result depends on it.

    Raises:
        MapError: The map has no such class.
    """
    skeleton = find_skeleton(files, files.label(rules.name), rules.max_width_m, block_px)
    pixel_m = files.grid.pixel_m_yx
    skeleton = drop_short(prune(skeleton, rules.spur_widths, pixel_m), rules.min_length_m, pixel_m)
    paths = [np.array(path) for path in iter_paths(skeleton)]
    lines = np.array([_line(skeleton, path) for path in paths], object)
    tolerance_m = max(pixel_m) if rules.tolerance_m is None else rules.tolerance_m
    lines = smooth(lines, tolerance_m / math.sqrt(pixel_m[0] * pixel_m[1]))
    count = len(paths)
    return geopandas.GeoDataFrame(
        {"id": np.arange(1, count + 1), "class": [rules.name] * count, "length_m": _lengths_m(lines, files.grid),
         "width_m": np.array([skeleton.width_m[path].mean() for path in paths], float),
         "mean_prob": np.array([_mean(skeleton.prob[path]) for path in paths], float)},
        geometry=_placed(lines, files.grid), crs=files.grid.crs_wkt,
    )  # fmt: skip


def write_lines(folder: Path, rules: LineRules, formats: Sequence[str]) -> list[Path]:
    """Writes lines.<suffix> beside a finished map, in each of the formats (keys of `vectors.FORMATS`).

    Raises:
        MapError: It is no map, or has no such class.
    """
    table = build_lines(read_map(folder), rules)
    paths = [folder / f"{LAYER}{FORMATS[name]}" for name in formats]
    for path in paths:
        write_vectors(path, {LAYER: table})
    return paths


def _line(skeleton: Skeleton, path: np.ndarray) -> shapely.LineString:
    """Pixel centres, x = column."""
    return shapely.LineString(np.stack([skeleton.cols[path] + 0.5, skeleton.rows[path] + 0.5], 1))


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _lengths_m(lines: np.ndarray, grid: Grid) -> np.ndarray:
    points, of_line = shapely.get_coordinates(lines, return_index=True)
    lon, lat = grid.lonlat(points[:, 1], points[:, 0])
    same = of_line[1:] == of_line[:-1]
    _, _, steps = _WGS84.inv(lon[:-1], lat[:-1], lon[1:], lat[1:])
    return np.bincount(of_line[1:][same], np.asarray(steps)[same], minlength=len(lines)).astype(float)


def _placed(lines: np.ndarray, grid: Grid) -> np.ndarray:
    a, b, c, d, e, f = grid.transform[:6]

    def move(points: np.ndarray) -> np.ndarray:
        cols, rows = points.T
        return np.stack([a * cols + b * rows + c, d * cols + e * rows + f], 1)

    return np.asarray(shapely.transform(lines, move)) if len(lines) else lines
