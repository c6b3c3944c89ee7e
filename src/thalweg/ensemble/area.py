"""The area of interest: a vector file of any kind, in the CRS of the grid that asks."""

from functools import lru_cache
from pathlib import Path

import geopandas
import pyogrio
from shapely.geometry.base import BaseGeometry

from thalweg.errors import EnsembleError


def read_area(path: Path, crs: str) -> BaseGeometry:
    """All polygons of a vector file as one geometry.

    Args:
        path: Anything that GDAL reads, with a CRS.
        crs: The geometry's.

    Raises:
        EnsembleError: It cannot be read, has no CRS, or no polygon.
    """
    table = _read(path)
    area: BaseGeometry = table.to_crs(crs).geometry.union_all()
    return area


@lru_cache(maxsize=2)
def _read(path: Path) -> geopandas.GeoDataFrame:
    remedy = "give a file of polygons, such as a GeoPackage or GeoJSON"
    if not path.is_file():
        raise EnsembleError(f"{path}, the area of interest, is missing; {remedy}")
    try:
        table = pyogrio.read_dataframe(path)
    except pyogrio.errors.DataSourceError as error:
        said = " ".join(str(error).split())
        raise EnsembleError(f"{path}, the area of interest, cannot be read ({said}); {remedy}") from error
    polygons = table[table.geometry.geom_type.isin(("Polygon", "MultiPolygon"))] if "geometry" in table else table[:0]
    if polygons.empty or polygons.crs is None:
        what = "no polygon" if polygons.empty else "no CRS"
        raise EnsembleError(f"{path}, the area of interest, has {what}; {remedy}")
    return polygons
