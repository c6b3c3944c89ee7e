"""Blocks to parts: seeded, and stratified so that each part gets its share of the ground of every class.

Source: Sechidis, Tsoumakas, Vlahavas (2011), On the Stratification of Multi-Label Data,
doi:10.1007/978-3-642-23808-6_10: the rarest label first, each example to the part that still wants most of it. Here
examples have areas, and the best of several seeded orders is kept.
"""

import warnings

import numpy as np

from thalweg.errors import DegradedDataWarning, SplitError

TRIES = 32


def assign(area_m2: np.ndarray, fractions: dict[str, float], seed: int, classes: tuple[str, ...]) -> list[str]:
    """A part for every block.

    Args:
        area_m2: (blocks, classes) labelled ground; rows in an order that does not depend on the scenes' order.
        fractions: Part → share of every class' ground; parts with share 0 get nothing.
        seed: Of the order in which blocks of a class are dealt.
        classes: Names of the columns.

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
    _warn_of_gaps(best, relative, parts, classes)
    return [parts[number] for number in best]


def _deal(relative: np.ndarray, shares: np.ndarray, jitter: np.ndarray) -> np.ndarray:
    """(blocks,) part numbers; `jitter` blurs the order from large to small blocks."""
    dealt = np.full(len(relative), -1)
    wants = np.repeat(shares[:, None], relative.shape[1], axis=1)
    blocks_of = (relative > 0).sum(0)
    for label in np.argsort(np.where(blocks_of > 0, blocks_of, np.inf), kind="stable"):
        left = [block for block in np.argsort(-relative[:, label] * jitter, kind="stable")
                if dealt[block] < 0 and relative[block, label] > 0]  # fmt: skip
        for number, block in enumerate(left):
            part = _hungriest(dealt, relative[:, label], wants, int(label), len(left) - number)
            dealt[block] = part
            wants[part] -= relative[block]
    return dealt


def _hungriest(dealt: np.ndarray, share: np.ndarray, wants: np.ndarray, label: int, left: int) -> int:
    """The part that wants most of the class; one that has none of it once the blocks left are just enough."""
    order = sorted(range(len(wants)), key=lambda part: (-wants[part, label], -wants[part].sum(), part))
    lacking = [part for part in order if not np.any(share[dealt == part] > 0)]
    return lacking[0] if lacking and left <= len(lacking) else order[0]


def _badness(dealt: np.ndarray, relative: np.ndarray, shares: np.ndarray) -> tuple[int, float]:
    """Missing (part, class) pairs first, then the shares' distance from what is asked."""
    got = np.stack([relative[dealt == part].sum(0) for part in range(len(shares))])
    present = relative.sum(0) > 0
    return int((got[:, present] == 0).sum()), float(np.abs(got - shares[:, None])[:, present].sum())


def _warn_of_gaps(dealt: np.ndarray, relative: np.ndarray, parts: list[str], classes: tuple[str, ...]) -> None:
    for label, name in enumerate(classes):
        blocks = int((relative[:, label] > 0).sum())
        lacking = [part for number, part in enumerate(parts) if not relative[dealt == number, label].any()]
        if blocks and lacking:
            warnings.warn(
                f"split: class '{name}' lies in {blocks} block(s) only, so {' and '.join(lacking)} get none of it; "
                "lower split.block_m to share it out",
                DegradedDataWarning,
                stacklevel=2,
            )
