"""A map with members and scenes to look around in, and a large one, made up from arrays."""

from pathlib import Path

import numpy as np
from plain_map import make_map
from scene_builder import make_scene

from thalweg import raster
from thalweg.explorer.ground import Ground
from thalweg.explorer.held import HeldMap
from thalweg.manifest.scene import Scene
from thalweg.mapfiles import MapFiles

NAMES = ("background", "old_channel", "water")
COLORS = {0: (230, 224, 212), 1: (31, 111, 180), 2: (0, 120, 60)}


def make_probs(shape: tuple[int, int], classes: int = 3, seed: int = 0) -> np.ndarray:
    """(K, H, W) that sum to one, NaN in the upper left corner, in blobs of some pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.dirichlet(np.full(classes, 0.6), (-(-shape[0] // 8), -(-shape[1] // 8)))
    probs = np.moveaxis(coarse.repeat(8, 0).repeat(8, 1)[: shape[0], : shape[1]], -1, 0).copy()
    probs[:, : shape[0] // 8, : shape[1] // 8] = np.nan
    return probs


def make_explored(root: Path, shape: tuple[int, int] = (90, 140), classes: int = 3) -> MapFiles:
    """maps/main below `root` with one member, colours, and uncertainty."""
    probs = make_probs(shape, classes)
    labels = np.where(np.isnan(probs[0]), 255, np.nan_to_num(probs).argmax(0))
    folder = root / "maps" / "main"
    files = make_map(folder, labels, NAMES[:classes], probs=probs, uncertainty=1 - probs.max(0))
    tags = {f"CLASS_{number}": name for number, name in enumerate(files.names)}
    raster.write(files.classes, labels.astype(np.uint8), files.grid, nodata=255, colors=COLORS, tags=tags)
    member = make_map(root / "spare", labels, NAMES[:classes], probs=make_probs(shape, classes, seed=1))
    (folder / "members").mkdir(exist_ok=True)
    assert member.probs
    member.probs.replace(folder / "members" / "unet.tif")
    return files


def make_below(root: Path, files: MapFiles, shift_px: int = 0) -> Scene:
    """A scene with a mask on the map's lattice, its upper left corner `shift_px` to the south and east of the map's."""
    x, y = files.grid.transform @ (shift_px, shift_px)
    mask = np.random.default_rng(5).integers(0, len(files.names), files.grid.shape_yx).astype(np.uint8)
    mask[-4:] = 255
    return make_scene(root / "build/scenes/g10", "A", origin=(x, y), pixel=10.0, shape=files.grid.shape_yx,
                      channels=("B02", "B03", "B04", "B8A"), mask=mask)  # fmt: skip


def explored(root: Path, shape: tuple[int, int] = (90, 140), classes: int = 3) -> tuple[HeldMap, Ground]:
    files = make_explored(root, shape, classes)
    return HeldMap("main", files), Ground([make_below(root, files)], files.grid)
