"""Images that lie in buckets, brought to this machine; maps made here, put into one.

A scene is mapped from memory maps, so that its pixels come whole, once. Of a raster under an area of interest only the
blocks that it touches move, read by GDAL through /vsis3.
"""

import hashlib
import json
import math
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import rasterio.shutil
from rasterio.enums import MaskFlags, Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from shapely.geometry.base import BaseGeometry

from thalweg import bucket, raster
from thalweg.ensemble.area import read_area
from thalweg.errors import ImageError
from thalweg.grid import Grid, Window
from thalweg.manifest import write_json
from thalweg.prepare import find_images

_RASTERS = (".tif", ".tiff", ".jp2", ".vrt")
_ALIGNED_PX = 512
"""Windows begin and end at its multiples: whole blocks of most COGs."""


@dataclass(frozen=True)
class Part:
    """What is wanted of rasters that lie in buckets."""

    aoi: Path
    margin_px: int
    """Around it, for the windows of a model that reach over its edge."""


def bring_images(names: Sequence[str], room: Path, part: Part | None = None) -> list[Path]:
    """The images that are named, each once, in order: on this machine's disk as they are, those in buckets in `room`.

    Args:
        names: Paths, or `s3://bucket/key`, or `/vsis3/bucket/key`; patterns too.
        room: What it holds already of an earlier call is not moved again.
        part: What of rasters in buckets is wanted; None: all.

    Raises:
        ImageError: One is not there, a pattern finds nothing, or `part.aoi` touches none of them.
        CredentialsError, NotFoundError, UnreachableError, SettingsError: See `bucket.find`.
        RasterError: GDAL cannot read one.
    """
    found: list[Path] = []
    for name in names:
        if not bucket.is_url(name):
            found += find_images([name])
            continue
        urls = bucket.find(name)
        if not urls:
            raise ImageError(f"{bucket.to_url(name)} is not there, or finds nothing; `aws s3 ls` shows what is")
        for url in urls:
            if part is not None and Path(url).suffix.lower() in _RASTERS:
                found += _bring_part(url, room, part)
            else:
                found.append(bucket.fetch(url, room))
    if part is not None and not found:
        raise ImageError(
            f"{part.aoi}, the area of interest, touches none of the images; give images of that "
            "ground, or leave --aoi out"
        )
    return list(dict.fromkeys(found))


def put_map(folder: Path, url: str) -> None:
    """Puts a finished map into a bucket, with the weights that its item names; the item comes last.

    Raises:
        CredentialsError, NotFoundError, UnreachableError, SettingsError: See `bucket.find`.
    """
    last = ""
    for path in folder.glob("*.json"):
        item = json.loads(path.read_text("utf-8"))
        for name, asset in item.get("assets", {}).items():
            if name.startswith("weights/"):
                file = folder / asset["href"]
                place = folder / f"{name}{file.suffix}"
                place.parent.mkdir(exist_ok=True)
                raster.link(file.resolve(), place)
                asset["href"] = f"./{name}{file.suffix}"
        write_json(item, path)
        last = path.name
    bucket.put(folder, url, last)


def _bring_part(url: str, room: Path, part: Part) -> list[Path]:
    """A raster's window around the area, of its own pixels; none where they do not meet."""
    bucket.tell_gdal()
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), raster.opened(bucket.to_vsi(url)) as dataset:
        grid = raster.grid_of(dataset)
        if grid is None:
            return [bucket.fetch(url, room)]
        window = _window(read_area(part.aoi, grid.crs_wkt), grid, part.margin_px)
        if not window.height or not window.width:
            return []
        key = repr([url, bucket.version(url), window])
        target = room / hashlib.sha256(key.encode()).hexdigest()[:16] / f"{Path(url).stem}.tif"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(dataset, grid.crop(window), target, bucket.modified(url))
    return [target]


def _window(area: BaseGeometry, grid: Grid, margin_px: int) -> Window:
    west, south, east, north = area.bounds
    corners = [~grid.transform @ (x, y) for x in (west, east) for y in (south, north)]
    cols, rows = zip(*corners, strict=True)
    top, left = (math.floor((min(each) - margin_px) / _ALIGNED_PX) * _ALIGNED_PX for each in (rows, cols))
    bottom, right = (math.ceil((max(each) + margin_px) / _ALIGNED_PX) * _ALIGNED_PX for each in (rows, cols))
    return Window(top, left, bottom - top, right - left).clip(grid.shape_yx)


def _copy(dataset: DatasetReader, grid: Grid, target: Path, when: float) -> None:
    """Pixels as they are, with all that says what they mean; a mask of the file's own becomes an alpha band.

    Others may be at it on other machines, which all take the file for the same: by its name, size and time.
    """
    masked = dataset.nodata is None and MaskFlags.per_dataset in dataset.mask_flag_enums[0]
    partial = target.with_name(f".{target.stem}.{uuid.uuid4().hex}.tif")
    with WarpedVRT(dataset, transform=grid.transform, height=grid.shape_yx[0], width=grid.shape_yx[1],
                   nodata=dataset.nodata, add_alpha=masked, resampling=Resampling.nearest) as seen:  # fmt: skip
        rasterio.shutil.copy(seen, partial, driver="GTiff", tiled=True, bigtiff="if_safer")
    with rasterio.open(partial, "r+") as copied:
        more = copied.count - dataset.count
        copied.descriptions = (*dataset.descriptions, *[None] * more)
        copied.scales, copied.offsets = (*dataset.scales, *[1.0] * more), (*dataset.offsets, *[0.0] * more)
        copied.units = (*dataset.units, *[None] * more)
    os.utime(partial, (when, when))
    partial.replace(target)
