"""Source `dem`: tiles of the Copernicus DEM GLO-30 as the products, by area or by list, without an account.

A tile in the sea that an area touches is passed over with a warning, one that the list names is an error. For heights
beside the products of another source there is `fetch.elevation`.
"""

import math
import warnings
from pathlib import Path
from typing import ClassVar

from pydantic import Field
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from thalweg.copernicus.search import read_area
from thalweg.elevation_tiles import fetch_listed, fetch_tile, open_session, tile_name
from thalweg.errors import DegradedDataWarning, NotFoundError, ParamsError
from thalweg.manifest.products import Product
from thalweg.params import Section

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
    if options.tiles:
        return list(fetch_listed(options.tiles, options.bucket, raw, store, "fetch.options.tiles"))
    session = open_session(store)
    products = []
    for tile in _tiles_in(given):
        try:
            products.append(fetch_tile(tile, options.bucket, raw, store, session))
        except NotFoundError:
            warnings.warn(f"no elevation for {tile}: only sea there", DegradedDataWarning, stacklevel=2)
    return products


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
