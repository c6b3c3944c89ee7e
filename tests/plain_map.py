"""Maps as files, from arrays: classes.tif and beside it probabilities and uncertainty, without any model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from affine import Affine

from thalweg import raster
from thalweg.grid import Grid
from thalweg.mapfiles import MapFiles, read_map
from thalweg.maps import BYTE_NODATA, BYTE_SCALE, PROB_NODATA, PROB_SCALE

NAMES = ("background", "channel", "water", "road")


def make_grid(shape: tuple[int, int], pixel_m: float = 10.0, crs: str = "EPSG:32720") -> Grid:
    return Grid(crs, Affine(pixel_m, 0, 600_000.0, 0, -pixel_m, 7_000_000.0), shape)


def make_map(folder: Path, labels: np.ndarray, names: Sequence[str] = NAMES, grid: Grid | None = None,
             probs: np.ndarray | None = None, uncertainty: np.ndarray | None = None) -> MapFiles:  # fmt: skip
    """A map's folder of labels (H, W), probabilities (K, H, W) and uncertainty (H, W), NaN = nodata."""
    folder.mkdir(parents=True, exist_ok=True)
    grid = grid or make_grid(labels.shape)
    tags = {f"CLASS_{number}": name for number, name in enumerate(names)}
    raster.write(folder / "classes.tif", labels.astype(np.uint8), grid, nodata=255, tags=tags)
    for name, values, dtype, scale, nodata in (("probs", probs, np.uint16, PROB_SCALE, PROB_NODATA),
                                               ("uncertainty", uncertainty, np.uint8, BYTE_SCALE, BYTE_NODATA)):  # fmt: skip
        if values is not None:
            planes = values[None] if values.ndim == 2 else values
            held = np.where(np.isnan(planes), nodata, np.rint(np.nan_to_num(planes) * scale)).astype(dtype)
            path = folder / f"{name}.tif"
            with raster.create_tiled(path, grid, len(held), np.dtype(dtype).name, nodata) as dataset:
                dataset.write(held)
                dataset.scales = (1 / scale,) * len(held)
    return read_map(folder)
