"""Scenes, packed or not, as plain GeoTIFF chips with their masks: what any other tool reads."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thalweg import raster
from thalweg.classes import IGNORE
from thalweg.dataset.sampler import lattice
from thalweg.errors import RepackError
from thalweg.grid import Window, cut, iter_windows
from thalweg.manifest.chips import read_chips
from thalweg.manifest.scene import NODATA, Channel, Scene, read_scenes, scene_files
from thalweg.repack.target import is_standing, replacing
from thalweg.sources import sha256_of

COLUMNS = ("image", "mask", "scene", "date", "row", "col", "part", "valid_fraction")
TABLE = "chips.csv"


@dataclass(frozen=True)
class Wish:
    """Which chips."""

    chip_px: int | None
    """Edge; None: every scene is one chip."""
    split: Path | None
    """Chips of this split's table instead of a lattice."""
    part: str | None
    """Of the split: one part alone."""
    least_valid: float
    """Chips with a smaller valid share are left out."""


def unpack(scenes: Path, out: Path, wish: Wish, force: bool,
           track: Callable[[Sequence[Scene]], Iterable[Scene]] = iter) -> tuple[int, bool]:  # fmt: skip
    """Writes `images/`, `masks/` and `chips.csv`; how many chips, and whether they were there already.

    Every file is read again as soon as it is written, and compared with the scene.

    Args:
        scenes: Folder of a grid's scenes.
        out: Folder to make.
        wish: Which chips.
        force: Whether what stands there otherwise may be destroyed.
        track: Shows progress while it passes scenes on.

    Raises:
        RepackError: Something else stands at `out`, there is no such chip, or a file does not hold what it should.
    """
    found = read_scenes(scenes)
    request = {
        "scenes": {path.parent.name: sha256_of(path) for path in scene_files(scenes)},
        "chip_px": wish.chip_px, "part": wish.part, "least_valid": wish.least_valid,
        "split": None if wish.split is None else sha256_of(wish.split / scenes.name / "chips.parquet"),
    }  # fmt: skip
    if is_standing(out, "chips", request, force):
        with (out / TABLE).open(newline="", encoding="utf-8") as file:
            return sum(1 for _ in csv.DictReader(file)), True
    with replacing(out, "chips", request) as beside:
        rows = [row for scene in track(list(found.values())) for row in _chips_of(scene, wish, scenes.name, beside)]
        if not rows:
            raise RepackError(f"{scenes} has no such chip; lower --least-valid, or give another --part")
        with (beside / TABLE).open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
    return len(rows), False


def _chips_of(scene: Scene, wish: Wish, grid: str, out: Path) -> Iterator[dict[str, Any]]:
    for window, part in _windows(scene, wish, grid):
        valid = float((cut(scene.valid, window, 0) > 0).mean())
        if valid < wish.least_valid:
            continue
        stem = scene.name if wish.chip_px is None and wish.split is None else f"{scene.name}_{window.row}_{window.col}"
        stem += f"_{part}" if part else ""
        mask = ""
        if scene.mask is not None:
            mask = f"masks/{stem}.tif"
            labels = np.where(cut(scene.valid, window, 0) > 0, cut(scene.mask, window, IGNORE), IGNORE)
            _write(out / mask, scene, window, labels[..., None].astype(np.uint8), IGNORE, ())
        count = len(scene.record.channels) // max(len(scene.record.dates), 1)
        for number, day in enumerate(scene.record.dates or (None,)):
            image = f"images/{stem}{'' if day is None else f'_{day}'}.tif"
            channels = scene.record.channels[number * count : (number + 1) * count]
            pixels = cut(scene.image, window, NODATA)[..., number * count : (number + 1) * count]
            _write(out / image, scene, window, pixels, NODATA, channels)
            yield {"image": image, "mask": mask, "scene": scene.name,
                   "date": day or (scene.record.sensing_time or "")[:10], "row": window.row, "col": window.col,
                   "part": part, "valid_fraction": f"{valid:.6f}"}  # fmt: skip
    raster.release(scene.image)


def _windows(scene: Scene, wish: Wish, grid: str) -> Iterator[tuple[Window, str]]:
    if wish.split is not None:
        table = read_chips(wish.split, grid)
        rows = table[(table["scene"] == scene.name) & (table["part"].isin([wish.part] if wish.part else table["part"]))]
        for part, place in zip(rows["part"], lattice(rows), strict=True):
            size = wish.chip_px or place.window.height
            shift = (place.window.height - size) // 2
            yield Window(place.window.row + shift, place.window.col + shift, size, size), str(part)
        return
    if wish.chip_px is None:
        yield scene.grid.full, ""
        return
    for window in iter_windows(scene.record.shape_yx, wish.chip_px, wish.chip_px):
        yield window, ""


def _write(
    path: Path, scene: Scene, window: Window, pixels: np.ndarray, nodata: int, channels: Sequence[Channel]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    grid, planes = scene.grid.crop(window), np.moveaxis(pixels, -1, 0)
    with raster.create_tiled(path, grid, len(planes), str(pixels.dtype), nodata) as dataset:
        dataset.write(planes)
        if channels:
            dataset.descriptions = tuple(channel.name.rpartition("/")[2] for channel in channels)
            dataset.scales = tuple(channel.scale for channel in channels)
            dataset.offsets = tuple(channel.offset for channel in channels)
            dataset.units = tuple(channel.unit for channel in channels)
    with raster.opened(path) as dataset:
        same = dataset.read().tobytes() == np.ascontiguousarray(planes).tobytes()
    if not same or raster.read_grid(path).offset_px(grid) != (0, 0):
        raise RepackError(f"{path} does not read as it was written; check the disk, then run it again")
