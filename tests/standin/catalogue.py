"""The catalogue host: Products and DeletedProducts with filter, order, pages and their limits as CDSE answers them."""

import re
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from pyproj import Transformer
from shapely.geometry import Polygon, mapping

from standin.download import DownloadRoom, id_of, md5_of, zip_of
from standin.odata import FilterError, parse_filter
from standin.reply import Reply, told

_NAME = re.compile(r"(S2\w)_MSI(L\w\w)_(\d{8}T\d{6})_N(\d{4})_R(\d{3})_T(\w{5})_(\d{8}T\d{6})\.SAFE")
_ENTITY = re.compile(r"/odata/v1/(Products|DeletedProducts)(?:\(([^)]*)\))?(/.*)?")
_SQUARE = Polygon([(-60.0, -22.0), (-59.0, -22.0), (-59.0, -23.0), (-60.0, -23.0)])
_ALWAYS = ("Attributes", "Locations", "Assets")


@dataclass
class CatalogueRoom:
    """Rows as the catalogue gives them, to be changed at will."""

    files: DownloadRoom
    rows: list[dict[str, Any]] = field(default_factory=list)
    deleted: list[dict[str, Any]] = field(default_factory=list)
    base: str = ""
    skip_max: int = 10_000
    """Beyond which there is no page and, silently, no next link."""
    page_max: int = 1000
    """Rows of a page, whatever `$top` asks for above it: a small one makes several pages out of few rows."""

    def __post_init__(self) -> None:
        for safe in self.files.products:
            self.add_safe(safe)

    def add_safe(self, safe: Path, **changes: Any) -> dict[str, Any]:
        """Lists a SAFE folder, and serves it."""
        self.files.add(safe)
        content = zip_of(safe)
        facts = {"ContentLength": len(content), "Checksum": [{"Algorithm": "MD5", "Value": md5_of(content)}]}
        return self.add(safe.name, footprint=_footprint(safe), cloud=_cloud(safe), **(facts | changes))

    def add(self, name: str, cloud: float | None = 5.0, footprint: Polygon = _SQUARE, **changes: Any) -> dict[str, Any]:
        """Lists a product of that name (with `.SAFE`), which need not be served; changes are of the row's fields."""
        row = make_row(name, cloud, footprint) | changes
        self.rows.append(row)
        return row

    def delete(self, name: str, cause: str = "Duplicated product", date: str = "2026-01-02T03:04:05.000000Z") -> None:
        """Moves a product to the deleted ones and stops serving it."""
        row = next(row for row in self.rows if row["Name"] == name)
        self.rows.remove(row)
        self.deleted.append(row | {"DeletionDate": date, "DeletionCause": cause})
        self.files.gone.add(row["Id"])

    def answer(self, path: str, asked: dict[str, str], body: bytes) -> Reply:  # noqa: ARG002
        """Rows, one product, a redirect to the file, or why not."""
        found = _ENTITY.fullmatch(path)
        if found is None:
            return told(404, {"detail": "Not Found"})
        entity, number, rest = found.groups()
        rows = self.rows if entity == "Products" else self.deleted
        if number is not None and rest:
            location = f"{self.files.base}/Products({number}){urllib.parse.quote(rest, safe='/()$')}"
            return Reply(301, b"", "text/plain", location=location)
        if number is not None:
            row = next((row for row in rows if row["Id"] == number), None)
            return told(404, {"detail": "Product not found"}) if row is None else told(200, _shown(row, asked))
        return self._list(entity, rows, asked)

    def _list(self, entity: str, rows: list[dict[str, Any]], asked: dict[str, str]) -> Reply:
        for name, low, high in (("$top", 0, 1000), ("$skip", 0, self.skip_max)):
            if not low <= int(asked.get(name, 0)) <= high:
                return told(422, {"detail": [_beyond(name, high, asked[name])]})
        try:
            keep = parse_filter(asked["$filter"]) if asked.get("$filter") else lambda _row: True
            found = [row for row in rows if keep(row)]
        except FilterError as error:
            return told(400, {"detail": {"message": str(error), "request_id": "f00"}})
        if (order := asked.get("$orderby")) is not None:
            path, _, way = order.partition(" ")
            if path not in ("ContentDate/Start", "ContentDate/End", "PublicationDate", "ModificationDate"):
                return told(400, {"detail": {"message": f"Invalid orderby: {path}"}})
            first, _, second = path.partition("/")
            found.sort(key=lambda row: (row[first][second] if second else row[first], row["Id"]), reverse=way == "desc")
        top, skip = min(int(asked.get("$top", 20)), self.page_max), int(asked.get("$skip", 0))
        answer: dict[str, Any] = {"@odata.context": "$metadata#Products"}
        if asked.get("$count", "").lower() == "true":
            answer["@odata.count"] = len(found)
        answer["value"] = [_shown(row, asked) for row in found[skip : skip + top]]
        if skip + top < len(found) and skip + top <= self.skip_max:
            query = urllib.parse.urlencode(asked | {"$skip": str(skip + top)}, quote_via=urllib.parse.quote)
            answer["@odata.nextLink"] = f"{self.base}/{entity}?{query}"
        return told(200, answer)


