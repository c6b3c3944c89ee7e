"""Chips in pairs: one place on two of its dates where it has them, else one image twice.

Which scenes show one place follows from the ground on which they lie, or from a list of sites, as fMoW's folders are.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import shapely
from pyproj import Transformer

from thalweg.dataset.chips import Place
from thalweg.dataset.sampler import EpochSampler
from thalweg.errors import TrainingError
from thalweg.grid import Grid, Window
from thalweg.manifest.scene import Scene
from thalweg.params import NOTHING
from thalweg.pretrain.ground import Seen
from thalweg.split.position import ecef

_OTHER = 0x5EA5
"""Tells the draw of the other date from that of the places, which start from the same seed."""
_NOWHERE_M = 1e9
"""Between the points of sites that lie nowhere; the earth's radius is 6e6."""


class Pair(NamedTuple):
    """Where a chip is read, and where its other date."""

    first: Place
    second: Place
    """The same as `first` where there is no other date."""


class Sites:
    """Which scenes show the ground of which."""

    def __init__(self, scenes: Mapping[str, Scene], listed: str) -> None:
        """Takes the scenes, and a CSV `site,scene` or masks/none.yaml for those of other days whose ground overlaps.

        Raises:
            TrainingError: The list cannot be read, or names a scene that is not there.
        """
        self.scenes = scenes
        self.others = _overlapping(scenes) if listed == NOTHING else _listed(Path(listed), scenes)
        self.numbers = _components(self.others)

    def window(self, window: Window, scene: str, other: str) -> Window | None:
        """The window of another scene that shows the same ground, or None where its middle lies outside.

        Of pictures without a place any window shows the same site, so that the same rows and columns are taken.
        """
        here, there = self.scenes[scene], self.scenes[other]
        if not (here.record.georeferenced and there.record.georeferenced):
            row = min(window.row, max(there.record.shape_yx[0] - window.height, 0))
            return window._replace(row=row, col=min(window.col, max(there.record.shape_yx[1] - window.width, 0)))
        row, col = _found(here.grid, window, there.grid)
        middle = row + window.height / 2, col + window.width / 2
        inside = all(0 <= place < edge for place, edge in zip(middle, there.grid.shape_yx, strict=True))
        return window._replace(row=row, col=col) if inside else None

    def place_m(self, scene: str, window: Window) -> np.ndarray:
        """(3,) of a window's middle, as `PairChips` says."""
        record, grid = self.scenes[scene].record, self.scenes[scene].grid
        if not record.georeferenced:
            return np.array([_NOWHERE_M * (1 + self.numbers[scene]), 0.0, 0.0])
        return ecef(*grid.lonlat(np.array(window.row + window.height / 2), np.array(window.col + window.width / 2)))


