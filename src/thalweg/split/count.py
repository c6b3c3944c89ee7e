"""Chips and statistics of a grid in units of work: rows of a large scene, or some small scenes, wherever they are done.

Units are the same whoever does them, and come together in their order, so that the bytes are, too: sums of float32
values depend on the order in which they are added.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from thalweg.manifest.chips import scene_parts
from thalweg.manifest.scene import Scene
from thalweg.split.blocks import BlockTable, Lattice, block_name, encode
from thalweg.split.ground import Footprint
from thalweg.split.pieces import Pieces
from thalweg.split.statistics import Statistics
from thalweg.split.tables import Named, chips_of

UNIT_PX = 1 << 24
"""Pixels of a unit, at least."""


@dataclass(frozen=True)
class Blocks:
    """What the blocks of one scene are called: the pieces of it that were dealt, or else those of the lattice."""

    lattice: Lattice
    pieces: Pieces | None
    names: Mapping[int, str]
    """Code of a piece → its name."""

    @classmethod
    def of(cls, table: BlockTable, footprint: Footprint) -> "Blocks":
        """Those of a scene alone: a table of a thousand scenes need not travel with each."""
        pieces = footprint.pieces
        codes = [] if pieces is None else pieces.codes.ravel().tolist()
        return cls(table.lattice, pieces, {code: table.name_of[code] for code in codes if code in table.name_of})

    def named(self) -> Named:
        """As chips ask for them."""
        if self.pieces is not None:
            pieces = self.pieces
            return Named(lambda _, window: pieces.under(window), self.names.__getitem__)
        return Named(
            lambda scene, window: encode(*self.lattice.cells(scene.grid, window)),
            lambda code: block_name(code >> 32, code & 0xFFFFFFFF),
        )


@dataclass(frozen=True)
class Run:
    """Rows of a scene."""

    scene: Scene
    start: int
    stop: int
    blocks: Blocks


def iter_units(scenes: Iterable[Scene], chip_px: int, table: BlockTable,
               footprints: Mapping[str, Footprint]) -> Iterator[list[Run]]:  # fmt: skip
    """Runs in order, as many together as have `UNIT_PX`: whole rows of chips of a large scene, or thousands of patches.

    Args:
        scenes: Of one grid.
        chip_px: Edge of a chip.
        table: Blocks with their parts.
        footprints: By scene name.
    """
    unit: list[Run] = []
    pixels = 0
    for scene in scenes:
        blocks, (height, width) = Blocks.of(table, footprints[scene.name]), scene.record.shape_yx
        rows = -(-UNIT_PX // (width * chip_px)) * chip_px
        for start in range(0, height, rows):
            run = Run(scene, start, min(start + rows, height), blocks)
            unit.append(run)
            pixels += (run.stop - start) * width
            if pixels >= UNIT_PX:
                yield unit
                unit, pixels = [], 0
    if unit:
        yield unit


def counted(chip_px: int, names: tuple[str, ...], target: Path,
            unit: Sequence[Run]) -> tuple[Statistics, list[pd.DataFrame]]:  # fmt: skip
    """Statistics of a unit's training pixels, and its chips."""
    statistics, tables = Statistics(), []
    for run in unit:
        parts, rows = scene_parts(target, run.scene), (run.start, run.stop)
        statistics.feed(run.scene, parts, rows)
        tables.append(chips_of(run.scene, parts, chip_px, run.blocks.named(), names, rows))
    return statistics, tables


def together(
    found: Iterable[tuple[list[Run], tuple[Statistics, list[pd.DataFrame]]]],
) -> tuple[Statistics, pd.DataFrame]:
    """Statistics and chips of all units, merged in their order.

    Raises:
        SplitError: Channels of two scenes differ.
    """
    units = iter(found)
    _, (statistics, tables) = next(units)
    for unit, (some, more) in units:
        statistics.merge(some, str(unit[0].scene.folder))
        tables += more
    return statistics, pd.concat([table for table in tables if len(table)] or tables[:1])
