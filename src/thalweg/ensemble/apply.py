"""A finished ensemble on other scenes: everything from its card, nothing fitted, nothing scored."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from thalweg.ensemble.build import workshop
from thalweg.ensemble.combination import to_rule
from thalweg.ensemble.job import Job, Track, check_places, check_scenes, read_members, untracked
from thalweg.ensemble.mapping import between, combine_scenes, write_facts, write_folder
from thalweg.ensemble.predict import Shift, predict_members
from thalweg.ensemble.score import from_thresholds
from thalweg.errors import EnsembleError
from thalweg.infer.state import forget
from thalweg.manifest.ensembles import EnsembleCard, read_ensemble_card
from thalweg.manifest.scene import Scene


def apply_ensemble(card_dir: Path, models: Path, scenes: Sequence[Scene], map_dir: Path, *,
                   changes: Mapping[str, object] | None = None, device: str = "auto", track: Track | None = None,
                   resume: Path | None = None, place: Path | None = None,
                   weights: Mapping[str, Path] | None = None) -> dict[str, Shift]:  # fmt: skip
    """Maps scenes as the ensemble of a card maps them: to the same pixels as its stage would.

    Args:
        card_dir: With the ensemble's card.json.
        models: Folder with the members' model directories, by their names.
        scenes: Of all the grids that the members read; those of one place have one name. All on the ensemble's grid
            are mapped.
        map_dir: Made here, as `maps.write_map` says.
        changes: Of the ensemble's params, such as `area`, `onto`, `outputs`, `memory_gib`; what was fitted stays.
        device: torch's name, or `auto`.
        track: Wraps the scenes of a group of members to show progress.
        resume: Folder for what a killed run can go on with.
        place: Where the map's folder will lie in the end; None: where it is made.
        weights: Member → the file that readers of the map find its weights in; None: in `models`.

    Returns:
        Member → how far its input is shifted.

    Raises:
        EnsembleError: A member is missing or other than the card's, or no scene lies on the ensemble's grid.
        ContractError: A scene is not what a member was trained to read.
    """
    card = read_ensemble_card(card_dir)
    map_dir.mkdir(parents=True, exist_ok=True)
    with workshop(card.name, map_dir) as scratch:
        job = _prepare(card, models, scenes, changes or {}, scratch, place or map_dir)
        job = replace(job, weights=weights or {})
        rule = to_rule(card.combination, tuple(job.cards), card.calibration, between(job.ensemble))
        state = None if resume is None else resume / job.fingerprint()
        shifts = predict_members(job, device, track or untracked, state)
        windows = combine_scenes(job, rule)
        cut = from_thresholds(card.thresholds, job.names, card.params.threshold)
        write_folder(job, rule, windows, cut, card.promise, map_dir)
        write_facts(job, card.combination, map_dir)
        if state is not None:
            forget(state)
    return shifts


def _prepare(card: EnsembleCard, models: Path, scenes: Sequence[Scene], changes: Mapping[str, object],
             scratch: Path, place: Path) -> Job:  # fmt: skip
    params = card.params.model_copy(update=dict(changes))
    members = read_members(card.name, tuple(card.members), models, card.classes)
    grids: dict[str, dict[str, Scene]] = {grid: {} for grid in {card.grid, *(each.grid for each in members.values())}}
    for scene in scenes:
        grids.setdefault(scene.record.grid, {})[scene.name] = scene
    targets = tuple(grids[card.grid])
    if not targets:
        given = ", ".join(sorted({scene.record.grid for scene in scenes})) or "none"
        raise EnsembleError(
            f"ensemble '{card.name}' maps scenes of grid {card.grid}, but those given are of {given}; "
            "prepare the products on that grid"
        )
    check_places(card.name, [grids[card.grid][name] for name in targets])
    job = Job(card.name, params, card.classes, models, members, grids, targets, (), scratch, place)
    for member, entry in card.members.items():
        if job.card_sha256(member) != entry.card_sha256:
            raise EnsembleError(
                f"{models / member} is not the model that ensemble '{card.name}' was fitted with (its card.json "
                "differs); copy the members' directories as they were, or run `dvc repro ensemble` again"
            )
    check_scenes(job)
    return job
