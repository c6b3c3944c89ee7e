"""Which rows of the chip table a member trains on, and how often each is drawn: filters, subsets, rare classes."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import shapely

from thalweg.errors import TrainingError
from thalweg.grid import Grid
from thalweg.params.models import Holdout, Member

_SUBSET = 0x7EA1
"""Tells the subset's draw from those of epochs, which start from the same seed."""


def choose(chips: pd.DataFrame, member: Member, grids: Mapping[str, Grid]) -> pd.DataFrame:
    """The rows that are left of `holdout`, `least_valid`, `area`, and `train_prop` or `train_count`, in this order.

    Args:
        chips: Rows of the chip table, all of the training part, with labels.
        member: Whose fields choose.
        grids: Per scene, for where a row lies.

    Raises:
        TrainingError: Nothing is left, or fewer rows than `train_count`.
    """
    left = _side(chips, member.holdout)
    _some(left, f"holdout.share {member.holdout.share if member.holdout else 0:g}", "change it")
    left = left[left["valid_fraction"] >= member.least_valid]
    _some(left, f"least_valid {member.least_valid:g}", "lower it")
    if member.area is not None:
        left = left[_inside(left, member.area, grids)]
        _some(left, "area", "its corners are [longitude, latitude]; correct them")
    return _subset(left, member).reset_index(drop=True)


def weigh(chips: pd.DataFrame, member: Member) -> np.ndarray:
    """How often each row is drawn, in any unit: its labelled pixels, or more for rows that hold a rare class.

    Raises:
        TrainingError: No row holds one.
    """
    weights = chips["labelled_px"].to_numpy(float)
    if member.oversample is None:
        return weights
    columns = [f"px_{name}" for name in member.oversample.classes]
    if unknown := sorted(set(columns) - set(chips.columns)):
        known = ", ".join(name.removeprefix("px_") for name in chips.columns if name.startswith("px_"))
        raise TrainingError(
            f"oversample names {', '.join(name.removeprefix('px_') for name in unknown)}, but the classes are {known}; "
            "correct it"
        )
    rare = chips[columns].to_numpy().sum(1) > 0
    if not rare.any():
        raise TrainingError(
            f"oversample wants {', '.join(member.oversample.classes)}, of which no training chip has a pixel; set it "
            "to null, or change `split`"
        )
    share = weights[rare].sum() / weights.sum()
    if share < member.oversample.share:
        weights[rare] *= member.oversample.share / (1 - member.oversample.share) * (1 - share) / share
    return weights


def other_side(chips: pd.DataFrame, holdout: Holdout | None) -> dict[str, np.ndarray]:
    """Per scene the windows (N, 3: row, column, edge) of the blocks that are the other member's."""
    if holdout is None:
        return {}
    rows = chips.drop(index=_side(chips, holdout).index)
    return {str(scene): each[["row", "col", "size"]].to_numpy() for scene, each in rows.groupby("scene")}


def _side(chips: pd.DataFrame, holdout: Holdout | None) -> pd.DataFrame:
    """Rows of the blocks that are set aside, or of the others: whole blocks, so that neighbours stay together."""
    if holdout is None:
        return chips
    blocks = np.array(sorted(chips["block"].unique()))
    order = np.random.default_rng([holdout.seed, _SUBSET]).permutation(len(blocks))
    aside = blocks[order[: max(round(holdout.share * len(blocks)), 1)]]
    return chips[chips["block"].isin(aside) == (holdout.use == "holdout")]


def alone(chips: pd.DataFrame, member: Member, grids: Mapping[str, Grid]) -> dict[str, np.ndarray] | None:
    """Per scene the windows (N, 3: row, column, edge) whose labels count, where `train_prop` or `train_count` choose.

    Chips are moved by up to half a row's edge: without this a tenth of the rows would show labels of four times the
    ground. None: all labels count.
    """
    if member.train_prop is None and member.train_count is None:
        return None
    rows = choose(chips, member, grids)
    return {str(scene): each[["row", "col", "size"]].to_numpy() for scene, each in rows.groupby("scene")}


def _subset(chips: pd.DataFrame, member: Member) -> pd.DataFrame:
    """A seeded choice of rows that contains every smaller one, in the table's order."""
    if member.train_prop is None and member.train_count is None:
        return chips
    count = member.train_count or max(round((member.train_prop or 1.0) * len(chips)), 1)
    if count > len(chips):
        raise TrainingError(f"train_count is {count}, but there are {len(chips)} training chips; lower it")
    order = _stratified(chips, np.random.default_rng([member.seed, _SUBSET]))
    return chips.iloc[np.sort(order[:count])]


def _stratified(chips: pd.DataFrame, random: np.random.Generator) -> np.ndarray:
    """An order of the rows whose every beginning has its share of each stratum: rows by the rarest class in them."""
    counts = chips[[name for name in chips.columns if name.startswith("px_")]].to_numpy()
    rare_first = np.argsort(counts.sum(0), kind="stable")
    strata = rare_first[(counts[:, rare_first] > 0).argmax(1)]
    key = np.empty(len(chips))
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        key[random.permutation(rows)] = (np.arange(len(rows)) + random.random()) / len(rows)
    return np.argsort(key, kind="stable")


def _inside(chips: pd.DataFrame, area: tuple[tuple[float, float], ...], grids: Mapping[str, Grid]) -> np.ndarray:
    """Whether the centre of each row lies in a polygon; longitudes go round to the polygon's."""
    polygon, inside = shapely.Polygon(area), np.zeros(len(chips), bool)
    scenes, middle = chips["scene"].to_numpy(), chips[["row", "col"]].to_numpy() + chips[["size"]].to_numpy() / 2
    for scene in dict.fromkeys(scenes):
        at = scenes == scene
        lon, lat = grids[scene].lonlat(middle[at, 0], middle[at, 1])
        lon = area[0][0] + (lon - area[0][0] + 180) % 360 - 180
        inside[at] = shapely.contains_xy(polygon, lon, lat)
    return inside


def _some(chips: pd.DataFrame, what: str, remedy: str) -> None:
    if chips.empty:
        raise TrainingError(f"{what} leaves no training chip; {remedy}")
