"""The STAC collection of a project's maps: what a catalogue reads first."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from thalweg.manifest import write_json
from thalweg.maps.footprint import is_undated

STAC_VERSION = "1.1.0"
_WORLD = [-180.0, -90.0, 180.0, 90.0]


def find_items(maps: Path, names: Iterable[str]) -> list[Path]:
    """The items of those maps that have one: maps of pictures without georeference lie nowhere and have none.

    Args:
        maps: `maps/`.
        names: Of the maps.
    """
    return [item for name in names if (item := maps / name / f"{name}.json").is_file()]


def write_collection(items: Sequence[Path], path: Path, place: Path | None = None) -> None:
    """Writes a STAC collection that links to items; without any it is of the whole world and of no known time.

    Args:
        items: Files that `write_item` wrote.
        path: The JSON file; its folder is made.
        place: The folder where it lies in the end, from which links go; None: where it is.
    """
    read = [json.loads(item.read_text("utf-8")) for item in items]
    collection = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": "thalweg-maps",
        "description": "Maps by semantic segmentation of satellite images, made by Thalweg.",
        "license": "other",
        "extent": {
            "spatial": {"bbox": _boxes([item["bbox"] for item in read])},
            "temporal": {"interval": [_interval([item["properties"] for item in read])]},
        },
        "summaries": {"mlm:tasks": ["semantic-segmentation"]},
        "links": [
            {"rel": "item", "href": linked(item, place or path.parent), "type": "application/geo+json",
             "title": each["id"]}
            for item, each in zip(items, read, strict=True)
        ],
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(collection, path)


def linked(path: Path, folder: Path) -> str:
    """A path as a link from a folder."""
    inside = Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()
    return inside if inside.startswith(".") else f"./{inside}"


def _interval(properties: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """From the first to the last dated map; open where none is: an extent, unlike an item, may be."""
    ends = [_ends(each) for each in properties if not is_undated(each)]
    return [min(start for start, _ in ends), max(end for _, end in ends)] if ends else [None, None]


def _ends(properties: Mapping[str, Any]) -> tuple[str, str]:
    when = properties["datetime"]
    return (when, when) if when else (properties["start_datetime"], properties["end_datetime"])


def _boxes(boxes: Sequence[Sequence[float]]) -> list[list[float]]:
    """All together first, as STAC wants it, then each."""
    if not boxes:
        return [_WORLD]
    west, south, east, north = zip(*boxes, strict=True)
    crossing = any(w > e for w, e in zip(west, east, strict=True))
    whole = [-180.0, min(south), 180.0, max(north)] if crossing else [min(west), min(south), max(east), max(north)]
    return [whole, *map(list, boxes)] if len(boxes) > 1 else [list(boxes[0])]
