"""How QGIS shows layers of a GeoPackage: styles kept inside the file, which QGIS loads with the layer.

Source: the table `layer_styles` that QGIS itself writes ("Save style to database"), of which it takes the style of a
layer with `useAsDefault`; QML as QGIS 3.28 writes it.
"""

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

import geopandas
import pandas as pd

TABLE = "layer_styles"
_VERSION = "3.28"


def styles(qml: Mapping[str, str]) -> geopandas.GeoDataFrame:
    """The table of styles of a GeoPackage: layer → QML."""
    return geopandas.GeoDataFrame(pd.DataFrame({
        "f_table_catalog": "", "f_table_schema": "", "f_table_name": list(qml), "f_geometry_column": "geom",
        "styleName": list(qml), "styleQML": list(qml.values()), "styleSLD": "", "useAsDefault": True,
        "description": "", "owner": "", "ui": "", "update_time": "2000-01-01T00:00:00Z",
    }))  # fmt: skip


def ranked_outlines(value: str, label: str, colors: Sequence[str], largest: float) -> str:
    """QML of polygons: translucent, coloured by a number from 0 to the largest, labelled by a field.

    Args:
        value: Field of the number.
        label: Field of the label.
        colors: `#rrggbb`, from low to high; as many steps of equal width.
        largest: Upper end of the last step.
    """
    root = ET.Element("qgis", version=_VERSION, styleCategories="Symbology|Labeling")
    renderer = ET.SubElement(root, "renderer-v2", type="graduatedSymbol", attr=value, graduatedMethod="GraduatedColor")
    ranges, symbols = ET.SubElement(renderer, "ranges"), ET.SubElement(renderer, "symbols")
    step = largest / len(colors)
    for number, color in enumerate(colors):
        low, high = number * step, (number + 1) * step
        ET.SubElement(ranges, "range", lower=f"{low:.6f}", upper=f"{high:.6f}", symbol=str(number), render="true",
                      label=f"{low:.2f} – {high:.2f}")  # fmt: skip
        _fill(symbols, str(number), f"{_rgb(color)},70", f"{_rgb(color)},255")
    labeling = ET.SubElement(root, "labeling", type="simple")
    ET.SubElement(ET.SubElement(labeling, "settings"), "text-style", fieldName=label, fontSize="11", isExpression="0",
                  textColor="20,20,20,255")  # fmt: skip
    return ET.tostring(root, "unicode")


def outlines(color: str) -> str:
    """QML of polygons of which only the edge is drawn."""
    root = ET.Element("qgis", version=_VERSION, styleCategories="Symbology")
    renderer = ET.SubElement(root, "renderer-v2", type="singleSymbol")
    _fill(ET.SubElement(renderer, "symbols"), "0", "0,0,0,0", f"{_rgb(color)},255")
    return ET.tostring(root, "unicode")


def category_outlines(field: str, colors: Mapping[str, str]) -> str:
    """QML of polygons: translucent, coloured by the value of a field."""
    root = ET.Element("qgis", version=_VERSION, styleCategories="Symbology")
    renderer = ET.SubElement(root, "renderer-v2", type="categorizedSymbol", attr=field)
    categories, symbols = ET.SubElement(renderer, "categories"), ET.SubElement(renderer, "symbols")
    for number, (value, color) in enumerate(colors.items()):
        ET.SubElement(categories, "category", value=value, label=value, symbol=str(number), render="true")
        _fill(symbols, str(number), f"{_rgb(color)},50", f"{_rgb(color)},255")
    return ET.tostring(root, "unicode")


def three_bands(bands: Sequence[tuple[int, float, float]]) -> ET.Element:
    """The `pipe` of a raster shown in colour: number, black and white of the red, green and blue band.

    Black and white are in the band's own unit, since QGIS applies scale and offset before it stretches.
    """
    pipe = ET.Element("pipe")
    colors = ("red", "green", "blue")
    numbers = {f"{color}Band": str(band) for color, (band, _, _) in zip(colors, bands, strict=True)}
    fixed = {"type": "multibandcolor", "opacity": "1", "alphaBand": "-1", "nodataColor": ""}
    renderer = ET.SubElement(pipe, "rasterrenderer", fixed | numbers)
    for color, (_, black, white) in zip(colors, bands, strict=True):
        stretch = ET.SubElement(renderer, f"{color}ContrastEnhancement")
        said = {"minValue": f"{black:g}", "maxValue": f"{white:g}", "algorithm": "StretchToMinimumMaximum"}
        for tag, text in said.items():
            ET.SubElement(stretch, tag).text = text
    return pipe


def choice_form(field: str, choices: Sequence[str], color: str) -> str:
    """QML of points that are filled in: small crosses, and a form in which one of some words is chosen."""
    root = ET.Element("qgis", version=_VERSION, styleCategories="Symbology|Fields|Forms")
    symbols = ET.SubElement(ET.SubElement(root, "renderer-v2", type="singleSymbol"), "symbols")
    layer = ET.SubElement(ET.SubElement(symbols, "symbol", name="0", type="marker"), "layer")
    layer.set("class", "SimpleMarker")
    _options(layer, {"name": "cross", "outline_color": f"{_rgb(color)},255", "size": "4", "outline_width": "0.4"})
    each = ET.SubElement(ET.SubElement(root, "fieldConfiguration"), "field", name=field)
    config = ET.SubElement(ET.SubElement(each, "editWidget", type="ValueMap"), "config")
    listed = ET.SubElement(ET.SubElement(config, "Option", type="Map"), "Option", name="map", type="List")
    for choice in choices:
        ET.SubElement(ET.SubElement(listed, "Option", type="Map"), "Option", name=choice, value=choice, type="QString")
    return ET.tostring(root, "unicode")


def _fill(symbols: ET.Element, name: str, fill: str, line: str) -> None:
    layer = ET.SubElement(ET.SubElement(symbols, "symbol", name=name, type="fill"), "layer")
    layer.set("class", "SimpleFill")
    _options(layer, {"color": fill, "outline_color": line, "outline_width": "0.5", "style": "solid"})


def _options(layer: ET.Element, values: Mapping[str, str]) -> None:
    options = ET.SubElement(layer, "Option", type="Map")
    for name, value in values.items():
        ET.SubElement(options, "Option", name=name, value=value, type="QString")


def _rgb(color: str) -> str:
    return ",".join(str(int(color[at : at + 2], 16)) for at in (1, 3, 5))
