"""MGRS tile name → UTM zone and upper left corner, as Sentinel-2 lays its tiles.

Source: NGA.STND.0037_2.0.0_GRIDS (2014), section 3, for letters and zones; the corner rule (outward to the next
multiple of 60 m from the equator) holds for the tiles under /work/shared/data and is what ESA's tiling grid KML shows.
"""

import math
import re
from typing import NamedTuple

from thalweg.errors import ParamsError

_SQUARE_M = 100_000
_STEP_M = 60
_COLUMNS = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_METRES_PER_DEGREE = 10_001_965.7 * 0.9996 / 90


class Tile(NamedTuple):
    """Where a tile lies."""

    name: str
    """`T20KNA`."""
    epsg: int
    """UTM zone on WGS 84."""
    ulx: int
    """Easting of the upper left corner, metres."""
    uly: int
    """Northing of the upper left corner, metres."""

    @property
    def zone(self) -> int:
        """UTM zone number."""
        return self.epsg % 100

    @property
    def false_northing(self) -> int:
        """Northing of the equator, metres."""
        return 10_000_000 if self.epsg > 32700 else 0


def locate(name: str) -> Tile:
    """The place of a tile by arithmetic alone.

    Raises:
        ParamsError: The name is no MGRS square of its zone.
    """
    match = re.fullmatch(r"T(\d{2})([C-HJ-NP-X])([A-HJ-NP-Z])([A-HJ-NP-V])", name)
    zone = int(match[1]) if match else 0
    if not match or not 1 <= zone <= 60 or match[3] not in _COLUMNS[(zone - 1) % 3]:
        columns = f"; zone {zone} has the columns {_COLUMNS[(zone - 1) % 3]}" if 1 <= zone <= 60 else ""
        raise ParamsError(f"tile '{name}' is no MGRS square such as T20KNA{columns}; correct it in params.yaml")
    south = match[2] < "N"
    east = (_COLUMNS[(zone - 1) % 3].index(match[3]) + 1) * _SQUARE_M
    top = _northing(match[2], match[4], zone) + _SQUARE_M
    ulx = math.floor(east / _STEP_M) * _STEP_M
    uly = math.ceil(top / _STEP_M) * _STEP_M + (10_000_000 if south else 0)
    return Tile(name, (32700 if south else 32600) + zone, ulx, uly)


def _northing(band: str, row: str, zone: int) -> int:
    """Signed metres from the equator of the square's south edge: rows repeat every 2 000 km, the band says which."""
    offset = (_ROWS.index(row) - (5 if zone % 2 == 0 else 0)) % 20 * _SQUARE_M
    middle = (_BANDS.index(band) * 8 - 76) * _METRES_PER_DEGREE
    return offset + round((middle - offset - _SQUARE_M / 2) / 2_000_000) * 2_000_000
