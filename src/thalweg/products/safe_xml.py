"""What a Sentinel-2 product's XML says: baseline, quantification, offsets, special values, tile grid, checksums.

Elements are found by local name, since namespaces and nesting differ between baselines.
Source: Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD, and the baseline notes of the Copernicus Data
Space documentation.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

from thalweg.bands import SENTINEL2
from thalweg.errors import ProductError

OFFSET_SINCE = (4, 0)
"""Baseline from which products carry a radiometric offset."""
_NOT_OPERATIONAL = (99, 0)
"""Sen2Cor run by users writes 99.99, whose offset is that of the L1C product it read: none, or listed."""
_QUANTIFICATION = 10000.0
_DEGRADED = (
    "states no quantification and offset (its MTD file holds tile-level metadata); baseline {} has 10000 and no offset"
)


@dataclass(frozen=True)
class Metadata:
    """Product-level metadata."""

    product: str
    baseline: str
    sensing_time: str | None
    quantification: float
    offsets: dict[str, float]
    """Band → offset in digital numbers; empty where the product has none."""
    nodata: float
    saturated: float
    warnings: tuple[str, ...]

    def offset(self, band: str) -> float:
        """Offset of a band, digital numbers.

        Raises:
            ProductError: The product lists offsets, but none for this band.
        """
        if self.offsets and band not in self.offsets:
            raise ProductError(
                f"{self.product}: the XML lists radiometric offsets, but none for {band}; deliver the product again"
            )
        return self.offsets.get(band, 0.0)


@dataclass(frozen=True)
class TileGrid:
    """What MTD_TL.xml says of one resolution."""

    crs: str
    """`EPSG:…`."""
    shape_yx: tuple[int, int]
    upper_left_xy: tuple[float, float]
    pixel_xy: tuple[float, float]


@dataclass(frozen=True)
class Stated:
    """Size and checksum of a file according to manifest.safe."""

    size: int
    algorithm: str
    checksum: str


def parse_product(text: bytes, name: str) -> Metadata:
    """Reads MTD_MSIL2A.xml or MTD_MSIL1C.xml.

    Args:
        text: The file.
        name: Product name, for messages and where the XML lacks it.

    Raises:
        ProductError: It is no XML, states no baseline, or states no offset where its baseline has one.
    """
    root = parse_xml(text, f"{name}: its product metadata")
    baseline = _text(root, "PROCESSING_BASELINE") or _baseline_of_tile(root)
    if baseline is None:
        raise ProductError(
            f"{name}: its product metadata states no PROCESSING_BASELINE, so the radiometric offset is unknown; "
            "deliver it again"
        )
    product_level = _text(root, "PRODUCT_START_TIME") is not None
    if not product_level and _as_numbers(baseline) >= OFFSET_SINCE:
        raise ProductError(
            f"{name}: its MTD file holds tile-level metadata only, and baseline {baseline} has a radiometric offset "
            "that only the product-level XML states; deliver the original MTD_MSIL2A.xml"
        )
    quantification = _text(root, "BOA_QUANTIFICATION_VALUE") or _text(root, "QUANTIFICATION_VALUE")
    offsets = _offsets(root, name)
    if not offsets and OFFSET_SINCE <= _as_numbers(baseline) < _NOT_OPERATIONAL:
        raise ProductError(
            f"{name}: its product metadata lists no radiometric offset, which every product of baseline {baseline} "
            "has; deliver the original product"
        )
    return Metadata(
        product=(_text(root, "PRODUCT_URI") or name).removesuffix(".SAFE"),
        baseline=baseline,
        sensing_time=_text(root, "PRODUCT_START_TIME") or _text(root, "SENSING_TIME"),
        quantification=_quantification(quantification, name),
        offsets=offsets,
        nodata=_special(root, "NODATA", 0.0),
        saturated=_special(root, "SATURATED", 65535.0),
        warnings=() if quantification else (f"{name} {_DEGRADED.format(baseline)}",),
    )


def parse_tile(text: bytes, name: str) -> dict[int, TileGrid]:
    """Resolution, metres → tile grid, from MTD_TL.xml; empty where the XML holds no geocoding.

    Raises:
        ProductError: It is no XML, or its geocoding is incomplete.
    """
    root = parse_xml(text, f"{name}: its tile metadata")
    crs = _text(root, "HORIZONTAL_CS_CODE")
    if crs is None:
        return {}
    sizes = {element.get("resolution"): element for element in _all(root, "Size")}
    try:
        return {
            int(str(position.get("resolution"))): TileGrid(
                crs,
                (
                    int(_need(sizes[position.get("resolution")], "NROWS")),
                    int(_need(sizes[position.get("resolution")], "NCOLS")),
                ),
                (float(_need(position, "ULX")), float(_need(position, "ULY"))),
                (float(_need(position, "XDIM")), float(_need(position, "YDIM"))),
            )
            for position in _all(root, "Geoposition")
        }
    except (KeyError, ValueError) as error:
        raise ProductError(
            f"{name}: its tile metadata has an incomplete Tile_Geocoding ({error}); deliver the product again"
        ) from error


def parse_manifest(text: bytes, name: str) -> dict[str, Stated]:
    """Path below the SAFE folder → what manifest.safe states of the file.

    Raises:
        ProductError: It is no XML.
    """
    stated = {}
    for stream in _all(parse_xml(text, f"{name}: manifest.safe"), "byteStream"):
        location, checksum = next(_all(stream, "fileLocation"), None), next(_all(stream, "checksum"), None)
        if location is not None and checksum is not None and checksum.text:
            path = str(location.get("href")).removeprefix("./")
            algorithm = str(checksum.get("checksumName"))
            stated[path] = Stated(int(stream.get("size", "-1")), algorithm, checksum.text.strip().lower())
    return stated


def parse_xml(text: bytes, what: str) -> ET.Element:
    """An XML document's root.

    Raises:
        ProductError: It is not well-formed.
    """
    try:
        return ET.fromstring(text)
    except ET.ParseError as error:
        raise ProductError(f"{what} is not well-formed XML ({error}); deliver the product again") from error


def _all(root: ET.Element, name: str) -> Iterator[ET.Element]:
    return (element for element in root.iter() if element.tag.rpartition("}")[2] == name)


def _text(root: ET.Element, name: str) -> str | None:
    element = next(_all(root, name), None)
    return element.text.strip() if element is not None and element.text else None


def _need(root: ET.Element, name: str) -> str:
    text = _text(root, name)
    if text is None:
        raise KeyError(name)
    return text


def _offsets(root: ET.Element, name: str) -> dict[str, float]:
    names = {str(band.band_id): band.name for band in SENTINEL2.values()}
    elements = [*_all(root, "BOA_ADD_OFFSET"), *_all(root, "RADIO_ADD_OFFSET")]
    try:
        return {names[str(element.get("band_id"))]: float(element.text or "") for element in elements}
    except (KeyError, ValueError) as error:
        raise ProductError(
            f"{name}: a radiometric offset in its product metadata cannot be read ({error}); deliver the product again"
        ) from error


def _quantification(text: str | None, name: str) -> float:
    if text is None:
        return _QUANTIFICATION
    if not re.fullmatch(r"\d+(\.\d+)?", text) or float(text) == 0:
        raise ProductError(
            f"{name}: its product metadata states the quantification '{text}', not a number above 0; deliver the "
            "product again"
        )
    return float(text)


def _special(root: ET.Element, word: str, default: float) -> float:
    for values in _all(root, "Special_Values"):
        if _text(values, "SPECIAL_VALUE_TEXT") == word:
            return float(_need(values, "SPECIAL_VALUE_INDEX"))
    return default


def _baseline_of_tile(root: ET.Element) -> str | None:
    match = re.search(r"_N(\d\d\.\d\d)$", _text(root, "TILE_ID") or "")
    return match[1] if match else None


def _as_numbers(baseline: str) -> tuple[int, ...]:
    """(4, 0) of `04.00`; of anything that is no baseline, one that has an offset, so that it must be stated."""
    return tuple(int(part) for part in baseline.split(".")) if re.fullmatch(r"\d+\.\d+", baseline) else OFFSET_SINCE