class PairSampler:
    """Pairs of an epoch, which follow from (seed, epoch) alone; Lightning calls `set_epoch`."""

    def __init__(self, chips: pd.DataFrame, count: int, chip_px: int, sites: Sites, seed: int, dates: bool,
                 only: bool = False) -> None:  # fmt: skip
        """Takes rows of `ground.lattice`, pairs per epoch, and whether the second is of another date.

        With `only`, nothing is drawn where no other scene lies.
        """
        shapes = {name: scene.record.shape_yx for name, scene in sites.scenes.items()}
        weights = chips["shown_px"].to_numpy(float)
        if only:
            weights = weights * chips["scene"].map(lambda name: bool(sites.others[name])).to_numpy(float)
        self._places = EpochSampler(chips, count, chip_px, shapes, seed, weights)
        self._sites, self._seed, self._dates = sites, seed, dates

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose plan the next iteration follows."""
        self._places.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Pair]:
        random = np.random.default_rng([self._seed, self._places.epoch, _OTHER])
        for place in self._places:
            order = random.permutation(len(self._sites.others[place.scene])).tolist()
            yield Pair(place, self._other(place, order) if self._dates else place)

    def _other(self, place: Place, order: list[int]) -> Place:
        for number in order:
            name = self._sites.others[place.scene][number]
            window = self._sites.window(place.window, place.scene, name)
            if window is not None:
                return Place(name, window)
        return place


class PairChips:
    """A map-style dataset whose index is a `Pair`: pixels of both, where it lies, whether they differ, pixel sizes.

    Where (3,): of a scene on the ground, the chip's middle from the middle of the earth, metres; of a picture without a
    place, its site's own point, which is far from all others.
    """

    def __init__(self, seen: Seen, sites: Sites) -> None:
        self._seen, self._sites = seen, sites

    def __getitem__(self, pair: Pair) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool, float, float]:
        first = self._seen.pixels(*pair.first)
        second = first if pair.second == pair.first else self._seen.pixels(*pair.second)
        sizes = [pixel_m(self._sites.scenes[place.scene].grid) for place in pair]
        return first, second, self._sites.place_m(*pair.first), pair.second != pair.first, sizes[0], sizes[1]


def pixel_m(grid: Grid) -> float:
    """Mean edge of the middle pixel on the ground, metres."""
    return float(np.mean(grid.pixel_m_yx))


def _found(here: Grid, window: Window, there: Grid) -> tuple[int, int]:
    """Upper left pixel on another grid of the window round the same middle: exact on one lattice, else to a pixel."""
    offset = there.offset_px(here)
    if offset is not None:
        return window.row + offset[0], window.col + offset[1]
    lon, lat = here.lonlat(np.array(window.row + window.height / 2), np.array(window.col + window.width / 2))
    x, y = Transformer.from_crs(4326, there.crs, always_xy=True).transform(float(lon), float(lat))
    col, row = ~there.transform @ (x, y)
    return round(row - window.height / 2), round(col - window.width / 2)


def _overlapping(scenes: Mapping[str, Scene]) -> dict[str, list[str]]:
    names = [name for name, scene in scenes.items() if scene.record.georeferenced]
    boxes = [_box(scenes[name].grid) for name in names]
    found: dict[str, list[str]] = {name: [] for name in scenes}
    for one, other in shapely.STRtree(boxes).query(boxes).T.tolist():
        days = [_day(scenes[names[number]]) for number in (one, other)]
        if one != other and (None in days or days[0] != days[1]) and boxes[one].intersection(boxes[other]).area > 0:
            found[names[one]].append(names[other])
    return {name: sorted(others) for name, others in found.items()}


def _day(scene: Scene) -> tuple[str, ...] | None:
    """Of the image, or all days of a series; None where nobody knows."""
    known = scene.record.dates or ((scene.record.sensing_time or "")[:10],)
    return known if all(known) else None


def _box(grid: Grid) -> shapely.Polygon:
    height, width = grid.shape_yx
    lon, lat = grid.lonlat(np.array([0, 0, height, height]), np.array([0, width, width, 0]))
    lon = lon[0] + (lon - lon[0] + 180) % 360 - 180  # over the antimeridian, not round the earth
    return shapely.Polygon(np.stack([lon, lat], 1))


def _listed(path: Path, scenes: Mapping[str, Scene]) -> dict[str, list[str]]:
    if not path.is_file():
        raise TrainingError(f"{path} is missing, which 'sites' names; give a CSV of site,scene or {NOTHING}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"site", "scene"} <= set(rows[0]) or any(not (row["site"] and row["scene"]) for row in rows):
        raise TrainingError(f"{path} should be a CSV with the columns site and scene; correct it")
    if gone := sorted({row["scene"] for row in rows} - set(scenes)):
        raise TrainingError(
            f"{path} names {len(gone)} scene(s) that are not there, such as {gone[0]}; correct it, or bring them"
        )
    if twice := [scene for scene, count in Counter(row["scene"] for row in rows).items() if count > 1]:
        raise TrainingError(f"{path} names scene {twice[0]} more than once; a scene shows one site: correct it")
    members: dict[str, list[str]] = {}
    for row in rows:
        members.setdefault(row["site"], []).append(row["scene"])
    site_of = {row["scene"]: row["site"] for row in rows}
    return {name: sorted({*members.get(site_of.get(name, ""), [])} - {name}) for name in scenes}


def _components(others: Mapping[str, list[str]]) -> dict[str, int]:
    """Scene → number of its site: scenes that are joined by any chain of shared ground have the same."""
    numbers: dict[str, int] = {}
    for name in sorted(others):
        if name in numbers:
            continue
        number, todo = len(set(numbers.values())), [name]
        while todo:
            at = todo.pop()
            if at not in numbers:
                numbers[at] = number
                todo += others[at]
    return numbers
