"""Rasters as small pictures for a page: decimated reads that honour nodata, colours, and a scale bar."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from affine import Affine
from PIL import Image
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject

from thalweg import raster
from thalweg.classes import IGNORE, ClassInfo
from thalweg.errors import RasterError
from thalweg.grid import Grid, Window, cut
from thalweg.manifest.scene import NODATA, Scene

MAX_PX = 900
LEVELS = 64
"""Steps of a colour ramp: more than an eye tells apart, and a third of the bytes."""
DIM = 0.15
"""Of the range between black and white."""
MOST_LIFTED = 0.4
"""The least exponent: below it noise is all that is seen."""
_RGB_CHOICES = ((("B04", "B03", "B02"), "true colour"), (("B8A", "B04", "B03"), "false colour"),
                (("B08", "B04", "B03"), "false colour"))  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A picture that stands in the page itself."""

    uri: str
    """`data:image/…;base64,…`."""
    width: int
    height: int
    caption: str


def read_small(path: Path, window: Window, band: int = 1) -> tuple[np.ma.MaskedArray[Any, Any], Grid]:
    """A window of one band from the overviews, at most `MAX_PX` on its longer edge, masked where nodata, and its grid.

    Raises:
        RasterError: The file cannot be read or has no CRS.
    """
    with raster.opened(path) as dataset:
        grid = raster.grid_of(dataset)
        if grid is None:
            raise RasterError(f"{path} has no CRS, so it is no map; run `dvc repro ensemble`")
        small = shrink(grid.crop(window))
        pixels = dataset.read(band, window=raster.to_rio(window), out_shape=small.shape_yx, masked=True)
    return pixels, small


def shrink(grid: Grid, max_px: int = MAX_PX) -> Grid:
    """The same ground in at most `max_px` pixels per edge."""
    height, width = grid.shape_yx
    step = max(height, width) / max_px
    if step <= 1:
        return grid
    small = max(round(height / step), 1), max(round(width / step), 1)
    return Grid(grid.crs_wkt, grid.transform @ Affine.scale(width / small[1], height / small[0]), small)


def draw_classes(labels: np.ma.MaskedArray[Any, Any], legend: Sequence[ClassInfo], caption: str) -> Picture:
    """Classes (H, W) in the legend's colours; masked pixels are see-through."""
    return _picture("png", classes_png(labels.filled(IGNORE), legend), labels.shape, caption)


def draw_measure(values: np.ma.MaskedArray[Any, Any], low: float, high: float, ramp: str, caption: str) -> Picture:
    """A measure on a colour ramp of matplotlib from `low` to `high`; masked pixels are see-through."""
    content = measure_png(np.ma.filled(values.astype(np.float64), np.nan), low, high, ramp)
    return _picture("png", content, values.shape, caption)


def classes_png(labels: np.ndarray, legend: Sequence[ClassInfo]) -> bytes:
    """A PNG of classes (H, W) in the legend's colours; `IGNORE` is see-through."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(legend)] = [info.rgb for info in legend]
    return _paletted(labels.astype(np.uint8), palette)


def measure_png(values: np.ndarray, low: float, high: float, ramp: str) -> bytes:
    """A PNG of a measure (H, W) on a colour ramp of matplotlib from `low` to `high`; NaN is see-through."""
    level = np.clip((values - low) / (high - low), 0, 1) * (LEVELS - 1)
    palette = np.zeros((256, 3), np.uint8)
    palette[:LEVELS] = ramp_colors(ramp, LEVELS)
    return _paletted(np.nan_to_num(level.round(), nan=IGNORE).astype(np.uint8), palette)


def ramp_colors(ramp: str, count: int) -> np.ndarray:
    """(count, 3) uint8 colours along a ramp of matplotlib."""
    return np.round(mpl.colormaps[ramp](np.linspace(0, 1, count))[:, :3] * 255).astype(np.uint8)


def gradient(ramp: str) -> str:
    """A ramp of matplotlib as the colours of a CSS gradient."""
    return ", ".join(f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in ramp_colors(ramp, 9).tolist())


def draw_image(scenes: Sequence[Scene], grid: Grid, used: np.ndarray, choice: int = 0) -> Picture | None:
    """What the satellite saw on a grid, from the scenes' images, the first one that has a pixel; None if none has.

    Args:
        scenes: Of one pixel grid definition, in any CRS; of a time series, its first date is shown.
        grid: Small grid of the map beside which it stands.
        used: (H, W) bool, pixels that the map speaks about; they alone decide the contrast, so that clouds do not.
        choice: Which of `choices` is shown.
    """
    channels = shown_channels(scenes[0])
    numbers, kind = choices(channels)[choice]
    seen = np.full((len(numbers), *grid.shape_yx), np.nan)
    for scene in scenes:
        seen = np.where(np.isnan(seen).any(0), _averaged(scene, numbers, grid), seen)
    blank = np.isnan(seen).any(0)
    if blank.all():
        return None
    shown = used & ~blank if (used & ~blank).any() else ~blank
    rgb = np.moveaxis(np.stack([stretched(plane, *spread(plane[shown])) for plane in seen]), 0, -1)
    names = " ".join(dict.fromkeys(channels[number - 1] for number in numbers))
    return _picture("webp", image_webp(rgb, ~blank), grid.shape_yx, f"The image, {kind} ({names})")


def image_webp(rgb: np.ndarray, there: np.ndarray, method: int = 4) -> bytes:
    """A WebP of (H, W, 3) uint8, see-through where not `there` (H, W); `method` 0 is quick, 4 is small."""
    rgba = np.dstack([rgb, np.where(there, 255, 0).astype(np.uint8)])
    return _encoded(Image.fromarray(rgba), "webp", quality=86, method=method)


def _averaged(scene: Scene, numbers: list[int], grid: Grid) -> np.ndarray:
    """(N, H, W) float64 stored values of a scene's channels (1-based) on a small grid, NaN where it has none."""
    if scene.pack is None:
        with raster.opened(scene.folder / scene.image_files[0]) as dataset, WarpedVRT(
            dataset, crs=grid.crs_wkt, transform=grid.transform, width=grid.shape_yx[1], height=grid.shape_yx[0],
            resampling=Resampling.average,
        ) as warped:  # fmt: skip
            return np.asarray(warped.read(numbers, masked=True).astype(np.float64).filled(np.nan))
    planes = np.full((len(numbers), *grid.shape_yx), np.nan)
    for plane, number in zip(planes, numbers, strict=True):  # a pack lies nowhere, but its members do
        stored = scene.image[:, :, number - 1].astype(np.float64)
        reproject(
            stored, plane, src_transform=scene.grid.transform, src_crs=scene.grid.crs_wkt, src_nodata=NODATA,
            dst_transform=grid.transform, dst_crs=grid.crs_wkt, dst_nodata=np.nan, resampling=Resampling.average,
        )  # fmt: skip
    return planes


