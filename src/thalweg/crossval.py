"""Cross-validates one member over spatial folds, and measures the optimism of a random split.

Each fold is a split of its own: its ground tests, the next fold's validates, the rest trains. A fold that is done is
kept as a few counts below `.cache/crossval/<member>/<fingerprint>/`, so that a killed run goes on where it was; all of
that is removed when the metrics are written.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from thalweg import metrics, resume, train, world
from thalweg.errors import TrainingError
from thalweg.folds import build_fold, build_random
from thalweg.manifest import read_record, write_record
from thalweg.manifest.chips import read_chips
from thalweg.manifest.crossval import CrossvalScores, FoldCounts, write_crossval
from thalweg.manifest.heldout import read_heldout
from thalweg.manifest.scene import scene_files
from thalweg.params.classes import Classes
from thalweg.params.crossval import Crossval
from thalweg.params.models import Member
from thalweg.params.split import Split
from thalweg.params.train import Train

_CODE = (
    "split/*.py",
    "folds.py",
    "distribution.py",
    "examine.py",
    "finish.py",
    "calibrate.py",
    "infer/*.py",
    "places.py",
    "doubt.py",
    "thresholds.py",
    "composite.py",
    "linear.py",
    "crossval.py",
    "contract.py",
    "grid.py",
    "raster.py",
    "manifest/chips.py",
    "manifest/scene.py",
)
_RANDOM = "random"


@dataclass(frozen=True)
class Settings:
    """What params say."""

    member: Member
    crossval: Crossval
    split: Split
    train: Train
    classes: Classes


@dataclass(frozen=True)
class Places:
    """Where a cross-validation reads and writes."""

    scenes_root: Path
    """`build/scenes`."""
    metrics: Path
    """Out: JSON."""
    runs: Path
    """Logs, a folder per fold."""
    cache: Path
    """What a killed run leaves for the next: `.cache/crossval`."""


def cross_validate(name: str, settings: Settings, places: Places) -> None:
    """Trains a member once per fold, and once on a random split if asked for, and writes what they score.

    Args:
        name: The member's key in params.yaml.
        settings: Its params.
        places: Inputs and outs.

    Raises:
        SplitError: Labels or blocks do not suffice for the folds.
        TrainingError: A fold cannot be trained or has no test pixels, another process does the same, or `train` asks
            for several processes.
    """
    if (size := world.read(settings.train).size) > 1:
        raise TrainingError(
            f"crossval.{name}: folds train in one process each, but train asks for {size}; set train.devices and "
            "num_nodes to 1, or leave the member out of crossval"
        )
    with resume.held(places.cache, name):
        home = places.cache / name / _fingerprint(settings, places.scenes_root / settings.member.grid)
        labels = [f"fold-{number}" for number in range(settings.crossval.folds)]
        folds = [_counts(name, label, settings, places, home) for label in labels]
        random = _counts(name, _RANDOM, settings, places, home) if settings.crossval.random else None
        write_crossval(summarise(name, folds, random, settings.classes.names), places.metrics)
        shutil.rmtree(places.cache / name)


def summarise(name: str, folds: Sequence[FoldCounts], random: FoldCounts | None,
              classes: Sequence[str]) -> CrossvalScores:  # fmt: skip
    """Scores of every fold, their mean and spread, those of all folds together, and the optimism."""
    scored = [_scores(counts, classes) for counts in folds]
    columns = {key: np.array([scores[key] for scores in scored if key in scores]) for key in _keys(scored)}
    confusion = np.sum([counts.confusion for counts in folds], axis=0)
    pooled = metrics.scores(confusion, classes)
    pooled["ece"] = metrics.ece(np.sum([counts.reliability for counts in folds], axis=0))
    flattering = _scores(random, classes) if random else {}
    return CrossvalScores(
        member=name,
        folds={str(number): scores for number, scores in enumerate(scored)},
        mean={key: float(values.mean()) for key, values in columns.items()},
        std={key: float(values.std(ddof=1)) if len(values) > 1 else 0.0 for key, values in columns.items()},
        pooled=pooled,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        blocks=len({block for counts in folds for block in counts.blocks}),
        random=flattering,
        optimism={key: flattering[key] - pooled[key] for key in pooled if key in flattering and key != "pixels"},
    )


def _counts(name: str, label: str, settings: Settings, places: Places, home: Path) -> FoldCounts:
    """What one training scores on its test part; kept, so that it is not trained again."""
    kept = home / f"{label}.json"
    if kept.is_file():
        return read_record(FoldCounts, kept, f"remove {home}")
    room = home / label
    split = _build_split(label, settings, places, room)
    inside = train.Places(
        scenes=places.scenes_root / settings.member.grid, split=split, model=room / "model", heldout=room / "heldout",
        history=room / "history.csv", metrics=room / "metrics.json", runs=places.runs / label, resume=room / "resume",
    )  # fmt: skip
    train.train_member(name, settings.member, settings.train, settings.classes, inside)
    parts = read_heldout(inside.heldout).parts
    if "test" not in parts:
        raise TrainingError(
            f"crossval.{name}: the test part of {label} has no labelled, valid pixel; ask for fewer folds, lower "
            "split.block_m, or label more ground"
        )
    chips = read_chips(split, settings.member.grid)
    tested = chips[(chips["part"] == "test") & (chips["labelled_px"] > 0)]
    counts = FoldCounts(confusion=parts["test"].confusion, reliability=parts["test"].reliability,
                        blocks=tuple(sorted(set(tested["block"]))))  # fmt: skip
    write_record(counts, kept)
    shutil.rmtree(room)
    return counts


def _build_split(label: str, settings: Settings, places: Places, room: Path) -> Path:
    """The split of a fold, whole or not at all."""
    split, partial = room / "split", room / "split.part"
    if split.is_dir():
        return split
    shutil.rmtree(partial, ignore_errors=True)
    asked = (places.scenes_root, (settings.member.grid,), settings.split, settings.classes, settings.crossval.folds)
    if label == _RANDOM:
        build_random(*asked, partial)
    else:
        build_fold(*asked, int(label.removeprefix("fold-")), partial)
    partial.replace(split)
    return split


def _scores(counts: FoldCounts, classes: Sequence[str]) -> dict[str, float]:
    return metrics.scores(np.array(counts.confusion), classes) | {"ece": metrics.ece(np.array(counts.reliability))}


def _keys(scored: Sequence[Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(key for scores in scored for key in scores))


def _fingerprint(settings: Settings, scenes: Path) -> str:
    room = Path(__file__).parent
    patterns = (*train.CODE, *_CODE, f"models/{settings.member.model}.py")
    code = {path for pattern in patterns for path in room.glob(pattern)}
    sections = (settings.member, settings.split, settings.train, settings.classes)
    texts = [section.model_dump_json() for section in sections]
    texts += [str(settings.crossval.folds), torch.__version__, *_rasters(scenes)]
    return resume.fingerprint(texts, [*code, *scene_files(scenes), *_lists(settings.split)])


def _rasters(scenes: Path) -> list[str]:
    """What tells a raster from one that was made anew, without reading it: records do not say what is in masks."""
    found = sorted(path for folder in scenes.iterdir() if folder.is_dir() for path in folder.glob("*.tif"))
    return [f"{path.relative_to(scenes)} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in found]


def _lists(split: Split) -> list[Path]:
    """The files of an official split that are there."""
    named = () if split.official is None else (split.official.rules, *split.official.lists.values())
    return [path for name in named if name is not None and (path := Path(split.input, name)).is_file()]
