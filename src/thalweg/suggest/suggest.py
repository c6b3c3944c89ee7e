"""From maps to a table of blocks to draw next, and the GeoPackage for the annotator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import shapely

from thalweg import qgis
from thalweg.errors import SuggestError
from thalweg.guard import Drawn, Guard
from thalweg.manifest.chips import scene_parts
from thalweg.manifest.rounds import RoundFolder
from thalweg.manifest.scene import Scene
from thalweg.mapfiles import read_map
from thalweg.split.blocks import Lattice, block_name, decode
from thalweg.suggest.rank import Ranking, Weights, features_of, rank, relative
from thalweg.suggest.tally import DOUBT, EDGE, FREE, HELD, MAPPED, Tally, tally_maps, tally_scenes
from thalweg.vectors import write_vectors

SUGGESTIONS = "suggestions"
APART = "held_out"
_COLORS = ("#fde725", "#5ec962", "#21918c", "#3b528b", "#440154")
_HELD_COLOR = "#b2182b"
_MOST_HELD = 0.05
"""Share of a block on validation or test ground from which on it is none to train on. Less is what pixels of two grids
make of one border, and none of it counts as ground to draw."""
_HA, _KM = 1e-4, 1e-3


@dataclass(frozen=True)
class Wish:
    """What the annotator wants."""

    weights: Weights
    count: int
    """Blocks to rank."""
    by: str
    """Which doubt: see `tally_maps`."""
    least: float
    """Least share of a block's ground that is mapped and free to be drawn, 0…1."""


@dataclass(frozen=True)
class Ground:
    """The project's ground."""

    scenes: Mapping[str, Mapping[str, Scene]]
    """By grid and name."""
    grid: str
    """Whose channels tell how blocks look."""
    split: Path
    """`build/split`."""
    block_m: float
    buffer_m: float
    earlier: RoundFolder | None


def suggest(maps: Sequence[Path], wish: Wish, ground: Ground) -> dict[str, geopandas.GeoDataFrame]:
    """Layers of blocks, in longitude and latitude: those to draw, in order, and those that are held out.

    Raises:
        SuggestError: No weight is above 0, the grid is unknown, or no block may be drawn.
        MapError: A map has no probabilities, or not the doubt that is asked for.
    """
    _check(wish, ground)
    lattice = Lattice(ground.block_m)
    guard = Guard(ground.scenes, ground.split, ground.buffer_m)
    tally = tally_maps([read_map(path) for path in maps], lattice, guard, Drawn(ground.scenes, ground.earlier), wish.by)
    free, taught = tally_scenes(
        ground.scenes[ground.grid].values(), lattice, lambda scene: scene_parts(ground.split, scene)
    )
    table = _table(tally, lattice)
    held = _is_held(table, guard)
    chosen = ~held & (table["free_share"] >= wish.least).to_numpy() & (free.at(tally.codes)[:, 0] > 0)
    if not chosen.any():
        raise SuggestError(
            f"none of the {len(table)} blocks of the maps is free to draw by a share of {wish.least:g}: they are "
            "drawn, held out, or have no image; lower --least, or map more ground"
        )
    candidates = table[chosen].reset_index(drop=True)
    features = features_of(free.at(tally.codes[chosen]), taught.sums)
    cost = (candidates["draw_share"] + relative(candidates["boundary_km"].to_numpy())).to_numpy() / 2
    ranking = rank(candidates["doubt"].to_numpy(), cost, *features, wish.weights, wish.count)
    return {SUGGESTIONS: _ranked(candidates, cost, ranking), APART: table[held].reset_index(drop=True)}


def write_suggestions(layers: Mapping[str, geopandas.GeoDataFrame], path: Path) -> None:
    """A GeoPackage of these layers with their styles for QGIS."""
    looks = {
        SUGGESTIONS: qgis.ranked_outlines("score", "rank", _COLORS, 1.0),
        APART: qgis.outlines(_HELD_COLOR),
    }
    write_vectors(path, {**layers, qgis.TABLE: qgis.styles({name: looks[name] for name in layers})})


def _check(wish: Wish, ground: Ground) -> None:
    if wish.weights.total <= 0:
        raise SuggestError("all weights are 0, so no block is better than another; give one of them more")
    if ground.grid not in ground.scenes:
        raise SuggestError(
            f"there is no grid '{ground.grid}' in build/split, but {', '.join(ground.scenes)}; give one of these by "
            "--grid"
        )


def _table(tally: Tally, lattice: Lattice) -> geopandas.GeoDataFrame:
    """All blocks on the maps."""
    rows, cols = decode(tally.codes)
    places = list(zip(rows.tolist(), cols.tolist(), strict=True))
    mapped, free = tally.sums[:, MAPPED], tally.sums[:, FREE]
    whole = np.maximum(mapped, lattice.block_m**2)
    some = np.maximum(free, 1e-9)
    table = pd.DataFrame({
        "block": [block_name(*place) for place in places],
        "doubt": tally.sums[:, DOUBT] / some,
        "draw_share": free / np.maximum(mapped, 1e-9),
        "boundary_km": tally.sums[:, EDGE] * _KM,
        "area_ha": mapped * _HA,
        "free_share": free / whole,
        "held_share": tally.sums[:, HELD] / np.maximum(mapped, 1e-9),
    })  # fmt: skip
    boxes = [shapely.box(*lattice.box(*place)) for place in places]
    return geopandas.GeoDataFrame(table, geometry=boxes, crs="EPSG:4326")


def _is_held(table: geopandas.GeoDataFrame, guard: Guard) -> np.ndarray:
    """(n,) bool: blocks on validation or test ground, by the part rasters or by the outlines of what was dealt."""
    held = np.array(table["held_share"] > _MOST_HELD)
    tree = shapely.STRtree(guard.held)
    for number, shape in enumerate(table.geometry):
        shared = sum(shape.intersection(guard.held[place]).area for place in tree.query(shape).tolist())
        held[number] |= shared > _MOST_HELD * shape.area
    return held


def _ranked(candidates: geopandas.GeoDataFrame, cost: np.ndarray, ranking: Ranking) -> geopandas.GeoDataFrame:
    table = candidates.iloc[ranking.order].drop(columns=["held_share"]).reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    table.insert(1, "score", ranking.score)
    table.insert(4, "novelty", ranking.novelty)
    table.insert(5, "cost", cost[ranking.order])
    place = candidates["doubt"].rank(ascending=False, method="min").astype(int).to_numpy()[ranking.order]
    table["reason"] = [
        f"doubt {row.doubt:.2f}, number {at} of {len(candidates)} blocks; {_looks(row.novelty)} what is drawn or ranks "
        f"before; {row.draw_share:.0%} of {row.area_ha:.0f} ha to draw, about {row.boundary_km:.1f} km of boundaries"
        for row, at in zip(table.itertuples(), place, strict=True)
    ]
    return table


def _looks(novelty: float) -> str:
    return "quite unlike" if novelty > 2 / 3 else "somewhat unlike" if novelty > 1 / 3 else "much like"
