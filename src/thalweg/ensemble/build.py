"""An ensemble from params: predict, choose on validation, combine, score, write."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio

from thalweg import calibrate
from thalweg.ensemble.combination import combine_as_asked, fits, to_rule
from thalweg.ensemble.job import Job, Track, check_scenes, find_targets, read_members, untracked
from thalweg.ensemble.mapping import between, combine_scenes, write_facts, write_folder
from thalweg.ensemble.predict import predict_members
from thalweg.ensemble.records import write_records
from thalweg.ensemble.score import MAP, sample_members, score
from thalweg.ensemble.validation import Sample
from thalweg.errors import EnsembleError
from thalweg.infer.state import forget
from thalweg.layers import Rule
from thalweg.manifest.calibration import Calibration
from thalweg.manifest.ensembles import Combination
from thalweg.manifest.scene import read_scenes
from thalweg.params.classes import Classes
from thalweg.params.ensembles import Ensemble
from thalweg.scoring import heldout_scenes

_GDAL_CACHE_BYTES = 64 << 20


def build_map(name: str, ensemble: Ensemble, classes: Classes, *, models: Path, scenes_root: Path, split: Path,
              map_dir: Path, card_dir: Path, metrics_path: Path, members: Sequence[str] | None = None,
              device: str = "auto", track: Track | None = None, resume: Path | None = None,
              place: Path | None = None, executor: Executor | None = None) -> None:  # fmt: skip
    """Makes one map, its scores on held-out ground, and its card.

    Args:
        name: Key under `ensembles`.
        ensemble: Its params.
        classes: What the members tell apart.
        models: `models/`.
        scenes_root: `build/scenes`.
        split: `build/split`.
        map_dir: Made here, as `maps.write_map` says.
        card_dir: Made here: card.json.
        metrics_path: JSON with the map's scores per part; the members' on the same pixels are in the card.
        members: Those to use instead of all of the ensemble's, for a salvaged map.
        device: torch's name, or `auto`.
        track: Wraps the scenes of a group of members to show progress, called as `track(scenes, description=…)`.
        resume: Folder for what a killed run can go on with; this map's is removed at the end. None: nothing is kept.
        place: Where `map_dir` will lie in the end; None: where it is.
        executor: Predicts elsewhere, on a disk that both see; None: here.

    Raises:
        EnsembleError: A member is missing or does not fit the classes; no scene matches; or something is to be chosen
            for which validation has no pixel.
        ContractError: A scene is not what a member was trained to read.
    """
    map_dir.mkdir(parents=True, exist_ok=True)
    with workshop(name, map_dir) as scratch:
        job = _prepare(name, ensemble, classes, models, scenes_root, split, members, scratch,
                       place or map_dir)  # fmt: skip
        state = None if resume is None else resume / name / job.fingerprint()
        shifts = predict_members(job, device, track or untracked, state, executor)
        combination, calibration = _choose(job, split)
        rule = to_rule(combination, tuple(job.cards), calibration, between(ensemble))
        windows = combine_scenes(job, rule)
        scored = score(job, split, rule)
        write_folder(job, rule, windows, scored.cuts[MAP], scored.promise, map_dir)
        write_facts(job, combination, map_dir)
        write_records(job, combination, calibration, scored, shifts, card_dir, metrics_path)
        if resume is not None:
            forget(resume / name)  # also what kills left of other params


@contextmanager
def workshop(name: str, map_dir: Path) -> Iterator[Path]:
    """A scratch folder beside the map's, with a small block cache; removed at the end."""
    with (
        rasterio.Env(GDAL_CACHEMAX=_GDAL_CACHE_BYTES),
        tempfile.TemporaryDirectory(prefix=f".{name}.", dir=map_dir.parent) as scratch,
    ):
        yield Path(scratch)


def _prepare(name: str, ensemble: Ensemble, classes: Classes, models: Path, scenes_root: Path, split: Path,
             members: Sequence[str] | None, scratch: Path, place: Path) -> Job:  # fmt: skip
    if ensemble.threshold == "iou" and classes.count != 2:
        raise EnsembleError(
            f"ensemble '{name}' has threshold iou, which is for two classes, but there are {classes.count}; "
            f"set ensembles.{name}.threshold to argmax in params.yaml"
        )
    cards = read_members(name, ensemble.members if members is None else members, models, classes.legend)
    grids = {grid: read_scenes(scenes_root / grid) for grid in {ensemble.grid, *(c.grid for c in cards.values())}}
    scenes = grids[ensemble.grid]
    targets = find_targets(name, ensemble, scenes)
    heldout = tuple(scene for scene in scenes if scene in heldout_scenes(split, ensemble.grid))
    job = Job(name, ensemble, classes.legend, models, cards, grids, targets, heldout, scratch, place)
    check_scenes(job)
    return job


def _choose(job: Job, split: Path) -> tuple[Combination, Calibration | None]:
    """How members are combined and how their combination is calibrated, both from the same validation pixels."""
    kind = job.ensemble.calibrate
    sample = sample_members(job, split) if fits(job.ensemble) or kind != "none" else None
    combination = combine_as_asked(job.ensemble, tuple(job.cards), sample, job.names)
    if sample is None or kind == "none":
        return combination, None
    logits = calibrate.to_logits(_reduced(sample, to_rule(combination, tuple(job.cards), None, ())))
    return combination, calibrate.fit(logits, sample.truth, sample.blocks, sample.scenes, kind, job.names)


def _reduced(sample: Sample, rule: Rule) -> np.ndarray:
    """(N, K) probabilities of the combination."""
    return rule.probs(sample.probs[..., None], sample.measured[..., None])[:, :, 0].T
