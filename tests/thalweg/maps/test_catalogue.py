"""STAC items and the collection, checked by pystac and by the schema that the package carries; never the network."""

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pystac
import pytest
import shapely
from affine import Affine
from plain_map import make_map
from pyproj import Transformer
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from thalweg.classes import ClassInfo
from thalweg.errors import MapError
from thalweg.grid import Grid
from thalweg.manifest.card import SCHEMA, ModelCard, Normalisation
from thalweg.manifest.scene import Channel
from thalweg.maps.catalogue import Facts, write_item
from thalweg.maps.collection import find_items, write_collection
from thalweg.maps.footprint import UNDATED, footprint_of, period

import numpy as np  # isort: skip

LEGEND = (ClassInfo(name="background", color="#e6e0d4"), ClassInfo(name="channel", color="#1f6fb4"))
TAGS = {"THALWEG_VERSION": "1", "GIT_COMMIT": "a" * 40, "PARAMS_SHA256": "b" * 64, "PRODUCTS": "S2A_1 S2B_2"}


def make_card(member: str, architecture: str) -> ModelCard:
    channels = tuple(Channel(name=name, wavelength_nm=None, scale=1e-4, offset=0, unit="1") for name in ("B04", "B8A"))
    return ModelCard(
        schema_version=SCHEMA, member=member, architecture=architecture, options={"depth": 3}, architecture_sha256="0",
        grid="g10", pixel_m=10.0, pixel_m_range=(10.0, 10.0), channels=channels,
        normalisation=Normalisation(mean=(0.1, 0.2), std=(0.01, 0.02)), deciles=(), shares=(), classes=LEGEND,
        window_px=128, overlap=0.25, temperature=1.5, calibration=None, preparation={}, metrics={}, epoch=3,
        git_commit=None, products=(), packages={"torch": "2.14.1+cpu"},
    )  # fmt: skip


def make_facts(root: Path, name: str = "main", times=("2024-05-01T10:30:11.024Z",)) -> Facts:
    members = {}
    for member in ("unet", "fcn"):
        home = root / "models" / member
        home.mkdir(parents=True, exist_ok=True)
        (home / "weights.safetensors").write_bytes(member.encode())
        members[member] = (home / "weights.safetensors", make_card(member, member))
    return Facts(
        name, LEGEND, times, TAGS, {"reducer": "mean", "overlaps": [0.25]}, members, "mean", root / "maps" / name
    )


def make_item(root: Path, name: str = "main", grid: Grid | None = None, **changes) -> tuple[Path, dict]:
    folder = root / "maps" / name
    labels = np.zeros((30, 40), np.uint8)
    make_map(folder, labels, ("background", "channel"), grid=grid, probs=np.stack([1.0 - labels, labels]),
             uncertainty=labels * 0.5)  # fmt: skip
    (folder / "masks").mkdir(exist_ok=True)
    (folder / "classes.tif").rename(folder / "c") and (folder / "masks" / "channel.tif").write_bytes(
        (folder / "c").read_bytes()
    )
    (folder / "c").rename(folder / "classes.tif")
    (folder / "classes.qml").write_text("<qgis/>")
    (folder / "polygons.gpkg").write_bytes(b"x")
    path = write_item(folder, make_facts(root, name, **changes))
    return path, json.loads(path.read_text())


def schema() -> dict:
    return json.loads((files("thalweg") / "templates" / "stac_map.schema.json").read_text("utf-8"))


def test_pystac_and_the_carried_schema_take_an_item(tmp_path) -> None:
    path, item = make_item(tmp_path)
    validator = JsonSchemaSTACValidator()
    validator.validate_core(item, pystac.STACObjectType.ITEM, item["stac_version"])
    jsonschema.Draft7Validator(schema()).validate(item)
    read = pystac.Item.from_file(str(path))
    assert read.id == "main"
    assert read.datetime.isoformat() == "2024-05-01T10:30:11.024000+00:00"
    assert item["properties"]["thalweg:git_commit"] == "a" * 40
    assert item["properties"]["mlm:architecture"] == "ensemble (mean) of unet, fcn"
    assert [each["bands"] for each in item["properties"]["mlm:input"]] == [["B04", "B8A"]] * 2
    assert item["properties"]["mlm:framework_version"] == "2.14.1"


