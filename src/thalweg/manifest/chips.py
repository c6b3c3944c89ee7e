"""`build/split/`: chips, parts and statistics, as the split hands them to training."""

from pathlib import Path

import numpy as np
import pandas as pd

from thalweg import raster
from thalweg.errors import SplitError
from thalweg.manifest import Record, read_record, write_record
from thalweg.manifest.scene import Scene

PARTS: dict[str, int] = {"unused": 0, "train": 1, "val": 2, "test": 3}
"""Part name → value in the part rasters."""

WITHHELD = 4
"""In the part rasters: ground of no part that lies within the buffer of test ground. Like test ground itself it is
never shown to a model that learns, not even without its labels."""

HIDDEN = (PARTS["test"], WITHHELD)
"""Pixels that windows of training and validation show as nodata."""

COLUMNS = ("scene", "row", "col", "size", "block", "part", "valid_fraction", "hidden_fraction", "labelled_px")
"""chips.parquet: one row per window of a regular lattice and part that has labelled, valid pixels in it. Windows may
reach past the scene's edge. `block` (`name` in blocks.geojson, and `<row>_<col>` on scenes that a rule assigns) has
most of the part's labelled pixels in it; `valid_fraction` and `hidden_fraction` (test ground and what is withheld
around it) are of the window inside the scene. Further columns `px_<class>` count labelled, valid pixels of that part
per class."""


class Stats(Record):
    """`build/split/<grid>/stats.json`: over valid training pixels, in physical units."""

    channels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    p02: tuple[float, ...]
    p50: tuple[float, ...]
    p98: tuple[float, ...]
    """Percentiles are measured values, exact for int16; for float32 at most 1/4096 of their magnitude above."""
    deciles: tuple[tuple[float, ...], ...]
    """Per channel the nine values that part its pixels in tenths."""
    shares: tuple[tuple[float, ...], ...]
    """Per channel the share of its pixels in each of the ten bins that the deciles part (≤ the first, …, > the last):
    tenths, but where many pixels have one value."""
    pixels: int
    """Valid training pixels measured."""
    class_px: dict[str, int]
    """Labelled, valid training pixels per class."""
    parts_px: dict[str, dict[str, int]]
    """Part → class → labelled, valid pixels."""
    leak_m: float | None
    """Least ground distance between pixel centres of the test part and of train or val, over all scenes of the grid,
    and of one of them and a scene that other grids alone have; 0 where they overlap, None where there is no test part
    or the distance exceeds twice the buffer or block."""
    shown_m: float | None
    """The same between the test part and any pixel that a window of training or validation may show, wherever it is
    drawn, with or without a label."""
    hidden_fraction: float
    """Mean share of the training windows that is blanked, being test ground or within the buffer of it."""


def read_chips(split: Path, grid: str) -> pd.DataFrame:
    """The chip table of one grid.

    Raises:
        SplitError: It is missing.
    """
    path = split / grid / "chips.parquet"
    if not path.is_file():
        raise SplitError(f"{path} is missing; run `dvc repro split`")
    return pd.read_parquet(path)


def write_chips(chips: pd.DataFrame, split: Path, grid: str) -> None:
    """Writes the chip table, sorted, same rows same bytes."""
    path = split / grid / "chips.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    chips.sort_values(["scene", "part", "row", "col"]).reset_index(drop=True).to_parquet(path, index=False)


def read_stats(split: Path, grid: str) -> Stats:
    """Statistics of one grid."""
    return read_record(Stats, split / grid / "stats.json", "run `dvc repro split`")


def write_stats(stats: Stats, split: Path, grid: str) -> None:
    """Writes statistics of one grid."""
    write_record(stats, split / grid / "stats.json")


def part_path(split: Path, grid: str, scene: str) -> Path:
    """Where the part raster of a scene lies: uint8, values of `PARTS` or `WITHHELD`, laid out like a scene image."""
    return split / grid / "parts" / f"{scene}.tif"


def part_file(split: Path, scene: Scene) -> Path:
    """The file that holds a scene's part raster: its own, or that of its pack, laid out like the pack's rasters."""
    return part_path(split, scene.record.grid, scene.pack.name if scene.pack else scene.name)


def scene_parts(split: Path, scene: Scene) -> np.ndarray:
    """(H, W) uint8 part of every pixel of a scene, memory-mapped, wherever it is written."""
    if scene.pack is None:
        return read_parts(split, scene.record.grid, scene.name)
    return scene.pack.pixels(part_file(split, scene), scene.window)[:, :, 0]


def read_parts(split: Path, grid: str, scene: str) -> np.ndarray:
    """(H, W) uint8 part of every pixel of a scene with a folder of its own, memory-mapped."""
    return raster.map_pixels(part_path(split, grid, scene))[:, :, 0]
