"""Tiles of the Copernicus DEM GLO-30 from its public bucket: by which names they go, and fetching them.

Heights are metres above EGM2008 in EPSG:4326. There is no tile where there is only sea. The bucket states no checksum,
so a tile counts by the length that the server states and by its first bytes; from then on products.json holds its
SHA-256.
Source: https://registry.opendata.aws/copernicus-dem/, readme of the bucket copernicus-dem-30m.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from thalweg import bring
from thalweg.errors import NotFoundError, ParamsError
from thalweg.http.expected import Expected
from thalweg.http.session import Session
from thalweg.manifest.products import Product
from thalweg.params.fetch import Elevation
from thalweg.sources import describe_files, link_tree

BAND = "DEM"
"""Name of the one band of the products."""
_TILE = re.compile(r"([NS])(\d{2})([EW])(\d{3})")


def fetch_elevation(elevation: Elevation | None, raw: Path, store: Path) -> list[Product]:
    """The tiles that go beside the products of any source, as products of the role elevation; none without a wish.

    Args:
        elevation: `fetch.elevation`.
        raw: Folder to fill.
        store: Folder that outlives runs; what it holds already is not fetched again.

    Raises:
        ParamsError: A tile's name is none.
        NotFoundError: A tile does not exist.
        HttpError: A tile cannot be had.
    """
    if elevation is None:
        return []
    return list(fetch_listed(elevation.tiles, elevation.bucket, raw, store, "fetch.elevation.tiles"))


def fetch_listed(tiles: tuple[str, ...], bucket: str, raw: Path, store: Path, where: str) -> Iterator[Product]:
    """Fetches tiles that the params name, and must therefore exist; `where` is the place in the params, for messages.

    Raises:
        ParamsError: A tile's name is none.
        NotFoundError: A tile does not exist.
        HttpError: A tile cannot be had.
    """
    for tile in tiles:
        check_name(tile, where)
    session = open_session(store)
    for tile in dict.fromkeys(tiles):
        try:
            yield fetch_tile(tile, bucket, raw, store, session)
        except NotFoundError as error:
            raise NotFoundError(
                f"{bucket} has no tile {tile}: there is only sea, or it is not released; take it out of {where}"
            ) from error


def open_session(store: Path) -> Session:
    """For `fetch_tile`."""
    return Session(bring.PATIENCE, bring.connections(store), None)


def fetch_tile(tile: str, bucket: str, raw: Path, store: Path, session: Session) -> Product:
    """Fetches a tile unless the store has it, and links it into `raw/dem`.

    Raises:
        NotFoundError: There is no such tile.
        HttpError: It cannot be had.
    """
    name = file_name(tile)
    kept = store / "dem" / f"{name}.tif"
    if not kept.is_file():  # it was verified before it got this name
        bring.bring(f"{bucket}/{name}/{name}.tif", kept, Expected(None, None, bring.TIFF), session)
    target = raw / "dem" / kept.name
    link_tree(kept, target)
    return Product(name=name, form="raster", path=target.relative_to(raw).as_posix(), files=describe_files(target, raw),
                   bands={BAND: 1}, scale=1.0, offset=0.0, nodata=None, date=None, role="elevation",
                   unit="m")  # fmt: skip


def tile_name(south: int, west: int) -> str:
    """The tile whose south-west corner lies at these degrees: `S22W063`."""
    return f"{'N' if south >= 0 else 'S'}{abs(south):02d}{'E' if west >= 0 else 'W'}{abs(west):03d}"


def file_name(tile: str) -> str:
    """Name of folder and file in the bucket: `Copernicus_DSM_COG_10_S22_00_W063_00_DEM` (10 arc-second tenths)."""
    return f"Copernicus_DSM_COG_10_{tile[:3]}_00_{tile[3:]}_00_DEM"


def check_name(tile: str, where: str) -> None:
    """Refuses what is no tile's name.

    Raises:
        ParamsError: It is none.
    """
    match = _TILE.fullmatch(tile)
    if match is None or int(match[2]) > 90 or int(match[4]) > 180:
        raise ParamsError(f"{where}: '{tile}' is no DEM tile; they are named by their south-west corner, S22W063")
