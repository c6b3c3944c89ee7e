"""Embeds chips: a lattice of windows over every scene, each to the mean of the encoder's deepest map."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import geopandas
import numpy as np
import pandas as pd
import shapely
import torch
from shapely.geometry.base import BaseGeometry

from thalweg import raster
from thalweg.classes import IGNORE
from thalweg.embeddings import COLUMNS, SCENES
from thalweg.errors import FeatureError
from thalweg.features import Encoder
from thalweg.features.scenes import dates_of, to_inputs
from thalweg.grid import Grid, Window, cut, iter_windows
from thalweg.manifest.scene import NODATA, Scene, in_units

_BATCH = 32
_EDGE = 8
"""Points per edge of an outline, since what is straight in a CRS is not in degrees."""


@dataclass(frozen=True)
class Wish:
    """Which chips."""

    chip_px: int
    least_valid: float
    """Chips with a smaller valid share are left out."""
    names: Sequence[str]
    """Of the classes, as far as they are known."""


class Embedded(NamedTuple):
    """A unit's rows, and what made them."""

    encoder: dict[str, object]
    """For the table: name, weights and bands."""
    rows: list[dict[str, object]]


def embed(opener: Callable[[], Encoder], scenes: Sequence[Scene], folder: Path, wish: Wish,
          track: Callable[[list[Any]], Iterable[Any]] = iter,
          executor: Executor | None = None) -> geopandas.GeoDataFrame:  # fmt: skip
    """One row per chip and date, of `COLUMNS` and `geometry`, in WGS84.

    Args:
        opener: Opens what embeds, wherever that is done: weights do not travel.
        scenes: What is embedded.
        folder: Where these lie, for those who look at the chips later.
        wish: Which chips.
        track: Shows progress while it passes lists of scenes on.
        executor: Embeds them elsewhere, several at once; None: here, one by one.

    Raises:
        FeatureError: A scene is not what the encoder reads, or no chip is valid enough.
    """
    units = list(in_units(scenes))
    if executor is None:
        encoder = opener()
        done: Iterator[Embedded] = (_embedded(encoder, wish, unit) for unit in units)
    else:
        done = executor.map(partial(_embedded_there, opener, torch.get_num_threads(), wish), units)
    found = [embedded for _, embedded in zip(track(units), done, strict=True)]
    rows = [row for embedded in found for row in embedded.rows]
    if not rows:
        raise FeatureError(
            f"{folder} has no chip of {wish.chip_px} px of which {wish.least_valid:g} are valid; lower --least-valid"
        )
    table = geopandas.GeoDataFrame(pd.DataFrame(rows), geometry="geometry", crs=4326)[[*COLUMNS, "geometry"]]
    table.attrs = {**found[0].encoder, SCENES: str(folder.absolute())}
    return table


def outline(grid: Grid, window: Window) -> BaseGeometry:
    """A window of a grid in degrees; west of the antimeridian where it lies across."""
    steps = np.linspace(0, 1, _EDGE, endpoint=False)
    rows = window.row + window.height * np.concatenate([0 * steps, steps, 1 + 0 * steps, 1 - steps])
    cols = window.col + window.width * np.concatenate([steps, 1 + 0 * steps, 1 - steps, 0 * steps])
    lon, lat = grid.lonlat(rows, cols)
    lon = np.where(lon - lon.min() > 180, lon - 360, lon)
    return shapely.Polygon(np.stack([lon, lat], 1))


def _embedded_there(opener: Callable[[], Encoder], threads: int, wish: Wish, scenes: Sequence[Scene]) -> Embedded:
    """On a worker, with as many threads as the one who asks has: the last bits may depend on it."""
    torch.set_num_threads(threads)
    return _embedded(opener(), wish, scenes)


def _embedded(encoder: Encoder, wish: Wish, scenes: Sequence[Scene]) -> Embedded:
    said: dict[str, object] = {"encoder": encoder.name, "weights_sha256": encoder.weights, "bands": list(encoder.bands)}
    return Embedded(said, [row for scene in scenes for row in _rows_of(encoder, scene, wish)])


def _rows_of(encoder: Encoder, scene: Scene, wish: Wish) -> Iterator[dict[str, object]]:
    windows = [window for window in iter_windows(scene.record.shape_yx, wish.chip_px, wish.chip_px)
               if _valid(scene, window) >= wish.least_valid]  # fmt: skip
    for day, order in dates_of(encoder, scene.record):
        for start in range(0, len(windows), _BATCH):
            batch = windows[start : start + _BATCH]
            pixels = [cut(scene.image, window, NODATA) for window in batch]
            found = encoder.vectors(to_inputs(encoder, pixels, order)).cpu().numpy()
            for window, vector in zip(batch, found, strict=True):
                yield _row(scene, window, wish.names) | {"date": day, "embedding": vector.astype(np.float32)}
            raster.release(scene.image)


def _row(scene: Scene, window: Window, names: Sequence[str]) -> dict[str, object]:
    return {
        "scene": scene.name, "row": window.row, "col": window.col, "size": window.width,
        "valid_fraction": _valid(scene, window), "label": _label(scene, window, names),
        "geometry": outline(scene.grid, window) if scene.record.georeferenced else None,
    }  # fmt: skip


def _valid(scene: Scene, window: Window) -> float:
    return float((cut(scene.valid, window, 0) > 0).mean())


def _label(scene: Scene, window: Window, names: Sequence[str]) -> str | None:
    """The class that most labelled, valid pixels have."""
    if scene.mask is None:
        return None
    labels = cut(scene.mask, window, IGNORE)[cut(scene.valid, window, 0) > 0]
    counts = np.bincount(labels[labels != IGNORE], minlength=1)
    if not counts.sum():
        return None
    best = int(counts.argmax())
    return names[best] if best < len(names) else f"class_{best}"
