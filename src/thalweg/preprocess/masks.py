"""Masks onto scenes: found by ground position, mapped to class ids, brought onto the scene's grid by nearest.

A mask file's own nodata tag is ignored, because 0 is often tagged nodata and means background; what it means is said in
the params.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from pyproj import Transformer
from rasterio.enums import ColorInterp, Resampling
from rasterio.warp import reproject

from thalweg import raster
from thalweg.classes import IGNORE
from thalweg.errors import MaskError, ParamsError
from thalweg.grid import Grid, Window
from thalweg.params.classes import Classes
from thalweg.params.masks import Masks

OUTSIDE = 254
"""In an unfinished mask: no mask covers the pixel. Class ids end at 253, so that it is free."""
_UNLABELLED = "unlabelled"
_ANTIMERIDIAN = 180.0


@dataclass(frozen=True)
class MaskFile:
    """One mask GeoTIFF."""

    name: str
    """Path below `masks.input`."""
    path: Path
    grid: Grid
    sha256: str

    @cached_property
    def lonlat_bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees."""
        return lonlat_bounds(self.grid)


def read_mask_files(masks: Masks, folder: Path) -> tuple[MaskFile, ...]:
    """All mask files that the patterns find, sorted by name; none where the masks are a product's band.

    Raises:
        MaskError: A pattern finds nothing, or a mask has several bands.
        ParamsError: A pattern leaves the folder or is none.
        RasterError: A mask cannot be read or has no CRS.
    """
    if masks.band is not None:
        return ()
    paths: dict[str, Path] = {}
    for pattern in masks.patterns:
        found = {path.relative_to(folder).as_posix(): path for path in folder.glob(_checked(pattern)) if path.is_file()}
        if not found:
            raise MaskError(
                f"masks.patterns: '{pattern}' finds no file below {folder}; put the masks there or correct params.yaml"
            )
        paths |= found
    return tuple(_mask_file(name, paths[name]) for name in sorted(paths))


def _mask_file(name: str, path: Path) -> MaskFile:
    grid = raster.read_grid(path)
    with raster.opened(path) as dataset:
        kinds = [kind for kind in dataset.colorinterp if kind != ColorInterp.alpha]
    if len(kinds) > 1:
        raise MaskError(
            f"{path} has {len(kinds)} bands, but a mask has one band of class values; write such a mask or take this "
            "file out of masks.patterns"
        )
    return MaskFile(name, path, grid, _sha256(path))


def overlapping(files: tuple[MaskFile, ...], grid: Grid) -> tuple[MaskFile, ...]:
    """Mask files that share ground with a scene."""
    bounds = lonlat_bounds(grid)
    near = (file for file in files if _share(file.lonlat_bounds, bounds))
    return tuple(file for file in near if _share(_bounds_in(file.grid, grid), grid.bounds, grid.transform.a / 2))


def read_file(file: MaskFile, target: Grid) -> tuple[np.ndarray, Grid]:
    """The part of a mask file that lies on a scene's ground: values (H, W) as they are, and their grid.

    Raises:
        RasterError: It cannot be read.
    """
    window = _window_on(file.grid, target)
    return raster.read_window(file.path, window)[0], file.grid.crop(window)


def to_class_ids(values: np.ndarray, masks: Masks, classes: Classes, where: str) -> np.ndarray:
    """Mask values as class ids, uint8, 255 where unlabelled or NaN.

    Args:
        values: As the mask holds them, any dtype.
        masks: What they mean.
        classes: The legend.
        where: The mask's name for messages.

    Raises:
        MaskError: A value has no meaning.
        ParamsError: The params give a value a class that is not in the legend.
    """
    meaning = meanings(masks, classes)
    found = np.unique(values)
    found = found[~np.isnan(found)]
    strange = [float(value) for value in found if float(value) not in meaning]
    if strange:
        raise MaskError(
            f"{where} holds the value {_exact(strange[0])} in {np.count_nonzero(values == strange[0])} pixels, which "
            f"no class has; known are {', '.join(_exact(known) for known in sorted(meaning))}; add "
            f"'{_exact(strange[0])}' to masks.values in params.yaml or correct the mask"
        )
    labels = np.full(values.shape, IGNORE, np.uint8)
    for value in found:
        labels[values == value] = meaning[float(value)]
    return labels


