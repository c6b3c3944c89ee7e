"""What the data is like: class shares, the bands' histograms, chips of each part, from scenes and split alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from thalweg import pictures
from thalweg.classes import IGNORE, ClassInfo
from thalweg.explorer.page import environment
from thalweg.grid import Window, cut
from thalweg.manifest.chips import PARTS, read_chips, read_stats, scene_parts
from thalweg.manifest.scene import NODATA, Scene, read_scenes
from thalweg.pictures import Picture

SHOWN = ("train", "val", "test")
CHIPS = 6
"""Chips of each part that are shown, evenly spread over those with more labels than most."""
PIXELS = 200_000
"""About how many pixels of a grid the histograms are of, the same of every scene."""
BINS = 60
WIDE, HIGH = 120.0, 48.0
"""Of a histogram's drawing."""


class Share(NamedTuple):
    """A class in a part."""

    name: str
    color: str
    pixels: int
    percent: float
    """Of the part's labelled pixels."""


class BandPlot(NamedTuple):
    """Histograms of one channel, a line per part."""

    name: str
    low: float
    high: float
    """Ends of the axis: percentiles 0.5 and 99.5 of all parts, physical units."""
    outlines: dict[str, str]
    """Part → SVG path in `WIDE` × `HIGH`."""


class Chip(NamedTuple):
    """A chip as it is cut for training: the image, and its labels of this part."""

    caption: str
    image: Picture
    mask: Picture


class GridData(NamedTuple):
    """One grid."""

    name: str
    shares: dict[str, tuple[Share, ...]]
    bands: tuple[BandPlot, ...]
    sampled: int
    """Pixels that the histograms are of."""
    chips: dict[str, tuple[Chip, ...]]


def read_data(scenes: Path, split: Path, legend: Sequence[ClassInfo]) -> tuple[GridData, ...]:
    """Every grid that has a split.

    Raises:
        SceneError: A record is missing or broken.
        SplitError: A chip table is missing.
    """
    return tuple(_grid(path.parent.name, scenes, split, legend) for path in sorted(split.glob("*/stats.json")))


def build_page(scenes: Path, split: Path, legend: Sequence[ClassInfo]) -> str:
    """The same as a page of its own."""
    return environment().get_template("data.html.j2").render(data=read_data(scenes, split, legend))


def _grid(grid: str, scenes: Path, split: Path, legend: Sequence[ClassInfo]) -> GridData:
    known = read_scenes(scenes / grid)
    counts = read_stats(split, grid).parts_px
    values, parts = _sample(list(known.values()), split)
    channels = pictures.shown_channels(next(iter(known.values())))
    bands = tuple(_band(name, column, parts) for name, column in zip(channels, values.T, strict=True))
    chips = read_chips(split, grid)
    shares = {part: _shares(counts[part], legend) for part in SHOWN if part in counts}
    shown = {part: _chips(chips[chips["part"] == part], part, known, split, legend) for part in SHOWN}
    return GridData(grid, shares, bands, len(parts), shown)


def _shares(counts: Mapping[str, int], legend: Sequence[ClassInfo]) -> tuple[Share, ...]:
    total = max(sum(counts.values()), 1)
    return tuple(Share(info.name, info.color, counts.get(info.name, 0), 100 * counts.get(info.name, 0) / total)
                 for info in legend)  # fmt: skip


def _sample(scenes: Sequence[Scene], split: Path) -> tuple[np.ndarray, np.ndarray]:
    """Physical values (n, C) of the first date, and parts (n,), of valid pixels of the parts on a sparse lattice."""
    pixels = sum(scene.grid.shape_yx[0] * scene.grid.shape_yx[1] for scene in scenes)
    step = max(round((pixels / PIXELS) ** 0.5), 1)
    found, where = [], []
    for scene in scenes:
        parts, valid = (np.asarray(plane[::step, ::step]) for plane in (scene_parts(split, scene), scene.valid))
        kept = np.isin(parts, [PARTS[part] for part in SHOWN]) & (valid != 0)
        count = len(pictures.shown_channels(scene))
        stored = np.asarray(scene.image[::step, ::step])[kept][:, :count].astype(np.float64)
        scale = np.array([(channel.scale, channel.offset) for channel in scene.record.channels[:count]])
        stored[stored == NODATA] = np.nan
        found.append(stored * scale[:, 0] + scale[:, 1])
        where.append(parts[kept])
    return np.concatenate(found), np.concatenate(where)


def _band(name: str, values: np.ndarray, parts: np.ndarray) -> BandPlot:
    known = ~np.isnan(values)
    low, high = (float(edge) for edge in np.percentile(values[known], (0.5, 99.5))) if known.any() else (0.0, 1.0)
    edges = np.linspace(low, max(high, low + 1e-9), BINS + 1)
    shares = {}
    for part in SHOWN:
        here = values[known & (parts == PARTS[part])]
        if here.size:
            shares[part] = np.histogram(here, edges)[0] / here.size
    top = max((share.max() for share in shares.values()), default=1.0) or 1.0
    return BandPlot(name, low, high, {part: _outline(share / top) for part, share in shares.items()})


def _outline(heights: np.ndarray) -> str:
    """A line over the middles of the bins, heights 0…1."""
    across = (np.arange(len(heights)) + 0.5) / len(heights) * WIDE
    down = (1 - heights) * (HIGH - 2) + 1
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(across, down, strict=True))


def _chips(rows: pd.DataFrame, part: str, scenes: Mapping[str, Scene], split: Path,
           legend: Sequence[ClassInfo]) -> tuple[Chip, ...]:  # fmt: skip
    rows = rows[rows["labelled_px"] >= rows["labelled_px"].median()]
    picked = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(CHIPS, len(rows))).astype(int))]
    places = zip(picked["scene"], picked["row"], picked["col"], picked["size"], strict=True)
    return tuple(_chip(scenes[scene], Window(int(row), int(col), int(size), int(size)), part, split, legend)
                 for scene, row, col, size in places)  # fmt: skip


def _chip(scene: Scene, window: Window, part: str, split: Path, legend: Sequence[ClassInfo]) -> Chip:
    labels = np.full((window.height, window.width), IGNORE, np.uint8)
    if scene.mask is not None:
        ours = cut(scene_parts(split, scene), window, 0) == PARTS[part]
        usable = cut(scene.valid, window, 0) != 0
        labels = np.where(ours & usable, cut(scene.mask, window, IGNORE), IGNORE).astype(np.uint8)
    caption = f"{scene.name}, row {window.row}, column {window.col}"
    image = Picture(pictures.to_uri("webp", pictures.chip_webp(scene, window)), window.width, window.height, caption)
    mask = pictures.to_uri("png", pictures.classes_png(labels, legend))
    return Chip(caption, image, Picture(mask, window.width, window.height, f"Mask of {caption}"))
