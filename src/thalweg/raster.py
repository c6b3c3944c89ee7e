"""The only opener and writer of rasters: checked reads, one contiguous layout for scenes, atomic writes, COGs.

Layouts. A *scene image* is an uncompressed, pixel-interleaved, strip-organised GeoTIFF whose pixels lie in one run of
the file, so that it memory-maps as (H, W, C). Everything else is tiled and compressed.
"""

import math
import mmap
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
import tifffile
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RioWindow

from thalweg.errors import RasterError
from thalweg.grid import Grid, Window

_TILED = {"driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 6,
          "bigtiff": "if_safer"}  # fmt: skip
_SCRATCH = {"compress": "zstd", "zstd_level": 1, "interleave": "band"}
"""Of what is read again soon and then removed: a fifth of deflate's time for the same size."""

_ALIGNED = 16
"""Bytes at a multiple of which the pixels of a scene begin."""

warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)
"""Whether a file without georeference is an error, or a picture laid somewhere, is said by our own words."""

_SEAMLESS = {"tolerance": 0.001, "XSCALE": 1, "YSCALE": 1}
"""Warping that does not depend on the window's place: GDAL errs by up to 0.125 px by default (and with 0 rasterio 1.4
fails), and widens the kernel by a scale that it guesses for each window. Source: GDALWarpOptions, XSCALE."""


_PNG_END = b"IEND\xaeB`\x82"
"""The last chunk with its checksum. Source: https://www.w3.org/TR/png-3/#11IEND."""
_PNG_TAIL = 4096
"""Bytes in which it is sought: some programs write more behind it."""


@contextmanager
def opened(path: Path | str) -> Iterator[DatasetReader]:
    """A raster for reading, decoded by one thread: with more, GDAL turns a truncated JP2 into zeros without an error.

    Raises:
        RasterError: The file is missing or cut short, or no driver reads it, or decoding fails inside the block.
    """
    try:
        with rasterio.Env(GDAL_NUM_THREADS=1), rasterio.open(path) as dataset:
            if dataset.driver == "PNG":
                _check_png(Path(path))
            yield dataset
    except rasterio.errors.RasterioIOError as error:
        missing = not str(path).startswith("/vsi") and not Path(path).exists()
        what = "is missing" if missing else f"cannot be read ({_one_line(error)})"
        raise RasterError(f"{path} {what}; deliver the file again, then run the command again") from error


def _check_png(path: Path) -> None:
    """GDAL reads a PNG that is cut short without an error: black where its end is missing."""
    if not path.is_file():
        return  # of an archive or a network, whose reading is verified there
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _PNG_TAIL, 0))
        if _PNG_END not in file.read():
            raise RasterError(
                f"{path} is cut short: it has no end of a PNG; deliver the file again, then run the command again"
            )


def grid_of(dataset: DatasetReader, crs: str | None = None) -> Grid | None:
    """The dataset's grid, or None where it has no CRS; `crs` is that of files that carry none."""
    if dataset.crs is None:
        return None if crs is None else Grid(crs, dataset.transform, (dataset.height, dataset.width))
    epsg = dataset.crs.to_epsg()
    wkt = f"EPSG:{epsg}" if epsg else dataset.crs.to_wkt()
    return Grid(wkt, dataset.transform, (dataset.height, dataset.width))


def read_grid(path: Path) -> Grid:
    """The grid of a georeferenced raster.

    Raises:
        RasterError: The file cannot be read, or it has no CRS.
    """
    with opened(path) as dataset:
        return known_grid(dataset, path)


def read_band(path: Path, band: int = 1) -> np.ndarray:
    """One band as (H, W) in its own dtype, read block by block so that a truncated file raises.

    Raises:
        RasterError: The file cannot be read to its end, or has no such band.
    """
    with opened(path) as dataset:
        if band > dataset.count:
            raise RasterError(
                f"{path} has {dataset.count} bands, but band {band} is wanted; correct the band list in params.yaml"
            )
        pixels = np.empty((dataset.height, dataset.width), dataset.dtypes[band - 1])
        for _, window in dataset.block_windows(band):
            rows = slice(window.row_off, window.row_off + window.height)
            cols = slice(window.col_off, window.col_off + window.width)
            pixels[rows, cols] = dataset.read(band, window=window)
    return pixels


