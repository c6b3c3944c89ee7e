"""How many points each class of a map gets, and where they lie. Strata are the map's classes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import geopandas
import numpy as np
import pandas as pd
import shapely

from thalweg.errors import AssessError
from thalweg.mapfiles import MapFiles

Allocation = Literal["proportional", "equal", "optimal"]

LEAST = 2
"""Points without which a stratum has no standard error."""
_HA = 1e-4
"""Hectares per m²."""
_ALIKE = 0.01
"""Difference of pixels' areas over their mean up to which they count as equal."""


@dataclass(frozen=True)
class Strata:
    """The classes that a map holds."""

    labels: tuple[int, ...]
    """Class ids."""
    names: tuple[str, ...]
    pixels: np.ndarray
    """(H,) int64."""
    area_ha: np.ndarray
    """(H,) hectares on the ground."""

    @property
    def weights(self) -> np.ndarray:
        """(H,) shares of the mapped area, W."""
        return np.asarray(self.area_ha / self.area_ha.sum())

    def table(self, names: Sequence[str], counts: np.ndarray) -> pd.DataFrame:
        """As it is kept beside the points: a row for every class, also those that the map has nowhere.

        Args:
            names: Of all classes.
            counts: Points that were drawn in each stratum.
        """
        table = pd.DataFrame({"stratum": range(len(names)), "map_class": list(names), "pixels": 0, "area_ha": 0.0})
        table["points"] = 0
        table.loc[list(self.labels), "points"] = counts
        table.loc[list(self.labels), "pixels"] = self.pixels
        table.loc[list(self.labels), "area_ha"] = self.area_ha
        return table


def read_strata(files: MapFiles) -> Strata:
    """Counts a map's classes, stripe by stripe.

    Raises:
        AssessError: The map is empty.
    """
    pixels, area_m2 = np.zeros(256, np.int64), np.zeros(256)
    for window in files.iter_stripes():
        labels = files.read_labels(window)
        for row, row_m2 in zip(labels, files.row_m2[window.rows], strict=True):
            counts = np.bincount(row, minlength=256)
            pixels += counts
            area_m2 += counts * row_m2
    found = np.flatnonzero(pixels[: len(files.names)])
    if not found.size:
        raise AssessError(f"{files.classes} holds no class anywhere; give a map that is not empty")
    names = tuple(files.names[label] for label in found)
    return Strata(tuple(found.tolist()), names, pixels[found], area_m2[found] * _HA)


def sample_size(strata: Strata, users: Sequence[float], target: float) -> int:
    """Points for a wanted standard error of the overall accuracy, eq. 13 (its second term is nothing for maps).

    Args:
        strata: The map's.
        users: Expected user's accuracy of each stratum, 0…1.
        target: Wanted standard error, 0…1.
    """
    spread = float((strata.weights * _spread(users)).sum())
    return math.ceil((spread / target) ** 2 - 1e-9)


def allocate(
    strata: Strata, points: int, how: Allocation, least: int, users: Sequence[float] | None = None
) -> np.ndarray:
    """Points per stratum (H,) int64, of the given sum (or more, where `least` wants more); section 5.1.1.

    Args:
        strata: The map's.
        points: Of all strata together.
        how: `proportional` to area; `equal`; or `optimal`: to area × expected standard deviation, which gives the
            overall accuracy its least standard error (Neyman; Cochran 1977, Sampling Techniques, eq. 5.26).
        least: Points that even a rare class gets; the others share the rest. The paper advises 50 to 100.
        users: Expected user's accuracy of each stratum, for `optimal`.

    Raises:
        AssessError: Expected accuracies are missing, or strata have fewer pixels than points.
    """
    shares = np.ones(len(strata.names)) if how == "equal" else strata.weights
    if how == "optimal":
        if users is None:
            raise AssessError("allocation 'optimal' needs the expected user's accuracy of every class; give --expect")
        shares = shares * _spread(users)
    counts = _shared(shares, points, max(least, LEAST))
    if (short := np.flatnonzero(counts > strata.pixels)).size:
        at = int(short[0])
        raise AssessError(
            f"class {strata.names[at]} has {strata.pixels[at]} pixels on the map, but {counts[at]} points are wanted; "
            "ask for fewer points or a smaller --least"
        )
    return counts


def expected_errors(strata: Strata, counts: np.ndarray, users: Sequence[float]) -> tuple[float, np.ndarray]:
    """Standard errors to expect of the overall accuracy (eq. 5) and of each user's (eq. 6): to compare designs.

    Args:
        strata: The map's.
        counts: Points per stratum.
        users: Expected user's accuracies.
    """
    each = _spread(users) / np.sqrt(counts - 1)
    return float(np.sqrt(((strata.weights * each) ** 2).sum())), each


