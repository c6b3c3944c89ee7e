"""A map's STAC item, whose assets are its files and its members' weights.

Extensions: projection 2.0.0, raster 2.0.0, classification 2.0.0, file 2.1.0, processing 1.2.0, mlm 1.4.0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import thalweg
from thalweg import raster
from thalweg.classes import IGNORE, ClassInfo
from thalweg.errors import MapError
from thalweg.grid import Grid
from thalweg.manifest import write_json
from thalweg.manifest.card import ModelCard
from thalweg.maps.collection import STAC_VERSION, linked
from thalweg.maps.footprint import footprint_of, period
from thalweg.maps.mlm import MLM, mlm_properties
from thalweg.maps.provenance import file_sha256

EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    MLM,
)
_MEDIA = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".gpkg": "application/geopackage+sqlite3",
    ".parquet": "application/vnd.apache.parquet",
    ".geojson": "application/geo+json",
    ".qml": "text/xml",
    ".json": "application/json",
}
_ARTIFACTS = {
    ".safetensors": ("safetensors.torch.save_file", "application/octet-stream"),
    ".onnx": ("torch.onnx.export", "application/octet-stream"),
    ".zip": ("thalweg bundle", "application/zip"),
}
"""What weights lie in: how it was made, and its media type."""
_SHA256 = "1220"
"""Multihash prefix of a sha256. Source: https://multiformats.io/multihash."""


@dataclass(frozen=True)
class Facts:
    """What an item says besides what its files say themselves."""

    name: str
    legend: Sequence[ClassInfo]
    times: Sequence[str]
    """Sensing times or days of the scenes, ISO 8601."""
    tags: Mapping[str, str]
    """As `maps.provenance.provenance_tags` makes them."""
    params: Any
    """What the map was asked to be, plain JSON."""
    members: Mapping[str, tuple[Path, ModelCard]]
    """Member → the file that holds its weights (a safetensors or ONNX file, or a bundle), and its card."""
    reducer: str
    place: Path
    """Where the folder lies in the end: what lies elsewhere is linked from there."""


def write_item(folder: Path, facts: Facts) -> Path:
    """Writes <name>.json beside the finished map's files; all of them become assets.

    Raises:
        MapError: The folder has no classes.tif.
    """
    if not (folder / "classes.tif").is_file():
        raise MapError(f"{folder} has no classes.tif, so it is no map; write the map first, or give its folder")
    grid = raster.read_grid(folder / "classes.tif")
    geometry, bbox = footprint_of(grid)
    item = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": list(EXTENSIONS),
        "id": facts.name,
        "geometry": geometry,
        "bbox": bbox,
        "properties": {
            **period(facts.times),
            "title": f"Map '{facts.name}' of {', '.join(info.name for info in facts.legend)}",
            **_projection(grid),
            **_processing(facts),
            **mlm_properties(facts.name, facts.reducer, {name: card for name, (_, card) in facts.members.items()}),
        },
        "links": [],
        "assets": {path.relative_to(folder).as_posix(): _asset(path, folder, facts) for path in _files(folder, facts)}
        | {f"weights/{name}": _weights(file, facts.place) for name, (file, _) in facts.members.items()},
    }
    target = folder / f"{facts.name}.json"
    write_json(item, target)
    return target


def _files(folder: Path, facts: Facts) -> list[Path]:
    found = [path for path in sorted(folder.rglob("*")) if path.suffix in _MEDIA and not path.name.startswith(".")]
    return [path for path in found if path.name != f"{facts.name}.json"]


def _asset(path: Path, folder: Path, facts: Facts) -> dict[str, Any]:
    asset: dict[str, Any] = {"href": f"./{path.relative_to(folder).as_posix()}", "type": _MEDIA[path.suffix],
                             "roles": _roles(path), **_file(path)}  # fmt: skip
    if path.suffix == ".tif":
        asset["bands"] = _bands(path)
        if path.stem == "classes":
            asset["classification:classes"] = to_classes(facts.legend)
        elif path.parent.name == "masks":
            asset["classification:classes"] = [
                {"value": 0, "name": f"not_{path.stem}"},
                {"value": 1, "name": path.stem},
            ]
    return asset


def to_classes(legend: Sequence[ClassInfo]) -> list[dict[str, Any]]:
    """`classification:classes`, with nodata as the last."""
    named = [
        {"value": value, "name": info.name, "color_hint": info.color[1:].upper()} for value, info in enumerate(legend)
    ]
    return [*named, {"value": IGNORE, "name": "no_map", "nodata": True}]


def _roles(path: Path) -> list[str]:
    if path.suffix in (".qml", ".json"):
        return ["metadata"]
    return ["data", "uncertainty"] if path.stem == "uncertainty" else ["data"]


def _bands(path: Path) -> list[dict[str, Any]]:
    with raster.opened(path) as dataset:
        pixel_m = raster.known_grid(dataset, path).pixel_m_yx
        return [
            {"name": dataset.descriptions[band] or f"band{band + 1}", "data_type": dataset.dtypes[band],
             "nodata": dataset.nodata, "raster:scale": dataset.scales[band], "raster:offset": dataset.offsets[band],
             "raster:sampling": "area", "raster:spatial_resolution": round(pixel_m[0], 3)}
            for band in range(dataset.count)
        ]  # fmt: skip


def _file(path: Path) -> dict[str, Any]:
    return {"file:size": path.stat().st_size, "file:checksum": _SHA256 + file_sha256(path)}


def _weights(file: Path, folder: Path) -> dict[str, Any]:
    kind, media = _ARTIFACTS[file.suffix]
    return {"href": linked(file, folder), "type": media, "roles": ["mlm:model", "mlm:weights"],
            "mlm:artifact_type": kind, **_file(file)}  # fmt: skip


def _projection(grid: Grid) -> dict[str, Any]:
    epsg = grid.crs.to_authority()
    found: dict[str, Any] = {"proj:code": ":".join(epsg) if epsg else None}
    if not epsg:
        found["proj:wkt2"] = grid.crs.to_wkt()
    return {**found, "proj:shape": list(grid.shape_yx), "proj:bbox": list(grid.bounds),
            "proj:transform": list(grid.transform[:6])}  # fmt: skip


def _processing(facts: Facts) -> dict[str, Any]:
    said = [f"{key} {value}" for key, value in facts.tags.items()]
    return {
        "processing:level": "L4",
        "processing:software": {"thalweg": thalweg.__version__},
        "processing:expression": {"format": "thalweg-params", "expression": facts.params},
        "processing:lineage": "; ".join(said),
        "thalweg:products": facts.tags.get("PRODUCTS", "").split(),
        "thalweg:git_commit": facts.tags.get("GIT_COMMIT"),
        "thalweg:params_sha256": facts.tags.get("PARAMS_SHA256"),
    }