def read_onto(path: Path, grid: Grid, window: Window, resampling: str) -> np.ndarray:
    """All bands (N, h, w) of a raster as they lie on a window of another grid; nodata where it has none.

    A raster on the grid's own lattice is read as it is; any other is warped, so exactly that neighbouring windows meet
    without a seam.

    Args:
        path: A raster with CRS and nodata value.
        grid: The wanted grid.
        window: On `grid`; may reach past the raster.
        resampling: rasterio's name; used only where the lattices differ.

    Raises:
        RasterError: The raster cannot be read or has no CRS.
    """
    with opened(path) as dataset:
        source = known_grid(dataset, path)
        offset = source.offset_px(grid)
        if offset is None:
            wanted = grid.crop(window)
            with WarpedVRT(dataset, crs=grid.crs_wkt, transform=wanted.transform, height=window.height,
                           width=window.width, resampling=Resampling[resampling], **_SEAMLESS) as warped:  # fmt: skip
                return np.asarray(warped.read())
        row, col = window.row + offset[0], window.col + offset[1]
        inside = Window(row, col, window.height, window.width).clip(source.shape_yx)
        pixels = np.full((dataset.count, window.height, window.width), dataset.nodata, dataset.dtypes[0])
        if inside.height and inside.width:
            at = inside._replace(row=inside.row - row, col=inside.col - col)
            pixels[:, at.rows, at.cols] = dataset.read(window=to_rio(inside))
    return pixels


def read_window(path: Path | str, window: Window, bands: tuple[int, ...] = (1,)) -> np.ndarray:
    """The part of some bands inside a window, (band, height, width) in their own dtype; a truncated file raises.

    Raises:
        RasterError: The window cannot be read.
    """
    with opened(path) as dataset:
        pixels: np.ndarray = dataset.read(list(bands), window=to_rio(window))
    return pixels


def read_measured(path: Path | str, window: Window, band: int) -> np.ndarray:
    """(height, width) bool: where a file's own mask or alpha band says that there is something.

    Raises:
        RasterError: The window cannot be read.
    """
    with opened(path) as dataset:
        there: np.ndarray = dataset.read_masks(band, window=to_rio(window)) > 0
    return there


def block_rows(path: Path | str) -> int:
    """Rows that are decoded together: reading stripes of a multiple of them decodes every block once.

    Raises:
        RasterError: The file cannot be opened.
    """
    with opened(path) as dataset:
        return int(dataset.block_shapes[0][0])


def to_rio(window: Window) -> RioWindow:
    """A window as rasterio's own."""
    return RioWindow(window.col, window.row, window.width, window.height)


def create_pixels(path: Path, grid: Grid, channels: int, dtype: str, nodata: float | None,
                  descriptions: tuple[str, ...] = (), scales: tuple[float, ...] = (),
                  offsets: tuple[float, ...] = (), units: tuple[str, ...] = ()) -> np.memmap[Any, Any]:  # fmt: skip
    """A new scene image on disk, zero everywhere, mapped for writing as (H, W, C); flush or drop the map to finish it.

    Args:
        path: Where; the parent exists.
        grid: Where the pixels lie.
        channels: Number of channels.
        dtype: numpy name of the pixel type.
        nodata: Value that means no measurement, or None.
        descriptions: Channel names for GIS.
        scales: GDAL scale per channel.
        offsets: GDAL offset per channel.
        units: GDAL unit per channel.
    """
    profile = {"driver": "GTiff", "height": grid.shape_yx[0], "width": grid.shape_yx[1], "count": channels,
               "dtype": dtype, "crs": grid.crs_wkt, "transform": grid.transform, "nodata": nodata,
               "interleave": "pixel", "tiled": False, "bigtiff": "if_safer", "sparse_ok": True}  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        if descriptions:
            dataset.descriptions = descriptions
        if scales:
            dataset.scales = scales
        if offsets:
            dataset.offsets = offsets
        if units:
            dataset.units = units
    _allocate(path)
    return map_pixels(path, "r+")


