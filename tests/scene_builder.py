"""Tiny analysis-ready scenes for tests: what preprocess would write, with a real CRS, seeded, in milliseconds."""

from pathlib import Path
from typing import Literal

import numpy as np
from affine import Affine
from scipy import ndimage

from thalweg import raster
from thalweg.bands import wavelength_nm
from thalweg.classes import IGNORE
from thalweg.grid import Grid
from thalweg.manifest.scene import (
    NODATA,
    REFLECTANCE_SCALE,
    SCHEMA,
    Channel,
    Scene,
    SceneRecord,
    write_scene_record,
)

MaskLike = np.ndarray | Literal["blobs"] | None


def make_scene(
    folder: Path,
    name: str,
    crs: str = "EPSG:32720",
    origin: tuple[float, float] = (600_000.0, 7_000_000.0),
    pixel: float = 60.0,
    shape: tuple[int, int] = (64, 64),
    channels: tuple[str, ...] = ("B04", "B8A"),
    seed: int = 0,
    mask: MaskLike = "blobs",
    valid: np.ndarray | None = None,
    image: np.ndarray | None = None,
    masks: tuple[str, ...] = ("mask.tif",),
    dates: tuple[str, ...] = (),
    sensing_time: str | None = "2025-10-03T14:17:09Z",
) -> Scene:
    """Writes one scene below a grid's folder and opens it.

    Args:
        folder: `build/scenes/<grid>`; made if it is missing, its name is the grid's.
        name: The scene's name.
        crs: Anything that pyproj reads.
        origin: CRS coordinates of the upper left corner.
        pixel: Edge of a pixel in CRS units.
        shape: Rows, columns.
        channels: Names; those of Sentinel-2 bands get their wavelength.
        seed: Of mask and pixels.
        mask: (H, W) uint8 class ids with 255 unlabelled; `blobs` for two classes that the pixels show; None for none.
        valid: (H, W) uint8, 0 = unusable; all usable if None.
        image: (H, W, C) int16 stored values; made up from the mask if None.
        masks: `record.masks` of a labelled scene.
        dates: Of a time series, whose image is (H, W, T × C), date by date; one image if there are none.
        sensing_time: ISO 8601, UTC; None where nobody knows.
    """
    rng = np.random.default_rng(seed)
    labels = _blobs(rng, shape) if isinstance(mask, str) else mask
    grid = Grid(crs, Affine(pixel, 0, origin[0], 0, -pixel, origin[1]), shape)
    usable = np.ones(shape, np.uint8) if valid is None else valid.astype(np.uint8)
    named = tuple(f"t{number:02}/{name}" for number in range(len(dates)) for name in channels) or channels
    pixels = _pixels(rng, shape, len(named), labels) if image is None else image
    pixels[usable == 0] = NODATA
    home = folder / name
    home.mkdir(parents=True)
    files = tuple(f"image_{date}.tif" for date in dates) or ("image.tif",)
    for file, planes in zip(files, np.split(pixels, len(files), axis=2), strict=True):
        _write(home / file, grid, planes, NODATA, channels)
    _write(home / "valid.tif", grid, usable[:, :, None], None, ("valid",))
    if labels is not None:
        _write(home / "mask.tif", grid, labels.astype(np.uint8)[:, :, None], IGNORE, ("mask",))
    record = SceneRecord(
        schema_version=SCHEMA,
        name=name,
        grid=folder.name,
        preparation={},
        product=name,
        baseline="05.11",
        offsets_applied=dict.fromkeys(channels, -1000.0),
        sensing_time=sensing_time,
        crs=crs,
        transform=tuple(grid.transform)[:6],
        shape_yx=shape,
        georeferenced=True,
        dtype=str(pixels.dtype),
        dates=dates,
        prior=None,
        channels=tuple(Channel(name=c, wavelength_nm=wavelength_nm(c.rpartition("/")[2]), scale=REFLECTANCE_SCALE,
                               offset=0.0, unit="reflectance") for c in named),
        masks=() if labels is None else masks,
        labelled=labels is not None,
        valid_fraction=float(usable.mean()),
        clipped=dict.fromkeys(named, 0),
        sources={},
        warnings=(),
    )  # fmt: skip
    write_scene_record(record, home)
    return Scene(home)


def _blobs(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 3, mode="wrap")
    return (field > np.quantile(field, 0.7)).astype(np.uint8)


def _pixels(rng: np.random.Generator, shape: tuple[int, int], count: int, labels: np.ndarray | None) -> np.ndarray:
    base = np.zeros(shape) if labels is None else np.where(labels == IGNORE, 0, labels)
    slope = 400.0 * (1 + np.arange(count))
    return (1500 + base[:, :, None] * slope + rng.normal(0, 100, (*shape, count))).astype(np.int16)


def _write(path: Path, grid: Grid, pixels: np.ndarray, nodata: int | None, names: tuple[str, ...]) -> None:
    target = raster.create_pixels(path, grid, pixels.shape[2], str(pixels.dtype), nodata, descriptions=names)
    target[:] = pixels
    target.flush()
