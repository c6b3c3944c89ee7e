"""The map and its members on held-out ground: readers, thresholds, the promised error rate, and counts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from thalweg import conformal, raster
from thalweg.classes import IGNORE
from thalweg.ensemble.job import Job
from thalweg.ensemble.validation import Sample, collect
from thalweg.grid import Window
from thalweg.layers import Rule, read_member, read_members
from thalweg.manifest.promises import AbstainRule, Kept, SetRule
from thalweg.manifest.scene import Scene
from thalweg.maps import PROB_NODATA, PROB_SCALE, dequantise, quantise
from thalweg.params.ensembles import Promise
from thalweg.places import find_places
from thalweg.scoring import (
    Cut,
    HeldoutWindow,
    ReadHeld,
    Tally,
    choose_cuts,
    choose_thresholds,
    iter_heldout,
    labelled_px,
    tally,
    to_labels,
)

MAP = "."
"""The map among the competitors, whose names are members'."""
RAW = "./raw"
"""The map before its calibration."""


@dataclass(frozen=True)
class Scored:
    """What held-out ground says; all empty where there is none."""

    cuts: dict[str, Cut] = field(default_factory=dict)
    """Competitor → how its labels are found."""
    tallies: dict[str, dict[str, Tally]] = field(default_factory=dict)
    """Competitor → part → counts."""
    promise: SetRule | AbstainRule | None = None
    kept: dict[str, Kept] = field(default_factory=dict)
    """Part → what the promise came to."""


def sample_members(job: Job, split: Path) -> Sample:
    """Validation pixels of all members.

    Raises:
        EnsembleError: There is none.
    """
    readers = {member: _member_reader(job, member) for member in job.cards}
    return _sampled(job, split, readers)


def score(job: Job, split: Path, rule: Rule) -> Scored:
    """Chooses thresholds and the cut-off of a promise on validation, then counts on all held-out ground.

    Args:
        job: Whose rasters are all there.
        split: `build/split`.
        rule: How members were combined.

    Raises:
        EnsembleError: Something is to be chosen, and validation has no pixel for it.
    """
    twins = [member for member in job.cards if _is_map(job, member)]
    members = {member: _member_reader(job, member) for member in job.cards if member not in twins}
    readers = {MAP: _map_reader(job), **members}
    cuts = _choose_cuts(job, split, readers)
    promise = None
    if job.ensemble.conformal:
        promise = _choose_promise(job.ensemble.conformal, _sampled(job, split, {MAP: readers[MAP]}), cuts[MAP])
    if rule.calibration is not None and rule.calibration.kept:
        readers[RAW], cuts[RAW] = _raw_reader(job, rule), cuts[MAP]
    tallies = tally(_windows(job, split, readers), cuts, len(job.names))
    for member in twins:
        cuts[member], tallies[member] = cuts[MAP], tallies[MAP]
    kept = {}
    if promise is not None:
        kept = _count_kept(_windows(job, split, {MAP: readers[MAP]}), cuts[MAP], promise)
    return Scored(cuts, tallies, promise, kept)


def to_thresholds(cut: Cut, names: Sequence[str]) -> dict[str, float]:
    """Class → threshold, as the card has it."""
    if cut is None:
        return {}
    return dict(zip(names, cut, strict=True)) if isinstance(cut, tuple) else {names[1]: cut / PROB_SCALE}


def from_thresholds(thresholds: Mapping[str, float], names: Sequence[str], rule: object) -> Cut:
    """The way back; `rule` is `params.threshold`."""
    if not thresholds:
        return None
    if rule == "iou":
        return round(thresholds[names[1]] * PROB_SCALE)
    return tuple(thresholds[name] for name in names)


def to_doubts(held: np.ndarray, labels: np.ndarray, promise: SetRule | AbstainRule) -> tuple[str, np.ndarray]:
    """Name and values (h, w), 0…1, of the band that tells where a promise costs something."""
    probs = dequantise(held)
    if isinstance(promise, SetRule):
        return "set_size", conformal.to_sets(probs, promise.least).sum(0) / np.float32(len(held))
    return "abstained", conformal.abstains(probs, labels, promise.least).astype(np.float32)


