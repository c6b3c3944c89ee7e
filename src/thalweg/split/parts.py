"""Part rasters of one grid: written by the rule, then checked for leaks without it."""

import hashlib
import shutil
import warnings
from pathlib import Path

import numpy as np

from thalweg import raster
from thalweg.errors import DegradedDataWarning, LeakError
from thalweg.grid import Grid
from thalweg.manifest.chips import part_path, read_parts
from thalweg.manifest.scene import Scene
from thalweg.params.split import Split
from thalweg.split.blocks import BlockTable
from thalweg.split.ground import Footprint, Ground, part_band
from thalweg.split.leak import Leak, Placed, nearest_leak
from thalweg.split.tables import BAND_PX, bands


def write_parts(grid: str, scenes: dict[str, Scene], ruled: dict[str, str], table: BlockTable, split: Split,
                target: Path) -> None:  # fmt: skip
    """Part rasters of all scenes of a grid; scenes with the same pixels and rule share theirs.

    Args:
        grid: Its name.
        scenes: By name.
        ruled: Scene → part, where a rule assigns the whole scene.
        table: Blocks with their parts.
        split: Buffer and yields.
        target: `build/split`.
    """
    footprints = {name: Footprint(scene.grid, ruled.get(name)) for name, scene in scenes.items()}
    ground = Ground(list(dict.fromkeys(footprints.values())), table)
    made: dict[Footprint, Path] = {}
    for name, footprint in footprints.items():
        path = part_path(target, grid, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if footprint in made:
            shutil.copyfile(made[footprint], path)
            continue
        made[footprint] = path
        parts = raster.create_pixels(path, footprint.grid, 1, "uint8", None, descriptions=("part",))
        for window in bands(footprint.grid.shape_yx, BAND_PX):
            parts[window.rows, window.cols, 0] = part_band(ground, footprint, window, split.buffer_m, split.yields)
        del parts


def check_leak(grid: str, scenes: dict[str, Scene], split: Split, target: Path) -> float | None:
    """The least distance of test ground from the other parts, metres, or None beyond twice the buffer or block.

    Raises:
        LeakError: It is less than the buffer, or ground overlaps, and `split.leak` is `fail`.
    """
    distinct: dict[tuple[Grid, str], Placed] = {}
    for name, scene in scenes.items():
        parts = np.asarray(read_parts(target, grid, name))
        if parts.any():
            digest = hashlib.sha256(parts.tobytes()).hexdigest()
            distinct.setdefault((scene.grid, digest), Placed(name, scene.grid, parts))
    leak = nearest_leak(list(distinct.values()), 2 * max(split.buffer_m, split.block_m))
    if leak is not None and _too_near(leak, split.buffer_m):
        message = (
            f"test ground of {leak.test_scene} lies {leak.distance_m:.0f} m from training or validation ground of "
            f"{leak.other_scene} at {leak.lat:.5f}, {leak.lon:.5f} on grid '{grid}', but "
            f"split.buffer_m is {split.buffer_m:g}; let split.yields give up ground, correct split.rules, "
            "or accept it by split.leak: report"
        )
        if split.leak == "fail":
            raise LeakError(message)
        warnings.warn(message, DegradedDataWarning, stacklevel=2)
    return None if leak is None else leak.distance_m


def _too_near(leak: Leak, buffer_m: float) -> bool:
    """Half a pixel and a thousandth of the buffer are tolerated: a scale that varies within a scene."""
    return leak.distance_m == 0 or leak.distance_m < 0.999 * buffer_m - leak.pixel_m / 2
