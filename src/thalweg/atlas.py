"""Maps as pictures, in the pieces that scenes cover.

A map of scenes that lie far apart is nearly all nodata, and on one picture of it nothing could be seen. So it is
shown piece by piece, largest first.
"""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from thalweg import mapfiles, pictures, raster
from thalweg.blockmap import say_place
from thalweg.explorer.embed import MAX_PX, embed
from thalweg.explorer.ground import Ground, find_pieces
from thalweg.explorer.held import HeldMap
from thalweg.grid import Grid, Window
from thalweg.manifest.scene import Scene, read_scenes, scene_files
from thalweg.maps import BYTE_SCALE, PROB_SCALE
from thalweg.mosaic import footprint
from thalweg.params.classes import Classes
from thalweg.params.ensembles import Ensemble
from thalweg.pictures import Picture

MAX_PIECES = 4
"""Pieces of one map that are shown."""
PIECE_PX = 600
"""Longer edge of what a page holds of each of several pieces."""


class Figure(NamedTuple):
    """A picture with its colour ramp."""

    picture: Picture
    ramp: tuple[str, str, str] | None
    """Label of the low end, CSS gradient, label of the high end; None where the classes' legend says it."""


class Piece(NamedTuple):
    """A part of a map."""

    place: str
    """Its middle, degrees."""
    figures: tuple[Figure, ...]
    scale: tuple[str, float]
    """Length of the scale bar, and its share of the width in percent."""
    explorer: dict[str, Any]
    """What the viewer in the page is told."""


class MapPage(NamedTuple):
    """One map."""

    name: str
    grid: Grid
    pieces: tuple[Piece, ...]
    hidden: int
    """Pieces that are not shown."""
    tags: dict[str, str]
    scenes: tuple[Scene, ...]
    """Those that it was made of."""


@dataclass(frozen=True)
class _Image:
    """A scene that a map shows."""

    scene: Scene
    window: Window
    """On the map's grid."""


def read_map(name: str, folder: Path, ensemble: Ensemble, scenes: Path, classes: Classes) -> MapPage | None:
    """A map's pictures, or None where there is no map.

    Args:
        name: Key under `ensembles`.
        folder: `maps/<name>`.
        ensemble: Its params.
        scenes: `build/scenes`; without it, the map is shown alone and in one piece.
        classes: Names and colours.

    Raises:
        RasterError: A raster of the map or a scene cannot be read.
        SceneError: A scene's record is broken.
    """
    if not (folder / "classes.tif").is_file():
        return None
    with raster.opened(folder / "classes.tif") as dataset:
        tags = dict(sorted(dataset.tags().items()))
    grid = raster.read_grid(folder / "classes.tif")
    images = _images(ensemble, scenes / ensemble.grid, grid)
    windows = find_pieces([image.window for image in images], grid.shape_yx)
    shown = windows[:MAX_PIECES]
    held = HeldMap(name, mapfiles.read_map(folder))
    edge = MAX_PX if len(shown) == 1 else PIECE_PX
    pieces = tuple(_piece(folder, window, images, classes, held, edge) for window in shown)
    used = tuple(image.scene for image in images)
    return MapPage(name, grid, pieces, max(len(windows) - MAX_PIECES, 0), tags, used)


def _images(ensemble: Ensemble, folder: Path, grid: Grid) -> list[_Image]:
    if not scene_files(folder):
        return []
    chosen = [
        scene
        for name, scene in read_scenes(folder).items()
        if any(fnmatch.fnmatchcase(name, glob) for glob in ensemble.scenes)
    ]
    return [_Image(scene, footprint(grid, scene.grid)) for scene in chosen]


def _piece(folder: Path, window: Window, images: Sequence[_Image], classes: Classes, held: HeldMap,
           max_px: int) -> Piece:  # fmt: skip
    labels, small = pictures.read_small(folder / "classes.tif", window)
    here = [image for image in images if _meet(image.window, window)]
    figures = [Figure(pictures.draw_classes(labels, classes.legend, "Classes"), None)]
    if here:
        image = pictures.draw_image([each.scene for each in here], small, ~np.ma.getmaskarray(labels))
        figures = [Figure(image, None), *figures] if image else figures
    if (folder / "probs.tif").is_file():
        figures.append(_probability(folder / "probs.tif", window, classes))
    if (folder / "uncertainty.tif").is_file():
        figures += _uncertainty(folder / "uncertainty.tif", window)
    lon, lat = small.lonlat(np.array(small.shape_yx[0] / 2), np.array(small.shape_yx[1] / 2))
    explorer = embed(held, Ground([image.scene for image in here], held.files.grid), window, max_px)
    return Piece(say_place(float(lon), float(lat)), tuple(figures), pictures.scale_bar(small), explorer)


def _meet(one: Window, other: Window) -> bool:
    return (one.row < other.row + other.height and other.row < one.row + one.height
            and one.col < other.col + other.width and other.col < one.col + one.width)  # fmt: skip


def _probability(path: Path, window: Window, classes: Classes) -> Figure:
    if classes.count == 2:
        probs, _ = pictures.read_small(path, window, 2)
        caption = f"Probability of {classes.names[1].replace('_', ' ')}"
    else:
        probs = np.ma.stack([pictures.read_small(path, window, band + 1)[0] for band in range(classes.count)]).max(0)
        caption = "Probability of the most probable class"
    low = 0.0 if classes.count == 2 else 1 / classes.count
    picture = pictures.draw_measure(probs / PROB_SCALE, low, 1, "viridis", caption)
    return Figure(picture, (f"{low:.2g}", pictures.gradient("viridis"), "1"))


def _uncertainty(path: Path, window: Window) -> list[Figure]:
    figures = []
    for band, caption in enumerate(("Entropy of the probabilities", "Disagreement of the members"), 1):
        values, _ = pictures.read_small(path, window, band)
        picture = pictures.draw_measure(values, 0, BYTE_SCALE, "magma", caption)
        figures.append(Figure(picture, ("none", pictures.gradient("magma"), "most")))
    return figures
