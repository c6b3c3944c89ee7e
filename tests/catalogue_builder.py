"""Answers of the OData catalogue for tests, and a session that replays answers instead of asking."""

from pathlib import Path
from typing import Any

from thalweg.copernicus.search import Search
from thalweg.manifest.lock import LockedProduct
from thalweg.sample.mgrs import locate

FIXTURES = Path(__file__).parents[2] / "shared/data/api_fixtures"
if not FIXTURES.is_dir():
    FIXTURES = Path(__file__).parents[1] / "shared/data/api_fixtures"


class Replay:
    """Answers by address, in the order asked; an exception is raised, a list is used up from the front."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.urls: list[str] = []

    def json(self, method: str, url: str) -> Any:
        assert method == "GET"
        self.urls.append(url)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def page(*rows: dict, link: str | None = None) -> dict:
    return {"@odata.context": "$metadata#Products", "value": list(rows)} | ({"@odata.nextLink": link} if link else {})


def product_name(date="20251003", baseline="0511", tile="T20KNA", made="20251003T174955", level="L2A") -> str:
    return f"S2B_MSI{level}_{date}T141051_N{baseline}_R110_{tile}_{made}"


def square(tile="T20KNA", share=1.0) -> dict:
    """A footprint in degrees that covers the western `share` of a tile."""
    from pyproj import Transformer

    place = locate(tile)
    to_degrees = Transformer.from_crs(place.epsg, 4326, always_xy=True).transform
    west, east, top, bottom = place.ulx, place.ulx + share * 109_800, place.uly, place.uly - 109_800
    ring = [(west, top), (east, top), (east, bottom), (west, bottom), (west, top)]
    return {"type": "Polygon", "coordinates": [[list(to_degrees(*corner)) for corner in ring]]}


def row(name: str | None = None, *, cloud: float | None = 5.0, share: float = 1.0, **changes) -> dict:
    """One product as the catalogue writes it."""
    name = name or product_name()
    said = [] if cloud is None else [{"Name": "cloudCover", "Value": cloud, "ValueType": "Double"}]
    return {
        "Id": f"id-{name}",
        "Name": f"{name}.SAFE",
        "ContentLength": 1_000_000_000,
        "Online": True,
        "S3Path": f"/eodata/Sentinel-2/MSI/L2A/2025/10/03/{name}.SAFE",
        "Checksum": [{"Value": "0" * 32, "Algorithm": "MD5", "ChecksumDate": "2025-10-03T20:00:00Z"}],
        "GeoFootprint": square(name.split("_")[5], share),
        "Attributes": said,
    } | changes


def search(**changes) -> Search:
    """A search of one tile and one year, changed at will."""
    options = {
        "level": "L2A", "tiles": ("T20KNA",), "area": None, "dates": (("2025-01-01", "2025-12-31"),),
        "cloud_cover_max": 100.0, "coverage_min": 0.0, "baseline_min": None, "baseline_rule": "newest", "best": "all",
    }  # fmt: skip
    return Search(**(options | changes))


def locked(name: str | None = None, **changes) -> LockedProduct:
    """One product of a lock."""
    name = name or product_name()
    options = {
        "id": "c9c0a608-1ed5-41ee-98bb-2346ff1502d2", "name": name, "tile": name.split("_")[5],
        "sensing_time": "2025-10-03T14:10:51Z", "baseline": "05.11", "level": "L2A", "cloud_cover": 5.0,
        "coverage": 1.0, "size": 1_000_000_000, "s3_path": f"/eodata/Sentinel-2/MSI/L2A/2025/10/03/{name}.SAFE",
        "checksum": None, "facts": {},
    }  # fmt: skip
    return LockedProduct(**(options | changes))
