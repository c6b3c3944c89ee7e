"""What is dealt to the parts: blocks of the lattice, cells of scenes or whole scenes, with the labels on each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from thalweg.classes import IGNORE
from thalweg.grid import Grid, Window
from thalweg.manifest.scene import Scene
from thalweg.params.split import Split
from thalweg.split.blocks import Lattice, Piece, encode, ranked
from thalweg.split.pieces import Pieces, even, scaled
from thalweg.split.tables import BAND_PX, bands, labels

Scenes = dict[str, dict[str, Scene]]
"""Grid → scene name → scene."""


@dataclass(frozen=True)
class Units:
    """How the pixels of scenes are divided."""

    lattice: Lattice
    divisions: dict[str, tuple[tuple[int, int], Pieces]] | None
    """Scene name → the shape it was divided in and its pieces; None where the lattice divides the ground."""

    def of(self, scene: Scene) -> Pieces | None:
        """The scene's pieces in its own pixels."""
        if self.divisions is None:
            return None
        shape_yx, pieces = self.divisions[scene.name]
        return scaled(pieces, shape_yx, scene.grid.shape_yx)

    def locate(self, scene: Scene, window: Window) -> np.ndarray:
        """(h, w) int64 codes of a window's pixels."""
        pieces = self.of(scene)
        return encode(*self.lattice.cells(scene.grid, window)) if pieces is None else pieces.under(window)

    def pieces_of(self, scenes: Iterable[Scene], codes: np.ndarray) -> tuple[Piece, ...] | None:
        """The pieces of some codes, in their order."""
        if self.divisions is None:
            return None
        found: dict[int, Piece] = {}
        for scene in sorted(scenes, key=lambda each: each.name, reverse=True):  # dates of a tile: the first name stays
            pieces = self.of(scene)
            if pieces is not None:
                mine = codes[(codes >= pieces.first) & (codes < pieces.first + pieces.codes.size)]
                found |= {code: _piece(scene, pieces, code - pieces.first) for code in mine.tolist()}
        return tuple(found[code] for code in codes.tolist())


def lattice_units(split: Split) -> Units:
    """Blocks on the ground, whichever scene shows them."""
    return Units(Lattice(split.block_m), None)


def units_of(scenes: Iterable[Scene], split: Split) -> Units:
    """What `split.unit` deals. Scenes with the same pixels (dates of one tile) are cut once and dealt together.

    Args:
        scenes: Those that are dealt, each in one grid.
        split: Its unit and cells.
    """
    if split.unit == "blocks":
        return lattice_units(split)
    cells = split.cells or 1
    groups: dict[Grid, list[str]] = {}
    for scene in scenes:
        groups.setdefault(scene.grid, []).append(scene.name)
    divisions: dict[str, tuple[tuple[int, int], Pieces]] = {}
    for number, grid in enumerate(sorted(groups, key=_where)):
        pieces = even(number * cells * cells, grid.shape_yx, cells)
        divisions |= dict.fromkeys(groups[grid], (grid.shape_yx, pieces))
    return Units(Lattice(split.block_m), divisions)


def units_by(scenes: Iterable[Scene], split: Split, cut: Callable[[Scene, int], Pieces]) -> Units:
    """Each scene cut by itself; `cut` takes the scene and the code of its first piece."""
    divisions: dict[str, tuple[tuple[int, int], Pieces]] = {}
    first = 0
    for scene in sorted(scenes, key=lambda each: each.name):
        pieces = cut(scene, first)
        divisions[scene.name] = (scene.grid.shape_yx, pieces)
        first += pieces.codes.size
    return Units(Lattice(split.block_m), divisions)


def one_each(scenes: Scenes, finest: bool = False) -> dict[str, Scene]:
    """Scene name → the scene in its coarsest grid, or finest, so that the order of grids plays no part."""
    everything = (scene for members in scenes.values() for scene in members.values())
    found: dict[str, Scene] = {}
    for scene in sorted(everything, key=lambda each: (each.grid.shape_yx, each.record.grid), reverse=finest):
        found.setdefault(scene.name, scene)
    return found


def labelled_ground(scenes: Iterable[Scene], units: Units, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Codes with labels on them, sorted, and (n, classes) their labelled, valid ground, square metres."""
    counted = [_areas(scene, units, classes) for scene in sorted(scenes, key=lambda each: each.name)]
    if not counted:
        return np.zeros(0, np.int64), np.zeros((0, len(classes)))
    codes, place = np.unique(np.concatenate([found for found, _ in counted]), return_inverse=True)
    area_m2 = np.zeros((len(codes), len(classes)))
    np.add.at(area_m2, place, np.concatenate([area for _, area in counted]))
    return codes, area_m2.round(1)  # the sum's last digits depend on the scenes' order


def _areas(scene: Scene, units: Units, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    codes: list[np.ndarray] = [np.zeros(0, np.int64)]
    areas: list[np.ndarray] = [np.zeros((0, len(classes)))]
    for window in bands(scene.grid.shape_yx, BAND_PX):
        truth = labels(scene, window, classes)
        at = units.locate(scene, window) if (truth != IGNORE).any() else np.full(truth.shape, -1)
        used = (truth != IGNORE) & (at != -1)
        if used.any():
            found, place = ranked(at)
            counts = np.bincount(place[used] * len(classes) + truth[used], minlength=len(found) * len(classes))
            codes.append(found)
            areas.append(counts.reshape(len(found), -1) * float(np.prod(scene.grid.crop(window).pixel_m_yx)))
    distinct, place = np.unique(np.concatenate(codes), return_inverse=True)
    area_m2 = np.zeros((len(distinct), len(classes)))
    np.add.at(area_m2, place, np.concatenate(areas))
    labelled = area_m2.sum(1) > 0
    return distinct[labelled], area_m2[labelled]


def _where(grid: Grid) -> tuple[object, ...]:
    """Sorts grids by their upper left corner on the ground."""
    lon, lat = grid.lonlat(np.array(0.0), np.array(0.0))
    return round(float(lat), 7), round(float(lon), 7), grid.shape_yx, tuple(grid.transform), grid.crs_wkt


def _piece(scene: Scene, pieces: Pieces, number: int) -> Piece:
    row, col = divmod(number, pieces.shape[1])
    name = scene.name if pieces.codes.size == 1 else f"{scene.name}_{number}"
    return Piece(name, scene.grid.crop(pieces.window(number)), row, col)
