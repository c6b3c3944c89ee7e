"""blocks.geojson: what was dealt, with its part, its labelled ground and its elevations."""

from pathlib import Path

import numpy as np

from thalweg.manifest import write_json
from thalweg.manifest.chips import PARTS
from thalweg.params.classes import Classes
from thalweg.split.blocks import BlockTable, decode

Ring = list[list[float]]
_PART_NAMES = {value: name for name, value in PARTS.items()}


def write_blocks(table: BlockTable, classes: Classes, path: Path) -> None:
    """GeoJSON in longitude and latitude.

    `ha_<class>` is labelled, valid ground in hectares, summed over scenes; `elevation_*` are metres over all measured
    pixels, null where there are none, absent where no scene has elevations.
    """
    features = []
    for index, name in enumerate(table.names):
        (row, col), ring = _placed(table, index)
        area = table.area_m2[index]
        hectares = {f"ha_{each}": round(float(area[label]) / 1e4, 4) for label, each in enumerate(classes.names)}
        part = _PART_NAMES[int(table.parts[index])]
        features.append({
            "type": "Feature",
            "properties": {"name": name, "row": row, "col": col, "part": part, **hectares, **_elevations(table, index)},
            "geometry": {"type": "Polygon", "coordinates": [[[round(lon, 9), round(lat, 9)] for lon, lat in ring]]},
        })  # fmt: skip
    write_json({"type": "FeatureCollection", "features": features}, path)


def ring_of(table: BlockTable, index: int) -> Ring:
    """The outline of one of a table's units, degrees."""
    return _placed(table, index)[1]


def _placed(table: BlockTable, index: int) -> tuple[tuple[int, int], Ring]:
    return _block(table, index) if table.pieces is None else _piece(table, index)


def _block(table: BlockTable, index: int) -> tuple[tuple[int, int], Ring]:
    row, col = (int(each) for each in decode(table.codes[index]))
    west, south, east, north = table.lattice.box(row, col)
    return (row, col), [[west, south], [east, south], [east, north], [west, north], [west, south]]


def _piece(table: BlockTable, index: int) -> tuple[tuple[int, int], Ring]:
    piece = (table.pieces or ())[index]
    height, width = piece.grid.shape_yx
    lon, lat = piece.grid.lonlat(np.array([height, height, 0, 0, height]), np.array([0, width, width, 0, 0]))
    return (piece.row, piece.col), np.stack([lon, lat], 1).tolist()


def _elevations(table: BlockTable, index: int) -> dict[str, float | None]:
    terrain = table.terrain
    if terrain is None:
        return {}
    named = {"mean": terrain.mean_m, "std": terrain.std_m, "min": terrain.low_m, "max": terrain.high_m}
    values = {f"elevation_{name}": float(each[index]) for name, each in named.items()}
    return {name: round(value, 2) if np.isfinite(value) else None for name, value in values.items()}
