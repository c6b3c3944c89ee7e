"""Who scored what: members and ensembles side by side, every number read from the metrics files as it stands there.

`metrics/<member>.json` holds `val`, `test` and, where a threshold was chosen on validation, `test_at_threshold`;
`metrics/ensemble/<name>.json` holds `val` and `test`; its card has its members' on the same pixels, and how far their
input was shifted; `metrics/crossval/<member>.json` is a record of its own.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from thalweg.errors import StageError
from thalweg.manifest.crossval import CrossvalScores, read_crossval
from thalweg.params.models import Member

Scores = dict[str, float]
_LOWER_IS_BETTER = frozenset({"ece"})
_SPOKEN = {"miou": "mIoU", "iou": "IoU", "f1": "F1", "ece": "ECE"}


@dataclass(frozen=True)
class Standing:
    """One competitor."""

    name: str
    ensemble: bool
    """A map of several members, or a member alone."""
    parts: dict[str, Scores]
    """`val`, `test`, `test_at_threshold` as in the file; a part without pixels is not there."""
    threshold: float | None
    """Probability of class 1 from which a pixel counts as class 1; None: the most probable class."""
    members: tuple["Standing", ...] = ()
    """Of an ensemble: its members on the same pixels of the map's grid."""
    shift: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of such a member: scene → channel → stability index of its input."""
    pooled_shift: dict[str, float] = field(default_factory=dict)
    """Channel → the same of all the map's scenes together."""
    yardstick: bool = False
    """Gradient boosting, which the others have to beat."""


@dataclass(frozen=True)
class Standings:
    """All that were asked for."""

    rows: tuple[Standing, ...]
    """Ensembles first, then members, each in the order of params.yaml."""
    missing: tuple[str, ...]
    """Names without a metrics file."""
    crossvals: tuple[CrossvalScores, ...] = ()
    """Of the members that were cross-validated."""

    def beaten_by_yardstick(self, row: Standing, key: str) -> Standing | None:
        """The best yardstick whose score in the row's own part (test, else val) the row does not exceed.

        Where both have a threshold from validation, scores at it count, since a cut at 0.5 suits none of them.
        """
        if row.yardstick:
            return None
        for part in ("test_at_threshold", "test", "val"):
            known = [other for other in self.rows if other.yardstick and key in other.parts.get(part, {})]
            if known and key in row.parts.get(part, {}):
                best = max(known, key=lambda other: other.parts[part][key])
                return best if row.parts[part][key] <= best.parts[part][key] else None
        return None

    def best(self, key: str, ensemble: bool) -> Standing | None:
        """The best on *validation*, since a choice made on the test part would flatter it; None if there is none."""
        for part in ("val", "test"):
            scored = [
                (row.parts[part][key], row)
                for row in self.rows
                if row.ensemble == ensemble and not row.yardstick and key in row.parts.get(part, {})
            ]
            if scored:
                return max(scored, key=lambda entry: entry[0])[1]
        return None


def read_standings(
    member_metrics: Path, members: Iterable[str], ensemble_metrics: Path, ensembles: Iterable[str], cards: Path,
    crossval: Iterable[str] = (), yardsticks: Iterable[str] = (),
) -> Standings:  # fmt: skip
    """The standings of all members and ensembles that have a metrics file `<name>.json` in the folder of their kind.

    Ensembles with a card in `cards` bring their members along, scored on the map's pixels. Members that are to be
    cross-validated have a file `crossval/<member>.json` in the members' folder.

    Raises:
        StageError: A file is no JSON or not of the expected shape.
        SceneError: That of a cross-validation does not fit its schema.
    """
    yardsticks = tuple(yardsticks)
    wanted = [(name, ensemble_metrics / f"{name}.json", True) for name in ensembles]
    wanted += [(name, member_metrics / f"{name}.json", False) for name in (*members, *yardsticks)]
    rows = tuple(
        _read(name, path, cards / name / "card.json" if ensemble else None, name in yardsticks and not ensemble)
        for name, path, ensemble in wanted
        if path.is_file()
    )
    folds = {name: member_metrics / "crossval" / f"{name}.json" for name in crossval}
    missing = [name for name, path, _ in wanted if not path.is_file()]
    missing += [f"cross-validation of {name}" for name, path in folds.items() if not path.is_file()]
    return Standings(rows, tuple(missing), tuple(read_crossval(path) for path in folds.values() if path.is_file()))


def leading_key(class_names: Sequence[str]) -> str:
    """The score that a headline names: IoU of the one foreground class, or mIoU of several classes."""
    return f"iou_{class_names[1]}" if len(class_names) == 2 else "miou"


def say_key(key: str) -> str:
    """A score's key as people write it: `iou_water` becomes `IoU water`."""
    return " ".join(_SPOKEN.get(word, word) for word in key.split("_"))


