"""Lines without the pixels' steps that meet where they met before, and nowhere else."""

import numpy as np
import shapely

_CUTS = 2
_TOUCH = 1e-9


def smooth(lines: np.ndarray, tolerance: float) -> np.ndarray:
    """Lines (N,) simplified, then with their corners cut; ends stay where they are.

    A line that would thereby meet itself or another one anywhere but at an end that both share stays as it was, and so
    does that other one, until none does.

    Source: Douglas and Peucker 1973, https://doi.org/10.3138/FM57-6770-U75U-7727; Chaikin 1974, An algorithm for
    high-speed curve generation, https://doi.org/10.1016/0146-664X(74)90028-8.

    Args:
        lines: (N,) LineStrings that meet at shared ends alone.
        tolerance: Farthest that a point may be from the simplified line, in the lines' unit; 0 leaves all as it is.
    """
    if tolerance <= 0 or not len(lines):
        return lines
    found = np.array([_cut_corners(line) for line in shapely.simplify(lines, tolerance)], object)
    changed = np.ones(len(lines), bool)
    bad = ~shapely.is_simple(found) | (shapely.length(found) == 0) | _meeting(found)
    while bad.any():
        found[bad], changed[bad] = lines[bad], False
        bad = _meeting(found) & changed
    return found


def _meeting(lines: np.ndarray) -> np.ndarray:
    """(N,) bool: those that meet another one elsewhere than at shared ends."""
    one, other = shapely.STRtree(lines).query(lines, predicate="intersects")
    one, other = one[one < other], other[one < other]
    meets = shapely.intersection(lines[one], lines[other])
    ends = shapely.intersection(_ends(lines[one]), _ends(lines[other]))
    strange = (shapely.length(meets) > 0) | (shapely.distance(meets, ends) > _TOUCH)
    strange |= shapely.is_empty(ends) | (shapely.hausdorff_distance(meets, ends) > _TOUCH)
    bad = np.zeros(len(lines), bool)
    bad[one[strange]] = bad[other[strange]] = True
    return bad


def _ends(lines: np.ndarray) -> np.ndarray:
    points = np.stack([shapely.get_point(lines, 0), shapely.get_point(lines, -1)], 1)
    return np.asarray(shapely.multipoints(points))


def _cut_corners(line: shapely.LineString) -> shapely.LineString:
    points = shapely.get_coordinates(line)
    for _ in range(_CUTS):
        before, after = points[:-1], points[1:]
        cut = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], 1).reshape(-1, 2)
        points = np.concatenate([points[:1], cut[1:-1], points[-1:]])
    return shapely.LineString(points)
