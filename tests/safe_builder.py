"""L1C products and the cloud masks of SAFE products, tiny, in the forms of real ones (their elements and names)."""

import hashlib
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from thalweg.bands import SENTINEL2

SIZE = 20
"""Edge of the L1C product at 60 m, pixels."""
LEFT, TOP, EPSG = 499_980, 7_600_000, 32720
"""Corner and CRS of tile T20KNA, at which the sample's products lie, too."""
_LOSSLESS = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"}
_STAMP = "T20KNA_20251003T141051"

Cloud = tuple[str, str, tuple[str, ...]]
"""Type, exterior ring and interior rings of a polygon."""


def make_l1c(folder: Path, baseline: str = "05.11", seed: int = 0) -> Path:
    """A SAFE folder with all thirteen bands at their native resolutions, measured everywhere; without a manifest."""
    number = baseline.replace(".", "")
    safe = folder / f"S2A_MSIL1C_20251003T141051_N{number}_R110_T20KNA_20251003T171910.SAFE"
    granule = safe / "GRANULE/L1C_T20KNA_A053728_20251003T141743"
    granule.mkdir(parents=True)
    (safe / "MTD_MSIL1C.xml").write_text(_product_xml(safe.name, baseline))
    (granule / "MTD_TL.xml").write_text(_tile_xml())
    rng = np.random.default_rng(seed)
    for band in SENTINEL2.values():
        edge = SIZE * 60 // band.native_m
        numbers = rng.integers(1100, 9000, (1, edge, edge)).astype(np.uint16)
        write_jp2(granule / "IMG_DATA" / f"{_STAMP}_{band.name}.jp2", numbers, band.native_m)
    return safe


def quality(safe: Path) -> Path:
    """The folder of the masks."""
    [granule] = (safe / "GRANULE").iterdir()
    return granule / "QI_DATA"


def add_classes(safe: Path, opaque: np.ndarray, cirrus: np.ndarray, snow: np.ndarray) -> Path:
    """MSK_CLASSI as since baseline 04.00: three planes (H, W) bool at 60 m."""
    path = quality(safe) / "MSK_CLASSI_B00.jp2"
    write_jp2(path, np.stack([opaque, cirrus, snow]).astype(np.uint8), 60)
    return path


def add_polygons(safe: Path, clouds: list[Cloud]) -> Path:
    """MSK_CLOUDS as before baseline 04.00."""
    path = quality(safe) / "MSK_CLOUDS_B00.gml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(polygons_xml(clouds))
    return path


def add_probability(safe: Path, percent: np.ndarray, metres: int) -> Path:
    """MSK_CLDPRB at 20 or 60 m, (H, W) percent."""
    path = quality(safe) / f"MSK_CLDPRB_{metres}m.jp2"
    write_jp2(path, percent.astype(np.uint8)[None], metres)
    return path


def ring(left: int, top: int, right: int, bottom: int) -> str:
    """A rectangle's positions; metres east and south of the tile's corner."""
    west, east, north, south = LEFT + left, LEFT + right, TOP - top, TOP - bottom
    return f"{west} {north} {east} {north} {east} {south} {west} {south} {west} {north}"


def polygons_xml(clouds: list[Cloud]) -> str:
    """The text of a MSK_CLOUDS file; without any cloud, it states no CRS."""
    bounded = (
        f'<gml:boundedBy><gml:Envelope srsName="urn:ogc:def:crs:EPSG:8.7:{EPSG}"><gml:lowerCorner>0 0</gml:lowerCorner>'
        "<gml:upperCorner>1 1</gml:upperCorner></gml:Envelope></gml:boundedBy>"
    )
    members = "".join(_feature(number, *cloud) for number, cloud in enumerate(clouds))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<eop:Mask xmlns:eop="http://www.opengis.net/eop/2.0" '
        'xmlns:gml="http://www.opengis.net/gml/3.2" gml:id="S2A_OPER_MSK_CLOUDS">'
        f"{bounded if clouds else ''}<eop:maskMembers>{members}</eop:maskMembers></eop:Mask>\n"
    )


def seal(safe: Path) -> Path:
    """Writes manifest.safe over what lies in a product; the product."""
    entries = "".join(
        f'<dataObject><byteStream size="{path.stat().st_size}"><fileLocation href="./{path.relative_to(safe).as_posix()}"/>'
        f'<checksum checksumName="MD5">{hashlib.md5(path.read_bytes()).hexdigest()}</checksum></byteStream></dataObject>'
        for path in sorted(safe.rglob("*"))
        if path.is_file() and path.name != "manifest.safe"
    )
    (safe / "manifest.safe").write_text(f"<XFDU><dataObjectSection>{entries}</dataObjectSection></XFDU>")
    return safe


def write_jp2(path: Path, planes: np.ndarray, metres: int) -> None:
    """(N, H, W) as a lossless JP2 at the tile's corner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": f"EPSG:{EPSG}", "transform": Affine(metres, 0, LEFT, 0, -metres, TOP)}
    shape = {"count": planes.shape[0], "height": planes.shape[1], "width": planes.shape[2], "dtype": planes.dtype}
    with rasterio.open(path, "w", **_LOSSLESS, **place, **shape) as image:
        image.write(planes)


def _feature(number: int, kind: str, exterior: str, interiors: tuple[str, ...]) -> str:
    holes = "".join(f"<gml:interior>{_ring(hole)}</gml:interior>" for hole in interiors)
    name = f"{kind}.{number}"
    return (
        f'<eop:MaskFeature gml:id="{name}"><eop:maskType codeSpace="urn:gs2:S2PDGS:maskType">{kind}</eop:maskType>'
        f'<eop:extentOf><gml:Polygon gml:id="{name}_Polygon"><gml:exterior>{_ring(exterior)}</gml:exterior>{holes}'
        "</gml:Polygon></eop:extentOf></eop:MaskFeature>"
    )


def _ring(positions: str) -> str:
    return f'<gml:LinearRing><gml:posList srsDimension="2">{positions}</gml:posList></gml:LinearRing>'


def _product_xml(name: str, baseline: str) -> str:
    offsets = "".join(
        f'<RADIO_ADD_OFFSET band_id="{band.band_id}">-1000</RADIO_ADD_OFFSET>' for band in SENTINEL2.values()
    )
    return (
        f"<product><PRODUCT_URI>{name}</PRODUCT_URI><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>"
        "<PRODUCT_START_TIME>2025-10-03T14:10:51.024Z</PRODUCT_START_TIME>"
        "<QUANTIFICATION_VALUE>10000</QUANTIFICATION_VALUE>"
        f"{offsets if baseline >= '04.00' else ''}</product>"
    )


def _tile_xml() -> str:
    sizes = "".join(
        f'<Size resolution="{metres}"><NROWS>{SIZE * 60 // metres}</NROWS><NCOLS>{SIZE * 60 // metres}</NCOLS></Size>'
        f'<Geoposition resolution="{metres}"><ULX>{LEFT}</ULX><ULY>{TOP}</ULY><XDIM>{metres}</XDIM><YDIM>-{metres}</YDIM>'
        "</Geoposition>"
        for metres in (10, 20, 60)
    )
    return f"<tile><HORIZONTAL_CS_CODE>EPSG:{EPSG}</HORIZONTAL_CS_CODE>{sizes}</tile>"
