"""The XML of a SAFE product: manifest.safe, MTD_MSIL2A.xml and MTD_TL.xml, with what readers look for.

Source: real products of baselines 02.07 to 05.11 (/work/shared/data/s2_safe_metadata), whose elements these follow.
"""

import datetime
import hashlib
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np

from thalweg.bands import SENTINEL2
from thalweg.sample.identity import Identity, stamp

PRODUCT = "MTD_MSIL2A.xml"
TILE = "MTD_TL.xml"
MANIFEST = "manifest.safe"
_SAFE = "http://www.esa.int/safe/sentinel/1.1"
_XFDU = "urn:ccsds:schema:xfdu:1"
_CLASS_SHARES = {0: "NODATA_PIXEL", 1: "SATURATED_DEFECTIVE_PIXEL", 2: "CAST_SHADOW", 3: "CLOUD_SHADOW",
                 4: "VEGETATION", 5: "NOT_VEGETATED", 6: "WATER", 7: "UNCLASSIFIED", 8: "MEDIUM_PROBA_CLOUDS",
                 9: "HIGH_PROBA_CLOUDS", 10: "THIN_CIRRUS", 11: "SNOW_ICE"}  # fmt: skip

for _prefix, _uri in (("xfdu", _XFDU), ("safe", _SAFE)):
    Xml.register_namespace(_prefix, _uri)


def product_xml(identity: Identity, images: list[str], classes: np.ndarray) -> bytes:
    """MTD_MSIL2A.xml.

    Args:
        identity: Names and times.
        images: IMAGE_FILE entries, in order.
        classes: (H, W) scene classes, for the shares of clouds and the like.
    """
    space = "https://psd-15.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd"
    root = _root(space, "Level-2A_User_Product")
    general = _add(root, f"{{{space}}}General_Info")
    _product_info(_add(general, "Product_Info"), identity, images)
    _image_characteristics(_add(general, "Product_Image_Characteristics"), identity)
    quality = _add(root, f"{{{space}}}Quality_Indicators_Info")
    share = np.bincount(classes.ravel(), minlength=12)[:12] / classes.size * 100
    _add(quality, "Cloud_Coverage_Assessment", f"{share[8:11].sum():.6f}")
    content = _add(quality, "Image_Content_QI")
    for value, name in _CLASS_SHARES.items():
        _add(content, f"{name}_PERCENTAGE", f"{share[value]:.6f}")
    return _bytes(root)


