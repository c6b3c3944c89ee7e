"""What a map is on disk: probabilities, classes and uncertainty as COGs with colours, names and provenance.

Probabilities are held as uint16, value = round(p × 65534), 65535 where nothing was measured. Everything downstream,
labels, scores and uncertainty, is computed from these held values, so that a reported number is the map's number.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from rasterio.io import DatasetWriter

from thalweg import raster
from thalweg.classes import IGNORE, ClassInfo
from thalweg.grid import Grid, Window

PROB_SCALE = 65534
PROB_NODATA = 65535
BYTE_SCALE = 254
BYTE_NODATA = 255
MAX_SPREAD = 0.5
"""Largest standard deviation that values between 0 and 1 can have."""
BLOCK_PX = 512


def quantise(probs: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Probabilities (K, h, w) as held, nodata where not `measured` (h, w)."""
    held: np.ndarray = np.rint(np.clip(probs, 0, 1) * np.float32(PROB_SCALE)).astype(np.uint16)
    held[:, ~measured] = PROB_NODATA
    return held


def dequantise(held: np.ndarray) -> np.ndarray:
    """Held values as float32 probabilities; nodata gives values just above 1, the caller's to leave out."""
    return held.astype(np.float32) / np.float32(PROB_SCALE)


def to_labels(held: np.ndarray, cut: int | None) -> np.ndarray:
    """Class ids (h, w) uint8 of held probabilities (K, h, w), `IGNORE` where nothing was measured.

    Args:
        held: As `quantise` gives them.
        cut: Least held value of class 1 that counts as class 1 (two classes), or None for the most probable class.
    """
    labels: np.ndarray = held.argmax(0).astype(np.uint8) if cut is None else (held[1] >= cut).astype(np.uint8)
    labels[held[0] == PROB_NODATA] = IGNORE
    return labels


def to_entropy(held: np.ndarray) -> np.ndarray:
    """Shannon entropy (h, w) of held probabilities (K, h, w), divided by that of the uniform distribution: 0…1."""
    probs = dequantise(held)
    probs /= np.maximum(probs.sum(0), np.float32(1e-6))
    entropy = -np.sum(probs * np.log(np.maximum(probs, np.float32(1e-9))), 0) / np.float32(np.log(len(held)))
    return np.asarray(entropy.clip(0, 1))


def create_probs(path: Path, grid: Grid, names: Sequence[str], tags: Mapping[str, str] | None = None) -> DatasetWriter:
    """A sparse raster of held probabilities, a band per name, open for writing."""
    dataset = raster.create_tiled(path, grid, len(names), "uint16", PROB_NODATA, sparse=True)
    dataset.descriptions = tuple(names)
    dataset.scales = (1 / PROB_SCALE,) * len(names)
    dataset.update_tags(**(tags or {}))
    return dataset


def write_layers(probs: Path, spread: Path, windows: Sequence[Window], cut: int | None, legend: Sequence[ClassInfo],
                 tags: Mapping[str, str], folder: Path) -> None:  # fmt: skip
    """The map's folder from its probabilities: probs.tif, classes.tif and uncertainty.tif as COGs, and the legend.

    Args:
        probs: Tiled raster of held probabilities, tagged.
        spread: Tiled raster of one band, the members' disagreement, held as probabilities are.
        windows: Those of the map's windows that hold anything.
        cut: As in `to_labels`.
        legend: Classes by id.
        tags: Provenance.
        folder: Made here; `probs` and `spread` lie elsewhere and stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    classes, uncertainty = probs.with_name("classes_plain.tif"), probs.with_name("uncertainty_plain.tif")
    _write_plain(probs, spread, windows, cut, legend, tags, classes, uncertainty)
    for source, name, resampling in ((probs, "probs", "average"), (classes, "classes", "nearest"),
                                     (uncertainty, "uncertainty", "average")):  # fmt: skip
        raster.write_cog(source, folder / f"{name}.tif", resampling)
    write_category_names(legend, folder / "classes.tif.aux.xml")
    write_qml(legend, folder / "classes.qml")


def write_category_names(legend: Sequence[ClassInfo], path: Path) -> None:
    """GDAL's side file with the class names of classes.tif, which GeoTIFF itself cannot hold."""
    root = ET.Element("PAMDataset")
    categories = ET.SubElement(ET.SubElement(root, "PAMRasterBand", band="1"), "CategoryNames")
    for info in legend:
        ET.SubElement(categories, "Category").text = info.name
    _write_xml(root, path)


def write_qml(legend: Sequence[ClassInfo], path: Path) -> None:
    """QGIS style of classes.tif: a palette with the class names, loaded by QGIS from beside the raster."""
    root = ET.Element("qgis", version="3.28", styleCategories="Symbology")
    renderer = ET.SubElement(ET.SubElement(root, "pipe"), "rasterrenderer", type="paletted", band="1", opacity="1",
                             alphaBand="-1", nodataColor="")  # fmt: skip
    palette = ET.SubElement(renderer, "colorPalette")
    for value, info in enumerate(legend):
        ET.SubElement(palette, "paletteEntry", value=str(value), label=info.name, color=info.color, alpha="255")
    _write_xml(root, path, "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n")


def _write_plain(probs: Path, spread: Path, windows: Sequence[Window], cut: int | None, legend: Sequence[ClassInfo],
                 tags: Mapping[str, str], classes: Path, uncertainty: Path) -> None:  # fmt: skip
    grid = raster.read_grid(probs)
    with (
        raster.create_tiled(classes, grid, 1, "uint8", IGNORE, sparse=True) as labelled,
        raster.create_tiled(uncertainty, grid, 2, "uint8", BYTE_NODATA, sparse=True) as doubted,
    ):
        labelled.write_colormap(1, {value: (*info.rgb, 255) for value, info in enumerate(legend)})
        labelled.descriptions = ("class",)
        labelled.update_tags(**tags, **{f"CLASS_{value}": info.name for value, info in enumerate(legend)})
        doubted.descriptions = ("normalised entropy", "disagreement of members")
        doubted.scales = (1 / BYTE_SCALE, MAX_SPREAD / BYTE_SCALE)
        doubted.update_tags(**tags)
        for window in windows:
            held = raster.read_onto(probs, grid, window, "nearest")
            labelled.write(to_labels(held, cut)[None], window=raster.to_rio(window))
            spreads = dequantise(raster.read_onto(spread, grid, window, "nearest")[0]) / MAX_SPREAD
            measures = _to_bytes([to_entropy(held), spreads], held[0] != PROB_NODATA)
            doubted.write(measures, window=raster.to_rio(window))


def _to_bytes(measures: Sequence[np.ndarray], measured: np.ndarray) -> np.ndarray:
    held: np.ndarray = np.rint(np.clip(np.stack(measures), 0, 1) * BYTE_SCALE).astype(np.uint8)
    held[:, ~measured] = BYTE_NODATA
    return held


def _write_xml(root: ET.Element, path: Path, head: str = "") -> None:
    ET.indent(root, " ")
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(head + ET.tostring(root, "unicode") + "\n", "utf-8")
    partial.replace(path)
