"""A QGIS project of everything that a run left: maps, scenes with their masks, blocks by part, chips.

Source: QGIS's project file as versions 3.22 to 3.40 read it (`layer-tree-group`, `projectlayers`); styles are those of
the side files, since a project does not look for them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import shapely
from pyproj import CRS

from thalweg import qgis, raster
from thalweg.classes import ClassInfo
from thalweg.errors import MapError
from thalweg.manifest.chips import read_chips, read_stats
from thalweg.manifest.scene import Scene
from thalweg.maps.styles import write_palette
from thalweg.vectors import write_vectors

PROJECT = "thalweg.qgs"
CHIPS = "chips.gpkg"
MASKS = "mask.qml"
"""The style of masks, also for those that are still being drawn."""
PART_COLORS = {"train": "#4c78a8", "val": "#f2a541", "test": "#c0392b", "unused": "#9a9a9a"}
_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_DEGREES = "EPSG:4326"
_RASTERS = ("classes.tif", "probs.tif", "uncertainty.tif")
_TRUE_COLOR = (("B04", "B03", "B02"), ("red", "green", "blue"))


@dataclass(frozen=True)
class Layer:
    """One layer of the project."""

    name: str
    path: Path
    style: ET.Element | None
    """A raster's `pipe`, or a vector layer's root with renderer; None: as QGIS likes."""
    shown: bool
    layer: str | None = None
    """Of a GeoPackage; None for rasters and for files of one layer."""
    vector: bool = False
    crs: str = _DEGREES
    """Anything that pyproj reads. QGIS asks no file for it once it reads a project."""


@dataclass(frozen=True)
class Group:
    """Layers under one heading, or headings under one."""

    name: str
    members: "Sequence[Layer | Group]" = ()
    shown: bool = True


def write_project(root: Path, scenes: Mapping[str, Mapping[str, Scene]], legend: Sequence[ClassInfo], out: Path) -> int:
    """Writes `thalweg.qgs`, and the chips as outlines beside it; paths in it are relative, so the folder may move.

    Args:
        root: The project's folder.
        scenes: By grid and name.
        legend: Of masks.
        out: Folder to write into; made.

    Returns:
        How many layers it has.

    Raises:
        MapError: There is nothing to show yet.
    """
    out.mkdir(parents=True, exist_ok=True)
    split = root / "build" / "split"
    write_palette(legend, out / MASKS)
    masks = ET.parse(out / MASKS).getroot().find("pipe")
    maps = [folder for folder in sorted((root / "maps").glob("*/")) if any(folder.glob("*.tif"))]
    groups = [
        Group("maps", [_map_group(folder) for folder in maps]),
        Group("split", list(_split_layers(split, scenes, out))),
        *(Group(f"scenes {grid}", list(_scene_groups(members, split, masks)), shown=False)
          for grid, members in scenes.items()),
    ]  # fmt: skip
    layers = [layer for group in groups for layer in _leaves(group)]
    if not layers:
        raise MapError(f"{root} has no maps, scenes or split yet; run `make train` first")
    qgs = ET.Element("qgis", version="3.22.0", projectname="Thalweg")
    ET.SubElement(qgs, "title").text = "Thalweg"
    _crs(qgs, "projectCrs", next((layer.crs for layer in layers if not layer.vector), _DEGREES))
    projected = ET.SubElement(ET.SubElement(ET.SubElement(qgs, "properties"), "SpatialRefSys"), "ProjectionsEnabled")
    projected.set("type", "int")
    projected.text = "1"  # else layers of several CRS are laid over each other as they are
    tree = ET.SubElement(qgs, "layer-tree-group")
    for group in groups:
        _branch(tree, group, out)
    place = ET.SubElement(qgs, "projectlayers")
    for layer in layers:
        _layer(place, layer, out)
    ET.indent(qgs, " ")
    partial = out / f".{PROJECT}.part"
    partial.write_text(_DOCTYPE + ET.tostring(qgs, "unicode"), "utf-8")
    partial.replace(out / PROJECT)
    return len(layers)


def outline_chips(scenes: Mapping[str, Scene], chips: pd.DataFrame) -> geopandas.GeoDataFrame:
    """The chip table as outlines, in longitude and latitude; chips of packed scenes too, for they know their place."""
    frames = []
    for name, rows in chips.groupby("scene", sort=True):
        grid = scenes[str(name)].grid
        top, left, edge = (rows[column].to_numpy(float) for column in ("row", "col", "size"))
        corners = [(top, left), (top, left + edge), (top + edge, left + edge), (top + edge, left)]
        rings = np.stack([np.stack(grid.lonlat(*corner), -1) for corner in corners], 1)
        frames.append(geopandas.GeoDataFrame(rows, geometry=shapely.polygons(rings), crs=4326))
    return pd.concat(frames, ignore_index=True)


def _map_group(folder: Path) -> Group:
    layers = [
        Layer(name.removesuffix(".tif"), folder / name, _pipe(folder / name), shown=name == "classes.tif",
              crs=raster.read_grid(folder / name).crs_wkt)
        for name in _RASTERS if (folder / name).is_file()
    ]  # fmt: skip
    layers += [
        Layer(str(name), path, None, False, str(name), True, pyogrio.read_info(path, name)["crs"] or _DEGREES)
        for path in sorted(folder.glob("*.gpkg")) for name, _ in pyogrio.list_layers(path)
    ]  # fmt: skip
    return Group(folder.name, layers[::-1])


def _split_layers(split: Path, scenes: Mapping[str, Mapping[str, Scene]], out: Path) -> Iterator[Layer]:
    blocks = split / "blocks.geojson"
    if not blocks.is_file():
        return
    look = ET.fromstring(qgis.category_outlines("part", PART_COLORS))
    tables = {grid: outline_chips(members, read_chips(split, grid)) for grid, members in scenes.items()}
    write_vectors(out / CHIPS, tables)
    for grid in tables:
        yield Layer(f"chips {grid}", out / CHIPS, look, False, grid, True)
    yield Layer("blocks", blocks, look, True, None, True)


def _scene_groups(members: Mapping[str, Scene], split: Path, masks: ET.Element | None) -> Iterator[Group]:
    """Scenes of packs are left out: their rasters lie nowhere on the earth."""
    for name, scene in members.items():
        if scene.pack is not None:
            continue
        image = scene.folder / scene.image_files[0]
        crs = scene.record.crs
        layers = [Layer("image", image, _look(scene, split), True, crs=crs)]
        if scene.record.labelled:
            layers.insert(0, Layer("mask", scene.folder / "mask.tif", masks, True, crs=crs))
        yield Group(name, [*layers], shown=False)


def _look(scene: Scene, split: Path) -> ET.Element | None:
    """True colour, or the first three channels, stretched from the 2nd to the 98th percentile of training ground."""
    names = [channel.name.rpartition("/")[2] for channel in scene.record.channels]
    wanted = next((choice for choice in _TRUE_COLOR if set(choice) <= set(names)), tuple(names[:3]))
    if len(wanted) < 3:
        return None
    at = [names.index(name) for name in wanted]
    if not (split / scene.record.grid / "stats.json").is_file():
        return None
    stats = read_stats(split, scene.record.grid)
    return qgis.three_bands([(band + 1, stats.p02[band], stats.p98[band]) for band in at])


def _pipe(path: Path) -> ET.Element | None:
    style = path.with_suffix(".qml")
    return ET.parse(style).getroot().find("pipe") if style.is_file() else None


def _leaves(group: Group) -> Iterator[Layer]:
    for member in group.members:
        if isinstance(member, Group):
            yield from _leaves(member)
        else:
            yield member


def _branch(parent: ET.Element, group: Group, out: Path) -> None:
    node = ET.SubElement(parent, "layer-tree-group", name=group.name, checked=_check(group.shown), expanded="1")
    for member in group.members:
        if isinstance(member, Group):
            _branch(node, member, out)
        else:
            provider = "ogr" if member.vector else "gdal"
            ET.SubElement(node, "layer-tree-layer", id=_id(member, out), name=member.name, source=_source(member, out),
                          providerKey=provider, checked=_check(member.shown), expanded="0")  # fmt: skip


def _layer(parent: ET.Element, layer: Layer, out: Path) -> None:
    kind = {"type": "vector", "geometry": "Polygon"} if layer.vector else {"type": "raster"}
    node = ET.SubElement(parent, "maplayer", kind)
    ET.SubElement(node, "id").text = _id(layer, out)
    ET.SubElement(node, "datasource").text = _source(layer, out)
    ET.SubElement(node, "layername").text = layer.name
    ET.SubElement(node, "provider").text = "ogr" if layer.vector else "gdal"
    _crs(node, "srs", layer.crs)
    if layer.style is not None:
        node.extend([layer.style] if layer.style.tag == "pipe" else list(layer.style))


def _source(layer: Layer, out: Path) -> str:
    path = Path(relpath(layer.path, out)).as_posix()
    shown = path if path.startswith(".") else f"./{path}"
    return f"{shown}|layername={layer.layer}" if layer.layer else shown


def _id(layer: Layer, out: Path) -> str:
    return "".join(sign if sign.isalnum() else "_" for sign in _source(layer, out))


def _crs(parent: ET.Element, tag: str, crs: str) -> None:
    found = CRS.from_user_input(crs)
    reference = ET.SubElement(ET.SubElement(parent, tag), "spatialrefsys")
    ET.SubElement(reference, "wkt").text = found.to_wkt()
    if authority := found.to_authority(min_confidence=100):
        ET.SubElement(reference, "authid").text = ":".join(authority)


def _check(shown: bool) -> str:
    return "Qt::Checked" if shown else "Qt::Unchecked"