def make_row(name: str, cloud: float | None = 5.0, footprint: Polygon = _SQUARE) -> dict[str, Any]:
    """A row of Products as the catalogue gives it, from a product's name with `.SAFE`."""
    found = _NAME.fullmatch(name)
    assert found is not None, f"{name} is no Sentinel-2 product name"
    mission, level, sensing, baseline, orbit, tile, made = found.groups()
    attributes = [
        ("String", "productType", f"S2MSI{level[1:]}"), ("String", "tileId", tile), ("String", "origin", "ESA"),
        ("String", "processorVersion", f"{baseline[:2]}.{baseline[2:]}"), ("Integer", "relativeOrbitNumber", int(orbit)),
        ("String", "platformSerialIdentifier", mission[2]), ("DateTimeOffset", "processingDate", _iso(made)),
    ]  # fmt: skip
    if cloud is not None:
        attributes.append(("Double", "cloudCover", cloud))
    day = f"{sensing[:4]}/{sensing[4:6]}/{sensing[6:8]}"
    ring = ", ".join(f"{lon} {lat}" for lon, lat in footprint.exterior.coords)
    return {
        "@odata.mediaContentType": "application/octet-stream", "Id": id_of(name), "Name": name,
        "ContentType": "application/octet-stream", "ContentLength": 1_000_000, "OriginDate": _iso(made),
        "PublicationDate": _iso(made), "ModificationDate": _iso(made), "Online": True,
        "EvictionDate": "9999-12-31T23:59:59.999999Z", "S3Path": f"/eodata/Sentinel-2/MSI/{level}/{day}/{name}",
        "Checksum": [{"Algorithm": "MD5", "Value": "0" * 32, "ChecksumDate": _iso(made)}],
        "ContentDate": {"Start": _iso(sensing), "End": _iso(sensing)},
        "Footprint": f"geography'SRID=4326;POLYGON (({ring}))'", "GeoFootprint": mapping(footprint),
        "Attributes": [
            {"@odata.type": f"#OData.CSC.{kind}Attribute", "Name": attribute, "Value": value, "ValueType": kind}
            for kind, attribute, value in attributes
        ],
    }  # fmt: skip


def _shown(row: dict[str, Any], asked: dict[str, str]) -> dict[str, Any]:
    hidden = {name for name in _ALWAYS if name != asked.get("$expand")}
    chosen = set(asked["$select"].split(",")) | {"Id"} if "$select" in asked else set(row)
    return {name: value for name, value in row.items() if name in chosen - hidden}


def _beyond(name: str, high: int, given: str) -> dict[str, Any]:
    return {"type": "less_than_equal", "loc": ["query", name], "input": given, "ctx": {"le": high},
            "msg": f"Input should be less than or equal to {high}"}  # fmt: skip


def _iso(stamp: str) -> str:
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:11]}:{stamp[11:13]}:{stamp[13:15]}.000000Z"


def _cloud(safe: Path) -> float:
    [xml] = safe.glob("MTD_MSIL*.xml")
    return float(ElementTree.parse(xml).findtext(".//Cloud_Coverage_Assessment") or 0)


def _footprint(safe: Path) -> Polygon:
    """The tile's whole square at its real place, whatever the sample's size."""
    [xml] = safe.glob("GRANULE/*/MTD_TL.xml")
    root = ElementTree.parse(xml).getroot()
    left, top = (float(root.findtext(f".//Geoposition/{name}") or 0) for name in ("ULX", "ULY"))
    to_degrees = Transformer.from_crs(root.findtext(".//HORIZONTAL_CS_CODE"), "EPSG:4326", always_xy=True)
    edge = 109_800.0
    corners = [(left, top), (left + edge, top), (left + edge, top - edge), (left, top - edge)]
    return Polygon([tuple(round(part, 6) for part in to_degrees.transform(*corner)) for corner in corners])
