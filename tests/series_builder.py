"""Time series for tests: NetCDF files as Sen4AgriNet and openEO lay them out, a value per (band, date) plane."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyproj
import xarray as xr

SIZES = {10: ("B02", "B03", "B04", "B08"), 20: ("B05", "B06", "B07", "B8A", "B11", "B12"), 60: ("B01", "B09", "B10")}
CRS = "+init=epsg:32631"
ORIGIN = (300_000.0, 4_600_020.0)
Plane = Callable[[str, np.datetime64, tuple[int, int]], np.ndarray]
"""Band, date and shape → digital numbers (h, w)."""


def size_of(band: str, edge_px: int) -> int:
    """Pixels along an edge of a patch that has `edge_px` at 10 m."""
    return next(edge_px * 10 // pixel for pixel, bands in SIZES.items() if band in bands)


def make_patch(
    path: Path, dates: Mapping[str, Sequence[str]], plane: Plane, labels: np.ndarray | None = None, edge_px: int = 36
) -> Path:
    """A patch in the Sen4AgriNet layout: a group per band with dates of its own, labels with CRS and transform.

    Args:
        path: The file.
        dates: Band → its dates, ISO.
        plane: What each date of a band shows.
        labels: (edge, edge) crop codes; zeros if None.
        edge_px: 366 in the real ones; a multiple of 6.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    xr.Dataset(attrs={"patch_year": "2019", "patch_tile": "31TCJ"}).to_netcdf(path, engine="h5netcdf")
    for band, days in dates.items():
        times = np.array(days, "datetime64[ns]")
        shape = (size_of(band, edge_px),) * 2
        cube = np.stack([plane(band, time.astype("datetime64[s]"), shape) for time in times]).astype(np.uint16)
        whole = xr.Dataset({band: (("time", "y", "x"), cube)}, coords={"time": times})
        whole.to_netcdf(path, group=band, mode="a", engine="h5netcdf")
    codes = np.zeros((edge_px, edge_px), np.int16) if labels is None else labels
    attributes = {"crs": CRS, "transform": [10.0, 0.0, ORIGIN[0], 0.0, -10.0, ORIGIN[1]]}
    xr.Dataset({"labels": (("y", "x"), codes, attributes)}).to_netcdf(path, group="labels", mode="a", engine="h5netcdf")
    parcels = xr.Dataset({"parcels": (("y", "x"), np.zeros_like(codes))})
    parcels.to_netcdf(path, group="parcels", mode="a", engine="h5netcdf")
    return path


def make_cube(path: Path, planes: xr.Dataset, pixel: float = 10.0, north_up: bool = True) -> Path:
    """A flat cube: variables of (t, y, x), coordinates at pixel centres, and a grid mapping in EPSG:32631."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ys = ORIGIN[1] - pixel * (np.arange(planes.sizes["y"]) + 0.5)
    xs = ORIGIN[0] + pixel * (np.arange(planes.sizes["x"]) + 0.5)
    placed = planes.assign_coords(y=ys, x=xs).assign(crs=((), 0, {"crs_wkt": pyproj.CRS(32631).to_wkt()}))
    (placed if north_up else placed.isel(y=slice(None, None, -1))).to_netcdf(path, engine="h5netcdf")
    return path
