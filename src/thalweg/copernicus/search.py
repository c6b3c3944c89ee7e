"""What a search asks: the section `fetch.options.search` of the source `copernicus`, and its area on the ground."""

import datetime
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from shapely import Polygon, box
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from thalweg.errors import ParamsError

Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Baseline = Annotated[str, Field(pattern=r"^\d{2}\.\d{2}$")]


class Search(BaseModel):
    """Which products a search takes. `thalweg lock` asks the catalogue and freezes the answer."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    level: Literal["L2A", "L1C"]
    tiles: tuple[str, ...]
    """MGRS tiles, `T20KNA`; may be empty where an area is given."""
    area: tuple[float, float, float, float] | str | None
    """West, south, east, north in degrees, or the path of a GeoJSON file, or null."""
    dates: tuple[tuple[Day, Day], ...] = Field(min_length=1)
    """Ranges of sensing days, quoted, UTC, both ends included."""
    cloud_cover_max: float = Field(ge=0, le=100)
    """Percent of the measured pixels, as the catalogue states it; products that state none are left out below 100."""
    coverage_min: float = Field(ge=0, le=1)
    """Least share of the tile, or of its part in the area, that the product's footprint covers. An empty swath edge
    has few clouds, so a search for the clearest product needs this."""
    baseline_min: Baseline | None
    """Oldest processing baseline, `04.00`, quoted, or null."""
    baseline_rule: Literal["newest", "oldest", "all"]
    """Which processing of an acquisition that the catalogue holds several times."""
    best: Literal["month", "all"]
    """`month`: of each tile and month the one with the fewest clouds; `all`: every product."""

    @model_validator(mode="after")
    def _place_and_days(self) -> Self:
        if not self.tiles and self.area is None:
            raise ValueError("give tiles or an area")
        for first, last in self.dates:
            if datetime.date.fromisoformat(first) > datetime.date.fromisoformat(last):
                raise ValueError(f"dates: {first} comes after {last}")
        return self


def spans(search: Search) -> list[tuple[datetime.datetime, datetime.datetime]]:
    """Half-open spans of time [start, end), UTC, split by year since long ranges are slow to search.

    An end date alone would mean its midnight and lose the last day.
    """
    found = []
    for first, last in search.dates:
        start = _midnight(datetime.date.fromisoformat(first))
        end = _midnight(datetime.date.fromisoformat(last) + datetime.timedelta(days=1))
        while start < end:
            stop = min(end, start.replace(year=start.year + 1, month=1, day=1))
            found.append((start, stop))
            start = stop
    return found


def read_area(area: tuple[float, float, float, float] | str | None) -> BaseGeometry | None:
    """The searched ground in degrees, EPSG:4326; None where only tiles are searched.

    Raises:
        ParamsError: The box is upside down, or the file is missing, no GeoJSON, empty or not in degrees.
    """
    if area is None:
        return None
    if isinstance(area, str):
        return _read_geojson(Path(area))
    west, south, east, north = area
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise ParamsError(
            f"fetch.options.search.area is [{west}, {south}, {east}, {north}], expected west < east and south < north "
            "in degrees; split an area that crosses 180° into two searches"
        )
    return box(west, south, east, north)


def to_wkt(area: BaseGeometry) -> str:
    """One polygon around the area as the catalogue reads it: its convex hull where it is several or has many corners.

    The exact area decides afterwards, when coverage is measured.
    """
    simple = area if isinstance(area, Polygon) and not area.interiors and len(area.exterior.coords) <= 200 else None
    hull = simple or area.convex_hull
    ring = hull.exterior.coords if isinstance(hull, Polygon) else box(*hull.bounds).exterior.coords
    return f"POLYGON(({','.join(f'{lon:.6f} {lat:.6f}' for lon, lat, *_ in ring)}))"


def _read_geojson(path: Path) -> BaseGeometry:
    try:
        data = json.loads(path.read_text("utf-8"))
        area = unary_union([shape(part) for part in _geometries(data)])
    except FileNotFoundError as error:
        raise ParamsError(f"fetch.options.search.area names {path}, which is not there; correct params.yaml") from error
    except (ValueError, KeyError, TypeError, AttributeError, ShapelyError) as error:
        raise ParamsError(f"{path} is no GeoJSON with an area ({error}); write it anew, in degrees") from error
    west, south, east, north = area.bounds if not area.is_empty else (0.0, 0.0, 0.0, 0.0)
    if not area.area or west < -180 or east > 180 or south < -90 or north > 90:
        raise ParamsError(f"{path} holds no area in degrees; draw a polygon and export it as EPSG:4326")
    return area


def _geometries(data: dict[str, Any]) -> list[dict[str, Any]]:
    if data["type"] == "FeatureCollection":
        return [feature["geometry"] for feature in data["features"]]
    return [data["geometry"] if data["type"] == "Feature" else data]


def _midnight(day: datetime.date) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time(), datetime.UTC)
