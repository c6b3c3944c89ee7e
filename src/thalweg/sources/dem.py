"""Source `dem`: tiles of the Copernicus DEM GLO-30 from its public bucket, by area or by list, without an account.

Heights are metres above EGM2008 in EPSG:4326. There is no tile where there is only sea: one that an area touches is
passed over with a warning, one that the list names is an error. The bucket states no checksum, so a tile counts by the
length that the server states and by its first bytes; from then on products.json holds its SHA-256.
Source: https://registry.opendata.aws/copernicus-dem/, readme of the bucket copernicus-dem-30m.
"""

import math
import re
import warnings
from pathlib import Path
from typing import ClassVar

from pydantic import Field
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from thalweg import bring
from thalweg.copernicus.search import read_area
from thalweg.errors import DegradedDataWarning, NotFoundError, ParamsError
from thalweg.http.expected import Expected
from thalweg.http.session import Session
from thalweg.manifest.products import Product
from thalweg.params import Section
from thalweg.sources import describe_files, link_tree

BAND = "DEM"
"""Name of the one band of the products."""
_TILE = re.compile(r"([NS])(\d{2})([EW])(\d{3})")
_MOST_TILES = 400
"""An area with more is a mistake: they are some 15 GB."""


class Options(Section):
    """Elevation: `fetch.options` of the source `dem`."""

    section: ClassVar[str] = "fetch"

    bucket: str = Field(pattern=r"^(https?|file)://\S+[^/]$")
    """`https://copernicus-dem-30m.s3.amazonaws.com`, or a copy of it."""
    tiles: tuple[str, ...]
    """South-west corners, `S22W063`; empty to take those that the area in `fetch.input` touches (a GeoJSON file)."""


def deliver(options: Options, given: Path, raw: Path, store: Path) -> list[Product]:
    """Fetches the tiles that the store lacks and links all into `raw/dem`, one product per tile.

    Args:
        options: Which tiles, and where from.
        given: `fetch.input`: a GeoJSON file, read where no tiles are listed.
        raw: Folder to fill.
        store: Folder that outlives runs.

    Raises:
        ParamsError: A tile's name is none, or the area cannot be read or is too large.
        NotFoundError: A listed tile does not exist.
        HttpError: A tile cannot be had.
    """
    listed = tuple(_checked(tile) for tile in options.tiles)
    session = Session(bring.PATIENCE, bring.connections(store), None)
    products = []
    for tile in listed or _tiles_in(given):
        try:
            products.append(_fetch(tile, options.bucket, raw, store, session))
        except NotFoundError as error:
            if listed:
                raise NotFoundError(
                    f"{options.bucket} has no tile {tile}: there is only sea, or it is not released; take it out of "
                    "fetch.options.tiles"
                ) from error
            warnings.warn(f"no elevation for {tile}: only sea there", DegradedDataWarning, stacklevel=2)
    return products


def tile_name(south: int, west: int) -> str:
    """The tile whose south-west corner lies at these degrees: `S22W063`."""
    return f"{'N' if south >= 0 else 'S'}{abs(south):02d}{'E' if west >= 0 else 'W'}{abs(west):03d}"


def file_name(tile: str) -> str:
    """Name of folder and file in the bucket: `Copernicus_DSM_COG_10_S22_00_W063_00_DEM` (10 arc-second tenths)."""
    return f"Copernicus_DSM_COG_10_{tile[:3]}_00_{tile[3:]}_00_DEM"


def tiles_of(area: BaseGeometry) -> list[str]:
    """Tiles that share ground with an area in degrees, not those that it merely borders on.

    Raises:
        ParamsError: There are more than anyone wants.
    """
    west, south, east, north = area.bounds
    corners = [(row, col) for row in range(math.floor(south), math.ceil(north))
               for col in range(math.floor(west), math.ceil(east))]  # fmt: skip
    if len(corners) > _MOST_TILES:
        raise ParamsError(f"the area touches up to {len(corners)} DEM tiles, more than {_MOST_TILES}; make it smaller")
    return [tile_name(row, col) for row, col in corners if area.intersection(box(col, row, col + 1, row + 1)).area > 0]


def _tiles_in(given: Path) -> list[str]:
    area = read_area(str(given))
    return [] if area is None else tiles_of(area)


def _fetch(tile: str, bucket: str, raw: Path, store: Path, session: Session) -> Product:
    name = file_name(tile)
    kept = store / "dem" / f"{name}.tif"
    if not kept.is_file():  # it was verified before it got this name
        bring.bring(f"{bucket}/{name}/{name}.tif", kept, Expected(None, None, bring.TIFF), session)
    target = raw / "dem" / kept.name
    link_tree(kept, target)
    return Product(name=name, form="raster", path=target.relative_to(raw).as_posix(), files=describe_files(target, raw),
                   bands={BAND: 1}, scale=1.0, offset=0.0, nodata=None, date=None)  # fmt: skip


def _checked(tile: str) -> str:
    match = _TILE.fullmatch(tile)
    if match is None or int(match[2]) > 90 or int(match[4]) > 180:
        raise ParamsError(
            f"fetch.options.tiles: '{tile}' is no DEM tile; they are named by their south-west corner, S22W063"
        )
    return tile
