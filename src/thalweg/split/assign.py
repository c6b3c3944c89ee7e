"""Blocks to parts: seeded, and stratified so that each part gets its share of the ground of every class.

Source: Sechidis, Tsoumakas, Vlahavas (2011), On the Stratification of Multi-Label Data,
doi:10.1007/978-3-642-23808-6_10: the rarest label first, each example to the part that still wants most of it. Here
examples have areas, and the best of several seeded orders is kept. Time grows with the number of blocks.
"""

import warnings

import numpy as np

from thalweg.errors import DegradedDataWarning, SplitError
from thalweg.split.terrain import FIFTHS, Terrain, fifths

TRIES = 32


def strata(area_m2: np.ndarray, terrain: Terrain | None, stratify: str,
           classes: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:  # fmt: skip
    """What parts get their shares of: (blocks, columns) labelled ground, and what each column is.

    Args:
        area_m2: (blocks, classes) labelled ground.
        terrain: Elevations of the blocks.
        stratify: `classes`, `elevation` (fifths of the labelled ground, by the blocks' mean) or `none` (all of it).
        classes: Names.

    Raises:
        SplitError: No scene has elevations.
    """
    if stratify == "classes":
        return area_m2, tuple(f"class '{name}'" for name in classes)
    whole = area_m2.sum(1)
    if stratify == "none":
        return whole[:, None], ("labelled ground",)
    if terrain is None:
        raise SplitError(
            "split.stratify is elevation, but no scene has the channel 'elevation'; add it to the 'channels' of a "
            "grid, with elevation tiles in 'fetch.elevation', or set split.stratify to classes"
        )
    place = fifths(terrain, whole)
    columns = np.where(place[:, None] == np.arange(FIFTHS + 1), whole[:, None], 0)
    names = tuple(f"fifth {number + 1} of elevations" for number in range(FIFTHS))
    return columns, (*names, "ground of unknown elevation")


def assign(area_m2: np.ndarray, fractions: dict[str, float], seed: int, columns: tuple[str, ...]) -> list[str]:
    """A part for every block.

    Args:
        area_m2: (blocks, columns) labelled ground; rows in an order that does not depend on the scenes' order.
        fractions: Part → share of every column's ground; parts with share 0 get nothing.
        seed: Of the order in which blocks of a column are dealt.
        columns: What each is, for warnings: `class 'water'`.

    Raises:
        SplitError: There are fewer blocks than parts.
    """
    parts = [part for part, share in fractions.items() if share > 0]
    if len(area_m2) < len(parts):
        raise SplitError(
            f"split finds {len(area_m2)} block(s) with labels for the {len(parts)} parts {', '.join(parts)}; "
            "lower split.block_m, or assign whole scenes by split.rules"
        )
    shares = np.array([fractions[part] for part in parts])
    totals = np.maximum(area_m2.sum(0), 1e-9)
    relative = area_m2 / totals
    rng = np.random.default_rng(seed)
    tries = [_deal(relative, shares, rng.uniform(0.3, 1, len(relative))) for _ in range(TRIES)]
    best = min(tries, key=lambda dealt: _badness(dealt, relative, shares))
    _warn_of_gaps(best, relative, parts, columns)
    return [parts[number] for number in best]


def _deal(relative: np.ndarray, shares: np.ndarray, jitter: np.ndarray) -> np.ndarray:
    """(blocks,) part numbers; `jitter` blurs the order from large to small blocks."""
    dealt = np.full(len(relative), -1)
    wants = np.repeat(shares[:, None], relative.shape[1], axis=1)
    has = np.zeros(wants.shape, bool)
    blocks_of = (relative > 0).sum(0)
    for label in np.argsort(np.where(blocks_of > 0, blocks_of, np.inf), kind="stable").tolist():
        order = np.argsort(-relative[:, label] * jitter, kind="stable")
        left = order[(dealt[order] < 0) & (relative[order, label] > 0)].tolist()
        for number, block in enumerate(left):
            part = _hungriest(wants, has[:, label], label, len(left) - number)
            dealt[block] = part
            wants[part] -= relative[block]
            has[part] |= relative[block] > 0
    return dealt


def _hungriest(wants: np.ndarray, has: np.ndarray, label: int, left: int) -> int:
    """The part that wants most of the label; one that has none of it once the blocks left are just enough."""
    lacking = np.flatnonzero(~has).tolist()
    if lacking and left <= len(lacking):
        return min(lacking, key=lambda part: (-wants[part, label], -wants[part].sum(), part))
    most = wants[:, label].max()
    hungry = np.flatnonzero(wants[:, label] == most).tolist()
    return hungry[0] if len(hungry) == 1 else min(hungry, key=lambda part: (-wants[part].sum(), part))


def _badness(dealt: np.ndarray, relative: np.ndarray, shares: np.ndarray) -> tuple[int, float]:
    """Missing (part, class) pairs first, then the shares' distance from what is asked."""
    got = np.stack([relative[dealt == part].sum(0) for part in range(len(shares))])
    present = relative.sum(0) > 0
    return int((got[:, present] == 0).sum()), float(np.abs(got - shares[:, None])[:, present].sum())


def _warn_of_gaps(dealt: np.ndarray, relative: np.ndarray, parts: list[str], columns: tuple[str, ...]) -> None:
    for label, name in enumerate(columns):
        blocks = int((relative[:, label] > 0).sum())
        lacking = [part for number, part in enumerate(parts) if not relative[dealt == number, label].any()]
        if blocks and lacking:
            warnings.warn(
                f"split: {name} lies in {blocks} block(s) only, so {' and '.join(lacking)} get none of it; "
                "lower split.block_m to share it out",
                DegradedDataWarning,
                stacklevel=2,
            )