def _allocate(path: Path) -> None:
    """Gives the strips of a sparse GeoTIFF their place, one behind the other, and room on the disk, but no bytes.

    GDAL would write the whole file once with nodata, before anything is written into it.

    Raises:
        RasterError: The disk has no room for it.
    """
    with tifffile.TiffFile(path, mode="r+") as file:
        page, kind = file.pages.first, "Q" if file.is_bigtiff else "I"
        row = page.imagewidth * page.samplesperpixel * np.dtype(page.dtype).itemsize
        starts = range(0, page.imagelength, page.rowsperstrip)
        sizes = [row * min(page.rowsperstrip, page.imagelength - start) for start in starts]
        page.tags["StripByteCounts"].overwrite(sizes, dtype=kind)
        offsets = page.tags["StripOffsets"].overwrite([0] * len(sizes), dtype=kind)  # may move to the file's end
        file.filehandle.flush()
        first = -(-path.stat().st_size // _ALIGNED) * _ALIGNED
        offsets.overwrite([first + row * start for start in starts], dtype=kind)
    try:
        with path.open("r+b") as stream:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), first, sum(sizes))
            else:
                stream.truncate(first + sum(sizes))
    except OSError as error:
        raise RasterError(
            f"{path} takes {sum(sizes) / 1e9:.2f} GB, for which there is no room ({error.strerror}); "
            "make room on that disk, then run the command again"
        ) from error


def map_pixels(path: Path, mode: Literal["r", "r+"] = "r") -> np.memmap[Any, Any]:
    """A scene image as a memory map (H, W, C), no copy; read-only unless `mode` is `r+`.

    Raises:
        RasterError: The file is missing or its pixels are not one contiguous run.
    """
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            offsets = page.dataoffsets
            shape, dtype = (page.imagelength, page.imagewidth, page.samplesperpixel), np.dtype(page.dtype)
            plain = page.compression == 1 and not page.is_tiled and (page.planarconfig == 1 or shape[2] == 1)
    except (OSError, tifffile.TiffFileError) as error:
        raise RasterError(f"{path} cannot be opened ({_one_line(error)}); run `dvc repro` to make it again") from error
    size = math.prod(shape) * dtype.itemsize
    strip = page.rowsperstrip * shape[1] * shape[2] * dtype.itemsize
    run = all(start == offsets[0] + number * strip for number, start in enumerate(offsets))
    if not plain or not run or offsets[0] + size > path.stat().st_size:
        raise RasterError(
            f"{path} is not one run of uncompressed, pixel-interleaved values; remove it and run `dvc repro`"
        )
    return np.memmap(path, dtype=dtype, mode=mode, offset=offsets[0], shape=shape)