def chip_webp(scene: Scene, window: Window) -> bytes:
    """A WebP of a chip in natural colours where there are any, contrast by its valid pixels; nodata is see-through."""
    numbers, _ = choices(shown_channels(scene))[0]
    stored = cut(scene.image, window, NODATA)[..., [number - 1 for number in numbers]]
    seen = np.moveaxis(stored, -1, 0).astype(np.float64)
    there = (seen != NODATA).all(0)
    shown = there & (cut(scene.valid, window, 0) != 0)
    shown = shown if shown.any() else there
    spans = [spread(plane[shown]) if shown.any() else (0.0, 1.0, 1.0) for plane in seen]
    bright = np.stack([stretched(plane, *span) for plane, span in zip(seen, spans, strict=True)], -1)
    return image_webp(bright, there)


def shown_channels(scene: Scene) -> list[str]:
    """Names of a scene's channels; of a time series, those of its first date."""
    record = scene.record
    dates = max(len(record.dates), 1)
    return [channel.name.split("/")[-1] for channel in record.channels[: len(record.channels) // dates]]


def choices(channels: Sequence[str]) -> list[tuple[list[int], str]]:
    """What can be shown as red, green, blue: 1-based channels and what to call that, the most natural first."""
    found: dict[str, list[int]] = {}
    for names, kind in _RGB_CHOICES:
        if set(names) <= set(channels):
            found.setdefault(kind, [channels.index(name) + 1 for name in names])
    if not found:
        found = {"false colour": [1, 2, 3]} if len(channels) >= 3 else {"one channel": [1, 1, 1]}
    return [(numbers, kind) for kind, numbers in found.items()]


def scale_bar(grid: Grid) -> tuple[str, float]:
    """A round ground length near a quarter of the grid's width, and its share of the width in percent."""
    width_m = grid.pixel_m_yx[1] * grid.shape_yx[1]
    tenth = 10 ** math.floor(math.log10(width_m / 4))
    length_m = max(step * tenth for step in (1, 2, 5) if step * tenth <= width_m / 4)
    label = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    return label, 100 * length_m / width_m


def embed(path: Path, caption: str) -> Picture | None:
    """A PNG file as it is, or None where there is no such file."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
    return Picture(to_uri("png", content), width, height, caption)


def plain_png(rgb: np.ndarray) -> bytes:
    """A PNG of (H, W, 3) uint8."""
    return _encoded(Image.fromarray(rgb), "png", optimize=True)


def spread(values: np.ndarray) -> tuple[float, float, float]:
    """What is shown black and what white, the 2nd and 98th percentile, and the exponent between them.

    Where clouds or snow are much of what is seen, ground would be black beside them: dim values are lifted until a
    quarter of the pixels is not darker than `DIM`.
    """
    low, quarter, high = np.percentile(values, (2, 25, 98))
    share = (quarter - low) / max(high - low, 1e-9)
    exponent = math.log(DIM) / math.log(share) if 0 < share < DIM else 1.0
    return float(low), float(high), max(exponent, MOST_LIFTED)


def stretched(plane: np.ndarray, low: float, high: float, exponent: float = 1.0) -> np.ndarray:
    """Values as bytes, `low` is 0 and `high` 255; NaN is 0."""
    level = np.clip((np.nan_to_num(plane) - low) / max(high - low, 1e-9), 0, 1)
    bright: np.ndarray = np.round(level**exponent * 255).astype(np.uint8)
    return bright


def _paletted(index: np.ndarray, palette: np.ndarray) -> bytes:
    image = Image.fromarray(index).convert("P")
    image.putpalette(palette.tobytes())
    return _encoded(image, "png", transparency=IGNORE, optimize=True)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _picture(kind: str, content: bytes, shape_yx: Sequence[int], caption: str) -> Picture:
    return Picture(to_uri(kind, content), shape_yx[1], shape_yx[0], caption)


def to_uri(kind: str, content: bytes) -> str:
    """A picture's bytes as text that stands in a page."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