def _windows(job: Job, split: Path, readers: Mapping[str, ReadHeld]) -> Iterator[HeldoutWindow]:
    return iter_heldout([job.scenes[name] for name in job.heldout], split, readers)


def _sampled(job: Job, split: Path, readers: Mapping[str, ReadHeld]) -> Sample:
    scenes = [job.scenes[name] for name in job.heldout]
    return collect(_windows(job, split, readers), tuple(readers), len(job.names), labelled_px(scenes, split, "val"),
                   find_places(scenes))  # fmt: skip


def _choose_cuts(job: Job, split: Path, readers: Mapping[str, ReadHeld]) -> dict[str, Cut]:
    wanted = job.ensemble.threshold
    if wanted == "argmax":
        return dict.fromkeys(readers)
    if wanted == "iou":
        return dict(choose_cuts(_windows(job, split, readers), list(readers)))
    return choose_thresholds(_windows(job, split, readers), list(readers), job.names, wanted)


def _choose_promise(wanted: Promise, sample: Sample, cut: Cut) -> SetRule | AbstainRule:
    probs, groups = sample.probs[0].T, sample.groups[1]
    if wanted.kind == "sets":
        return conformal.choose_sets(probs, sample.truth, groups, wanted.error)
    held = quantise(sample.probs[0][:, :, None], np.ones((len(sample.truth), 1), bool))
    return conformal.choose_abstain(probs, to_labels(held, cut)[:, 0], sample.truth, groups, wanted.error)


def _count_kept(windows: Iterator[HeldoutWindow], cut: Cut, promise: SetRule | AbstainRule) -> dict[str, Kept]:
    counts: dict[str, np.ndarray] = {}
    for window in windows:
        known = window.truth != IGNORE
        held = window.held[MAP][:, known][:, :, None]
        truth, probs = window.truth[known], dequantise(held)[:, :, 0]
        if isinstance(promise, SetRule):
            sets = conformal.to_sets(probs, promise.least)
            wrong, given = ~sets[truth, np.arange(len(truth))], sets
        else:
            labels = to_labels(held, cut)[:, 0]
            given = ~conformal.abstains(probs, labels, promise.least)
            wrong = given & (labels != truth)
        found = np.array([len(truth), wrong.sum(), given.sum()])
        counts[window.part] = counts.get(window.part, np.zeros(3, np.int64)) + found
    return {part: Kept(pixels=int(n), wrong=int(e), given=int(g)) for part, (n, e, g) in sorted(counts.items())}


def _member_reader(job: Job, member: str) -> ReadHeld:
    def read(scene: Scene, window: Window) -> np.ndarray | None:
        path = job.member_raster(member, scene.name)
        return read_member(path, scene.grid, window) if path.exists() else None

    return read


def _on_map(job: Job, scene: str) -> Path:
    """The map where it covers the scene as it is; with an area or a grid of its own, the scene that it is made of."""
    whole = job.ensemble.area is None and job.ensemble.onto is None
    return job.map_raster if scene in job.targets and whole else job.scene_raster(scene)


def _is_map(job: Job, member: str) -> bool:
    """Whether a member's rasters are the map's: then it scores the same."""
    pairs = [(job.member_raster(member, scene), _on_map(job, scene)) for scene in job.heldout]
    return all(ours.exists() and ours.samefile(its) for ours, its in pairs)


def _map_reader(job: Job) -> ReadHeld:
    def read(scene: Scene, window: Window) -> np.ndarray:
        return raster.read_onto(_on_map(job, scene.name), scene.grid, window, "nearest")

    return read


def _raw_reader(job: Job, rule: Rule) -> ReadHeld:
    def read(scene: Scene, window: Window) -> np.ndarray:
        layers = read_members(job.member_rasters(scene.name), len(job.names), scene.grid, window)
        measured = layers[:, 0] != PROB_NODATA
        return quantise(rule.probs(dequantise(layers), measured, raw=True), measured.any(0))

    return read
