"""Part rasters of one grid: written by the rule, then checked for leaks without it."""

import hashlib
import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from thalweg import raster
from thalweg.errors import DegradedDataWarning, LeakError
from thalweg.grid import Grid
from thalweg.manifest.chips import part_file, scene_parts
from thalweg.manifest.scene import Scene
from thalweg.params.split import Split
from thalweg.split.blocks import BlockTable
from thalweg.split.ground import Footprint, Ground, part_band
from thalweg.split.leak import LEARNT, SHOWN, Leak, Placed, nearest_leak
from thalweg.split.tables import BAND_PX, bands

OnLeak = Literal["fail", "report", "state"]
"""Fails, warns, or only says so in stats.json."""


class Nearness(NamedTuple):
    """Least ground distances of test pixels, metres; None beyond twice the buffer or block."""

    learnt_m: float | None
    """To pixels whose labels train or validate."""
    shown_m: float | None
    """To pixels that windows of training or validation may show."""


def write_parts(scenes: Iterable[Scene], footprints: dict[str, Footprint], table: BlockTable, split: Split,
                target: Path, elsewhere: Iterable[Footprint] = ()) -> None:  # fmt: skip
    """Part rasters of all scenes of a grid, one for each scene or pack of scenes.

    Args:
        scenes: Of one grid.
        footprints: By scene name.
        table: Blocks with their parts.
        split: Buffer and yields.
        target: `build/split`.
        elsewhere: Of scenes that other grids alone have, to whose ground it is yielded, too.
    """
    ground = Ground(list(dict.fromkeys([*footprints.values(), *elsewhere])), table)
    files: dict[Path, list[Scene]] = {}
    for scene in scenes:
        files.setdefault(part_file(target, scene), []).append(scene)
    made: dict[Footprint, Path] = {}
    for path, members in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        footprint = footprints[members[0].name]
        if members[0].pack is None and footprint in made:  # dates of one tile
            shutil.copyfile(made[footprint], path)
            continue
        _write(path, members, footprints, ground, split)
        if members[0].pack is None:
            made[footprint] = path


def _write(path: Path, members: list[Scene], footprints: dict[str, Footprint], ground: Ground, split: Split) -> None:
    first = members[0]
    grid = first.grid if first.pack is None else first.pack.grid
    parts = raster.create_pixels(path, grid, 1, "uint8", None, descriptions=("part",))
    for scene in members:
        mine = parts[scene.window.rows, scene.window.cols, 0]
        for window in bands(scene.grid.shape_yx, BAND_PX):
            band = part_band(ground, footprints[scene.name], window, split.buffer_m, split.yields)
            mine[window.rows, window.cols] = band


def check_leak(grid: str, scenes: Iterable[Scene], split: Split, on_leak: OnLeak, target: Path,
               elsewhere: Iterable[Scene] = ()) -> Nearness:  # fmt: skip
    """How near test ground comes to what models learn from and to all that they are shown while they learn.

    Args:
        grid: Its name.
        scenes: Of this grid.
        split: Buffer and block.
        on_leak: What a leak means.
        target: `build/split` with the part rasters of all grids.
        elsewhere: Scenes that other grids alone have: pairs of one of them and one of this grid count, too.

    Raises:
        LeakError: Less than the buffer, or ground overlaps, and `on_leak` is `fail`.
    """
    distinct: dict[tuple[Grid, str], Placed] = {}
    for scene, home in (*((scene, True) for scene in scenes), *((scene, False) for scene in elsewhere)):
        parts = np.asarray(scene_parts(target, scene))
        if parts.any():
            digest = hashlib.sha256(np.ascontiguousarray(parts).data).hexdigest()
            distinct.setdefault((scene.grid, digest), Placed(scene.name, scene.grid, parts, home))
    within_m = 2 * max(split.buffer_m, split.block_m)
    learnt = nearest_leak(list(distinct.values()), within_m, LEARNT)
    shown = learnt
    if learnt is None or not _too_near(learnt, split.buffer_m):
        shown = nearest_leak(list(distinct.values()), within_m, SHOWN)
    worst = learnt if learnt is not None and _too_near(learnt, split.buffer_m) else shown
    if worst is not None and _too_near(worst, split.buffer_m):
        _complain(worst, grid, split, on_leak)
    return Nearness(_metres(learnt), _metres(shown))


def _complain(leak: Leak, grid: str, split: Split, on_leak: OnLeak) -> None:
    message = (
        f"test ground of {leak.test_scene} lies {_said(leak.distance_m)} m from training or validation ground of "
        f"{leak.other_scene} at {leak.lat:.5f}, {leak.lon:.5f} on grid '{grid}', but "
        f"split.buffer_m is {split.buffer_m:g}; let split.yields give up ground, correct split.rules or "
        "split.official, or accept it by split.leak: report"
    )
    if on_leak == "fail":
        raise LeakError(message)
    if on_leak == "report":
        warnings.warn(message, DegradedDataWarning, stacklevel=2)


def _said(distance_m: float) -> str:
    return f"{distance_m:.0f}" if distance_m >= 10 else f"{distance_m:.2g}"


def _metres(leak: Leak | None) -> float | None:
    return None if leak is None else leak.distance_m


def _too_near(leak: Leak, buffer_m: float) -> bool:
    """Half a pixel and a thousandth of the buffer are tolerated: a scale that varies within a scene."""
    return leak.distance_m == 0 or leak.distance_m < 0.999 * buffer_m - leak.pixel_m / 2
