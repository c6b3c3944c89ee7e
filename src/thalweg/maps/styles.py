"""How a map looks in QGIS, and the class names that GDAL shows: side files that are loaded from beside the rasters."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from thalweg.classes import ClassInfo

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_QGIS = "3.28"


def write_category_names(legend: Sequence[ClassInfo], path: Path) -> None:
    """GDAL's side file with the class names of classes.tif, which GeoTIFF itself cannot hold."""
    root = ET.Element("PAMDataset")
    categories = ET.SubElement(ET.SubElement(root, "PAMRasterBand", band="1"), "CategoryNames")
    for info in legend:
        ET.SubElement(categories, "Category").text = info.name
    _write(root, path)


def write_palette(legend: Sequence[ClassInfo], path: Path) -> None:
    """Style of a raster of class ids: their colours and names."""
    root, renderer = _renderer("paletted", {"band": "1"})
    palette = ET.SubElement(renderer, "colorPalette")
    for value, info in enumerate(legend):
        ET.SubElement(palette, "paletteEntry", value=str(value), label=info.name, color=info.color, alpha="255")
    _write(root, path, _DOCTYPE)


def write_ramp(band: int, largest: float, path: Path) -> None:
    """Style of one band: grey, black is 0 and white `largest` in the band's own unit, since QGIS applies its scale."""
    root, renderer = _renderer("singlebandgray", {"grayBand": str(band), "gradient": "BlackToWhite"})
    enhancement = ET.SubElement(renderer, "contrastEnhancement")
    for tag, text in (("minValue", "0"), ("maxValue", f"{largest:g}"), ("algorithm", "StretchToMinimumMaximum")):
        ET.SubElement(enhancement, tag).text = text
    _write(root, path, _DOCTYPE)


def _renderer(kind: str, attributes: dict[str, str]) -> tuple[ET.Element, ET.Element]:
    """The style's root, and its renderer, which stretches nothing of its own accord and keeps nodata clear."""
    root = ET.Element("qgis", version=_QGIS, styleCategories="Symbology")
    pipe = ET.SubElement(root, "pipe")
    fixed = {"type": kind, "opacity": "1", "alphaBand": "-1", "nodataColor": ""}
    renderer = ET.SubElement(pipe, "rasterrenderer", fixed | attributes)
    ET.SubElement(renderer, "rasterTransparency")
    origin = ET.SubElement(renderer, "minMaxOrigin")
    for tag, text in (("limits", "None"), ("extent", "WholeRaster"), ("statAccuracy", "Estimated")):
        ET.SubElement(origin, tag).text = text
    return root, renderer


def _write(root: ET.Element, path: Path, head: str = "") -> None:
    ET.indent(root, " ")
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(head + ET.tostring(root, "unicode") + "\n", "utf-8")
    partial.replace(path)