@pytest.mark.parametrize(("where", "value"), [
    (("properties", "mlm:tasks"), ["painting"]),
    (("properties", "mlm:input", 0, "input", "dim_order"), ["batch", "batch"]),
    (("properties", "mlm:name"), "-"),
    (("properties", "mlm:inputs"), []),
    (("properties", "processing:software"), {"thalweg": 1}),
    (("assets", "weights/unet", "mlm:artifact_type"), ""),
    (("assets", "classes.tif", "classification:classes", 0, "color_hint"), "#e6e0d4"),
    (("assets", "classes.tif", "file:checksum"), "00"),
])  # fmt: skip
def test_the_carried_schema_refuses_what_is_wrong(tmp_path, where, value) -> None:
    _, item = make_item(tmp_path)
    place = item
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema()).validate(item)


def test_a_map_without_a_model_is_no_mlm_item(tmp_path) -> None:
    _, item = make_item(tmp_path)
    for name in ("weights/unet", "weights/fcn"):
        del item["assets"][name]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema()).validate(item)


def test_every_asset_exists_and_is_what_it_says(tmp_path) -> None:
    path, item = make_item(tmp_path)
    assert set(item["assets"]) == {"classes.tif", "probs.tif", "uncertainty.tif", "masks/channel.tif", "classes.qml",
                                   "polygons.gpkg", "weights/unet", "weights/fcn"}  # fmt: skip
    for asset in item["assets"].values():
        there = path.parent / asset["href"]
        assert there.stat().st_size == asset["file:size"]
        assert asset["file:checksum"] == "1220" + hashlib.sha256(there.read_bytes()).hexdigest()
        assert asset["roles"]
    assert item["assets"]["weights/unet"]["href"] == "../../models/unet/weights.safetensors"
    probs = item["assets"]["probs.tif"]
    assert probs["type"] == "image/tiff; application=geotiff; profile=cloud-optimized"
    assert [band["raster:scale"] for band in probs["bands"]] == pytest.approx([1 / 65534] * 2)
    assert probs["bands"][0]["nodata"] == 65535
    assert item["assets"]["classes.tif"]["classification:classes"] == [
        {"value": 0, "name": "background", "color_hint": "E6E0D4"}, {"value": 1, "name": "channel", "color_hint": "1F6FB4"},
        {"value": 255, "name": "no_map", "nodata": True}]  # fmt: skip
    assert write_item(path.parent, make_facts(tmp_path)).read_text() == path.read_text(), (
        "written again, it is the same"
    )


def test_where_it_is_in_degrees(tmp_path) -> None:
    _, item = make_item(tmp_path)
    to_degrees = Transformer.from_crs(32720, 4326, always_xy=True)
    corners = [to_degrees.transform(600_000 + x, 7_000_000 - y) for x in (0, 400) for y in (0, 300)]
    lons, lats = zip(*corners, strict=True)
    assert item["bbox"] == pytest.approx([min(lons), min(lats), max(lons), max(lats)], abs=2e-6)
    shape = shapely.geometry.shape(item["geometry"])
    assert shape.is_valid
    assert shape.exterior.is_ccw
    for corner in corners:
        assert shape.exterior.distance(shapely.Point(corner)) < 2e-6
    assert item["properties"]["proj:code"] == "EPSG:32720"
    assert item["properties"]["proj:shape"] == [30, 40]
    assert item["properties"]["proj:transform"] == [10, 0, 600_000, 0, -10, 7_000_000]
    assert item["properties"]["proj:bbox"] == [600_000, 6_999_700, 600_400, 7_000_000]


def test_over_the_antimeridian_it_is_cut_in_two() -> None:
    grid = Grid("EPSG:32760", Affine(1000, 0, 800_000, 0, -1000, 8_200_000), (50, 60))  # Fiji
    geometry, bbox = footprint_of(grid)
    assert geometry["type"] == "MultiPolygon"
    shape = shapely.geometry.shape(geometry)
    assert shape.is_valid
    west, east = sorted(shape.geoms, key=lambda part: part.centroid.x, reverse=True)
    assert west.bounds[2] == 180
    assert east.bounds[0] == -180
    assert bbox[0] == west.bounds[0] > 0 > bbox[2] == east.bounds[2]