def tile_xml(identity: Identity, size_60m_px: int) -> bytes:
    """MTD_TL.xml; the sizes are those of the rasters, which a reduced product has smaller than a full tile's."""
    space = "https://psd-15.sentinel2.eo.esa.int/PSD/S2_PDI_Level-2A_Tile_Metadata.xsd"
    root = _root(space, "Level-2A_Tile_ID")
    general = _add(root, f"{{{space}}}General_Info")
    _add(general, "TILE_ID", _granule_id(identity), metadataLevel="Brief")
    _add(general, "DATASTRIP_ID", _datastrip_id(identity), metadataLevel="Standard")
    _add(general, "DOWNLINK_PRIORITY", "NOMINAL", metadataLevel="Standard")
    seen = identity.sensing + datetime.timedelta(seconds=431)
    _add(general, "SENSING_TIME", _iso(seen), metadataLevel="Standard")
    geocoding = _add(_add(root, f"{{{space}}}Geometric_Info"), "Tile_Geocoding", metadataLevel="Brief")
    tile = identity.tile
    half = "S" if tile.epsg > 32700 else "N"
    _add(geocoding, "HORIZONTAL_CS_NAME", f"WGS84 / UTM zone {tile.zone:02d}{half}")
    _add(geocoding, "HORIZONTAL_CS_CODE", f"EPSG:{tile.epsg}")
    for resolution in (10, 20, 60):
        size = _add(geocoding, "Size", resolution=str(resolution))
        for name in ("NROWS", "NCOLS"):
            _add(size, name, str(size_60m_px * 60 // resolution))
    for resolution in (10, 20, 60):
        corner = _add(geocoding, "Geoposition", resolution=str(resolution))
        for name, value in (("ULX", tile.ulx), ("ULY", tile.uly), ("XDIM", resolution), ("YDIM", -resolution)):
            _add(corner, name, str(value))
    return _bytes(root)


def manifest_xml(identity: Identity, safe: Path, files: list[Path]) -> bytes:
    """manifest.safe: size and checksum of every other file of the product."""
    root = Xml.Element(f"{{{_XFDU}}}XFDU", version="esa/safe/sentinel/1.1/sentinel-2/msi/archive_l2a_user_product")
    unit = _add(_add(root, "informationPackageMap"), f"{{{_XFDU}}}contentUnit",
                textInfo="SENTINEL-2 MSI Level-2A User Product", unitType="Product_Level-2A")  # fmt: skip
    _acquisition(_add(root, "metadataSection"), identity)
    section = _add(root, "dataObjectSection")
    for path in files:
        name = _object_id(path, identity)
        content = _add(unit, f"{{{_XFDU}}}contentUnit", ID=name.replace("_Data", "") + "_Unit")
        _add(content, "dataObjectPointer", dataObjectID=name)
        _data_object(section, name, path, safe, identity.checksum)
    return _bytes(root)


def _product_info(info: Xml.Element, identity: Identity, images: list[str]) -> None:
    number = int(identity.mission == "S2B")
    start = _iso(identity.sensing)
    for name, text in (
        ("PRODUCT_START_TIME", start),
        ("PRODUCT_STOP_TIME", start),
        ("PRODUCT_URI", identity.name),
        ("PROCESSING_LEVEL", "Level-2A"),
        ("PRODUCT_TYPE", "S2MSI2A"),
        ("PROCESSING_BASELINE", identity.baseline),
        ("GENERATION_TIME", _iso(identity.made)),
    ):
        _add(info, name, text)
    taken = f"G{identity.mission}_{stamp(identity.sensing)}_{identity.absolute_orbit:06d}_N{identity.baseline}"
    datatake = _add(info, "Datatake", datatakeIdentifier=taken)
    _add(datatake, "SPACECRAFT_NAME", f"Sentinel-2{'AB'[number]}")
    _add(datatake, "DATATAKE_TYPE", "INS-NOBS")
    _add(datatake, "DATATAKE_SENSING_START", start)
    _add(datatake, "SENSING_ORBIT_NUMBER", str(identity.relative_orbit))
    _add(datatake, "SENSING_ORBIT_DIRECTION", "DESCENDING")
    _add(_add(info, "Query_Options", completeSingleTile="true"), "PRODUCT_FORMAT", "SAFE_COMPACT")
    granule = _add(_add(_add(info, "Product_Organisation"), "Granule_List"), "Granule", imageFormat="JPEG2000",
                   datastripIdentifier=_datastrip_id(identity), granuleIdentifier=_granule_id(identity))  # fmt: skip
    for image in images:
        _add(granule, "IMAGE_FILE", image)


def _image_characteristics(parent: Xml.Element, identity: Identity) -> None:
    for text, index in (("NODATA", "0"), ("SATURATED", "65535")):
        special = _add(parent, "Special_Values")
        _add(special, "SPECIAL_VALUE_TEXT", text)
        _add(special, "SPECIAL_VALUE_INDEX", index)
    values = _add(parent, "QUANTIFICATION_VALUES_LIST")
    _add(values, "BOA_QUANTIFICATION_VALUE", "10000", unit="none")
    _add(values, "AOT_QUANTIFICATION_VALUE", "1000.0", unit="none")
    _add(values, "WVP_QUANTIFICATION_VALUE", "1000.0", unit="cm")
    if identity.has_offset:
        offsets = _add(parent, "BOA_ADD_OFFSET_VALUES_LIST")
        for band in SENTINEL2.values():
            _add(offsets, "BOA_ADD_OFFSET", "-1000", band_id=str(band.band_id))
    spectra = _add(parent, "Spectral_Information_List")
    for band in SENTINEL2.values():
        physical = f"B{band.name[1:].lstrip('0')}"
        item = _add(spectra, "Spectral_Information", bandId=str(band.band_id), physicalBand=physical)
        _add(item, "RESOLUTION", str(band.native_m))
        _add(_add(item, "Wavelength"), "CENTRAL", f"{band.wavelength_nm:g}", unit="nm")


def _acquisition(section: Xml.Element, identity: Identity) -> None:
    item = _add(section, "metadataObject", ID="acquisitionPeriod", category="DMD", classification="DESCRIPTION")
    wrap = _add(item, "metadataWrap", mimeType="text/xml", vocabularyName="Sentinel-SAFE")
    period = _add(_add(wrap, "xmlData"), f"{{{_SAFE}}}acquisitionPeriod")
    _add(period, f"{{{_SAFE}}}startTime", _iso(identity.sensing))


def _data_object(section: Xml.Element, name: str, path: Path, safe: Path, checksum: str) -> None:
    content = path.read_bytes()
    mime = "application/xml" if path.suffix == ".xml" else "application/octet-stream"
    stream = _add(_add(section, "dataObject", ID=name), "byteStream", mimeType=mime, size=str(len(content)))
    _add(stream, "fileLocation", locatorType="URL", href=f"./{path.relative_to(safe).as_posix()}")
    # real manifests: SHA3-256 in upper case, MD5 in lower case
    sha3, md5 = hashlib.sha3_256(content).hexdigest().upper(), hashlib.md5(content).hexdigest()
    _add(stream, "checksum", sha3 if checksum == "SHA3-256" else md5, checksumName=checksum)


def _object_id(path: Path, identity: Identity) -> str:
    if path.name == PRODUCT:
        return "S2_Level-2A_Product_Metadata"
    if path.name == TILE:
        return "S2_Level-2A_Tile1_Metadata"
    return f"IMG_DATA_Band_{path.stem.removeprefix(f'{identity.tile.name}_{stamp(identity.sensing)}_')}_Tile1_Data"


def _granule_id(identity: Identity) -> str:
    made, orbit = stamp(identity.made), f"A{identity.absolute_orbit:06d}"
    return f"{identity.mission}_OPER_MSI_L2A_TL_2APS_{made}_{orbit}_{identity.tile.name}_N{identity.baseline}"


def _datastrip_id(identity: Identity) -> str:
    seen = stamp(identity.sensing + datetime.timedelta(seconds=412))
    return f"{identity.mission}_OPER_MSI_L2A_DS_2APS_{stamp(identity.made)}_S{seen}_N{identity.baseline}"


def _iso(time: datetime.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.024Z")


def _root(space: str, name: str) -> Xml.Element:
    Xml.register_namespace("n1", space)
    return Xml.Element(f"{{{space}}}{name}")


def _add(parent: Xml.Element, name: str, text: str | None = None, **attributes: str) -> Xml.Element:
    element = Xml.SubElement(parent, name, attributes)
    element.text = text
    return element


def _bytes(root: Xml.Element) -> bytes:
    Xml.indent(root)
    body: str = Xml.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n{body}\n'.encode()
