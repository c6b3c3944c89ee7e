"""What a map says of parcels: majority vote and mean probability per parcel, and how good that is on test ground.

Pixels near a parcel's edge, which show two parcels at once, can be left out by true ground metres. The map is read in
blocks; memory goes with the number of parcels, not of pixels.

A pixel's part is that of its own ground. A parcel is of a part if some of its pixels are and none is of another of
train, val and test (`mixed` if so, and then no one's): only parcels of the test part are scored. Ground of no part, and
what is withheld around test ground, was learnt by nobody and does not count against a parcel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas
import pandas as pd

from thalweg.grid import iter_blocks
from thalweg.mapfiles import MapFiles, read_scaled
from thalweg.parcels.ground import Ground
from thalweg.parcels.inside import cut_out, margin_px, to_inner
from thalweg.parcels.scores import PixelScores, class_table, confusion_table, score_table
from thalweg.parcels.sources import Parcels, Regions
from thalweg.parcels.tally import Tally
from thalweg.vectors import write_vectors

LAYER = "parcels"
BLOCK_PX = 512


@dataclass(frozen=True)
class Assessed:
    """What is written."""

    parcels: pd.DataFrame
    """One row per parcel (`Tally.table`), a GeoDataFrame where parcels have outlines."""
    scores: dict[str, pd.DataFrame]
    """File name without suffix → table; empty where no parcel and no pixel of the test part has a truth."""


def assess_parcels(files: MapFiles, parcels: Parcels, ground: Ground | None, border_m: float,
                   regions: Regions | None = None, block_px: int = BLOCK_PX) -> Assessed:  # fmt: skip
    """Votes, and scores them.

    Args:
        files: The map.
        parcels: On the map's grid.
        ground: Truth and parts; None where there are none: then nothing is scored.
        border_m: Pixels whose centre is nearer to their parcel's edge do not vote.
        regions: Areas that get scores of their own; scenes (patches) always do.
        block_px: Edge of what is read at a time; no result depends on it.
    """
    tally, pixels = Tally(parcels, files.names), PixelScores(files.names)
    pad = margin_px(files.grid, border_m)
    bands = tuple(range(1, len(files.names) + 1))
    for window in iter_blocks(files.grid.shape_yx, block_px):
        around = parcels.numbers(pad.around(window))
        inner = cut_out(to_inner(around, border_m, files.grid, window), pad, window)
        numbers = cut_out(around, pad, window)
        labels = files.read_labels(window)
        probs = None if files.probs is None else read_scaled(files.probs, window, bands)
        here = None if ground is None else ground.read(window)
        areas = None if regions is None else regions.numbers(window)
        tally.add(numbers, inner, labels, probs, files.row_m2[window.rows], here, areas)
        if here is not None:
            pixels.add(labels, here, areas, (numbers >= 0) & inner)
    scenes = () if ground is None else ground.names
    table = tally.table(scenes, () if regions is None else regions.names)
    return Assessed(parcels.with_outlines(table), _scores(table, pixels, files.names, scenes, regions))


def write_assessed(found: Assessed, folder: Path) -> list[Path]:
    """Writes parcels.gpkg, parcels.csv and the scores' tables into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_vectors(folder / f"{LAYER}.gpkg", {LAYER: found.parcels})
    plain = (
        found.parcels.drop(columns="geometry") if isinstance(found.parcels, geopandas.GeoDataFrame) else found.parcels
    )
    paths = [folder / f"{LAYER}.gpkg"]
    for name, table in {LAYER: plain, **found.scores}.items():
        paths.append(folder / f"{name}.csv")
        table.to_csv(paths[-1], index=False, float_format="%.6g")
    return paths


def _scores(table: pd.DataFrame, pixels: PixelScores, names: Sequence[str], scenes: Sequence[str],
            regions: Regions | None) -> dict[str, pd.DataFrame]:  # fmt: skip
    whole = pixels.with_parcels(table)
    if not any(matrix.any() for matrix in whole.values()):
        return {}
    found = {"scores": score_table({"all": whole}, "ground", names), "classes": class_table(whole, names),
             "confusion": confusion_table(whole, names)}  # fmt: skip
    found["patches"] = score_table(pixels.by("scene", scenes, table), "scene", names)
    if regions is not None:
        found["regions"] = score_table(pixels.by("region", regions.names, table), "region", names)
    return found