@pytest.mark.parametrize(("times", "expected"), [
    (["2024-05-01T10:30:11Z"], {"datetime": "2024-05-01T10:30:11Z"}),
    (["2024-05-01T12:30:11+02:00"] * 2, {"datetime": "2024-05-01T10:30:11Z"}),
    (["2024-07-01", "2024-05-01"],
     {"datetime": None, "start_datetime": "2024-05-01T00:00:00Z", "end_datetime": "2024-07-01T23:59:59Z"}),
    (["2024-07-01T10:00:00", "2023-05-01T09:00:00.024Z"],
     {"datetime": None, "start_datetime": "2023-05-01T09:00:00.024Z", "end_datetime": "2024-07-01T10:00:00Z"}),
    (["2020-02"], {"datetime": None, "start_datetime": "2020-02-01T00:00:00Z", "end_datetime": "2020-02-29T23:59:59Z"}),
    (["2020-09", "2020-12", "2020-10-05T10:00:00Z"],
     {"datetime": None, "start_datetime": "2020-09-01T00:00:00Z", "end_datetime": "2020-12-31T23:59:59Z"}),
    ([], {"datetime": None, "start_datetime": "1970-01-01T00:00:00Z", "end_datetime": "9999-12-31T23:59:59Z",
          "description": UNDATED}),
])  # fmt: skip
def test_when_it_is(times, expected) -> None:
    assert period(times) == expected


def test_a_collection_of_all_maps(tmp_path) -> None:
    other = Grid("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_000_000), (30, 40))
    items = [make_item(tmp_path)[0], make_item(tmp_path, "alps", other, times=("2022-01-01", "2022-02-01"))[0]]
    path = tmp_path / "collection.json"
    write_collection(items, path)
    collection = pystac.Collection.from_file(str(path))
    JsonSchemaSTACValidator().validate_core(json.loads(path.read_text()), pystac.STACObjectType.COLLECTION, "1.1.0")
    assert [item.id for item in collection.get_items()] == ["main", "alps"]
    whole, *each = collection.extent.spatial.bboxes
    assert each == [json.loads(item.read_text())["bbox"] for item in items]
    assert whole == [min(box[0] for box in each), min(box[1] for box in each), max(box[2] for box in each), max(box[3] for box in each)]  # fmt: skip
    (start, end) = collection.extent.temporal.intervals[0]
    assert (start.isoformat(), end.isoformat()) == ("2022-01-01T00:00:00+00:00", "2024-05-01T10:30:11.024000+00:00")


def test_a_collection_says_no_time_that_is_not_known_and_is_linked_from_where_it_ends(tmp_path) -> None:
    make_item(tmp_path, times=())
    make_item(tmp_path, "dated", times=("2022-01-01",))
    (tmp_path / "maps" / "picture").mkdir()
    items = find_items(tmp_path / "maps", ["main", "picture", "dated", "gone"])
    assert [item.parent.name for item in items] == ["main", "dated"]
    validator = JsonSchemaSTACValidator()
    staged = tmp_path / "cache" / "collection.json"
    for found, interval, bboxes in (
        (items, ["2022-01-01T00:00:00Z", "2022-01-01T23:59:59Z"], 3),
        (items[:1], [None, None], 1),
        ([], [None, None], 1),
    ):
        write_collection(found, staged, tmp_path / "report")
        written = json.loads(staged.read_text())
        validator.validate_core(written, pystac.STACObjectType.COLLECTION, "1.1.0")
        assert written["extent"]["temporal"]["interval"] == [interval]
        assert len(written["extent"]["spatial"]["bbox"]) == bboxes
        hrefs = [link["href"] for link in written["links"]]
        assert hrefs == ["../maps/main/main.json", "../maps/dated/dated.json"][: len(found)]
    undated = json.loads(items[0].read_text())
    validator.validate_core(undated, pystac.STACObjectType.ITEM, "1.1.0")
    assert undated["properties"]["description"] == UNDATED


def test_no_map_is_no_item(tmp_path) -> None:
    with pytest.raises(MapError, match=r"none has no classes.tif, so it is no map; write the map first"):
        write_item(tmp_path / "none", make_facts(tmp_path))
