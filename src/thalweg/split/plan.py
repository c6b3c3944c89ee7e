"""Who gets which ground: rules or official files first, then blocks, cells or scenes dealt to the parts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from thalweg.manifest.chips import PARTS
from thalweg.manifest.rounds import RoundFolder
from thalweg.manifest.scene import Scene
from thalweg.params.classes import Classes
from thalweg.params.split import Split
from thalweg.split.assign import assign, strata
from thalweg.split.blocks import BlockTable
from thalweg.split.earlier import check_kept, kept_parts
from thalweg.split.ground import Footprint
from thalweg.split.official import Parts, read_official
from thalweg.split.pieces import Pieces, even, tiles
from thalweg.split.terrain import channel_of, terrain_of
from thalweg.split.units import Scenes, Units, labelled_ground, one_each, units_by, units_of
from thalweg.split.whole import apply_rules

Deal = Callable[[BlockTable], list[str]]
"""Gives each unit of a table, whose parts do not count yet, its part."""


@dataclass(frozen=True)
class Plan:
    """The parts before any yields."""

    table: BlockTable
    footprints: dict[str, dict[str, Footprint]]
    """Grid → scene name → what decides on the parts of its pixels."""
    wanted: frozenset[str]
    """Parts that must not come out empty."""
    complete: bool = True
    """Whether training must have every class."""


def make_plan(scenes: Scenes, split: Split, classes: Classes, earlier: RoundFolder | None = None) -> Plan:
    """The plan that the params ask for; after an earlier round the one that it had, in which new ground trains.

    Raises:
        RoundError: The params would deal the ground otherwise than in the earlier round.
        SplitError: A rule fits nothing, an official file does not fit the scenes, or units do not suffice.
    """
    if earlier is not None:
        check_kept(split, earlier)
    if split.official is not None:
        return _official(scenes, split, classes)
    ruled = apply_rules(scenes, split)
    fractions = split.fractions.model_dump()
    wanted = {"train", "val", *(part for part, share in fractions.items() if share > 0), *ruled.values()}
    units = units_of(free_scenes(scenes, ruled), split)
    deal = partial(kept_parts, earlier=earlier) if earlier else balanced(fractions, split, classes)
    return dealt(scenes, ruled, units, classes, deal, wanted)


def balanced(fractions: dict[str, float], split: Split, classes: Classes) -> Deal:
    """Deals by shares of the ground, stratified as the params ask."""

    def deal(table: BlockTable) -> list[str]:
        area_m2, columns = strata(table.area_m2, table.terrain, split.stratify, classes.names)
        return assign(area_m2, fractions, split.seed, columns)

    return deal


def dealt(scenes: Scenes, ruled: dict[str, str], units: Units, classes: Classes, deal: Deal,
          wanted: Iterable[str]) -> Plan:  # fmt: skip
    """Units dealt to the parts on all scenes that no rule assigns.

    Args:
        scenes: By grid and name.
        ruled: Scene name → part of the whole scene.
        units: How the others are divided.
        classes: The legend.
        deal: Gives each unit its part.
        wanted: Parts that must not come out empty.
    """
    table = _tabled(scenes, free_scenes(scenes, ruled), units, classes, deal)
    footprints = {
        grid: {
            name: Footprint(scene.grid, ruled[name]) if name in ruled else Footprint(scene.grid, None, units.of(scene))
            for name, scene in members.items()
        }
        for grid, members in scenes.items()
    }
    return Plan(table, footprints, frozenset(wanted) - {"unused"})


def official_parts(scenes: Scenes, split: Split, classes: Classes) -> Parts:
    """What the official files say; nothing where the params name none."""
    if split.official is None:
        return {}
    finest = one_each(scenes, finest=True)
    high = {grid: {name: scene for name, scene in members.items() if channel_of(scene) is not None}
            for grid, members in scenes.items()}  # fmt: skip
    elevated = finest | one_each(high)
    return read_official(split.official, Path(split.input), finest, classes.names, split.seed, elevated)


def free_scenes(scenes: Scenes, ruled: dict[str, str]) -> list[Scene]:
    """Scenes that no rule assigns, each in its coarsest grid, by name."""
    return [scene for name, scene in sorted(one_each(scenes).items()) if name not in ruled]


def _official(scenes: Scenes, split: Split, classes: Classes) -> Plan:
    named = official_parts(scenes, split, classes)
    tile_px = split.official.tile_px if split.official else None
    ruled = {name: "unused" for members in scenes.values() for name in members if name not in named}
    finest = [scene for name, scene in one_each(scenes, finest=True).items() if name in named]

    def cut(scene: Scene, first: int) -> Pieces:
        shape_yx = scene.grid.shape_yx
        return even(first, shape_yx, 1) if tile_px is None else tiles(first, shape_yx, tile_px)

    units = units_by(finest, split, cut)
    part_of: dict[int, str] = {}
    for name, (_, pieces) in (units.divisions or {}).items():
        part_of |= {pieces.first + (number or 0): part for number, part in named[name].items()}

    def deal(table: BlockTable) -> list[str]:
        return [part_of.get(code, "unused") for code in table.codes.tolist()]

    return dealt(scenes, ruled, units, classes, deal, {"train", "val", *part_of.values()})


def _tabled(scenes: Scenes, free: list[Scene], units: Units, classes: Classes, deal: Deal) -> BlockTable:
    """The labelled units of some scenes with their elevations and parts."""
    codes, area_m2 = labelled_ground((scene for scene in free if scene.record.labelled), units, classes.names)
    names = {scene.name for scene in free}
    elevated = {scene.name: scene for members in reversed(scenes.values()) for scene in members.values()
                if scene.name in names and channel_of(scene) is not None}  # fmt: skip
    terrain = terrain_of(elevated.values(), codes, units.locate)
    nobody = np.full(len(codes), PARTS["unused"], np.uint8)
    table = BlockTable(units.lattice, codes, area_m2, nobody, units.pieces_of(free, codes), terrain)
    if not len(codes):
        return table
    return replace(table, parts=np.array([PARTS[part] for part in deal(table)], np.uint8))