class Stacked:
    """Images of one place behind each other, as one array (H, W, T × C): what is indexed is copied, not the rest."""

    ndim = 3

    def __init__(self, images: Sequence[np.ndarray]) -> None:
        """Takes memory maps (H, W, C) of one shape and dtype, in order."""
        self.images = tuple(images)
        height, width, channels = images[0].shape
        self.shape = (height, width, channels * len(images))
        self.dtype = images[0].dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        """A copy: rows and columns (slices), or a mask (H, W), and after rows and columns also channels."""
        place, channels = (key[:2], key[2:]) if isinstance(key, tuple) else (key, ())
        if key is Ellipsis or (isinstance(key, tuple) and any(each is Ellipsis for each in key)):
            return np.asarray(np.asarray(self)[key])
        pixels = np.concatenate([image[place] for image in self.images], axis=-1)
        return np.asarray(pixels[..., *channels]) if channels else pixels

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it in memory."""
        if copy is False:
            raise ValueError("images of several files are one array only as a copy; pass copy=None")
        return np.concatenate(self.images, axis=-1, dtype=dtype)


def plain(pixels: "np.ndarray | Stacked") -> "np.ndarray | Stacked":
    """A plain view of a memory map: slicing np.memmap itself costs more than the copy of a chip."""
    return pixels if isinstance(pixels, Stacked) else np.asarray(pixels)


def release(pixels: "np.ndarray | Stacked") -> None:
    """Gives the pages of a memory map back to the system; they are read again when they are next touched.

    Without it, all that was ever read of a scene counts as this process's memory.
    """
    for image in pixels.images if isinstance(pixels, Stacked) else (pixels,):
        root: Any = image
        while isinstance(root, np.ndarray):
            root = root.base
        if isinstance(root, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            root.madvise(mmap.MADV_DONTNEED)


def write(path: Path, pixels: np.ndarray, grid: Grid, nodata: float | None = None,
          descriptions: tuple[str, ...] = (), colors: Mapping[int, tuple[int, int, int]] | None = None,
          tags: Mapping[str, str] | None = None) -> None:  # fmt: skip
    """Writes (H, W) or (C, H, W) as a tiled, compressed GeoTIFF, whole or not at all.

    Raises:
        RasterError: What lies on the disk is not what was written, most likely for want of room.
    """
    planes = pixels[None] if pixels.ndim == 2 else pixels
    partial = path.with_name(f".{path.name}.part")
    profile = _tiled(grid, planes.shape[0], str(planes.dtype), nodata) | {"num_threads": 2}
    with _whole(path, partial), rasterio.open(partial, "w", **profile) as dataset:
        dataset.write(planes)
        if descriptions:
            dataset.descriptions = descriptions
        if colors:
            dataset.write_colormap(1, {value: (*rgb, 255) for value, rgb in colors.items()})
        if tags:
            dataset.update_tags(**tags)
    if not _holds(partial, planes):
        partial.unlink()
        raise _unwritten(path, "it is cut short")
    partial.replace(path)


@contextmanager
def _whole(path: Path, written: Path) -> Iterator[None]:
    """What GDAL says or hides of a file that it cannot write, as our error; such a file is no more."""
    written.unlink(missing_ok=True)  # of a killed run: rasterio would try to read it
    fault = "it is cut short"
    try:
        yield
        rasterio.open(written).close()
        with tifffile.TiffFile(written) as file:
            size = file.filehandle.size
            whole = all(at + count <= size for page in file.pages
                        for at, count in zip(page.dataoffsets, page.databytecounts, strict=True))  # fmt: skip
    except (rasterio.errors.RasterioIOError, CPLE_BaseError) as error:
        whole, fault = False, _one_line(error)
    except (tifffile.TiffFileError, IndexError):
        whole = False  # its directory is cut, too
    if not whole:
        written.unlink(missing_ok=True)
        raise _unwritten(path, fault)


def _unwritten(path: Path, fault: str) -> RasterError:
    return RasterError(
        f"{path} could not be written whole ({fault}); make room on that disk, or see that you may write there, then "
        "run the command again"
    )


def _holds(path: Path, planes: np.ndarray) -> bool:
    """Whether a raster reads as it was written: GDAL keeps silent of a disk that is full when it closes the file."""
    try:
        with opened(path) as dataset:
            return all(dataset.read(band).tobytes() == plane.tobytes() for band, plane in enumerate(planes, 1))
    except RasterError:
        return False


@contextmanager
def create_tiled(path: Path, grid: Grid, count: int, dtype: str, nodata: float | None,
                 sparse: bool = False, scratch: bool = False) -> Iterator[DatasetWriter]:  # fmt: skip
    """A tiled, compressed GeoTIFF open for writing in windows of whole tiles; finished at the end of the block.

    GDAL tells of a full disk only where the thread that writes compresses itself, and whole tiles: of others it keeps
    silent when it closes the file, which then reads as nodata there. The last tile is written then, and looked for.

    Sparse: tiles that hold nothing but nodata, or that are never written, take no space. Scratch: for what is not kept,
    band behind band and compressed quickly.

    Raises:
        RasterError: It cannot be written, most likely for want of room.
    """
    with _whole(path, path), rasterio.open(path, "w", **_tiled(grid, count, dtype, nodata, sparse, scratch)) as dataset:
        yield dataset


def _tiled(grid: Grid, count: int, dtype: str, nodata: float | None, sparse: bool = False,
           scratch: bool = False) -> dict[str, Any]:  # fmt: skip
    """The words for rasterio."""
    profile = {**_TILED, "height": grid.shape_yx[0], "width": grid.shape_yx[1], "count": count, "dtype": dtype,
               "crs": grid.crs_wkt, "transform": grid.transform, "nodata": nodata, "sparse_ok": sparse}  # fmt: skip
    if scratch:
        profile = {key: value for key, value in profile.items() if key != "zlevel"} | _SCRATCH
    if dtype.startswith("float"):
        profile["predictor"] = 3
    if count > 1:  # else GDAL takes three bands of bytes for a picture, and a fourth for its transparency
        profile |= {"photometric": "minisblack", "alpha": "no"}
    return profile


def write_cog(source: Path, target: Path, resampling: str, tags: Mapping[str, str] | None = None) -> None:
    """Copies a finished GeoTIFF (tags, nodata and colours included) into a Cloud Optimized GeoTIFF with overviews.

    Args:
        source: Tiled GeoTIFF.
        target: The COG; replaced whole.
        resampling: Of the overviews: `mode` for classes, `average` for measures; nodata never takes part.
        tags: Beside those of `source`. They go in before the copy, since later they would break the layout
            (rasterio/rasterio#2376).

    Tiles of nothing but nodata take no space.

    Raises:
        RasterError: It cannot be written, most likely for want of room.
    """
    partial, view = (target.with_name(f".{target.name}.{kind}") for kind in ("part", "vrt"))
    try:
        with opened(source) as pixels:
            scales = pixels.scales  # to the last bit, which a VRT's text has not
            rasterio.shutil.copy(pixels, view, driver="VRT")
        with _whole(target, partial), rasterio.Env(COG_TMP_COMPRESSION="NONE"), rasterio.open(view, "r+") as dataset:
            dataset.scales = scales
            dataset.update_tags(**(tags or {}))
            rasterio.shutil.copy(dataset, partial, driver="COG", compress="deflate", blocksize=256, bigtiff="if_safer",
                                 overview_resampling=resampling, overviews="ignore_existing", num_threads=2,
                                 sparse_ok="yes")  # fmt: skip
    finally:
        for left in (view, partial.with_name(f"{partial.name}.ovr.tmp")):
            left.unlink(missing_ok=True)
    partial.replace(target)


def link(source: Path, target: Path) -> None:
    """A second name of a file that nobody changes, whole or not at all; a copy where the file system has no such."""
    partial = target.with_name(f".{target.name}.part")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(target)


def transform_from(values: list[float]) -> Affine:
    """An affine transform from the six numbers that scene.json keeps (a, b, c, d, e, f)."""
    return Affine(*values[:6])


def known_grid(dataset: DatasetReader, path: Path, crs: str | None = None) -> Grid:
    """The grid of an opened raster that must have one; `crs` is that of files that carry none.

    Raises:
        RasterError: It has no CRS, one that is tied to no place on the earth, or no geotransform.
    """
    grid = grid_of(dataset, crs)
    if grid is None:
        raise RasterError(
            f"{path} has no CRS, so its place on the ground is unknown; "
            f"set one with `gdal_edit.py -a_srs EPSG:… {path}`"
        )
    if dataset.crs is not None and not (dataset.crs.is_projected or dataset.crs.is_geographic):
        raise RasterError(
            f"{path} has a CRS that is tied to no place on the earth ({_one_line(dataset.crs.to_wkt())[:60]}…); "
            f"set the right one with `gdal_edit.py -a_srs EPSG:… {path}`"
        )
    if grid.transform.is_identity:
        raise RasterError(
            f"{path} has a CRS but no geotransform, so its place on the ground is unknown; put its world file beside "
            f"it, or set its corners with `gdal_edit.py -a_ullr … {path}`"
        )
    return grid


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
