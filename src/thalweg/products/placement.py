"""Where pictures without any georeference lie: each at a place of its own, so far from all others that none is near.

The place is arbitrary, but a place it must be: scenes, blocks and buffers are on the ground, in true metres. Places are
the points of a fixed lattice between 60° south and north, at least 27 km from each other; a picture's name says which.
"""

import hashlib
import math
from bisect import bisect_right
from itertools import accumulate

from affine import Affine

from thalweg.errors import ProductError
from thalweg.grid import Grid
from thalweg.manifest.products import Product

MAX_EDGE_M = 15_000
"""Of a picture; 12 km are then left between any two."""
_STEP_DEG = 0.25
_LAST_DEG = 60.0
_LON_DEG = 358.0
"""Longitudes from 179° west to 179° east: a picture across the antimeridian would only cost time."""
_LATITUDES = tuple(-_LAST_DEG + (row + 0.5) * _STEP_DEG for row in range(round(2 * _LAST_DEG / _STEP_DEG)))
_COUNTS = tuple(math.floor(_LON_DEG * math.cos(math.radians(lat)) / _STEP_DEG) for lat in _LATITUDES)
_ENDS = tuple(accumulate(_COUNTS))
PLACES = _ENDS[-1]
"""Some 560 000."""
_WKT = """PROJCRS["not georeferenced: {name}",BASEGEOGCRS["WGS 84",DATUM["World Geodetic System 1984",\
ELLIPSOID["WGS 84",6378137,298.257223563]]],CONVERSION["arbitrary place",METHOD["Transverse Mercator",\
ID["EPSG",9807]],PARAMETER["Latitude of natural origin",{lat:.9f}],PARAMETER["Longitude of natural origin",{lon:.9f}],\
PARAMETER["Scale factor at natural origin",1],PARAMETER["False easting",0],PARAMETER["False northing",0]],\
CS[Cartesian,2],AXIS["easting",east],AXIS["northing",north],LENGTHUNIT["metre",1]]"""


def settle(products: tuple[Product, ...]) -> tuple[Product, ...]:
    """The same products, each that may have no georeference with a place of its own.

    Where two names give one place, the later name takes the next free one; so what is added moves nothing else, but for
    such a rare namesake.

    Raises:
        ProductError: There are more pictures than places.
    """
    pictures = sorted(product.name for product in products if product.pixel_m is not None)
    if len(pictures) > PLACES:
        raise ProductError(
            f"{len(pictures)} pictures without georeference are more than the {PLACES} places there are for them; "
            "fetch fewer, or give them a CRS and world files"
        )
    taken: dict[int, str] = {}
    for name in pictures:
        place = _named(name)
        while place in taken:
            place = (place + 1) % PLACES
        taken[place] = name
    places = {name: place for place, name in taken.items()}
    return tuple(
        product.model_copy(update={"place": places[product.name]}) if product.name in places else product
        for product in products
    )


def lay(product: Product, shape_yx: tuple[int, int]) -> Grid:
    """The grid of a picture around its place: a transverse Mercator of its own, whose metres there are true to 1e-6.

    Raises:
        ProductError: The picture is too large for its place.
    """
    edge_m = product.pixel_m or 0.0
    height, width = shape_yx
    if max(shape_yx) * edge_m > MAX_EDGE_M:
        raise ProductError(
            f"{product.name} has {height} × {width} pixels of {edge_m:g} m, more than the {MAX_EDGE_M / 1000:g} km "
            "that a picture without georeference may have; correct more.pixel_m, or give it a CRS and a world file"
        )
    lat, lon = position(_named(product.name) if product.place is None else product.place)
    name = product.name.replace('"', "'")
    corner = Affine(edge_m, 0, -width * edge_m / 2, 0, -edge_m, height * edge_m / 2)
    return Grid(_WKT.format(name=name, lat=lat, lon=lon), corner, shape_yx)


def position(place: int) -> tuple[float, float]:
    """Latitude and longitude of a place, degrees."""
    row = bisect_right(_ENDS, place)
    number = place - (_ENDS[row] - _COUNTS[row])
    return _LATITUDES[row], (number + 0.5) * _LON_DEG / _COUNTS[row] - _LON_DEG / 2


def _named(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % PLACES
