"""What to know before trusting a score or a map.

That is: the spread over spatial folds, the optimism of a random split, and scenes whose input is distributed otherwise
than a member's training pixels.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from thalweg.manifest.crossval import CrossvalScores
from thalweg.manifest.ensembles import SHIFTED
from thalweg.standings import Standings

MAX_SHIFTED = 50
"""Rows that are shown of shifted input, the farthest first."""


class FoldLine(NamedTuple):
    """A row of the table of cross-validations."""

    member: str
    """Named in the first of its rows, else empty."""
    what: str
    values: tuple[float | None, ...]
    """One per key."""
    signed: bool
    """A difference, whose sign counts."""


class Shifted(NamedTuple):
    """A member that was shown a scene, or a whole map, unlike its training."""

    map: str
    member: str
    scene: str
    """Empty where all scenes of the map are taken together."""
    channels: tuple[tuple[str, float], ...]
    """Those above the limit and their index, the farthest first."""


class Shifts(NamedTuple):
    """All of them."""

    pooled: tuple[Shifted, ...]
    """Maps as a whole, the farthest first: these are to be warned of."""
    rows: tuple[Shifted, ...]
    """Single scenes, the farthest first, `MAX_SHIFTED` at most: small ones are of few kinds of ground, and so often
    unlike the rest."""
    hidden: int
    """How many more there are."""
    measured: int
    """Scenes that members were shown and that could be measured."""
    largest: float
    """The largest index of any channel."""


def fold_lines(crossvals: Sequence[CrossvalScores], keys: Sequence[str]) -> tuple[FoldLine, ...]:
    """Per member: all folds together, their mean and spread, and where it was asked for the random split."""
    lines = []
    for found in crossvals:
        folds = f"{len(found.folds)} folds together, {found.blocks} blocks"
        rows = [
            (folds, found.pooled, False),
            ("mean of the folds", found.mean, False),
            ("their spread", found.std, False),
        ]
        if found.random:
            rows += [("on a random split", found.random, False), ("optimism of that", found.optimism, True)]
        lines += [
            FoldLine(found.member if not number else "", what, tuple(scores.get(key) for key in keys), signed)
            for number, (what, scores, signed) in enumerate(rows)
        ]
    return tuple(lines)


def find_shifts(standings: Standings) -> Shifts:
    """Input of the maps' members that is shifted beyond the limit."""
    members = [(row.name, member) for row in standings.rows for member in row.members]
    pooled = _beyond((name, member.name, "", member.pooled_shift) for name, member in members)
    seen = [(name, member.name, scene, channels) for name, member in members
            for scene, channels in member.shift.items()]  # fmt: skip
    rows = _beyond(seen)
    largest = max((index for *_, channels in seen for index in channels.values()), default=0.0)
    return Shifts(tuple(pooled), tuple(rows[:MAX_SHIFTED]), max(len(rows) - MAX_SHIFTED, 0), len(seen), largest)


def _beyond(seen: Iterable[tuple[str, str, str, Mapping[str, float]]]) -> list[Shifted]:
    rows = [
        Shifted(name, member, scene, tuple(sorted(above.items(), key=lambda entry: -entry[1])))
        for name, member, scene, channels in seen
        if (above := {key: index for key, index in channels.items() if index > SHIFTED})
    ]
    return sorted(rows, key=lambda row: (-row.channels[0][1], row))