def draw(files: MapFiles, strata: Strata, counts: np.ndarray, seed: int) -> geopandas.GeoDataFrame:
    """A simple random sample without replacement in every stratum: points at pixel centres, in the map's CRS.

    Every pixel of a stratum is as likely as another; where pixels differ in area (degrees), every hectare is, since
    the estimates weigh points alike.

    Fields `id` (from 1, in random order, so that classes come mixed), `stratum` (class id) and `map_class`.

    Args:
        files: The map; read stripe by stripe.
        strata: Its strata.
        counts: Points per stratum.
        seed: Of the draws.
    """
    random = np.random.default_rng(seed)
    wanted = {
        label: np.sort(random.choice(pixels, count, replace=False, shuffle=False))
        for label, pixels, count in zip(strata.labels, strata.pixels.tolist(), counts.tolist(), strict=True)
    }
    if np.ptp(files.row_m2) > _ALIKE * files.row_m2.mean():
        wanted = _by_area(files, strata, counts, random)
    passed = dict.fromkeys(wanted, 0)
    places: list[np.ndarray] = []
    for window in files.iter_stripes():
        labels = files.read_labels(window).ravel()
        for label, ranks in wanted.items():
            found = np.flatnonzero(labels == label)
            begin, end = np.searchsorted(ranks, (passed[label], passed[label] + found.size))
            at = found[ranks[begin:end] - passed[label]]
            passed[label] += found.size
            rows, cols = at // window.width + window.row, at % window.width
            places.append(np.stack([rows, cols, np.full_like(rows, label)], 1))
    return _points(files, random.permutation(np.concatenate(places)))


def _by_area(files: MapFiles, strata: Strata, counts: np.ndarray, random: np.random.Generator) -> dict[int, np.ndarray]:
    """Label → ranks of the chosen pixels, sorted: in random order, each taken as likely as it is large."""
    height = files.grid.shape_yx[0]
    in_rows = np.zeros((height, len(strata.labels)), np.int64)
    for window in files.iter_stripes():
        labels = files.read_labels(window)
        in_rows[window.rows] = np.stack([(labels == label).sum(1) for label in strata.labels], 1)
    chance = files.row_m2 / files.row_m2.max()
    wanted: dict[int, np.ndarray] = {}
    for number, (label, count) in enumerate(zip(strata.labels, counts.tolist(), strict=True)):
        order = random.permutation(int(strata.pixels[number]))
        rows = np.searchsorted(np.cumsum(in_rows[:, number]), order, side="right")
        taken = order[random.random(len(order)) < chance[rows]]
        spare = np.setdiff1d(order, taken, assume_unique=True)  # needed only where nearly all pixels are wanted
        wanted[label] = np.sort(np.concatenate([taken, spare])[:count])
    return wanted


def to_pixels(files: MapFiles, points: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """The outlines of the points' pixels, by `id`: what is to be judged is the pixel, not the point."""
    a, b, _, d, e, _ = files.grid.transform[:6]
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    moves = np.stack([corners @ (a, b), corners @ (d, e)], 1)
    centres = points.get_coordinates().to_numpy()
    shapes = shapely.polygons(centres[:, None] + moves[None])
    return geopandas.GeoDataFrame({"id": points["id"]}, geometry=shapes, crs=points.crs)


def _points(files: MapFiles, places: np.ndarray) -> geopandas.GeoDataFrame:
    rows, cols, labels = places.T
    a, b, c, d, e, f = files.grid.transform[:6]
    xs, ys = a * (cols + 0.5) + b * (rows + 0.5) + c, d * (cols + 0.5) + e * (rows + 0.5) + f
    table = pd.DataFrame({"id": np.arange(1, len(places) + 1), "stratum": labels})
    table["map_class"] = [files.names[label] for label in labels]
    return geopandas.GeoDataFrame(table, geometry=geopandas.points_from_xy(xs, ys), crs=files.grid.crs_wkt)


def _spread(users: Sequence[float]) -> np.ndarray:
    given = np.asarray(users, float)
    return np.asarray(np.sqrt(given * (1 - given)))


def _shared(shares: np.ndarray, points: int, least: int) -> np.ndarray:
    """Whole numbers in the given ratio with a minimum, by largest remainders."""
    low = np.zeros(len(shares), bool)
    while True:
        rest = max(points - least * int(low.sum()), 0)
        total = shares[~low].sum()
        exact = np.where(low, least, rest * shares / total if total > 0 else least)
        more = ~low & (exact < least)
        if not more.any():
            break
        low |= more
    counts = np.floor(exact + 1e-9).astype(np.int64)
    missing = points - int(counts.sum())
    if missing > 0:
        counts[np.argsort(counts - exact - 1e6 * ~low, kind="stable")[:missing]] += 1
    return counts