def meanings(masks: Masks, classes: Classes) -> dict[float, int]:
    """Mask value → class id, 255 for unlabelled.

    Raises:
        ParamsError: A value is given a class that is not in the legend.
    """
    ids = {name: number for number, name in enumerate(classes.names)} | {_UNLABELLED: IGNORE}
    for value, name in masks.values.items():
        if name not in ids:
            raise ParamsError(
                f"masks.values gives '{value}' the class '{name}', but there are {', '.join(ids)}; correct "
                "masks.values or classes.legend in params.yaml"
            )
    return {0.0: outside_id(masks.zero)} | {float(value): ids[name] for value, name in masks.values.items()}


def _exact(value: float) -> str:
    """As it must stand in masks.values to be matched: 0.3 of a float32 mask is another number than 0.3."""
    return repr(value).removesuffix(".0")


def outside_id(meaning: str) -> int:
    """Class id of `background` or `unlabelled`."""
    return IGNORE if meaning == _UNLABELLED else 0


def onto_grid(codes: np.ndarray, source: Grid, target: Grid, outside: int) -> np.ndarray:
    """Codes (H, W) on another grid by nearest, `outside` where the source does not reach."""
    if (source.crs_wkt, source.transform, source.shape_yx) == (target.crs_wkt, target.transform, target.shape_yx):
        return codes
    result = np.full(target.shape_yx, outside, codes.dtype)
    reproject(codes, result, src_transform=source.transform, src_crs=source.crs_wkt, dst_transform=target.transform,
              dst_crs=target.crs_wkt, resampling=Resampling.nearest, init_dest_nodata=False)  # fmt: skip
    return result


def merge(under: np.ndarray, over: np.ndarray) -> np.ndarray:
    """Two masks of one scene: the first label that says anything wins; covered beats outside."""
    silent = (under == OUTSIDE) | ((under == IGNORE) & (over != OUTSIDE))
    return np.where(silent, over, under)


def conflict_px(under: np.ndarray, over: np.ndarray) -> int:
    """Pixels that two masks of one scene give different classes."""
    return int(np.count_nonzero((under < OUTSIDE) & (over < OUTSIDE) & (under != over)))


def lonlat_bounds(grid: Grid) -> tuple[float, float, float, float]:
    """West, south, east, north of a grid in degrees; the whole circle where it crosses the antimeridian."""
    west, south, east, north = Transformer.from_crs(grid.crs, 4326, always_xy=True).transform_bounds(*grid.bounds)
    return (west, south, east, north) if west <= east else (-180.0, south, 180.0, north)


def _bounds_in(source: Grid, target: Grid) -> tuple[float, float, float, float]:
    """Bounds of one grid in the CRS of another."""
    if source.crs_wkt == target.crs_wkt:
        return source.bounds
    bounds = Transformer.from_crs(source.crs, target.crs, always_xy=True).transform_bounds(*source.bounds)
    return (bounds[0], bounds[1], bounds[2], bounds[3])


def _window_on(grid: Grid, target: Grid) -> Window:
    """The window of a grid that covers another grid, with two pixels to spare; all of it across the antimeridian."""
    west, south, east, north = _bounds_in(target, grid)
    if west > east or (grid.crs.is_geographic and max(east, grid.bounds[2]) > _ANTIMERIDIAN):
        return grid.full
    corners = [~grid.transform @ corner for corner in ((west, north), (east, north), (west, south), (east, south))]
    cols, rows = sorted(corner[0] for corner in corners), sorted(corner[1] for corner in corners)
    row, col = math.floor(rows[0]) - 2, math.floor(cols[0]) - 2
    return Window(row, col, math.ceil(rows[-1]) + 2 - row, math.ceil(cols[-1]) + 2 - col).clip(grid.shape_yx)


def _share(one: tuple[float, float, float, float], other: tuple[float, float, float, float], least: float = 0) -> bool:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide > least and high > least


def _checked(pattern: str) -> str:
    path = PurePosixPath(pattern)
    if path.is_absolute() or ".." in path.parts:
        raise ParamsError(f"masks.patterns: '{pattern}' leaves masks.input; give a pattern below it")
    if not path.parts or any("**" in part and part != "**" for part in path.parts):
        raise ParamsError(f"masks.patterns: '{pattern}' is no pattern; give one such as '*.tif' or '**/*.tif'")
    return pattern


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
