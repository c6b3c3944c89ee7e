"""What is told of a map: its metrics, and the card from which it can be made again of other scenes."""

from collections.abc import Mapping
from pathlib import Path

from thalweg.ensemble.job import Job
from thalweg.ensemble.predict import Shift
from thalweg.ensemble.score import MAP, RAW, Scored, to_thresholds
from thalweg.manifest import write_json
from thalweg.manifest.calibration import Calibration
from thalweg.manifest.ensembles import SCHEMA, Combination, EnsembleCard, MemberEntry, write_ensemble_card
from thalweg.manifest.provenance import git_commit
from thalweg.scoring import HELDOUT

Scores = dict[str, dict[str, float]]


def write_records(job: Job, combination: Combination, calibration: Calibration | None, scored: Scored,
                  shifts: Mapping[str, Shift], card_dir: Path, metrics_path: Path) -> None:  # fmt: skip
    """Writes the metrics of the map and the ensemble's card."""
    scores = _map_scores(job, calibration, scored)
    write_json(scores, metrics_path)
    raw = scored.tallies.get(RAW, {})
    card = EnsembleCard(
        schema_version=SCHEMA,
        name=job.name,
        classes=job.legend,
        grid=job.ensemble.grid,
        scenes=job.targets,
        products=job.products,
        members={member: _entry(job, member, combination, scored, shifts[member]) for member in job.cards},
        params=job.ensemble,
        combination=combination,
        calibration=calibration,
        thresholds=to_thresholds(scored.cuts[MAP], job.names),
        promise=scored.promise,
        kept=scored.kept,
        scores=scores,
        parts={part: counts.record() for part, counts in scored.tallies[MAP].items()},
        raw_reliability={part: tuple(map(tuple, counts.reliability.tolist())) for part, counts in raw.items()},
        git_commit=git_commit(),
    )
    write_ensemble_card(card, card_dir)


def _map_scores(job: Job, calibration: Calibration | None, scored: Scored) -> Scores:
    """The map's scores; with a calibration asked for, also how far probabilities were to be believed before it."""
    scores = _scores(job, MAP, scored)
    for part in scores:
        if calibration is not None:
            before = scored.tallies.get(RAW, scored.tallies[MAP])[part].belief()
            scores[part] |= {f"{key}_uncalibrated": value for key, value in before.items()}
        if job.ensemble.conformal and part in scored.kept:
            scores[part] |= scored.kept[part].scores(job.ensemble.conformal.kind)
    return scores


def _scores(job: Job, name: str, scored: Scored) -> Scores:
    found = to_thresholds(scored.cuts[name], job.names)
    extra = {"threshold": found[job.names[1]]} if len(found) == 1 else {f"threshold_{k}": t for k, t in found.items()}
    tallies = scored.tallies[name]
    return {part: tallies[part].scores(job.names) | extra for part in HELDOUT if part in tallies}


def _entry(job: Job, member: str, combination: Combination, scored: Scored, shift: Shift) -> MemberEntry:
    return MemberEntry(
        card_sha256=job.card_sha256(member),
        grid=job.cards[member].grid,
        weight=combination.weights[member],
        thresholds=to_thresholds(scored.cuts[member], job.names),
        scenes=tuple(scene for scene in job.scenes if job.member_raster(member, scene).exists()),
        scores=_scores(job, member, scored),
        shift=shift.scenes,
        pooled_shift=shift.pooled,
    )