class Line(NamedTuple):
    """A row of a score table."""

    standing: Standing
    note: str
    """What tells it from another row of the same name."""
    values: tuple[float | None, ...]
    """One per key; None where the file has none."""
    leads: tuple[bool, ...]
    """Whether the value is the best of its column."""
    spans: tuple[tuple[float, float] | None, ...]
    """Per value its 95 % interval over blocks of ground, where the file has one."""


def table(rows: Sequence[Standing], part: str, keys: Sequence[str]) -> tuple[Line, ...]:
    """The rows that have scores in a part; a member's scores at its own threshold get a row below its plain ones."""
    found = [(row, "", row.parts[part]) for row in rows if part in row.parts]
    if part == "test":
        tuned = [
            (row, "at its threshold", row.parts["test_at_threshold"])
            for row in rows
            if "test_at_threshold" in row.parts
        ]
        found = sorted(found + tuned, key=lambda entry: rows.index(entry[0]))
    columns = [[scores[key] for _, _, scores in found if key in scores] for key in keys]
    top = [
        (min if key in _LOWER_IS_BETTER else max)(column, default=None)
        for key, column in zip(keys, columns, strict=True)
    ]
    crowded = len(found) > 1
    return tuple(
        Line(row, note, tuple(scores.get(key) for key in keys),
             tuple(crowded and key in scores and scores[key] == best for key, best in zip(keys, top, strict=True)),
             tuple(_span(scores, key) for key in keys))
        for row, note, scores in found
    )  # fmt: skip


def _span(scores: Scores, key: str) -> tuple[float, float] | None:
    low, high = scores.get(f"{key}_lo"), scores.get(f"{key}_hi")
    return None if low is None or high is None else (low, high)


class SeedLine(NamedTuple):
    """Members that differ in their seed alone."""

    members: tuple[str, ...]
    means: tuple[float | None, ...]
    stds: tuple[float | None, ...]
    """Sample standard deviation over the seeds; both one per key, None where a member has no score."""


def over_seeds(rows: Sequence[Standing], members: Mapping[str, Member], part: str,
               keys: Sequence[str]) -> tuple[SeedLine, ...]:  # fmt: skip
    """The spread over seeds, of members that are the same but for it and have scores in a part."""
    groups: dict[str, list[Standing]] = {}
    for row in rows:
        if row.name in members and not row.ensemble and part in row.parts:
            groups.setdefault(members[row.name].model_copy(update={"seed": 0}).model_dump_json(), []).append(row)
    lines = []
    for group in groups.values():
        columns = [[row.parts[part][key] for row in group if key in row.parts[part]] for key in keys]
        full = [column if len(column) == len(group) > 1 else None for column in columns]
        if len(group) > 1:
            means, stds = (tuple(of(column) if column else None for column in full) for of in (fmean, stdev))
            lines.append(SeedLine(tuple(row.name for row in group), means, stds))
    return tuple(lines)


def headline(standings: Standings, class_names: Sequence[str]) -> str:
    """One line: the best map and the best member, on test where there is one, then what was cross-validated."""
    key = leading_key(class_names)
    best = [standings.best(key, ensemble) for ensemble in (True, False)]
    said = [f"{'map' if row.ensemble else 'best member'} {row.name} {_said(row, key)}" for row in best if row]
    said += [_said_of_folds(found, key) for found in standings.crossvals if key in found.pooled]
    return f"{say_key(key)}: {', '.join(said)}" if said else "no scores yet"


def _said_of_folds(found: CrossvalScores, key: str) -> str:
    folds = f"{found.member} over {len(found.folds)} folds {found.pooled[key]:.3f} ± {found.std.get(key, 0.0):.3f}"
    return f"{folds} (a random split would say {found.random[key]:.3f})" if key in found.random else folds


def _said(row: Standing, key: str) -> str:
    parts = [f"{part} {row.parts[part][key]:.3f}" for part in ("test", "val") if key in row.parts.get(part, {})]
    return " / ".join(parts)


def _read(name: str, path: Path, card: Path | None, yardstick: bool) -> Standing:
    try:
        data = json.loads(path.read_text("utf-8"))
        entries = json.loads(card.read_text("utf-8"))["members"] if card and card.is_file() else {}
        members = tuple(
            replace(
                _standing(key, entry["scores"], False, False),
                shift=entry.get("shift", {}),
                pooled_shift=entry.get("pooled_shift", {}),
            )
            for key, entry in entries.items()
        )
        return _standing(name, data, card is not None, yardstick, members)
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise StageError(f"{path} does not hold scores per part ({error}); remove it and run `dvc repro`") from error


def _standing(
    name: str, data: dict[str, Any], ensemble: bool, yardstick: bool, members: tuple[Standing, ...] = ()
) -> Standing:
    parts = {part: data[part] for part in ("val", "test", "test_at_threshold") if data.get(part)}
    parts = {part: {key: float(value) for key, value in scores.items()} for part, scores in parts.items()}
    found = [data.get("threshold"), *(parts.get(part, {}).get("threshold") for part in ("test", "val"))]
    threshold = next((float(value) for value in found if value is not None), None)
    return Standing(name, ensemble, parts, threshold, members, yardstick=yardstick)
