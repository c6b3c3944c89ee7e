"""When and where a map is, as STAC and GeoJSON want it."""

import json
from calendar import monthrange
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any

import numpy as np
import shapely

from thalweg.grid import Grid

_STEPS = 16
"""Points per side: straight lines on the map are curves in degrees."""
_DECIMALS = 6
UNDATED = "When the ground was seen is not known; STAC wants a period all the same, and this one leaves nothing out."
_EVER = ("1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z")


def footprint_of(grid: Grid) -> tuple[dict[str, Any], list[float]]:
    """GeoJSON geometry and bounding box in WGS84 longitude and latitude.

    Over the antimeridian the geometry is cut in two and the box's west is larger than its east.

    Source: RFC 7946, sections 3.1.6, 3.1.9 and 5.2.
    """
    height, width = grid.shape_yx
    down, right = np.linspace(0, height, _STEPS + 1), np.linspace(0, width, _STEPS + 1)
    rows = np.concatenate([0 * right[1:], down[1:], 0 * right[1:] + height, down[-2::-1]])
    cols = np.concatenate([right[1:], 0 * down[1:] + width, right[-2::-1], 0 * down[1:]])
    lon, lat = grid.lonlat(rows, cols)
    if lon.max() - lon.min() <= 180:
        shape = shapely.Polygon(zip(lon, lat, strict=True))
        return _rounded(shape), [round(float(each), _DECIMALS) for each in shape.bounds]
    around = shapely.Polygon(zip(np.where(lon < 0, lon + 360, lon), lat, strict=True))
    west, south, east, north = around.bounds
    beyond = shapely.transform(around & shapely.box(180, -90, 360, 90), lambda points: points - (360, 0))
    both = shapely.union_all([around & shapely.box(0, -90, 180, 90), beyond])
    return _rounded(both), [round(float(each), _DECIMALS) for each in (west, south, east - 360, north)]


def is_undated(properties: Mapping[str, Any]) -> bool:
    """Whether a period stands for no time at all."""
    return (properties.get("start_datetime"), properties.get("end_datetime")) == _EVER


def period(times: Sequence[str]) -> dict[str, str | None]:
    """STAC's `datetime` of one time, or `start_datetime` and `end_datetime` of several, UTC.

    Args:
        times: ISO 8601 times, or days and months, which last from their first to their last second. Where none is
            known, the period is all of time, and `description` says what that means: an item must have a time or both
            ends of a period, neither may be null, and any narrower period would be made up.

    Source: STAC 1.1.0, item-spec, `datetime`, and common metadata, date and time range; for data without time the
    maintainers keep to that, https://github.com/radiantearth/stac-spec/issues/1268.
    """
    spans = [_span(each) for each in times]
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    if not spans:
        return {"datetime": None, "start_datetime": _EVER[0], "end_datetime": _EVER[1], "description": UNDATED}
    if min(starts) == max(ends):
        return {"datetime": _text(starts[0])}
    return {"datetime": None, "start_datetime": _text(min(starts)), "end_datetime": _text(max(ends))}


def _span(text: str) -> tuple[datetime, datetime]:
    """First and last second of a time, a day, or a month (2020-09)."""
    month = len(text) == len("2024-05")
    when = datetime.fromisoformat(f"{text}-01" if month else text)
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    if not month and len(text) != len("2024-05-01"):
        return when, when
    last = when.replace(day=monthrange(when.year, when.month)[1]) if month else when
    return when, datetime.combine(last.date(), time(23, 59, 59), UTC)


def _text(when: datetime) -> str:
    kept = "milliseconds" if when.microsecond else "seconds"
    return when.isoformat(timespec=kept).replace("+00:00", "Z")


def _rounded(shape: shapely.Geometry) -> dict[str, Any]:
    """Counter-clockwise outside, as RFC 7946 section 3.1.6 asks for."""
    oriented = shapely.orient_polygons(shapely.transform(shape, lambda points: points.round(_DECIMALS)))
    found: dict[str, Any] = json.loads(shapely.to_geojson(oriented))
    return found
