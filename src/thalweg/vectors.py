"""The writer and reader of vector files: GeoPackage, GeoParquet and GeoJSON, whole or not at all."""

import os
from collections.abc import Mapping
from pathlib import Path

import geopandas
import pyogrio

from thalweg.errors import VectorError

SUFFIXES = (".gpkg", ".parquet", ".geojson")
FORMATS = {"gpkg": ".gpkg", "geojson": ".geojson", "geoparquet": ".parquet"}
"""Names in params.yaml → suffixes."""
_NO_DATE = {"OGR_CURRENT_DATE": "2000-01-01T00:00:00.000Z"}
"""A GeoPackage holds when it was last changed; with one date for all, the same content is the same file."""
_DECIMALS = 7
"""Of degrees in GeoJSON: a centimetre."""


def check_target(path: Path) -> None:
    """Says before the work what would fail after it.

    Raises:
        VectorError: The suffix is none that is written, or the folder is missing.
    """
    if path.suffix not in SUFFIXES:
        raise VectorError(f"{path} should end in {', '.join(SUFFIXES)}, not '{path.suffix}'; give another name")
    if not path.absolute().parent.is_dir():
        raise VectorError(f"{path.absolute().parent} is no folder; make it first, or give another path")


def write_vectors(path: Path, layers: Mapping[str, geopandas.GeoDataFrame]) -> None:
    """Writes layers in the form that the suffix names: a GeoPackage takes several, the others one.

    GeoJSON is in degrees (WGS84), as RFC 7946 section 4 wants it; the others keep their CRS. A layer without geometry
    is a plain table. Every column is written as it is, so empty layers keep their fields.

    Args:
        path: Where; its folder exists.
        layers: Layer name → table.

    Raises:
        VectorError: See `check_target`, or there are several layers for one that takes one.
    """
    check_target(path)
    if path.suffix != ".gpkg" and len(layers) > 1:
        raise VectorError(f"{path} takes one layer, but there are {', '.join(layers)}; write a .gpkg")
    partial = path.with_name(f".{path.stem}.part{os.getpid()}{path.suffix}")
    partial.unlink(missing_ok=True)
    try:
        _write(partial, layers)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_vectors(path: Path, layer: str) -> geopandas.GeoDataFrame:
    """One layer.

    Raises:
        VectorError: The file or the layer is missing, or cannot be read.
    """
    if not path.is_file():
        raise VectorError(f"{path} is missing; give the path of the file that is to be read")
    try:
        names = [str(row[0]) for row in pyogrio.list_layers(path)]
        if layer not in names:
            raise VectorError(f"{path} has no layer '{layer}', but {', '.join(names)}; give a file that Thalweg wrote")
        return pyogrio.read_dataframe(path, layer=layer)
    except pyogrio.errors.DataSourceError as error:
        said = " ".join(str(error).split())
        raise VectorError(f"{path} cannot be read ({said}); give a file that Thalweg wrote") from error


def _write(path: Path, layers: Mapping[str, geopandas.GeoDataFrame]) -> None:
    before = {name: pyogrio.get_gdal_config_option(name) for name in _NO_DATE}
    pyogrio.set_gdal_config_options(_NO_DATE)
    try:
        for number, (name, table) in enumerate(layers.items()):
            if path.suffix == ".parquet":
                table.to_parquet(path, index=False)
            elif path.suffix == ".geojson":
                pyogrio.write_dataframe(table.to_crs(4326), path, driver="GeoJSON", layer=name, RFC7946="YES",
                                        COORDINATE_PRECISION=str(_DECIMALS))  # fmt: skip
            else:
                pyogrio.write_dataframe(table, path, driver="GPKG", layer=name, append=number > 0)
    finally:
        pyogrio.set_gdal_config_options(before)
