"""The chips that are most like the one at a place, by the angle between embeddings; exact, no index."""

import geopandas
import numpy as np
import shapely

from thalweg.embeddings import matrix
from thalweg.errors import FeatureError

_LEAST = 1e-12
_TURNS = (-360, 0, 360)
"""Degrees: the same place, also of an outline that reaches over the antimeridian."""
_SAME = 0.01
"""Share of a chip's ground from which another is one of the same ground, not a neighbour."""


def chip_at(table: geopandas.GeoDataFrame, lon: float, lat: float, date: str | None = None) -> int:
    """Number of the row whose chip holds a place: of several, the newest day, then the one whose middle is nearest.

    Args:
        table: As `embed` makes it.
        lon: Degrees east.
        lat: Degrees north.
        date: A day, to look at no other.

    Raises:
        FeatureError: No chip holds it, or none of that day, or no chip has a place.
    """
    held = np.any([table.geometry.intersects(shapely.Point(lon + turn, lat)) for turn in _TURNS], axis=0)
    if table.geometry.isna().all():
        raise FeatureError("the table's chips lie nowhere on the ground; embed scenes that have a place")
    if not held.any():
        near = table.geometry.iloc[int(np.nanargmin(_degrees(table, lon, lat)))].representative_point()
        raise FeatureError(
            f"no chip of the table holds {lon:g} {lat:g} (longitude first); the nearest lies at {near.x:.4f} "
            f"{near.y:.4f}: ask for it, or embed scenes that show the place"
        )
    rows = np.flatnonzero(held)
    days = table["date"].fillna("").to_numpy()[rows]
    if date is not None and date not in days:
        raise FeatureError(
            f"the chip at {lon:g} {lat:g} is of {', '.join(sorted(set(days)))}, not of {date}; correct it"
        )
    rows = rows[days == (date if date is not None else max(days))]
    return int(rows[_degrees(table.iloc[rows], lon, lat).argmin()])


def similar(table: geopandas.GeoDataFrame, number: int, count: int, same_ground: bool) -> geopandas.GeoDataFrame:
    """The nearest rows, best first, with their `similarity` (cosine, −1…1) and `rank` from 1.

    Args:
        table: As `embed` makes it.
        number: Of the row that is asked for; never among the answers.
        count: At most so many.
        same_ground: Whether chips of the same ground, on other days, are answers.
    """
    vectors = matrix(table)
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), _LEAST)
    cosine = vectors @ vectors[number] / (lengths * lengths[number])
    allowed = np.ones(len(table), bool)
    allowed[number] = False
    here = table.geometry.iloc[number]
    if not same_ground and here is not None:
        common = shapely.area(shapely.intersection(table.geometry.to_numpy(), here))  # nan where a chip lies nowhere
        allowed &= ~(common > _SAME * here.area)
    rows = np.flatnonzero(allowed)
    best = rows[np.argsort(-cosine[rows], kind="stable")[:count]]
    found = table.iloc[best].copy()
    found.insert(0, "rank", np.arange(1, len(best) + 1))
    found.insert(1, "similarity", cosine[best].astype(float))
    return found


def _degrees(table: geopandas.GeoDataFrame, lon: float, lat: float) -> np.ndarray:
    """(N,) distance of every chip's middle from a place: of longitude, degrees as long as those of latitude there."""
    middles = table.geometry.representative_point()
    apart = (middles.x - lon + 180) % 360 - 180
    found: np.ndarray = np.hypot(apart * np.cos(np.radians(lat)), middles.y - lat).to_numpy()
    return found
