"""Which of the products that a search finds are taken: pure, so that every rule is tested by hand.

Cloud cover is stated over the measured pixels, so an empty swath edge reports 0 % and would win a ranking by
clearness; coverage is therefore asked first.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from pyproj import Transformer
from shapely import box, transform
from shapely.geometry.base import BaseGeometry

from thalweg.copernicus.keys import ProductName, parse_name
from thalweg.copernicus.odata import Entry
from thalweg.copernicus.search import Search
from thalweg.errors import ParamsError
from thalweg.manifest.lock import LockedProduct
from thalweg.sample.mgrs import locate

_TILE_M = 109_800
"""Edge of every tile: a 100 km square and 9.8 km of its neighbours."""


@dataclass(frozen=True)
class Candidate:
    """A product of a search, with what the rules need of it."""

    entry: Entry
    name: ProductName
    coverage: float | None
    """Share of the tile, or of its part in the area, under the footprint; None without footprint."""


@dataclass(frozen=True)
class Choice:
    """What is taken, and what was left out for which reason."""

    taken: tuple[Candidate, ...]
    left_out: tuple[tuple[str, str], ...]
    """Product name, reason."""


def choose(entries: Iterable[Entry], search: Search, area: BaseGeometry | None) -> Choice:
    """Applies the rules of a search in order: online, coverage, clouds, baseline, one processing, best per month."""
    left_out: list[tuple[str, str]] = []
    candidates = []
    for entry in {entry.id: entry for entry in entries}.values():
        candidate = _candidate(entry, area)
        reason = _unfit(candidate, search) if candidate else "its name is not that of a Sentinel-2 product"
        if candidate is None or reason:
            left_out.append((entry.name, reason))
        else:
            candidates.append(candidate)
    kept = _one_processing(candidates, search.baseline_rule, left_out)
    taken = _best_of_months(kept, left_out) if search.best == "month" else kept
    return Choice(tuple(sorted(taken, key=lambda one: one.entry.name)), tuple(sorted(left_out)))


def lock_entry(entry: Entry, area: BaseGeometry | None = None) -> LockedProduct:
    """A product of the catalogue as the lock keeps it.

    Raises:
        ParamsError: Its name is not that of a Sentinel-2 product.
    """
    name = parse_name(entry.name)
    return LockedProduct(
        id=entry.id, name=entry.name, tile=name.tile, sensing_time=f"{name.sensing:%Y-%m-%dT%H:%M:%SZ}",
        baseline=name.baseline, level=name.level, cloud_cover=entry.cloud_cover, coverage=_coverage(entry, name, area),
        size=entry.size, s3_path=entry.s3_path, checksum=entry.checksum, facts={},
    )  # fmt: skip


def cover(footprint: BaseGeometry, tile: str, area: BaseGeometry | None) -> float:
    """Share of a tile, or of its part in the area, that a footprint covers, measured in the tile's own UTM zone.

    Args:
        footprint: Degrees; may be in two parts at the antimeridian.
        tile: `T20KNA`.
        area: Degrees.

    Returns:
        0 … 1; 0 where the area does not touch the tile.

    Raises:
        ParamsError: There is no such tile.
    """
    place = locate(tile)
    square: BaseGeometry = box(place.ulx, place.uly - _TILE_M, place.ulx + _TILE_M, place.uly)
    to_zone = Transformer.from_crs(4326, place.epsg, always_xy=True)

    def project(lonlat: np.ndarray) -> np.ndarray:
        return np.column_stack(to_zone.transform(lonlat[:, 0], lonlat[:, 1]))

    if area is not None:
        square = square.intersection(transform(area.segmentize(0.1), project))
    covered = square.intersection(transform(footprint, project))
    return round(covered.area / square.area, 4) if square.area else 0.0


def _candidate(entry: Entry, area: BaseGeometry | None) -> Candidate | None:
    try:
        name = parse_name(entry.name)
        return Candidate(entry, name, _coverage(entry, name, area))
    except ParamsError:
        return None


def _coverage(entry: Entry, name: ProductName, area: BaseGeometry | None) -> float | None:
    return None if entry.footprint is None else cover(entry.footprint, name.tile, area)


def _unfit(candidate: Candidate, search: Search) -> str:
    """Why a product is not for this search; empty if it is."""
    entry, minimum = candidate.entry, search.baseline_min
    if not entry.online:
        return "offline, to be ordered in the Data Workspace first"
    if search.coverage_min > 0 and (candidate.coverage is None or candidate.coverage < search.coverage_min):
        return f"covers {_percent(candidate.coverage)}, wanted at least {_percent(search.coverage_min)}"
    if search.cloud_cover_max < 100 and (entry.cloud_cover is None or entry.cloud_cover > search.cloud_cover_max):
        return f"clouds {entry.cloud_cover} %, wanted at most {search.cloud_cover_max} %"
    if minimum is not None and candidate.name.baseline < minimum:
        return f"baseline {candidate.name.baseline}, wanted at least {minimum}"
    return ""


def _one_processing(candidates: Sequence[Candidate], rule: str, left_out: list[tuple[str, str]]) -> list[Candidate]:
    if rule == "all":
        return list(candidates)
    sign = -1 if rule == "newest" else 1

    def pick(same: list[Candidate]) -> Candidate:
        return min(same, key=lambda one: (sign * one.name.baseline_number, -(one.coverage or 0.0), one.entry.name))

    return _one_of_each(candidates, lambda one: one.name.acquisition, pick, f"the {rule} processing", left_out)


def _best_of_months(candidates: Sequence[Candidate], left_out: list[tuple[str, str]]) -> list[Candidate]:
    return _one_of_each(
        candidates,
        lambda one: (one.name.tile, f"{one.name.sensing:%Y-%m}"),
        lambda same: min(same, key=_rank),
        "clearest of its month",
        left_out,
    )


def _rank(one: Candidate) -> tuple[float, float, str]:
    """Fewest clouds, then most ground, then the name, so that the order of the answer never matters."""
    cloud = 101.0 if one.entry.cloud_cover is None else one.entry.cloud_cover
    return cloud, -(one.coverage or 0.0), one.entry.name


def _one_of_each(
    candidates: Sequence[Candidate],
    key: Callable[[Candidate], tuple[object, ...]],
    pick: Callable[[list[Candidate]], Candidate],
    what: str,
    left_out: list[tuple[str, str]],
) -> list[Candidate]:
    kept = []
    ordered = sorted(candidates, key=lambda one: (str(key(one)), one.entry.name))
    for _, group in groupby(ordered, key=lambda one: str(key(one))):
        same = list(group)
        best = pick(same)
        kept.append(best)
        left_out += [(one.entry.name, f"{best.entry.name} is {what}") for one in same if one is not best]
    return kept


def _percent(share: float | None) -> str:
    return "an unknown share" if share is None else f"{100 * share:.0f} %"
