"""Splits of later rounds: ground keeps the part that it had, and labels of an earlier map never come near test ground.

Pseudo-labels are what models of an earlier round say. Were the ground dealt anew, what those models learnt from could
become test ground, and test ground could get labels from the very models that are to be judged. So blocks keep their
parts, ground that is new trains, and what decides on parts must be as it was.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import shapely

from thalweg import raster
from thalweg.classes import IGNORE
from thalweg.errors import LeakError, RoundError
from thalweg.grid import Grid
from thalweg.manifest.chips import PARTS
from thalweg.manifest.rounds import RoundFolder
from thalweg.params.split import Split
from thalweg.split.blocks import BlockTable
from thalweg.split.leak import LEARNT, Leak, Placed, nearest_leak
from thalweg.split.outlines import ring_of
from thalweg.split.units import Scenes
from thalweg.split.whole import is_round_mask

HELD_OUT = (PARTS["val"], PARTS["test"])
"""Parts that get no labels but drawn ones."""
_SAME = 0.99
"""Least share of common ground at which two outlines are one block: they differ by rounding only."""


def check_first(scenes: Scenes) -> None:
    """No scene has labels of an earlier round: folds would test models on what their like has said.

    Raises:
        RoundError: One has.
    """
    for members in scenes.values():
        for scene in members.values():
            if any(is_round_mask(name) for name in scene.record.masks):
                raise RoundError(
                    f"{scene.name} has labels of an earlier round, which models of other parts gave, so no fold of it "
                    "can test honestly; cross-validate with round.input: masks/first.yaml"
                )


def ground_rules(split: Split) -> str:
    """What decides on the parts of ground, as JSON: what a later round must leave as it is."""
    kept = split.model_dump(mode="json", include={"unit", "cells", "block_m", "rules", "official"})
    return json.dumps(kept, sort_keys=True)


def check_kept(split: Split, earlier: RoundFolder) -> None:
    """The split's rules are those under which the round's masks were made.

    Raises:
        RoundError: They differ, so that ground might change its part.
    """
    now, before = json.loads(ground_rules(split)), json.loads(earlier.record.split)
    if changed := [key for key in now if now[key] != before.get(key)]:
        raise RoundError(
            f"split.{changed[0]} is {now[changed[0]]}, but {earlier.folder} was made under {before.get(changed[0])}, "
            "so ground that taught could become test ground; set it back, or start anew with round.input: "
            "masks/first.yaml"
        )
    if split.buffer_m > earlier.record.buffer_m:
        raise RoundError(
            f"split.buffer_m is {split.buffer_m:g}, but the labels of {earlier.folder} keep "
            f"{earlier.record.buffer_m:g} m from test ground; lower it, or run `thalweg pseudo-label` again"
        )


def kept_parts(table: BlockTable, earlier: RoundFolder) -> list[str]:
    """The part of each unit of a table: what it was; ground that had none trains."""
    outlines, parts = read_outlines(earlier.blocks)
    tree = shapely.STRtree(outlines)
    units = [shapely.Polygon(ring_of(table, index)) for index in range(len(table.codes))]
    found = ["train"] * len(units)
    for index, unit in enumerate(units):
        for place in tree.query(unit, predicate="intersects").tolist():
            shared = unit.intersection(outlines[place]).area
            if shared >= _SAME * max(unit.area, outlines[place].area):
                found[index] = parts[place]
    return found


def read_outlines(path: Path) -> tuple[list[shapely.Polygon], list[str]]:
    """Outlines, degrees, and parts of a blocks.geojson."""
    features = json.loads(path.read_text("utf-8"))["features"]
    return [shapely.Polygon(each["geometry"]["coordinates"][0]) for each in features], [
        each["properties"]["part"] for each in features
    ]


def nearest_label(masks: Iterable[Path], parts: Iterable[tuple[str, Grid, np.ndarray]], within_m: float) -> Leak | None:
    """The nearest pair of a labelled pixel of these masks and one of validation or test ground, by `split.leak`.

    Args:
        masks: Rasters of class ids.
        parts: Name, grid and part raster of each scene.
        within_m: How far to look.
    """
    placed = []
    for name, grid, values in parts:
        held = np.isin(values, HELD_OUT)
        if held.any():
            placed.append(Placed(name, grid, (held * PARTS["test"]).astype(np.uint8)))
    for path in masks:
        labelled = raster.read_band(path) != IGNORE
        if labelled.any():
            placed.append(Placed(path.name, raster.read_grid(path), (labelled * PARTS["train"]).astype(np.uint8)))
    return nearest_leak(placed, within_m, LEARNT)


def check_labels(leak: Leak | None, buffer_m: float) -> None:
    """No label of an earlier round lies on validation or test ground, or within the buffer of it.

    Raises:
        LeakError: One does.
    """
    if leak is None or (leak.distance_m > 0 and leak.distance_m >= 0.999 * buffer_m - leak.pixel_m / 2):
        return
    raise LeakError(
        f"the mask {leak.other_scene} of an earlier round labels ground {leak.distance_m:.0f} m from validation or "
        f"test ground of {leak.test_scene} at {leak.lat:.5f}, {leak.lon:.5f}, but split.buffer_m is {buffer_m:g}; "
        "make it again by `thalweg pseudo-label`, and edit it nowhere else"
    )
