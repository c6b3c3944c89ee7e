"""Where outlines of patches turn or meet: corners of the pixel lattice with the way in and the way out.

A patch keeps its ground at its right hand. Where it touches itself by a corner only, the two places of the ground
outside are kept apart there, so that what it encloses becomes a hole and every ring is simple: a patch hangs together
by pixel edges, so its own ground never needs to pass that corner.
"""

from typing import NamedTuple

import numpy as np

EAST, SOUTH, WEST, NORTH = range(4)
_UPPER_LEFT, _UPPER_RIGHT, _LOWER_LEFT, _LOWER_RIGHT = range(4)
_BESIDE = {
    _UPPER_LEFT: (_UPPER_RIGHT, _LOWER_LEFT, _LOWER_RIGHT),
    _UPPER_RIGHT: (_UPPER_LEFT, _LOWER_RIGHT, _LOWER_LEFT),
    _LOWER_LEFT: (_LOWER_RIGHT, _UPPER_LEFT, _UPPER_RIGHT),
    _LOWER_RIGHT: (_LOWER_LEFT, _UPPER_RIGHT, _UPPER_LEFT),
}
"""Quarter of a corner's surroundings → that beside it, that above or below it, and that across."""
_OUTWARD = {_LOWER_RIGHT: (EAST, SOUTH), _LOWER_LEFT: (SOUTH, WEST), _UPPER_LEFT: (WEST, NORTH),
            _UPPER_RIGHT: (NORTH, EAST)}  # fmt: skip
"""Quarter that alone is the patch's → where its outline goes, and where it comes from; the other way round where it
alone is not."""


class Corners(NamedTuple):
    """Corners of outlines, one per patch and passage."""

    patch: np.ndarray
    """(N,) int32."""
    row: np.ndarray
    """(N,) int32, of the lattice: the upper edge of pixel row 0 is 0."""
    col: np.ndarray
    """(N,) int32."""
    goes: np.ndarray
    """(N,) uint8: direction in which the outline leaves."""
    comes: np.ndarray
    """(N,) uint8: direction from which it arrives."""
    node: np.ndarray
    """(N,) bool: three or more outlines meet here."""

    def kept(self, keep: np.ndarray | slice) -> "Corners":
        """Some of them."""
        return Corners(*(each[keep] for each in self))


def find_corners(patches: np.ndarray, top: int) -> Corners:
    """The corners between each row of patches and the next, in reading order.

    Args:
        patches: (h + 1, W) int32 patch of each pixel, −1 where there is none to draw.
        top: Lattice row between the first two rows.
    """
    framed = np.pad(patches, ((0, 0), (1, 1)), constant_values=-1)
    across, down = framed[:, :-1] != framed[:, 1:], framed[:-1] != framed[1:]
    edges = (
        across[:-1].view(np.int8) + across[1:].view(np.int8) + down[:, :-1].view(np.int8) + down[:, 1:].view(np.int8)
    )
    straight = (across[:-1] & across[1:] & (edges == 2)) | (down[:, :-1] & down[:, 1:] & (edges == 2))
    rows, cols = np.nonzero((edges >= 2) & ~straight)
    around = [framed[rows, cols], framed[rows, cols + 1], framed[rows + 1, cols], framed[rows + 1, cols + 1]]
    at = (rows + top).astype(np.int32), cols.astype(np.int32), edges[rows, cols] > 2
    found = [_passage(around[quarter][there], at, there, *ways) for quarter, there, ways in _passages(around)]
    whole = Corners(*(np.concatenate(each) for each in zip(*found, strict=True)))
    whole = whole.kept(whole.patch >= 0)
    return whole.kept(np.argsort(whole.row.astype(np.int64) * framed.shape[1] + whole.col, kind="stable"))


def _passages(around: list[np.ndarray]) -> list[tuple[int, np.ndarray, tuple[int, int]]]:
    """Quarter whose patch passes, where it does, and where it goes and comes from."""
    found = []
    for quarter, (beside, over, opposite) in _BESIDE.items():
        own = around[quarter]
        beside_own, over_own, opposite_own = (around[other] == own for other in (beside, over, opposite))
        goes, comes = _OUTWARD[quarter]
        found.append((quarter, ~beside_own & ~over_own & ~opposite_own, (goes, comes)))
        found.append((quarter, beside_own & over_own & ~opposite_own, _OUTWARD[opposite][::-1]))
        if quarter in (_UPPER_LEFT, _UPPER_RIGHT):  # touches itself by the corner
            found += [(quarter, ~beside_own & ~over_own & opposite_own, _OUTWARD[gap][::-1]) for gap in (beside, over)]
        meeting = ~opposite_own & (around[over] != around[opposite])
        if quarter in (_UPPER_LEFT, _LOWER_LEFT):
            ways = (WEST, EAST) if quarter == _UPPER_LEFT else (EAST, WEST)
            found.append((quarter, beside_own & ~over_own & meeting, ways))
        meeting = ~opposite_own & (around[beside] != around[opposite])
        if quarter in (_UPPER_LEFT, _UPPER_RIGHT):
            ways = (SOUTH, NORTH) if quarter == _UPPER_LEFT else (NORTH, SOUTH)
            found.append((quarter, over_own & ~beside_own & meeting, ways))
    return found


def _passage(patch: np.ndarray, at: tuple[np.ndarray, ...], there: np.ndarray, goes: int, comes: int) -> Corners:
    row, col, node = (each[there] for each in at)
    return Corners(patch, row, col, np.full(len(row), goes, np.uint8), np.full(len(row), comes, np.uint8), node)
