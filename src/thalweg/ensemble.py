"""Several members, one map: predict, bring onto one grid, combine, mosaic, score, write.

All rasters are streamed through windows, one network is loaded at a time, and what is not yet done lies in a scratch
folder beside the map's: peak memory depends on the width of a scene, not on its height or on the number of members'
scenes.
"""

import hashlib
import json
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

import numpy as np
import rasterio

import thalweg
from thalweg import contract, raster, reducers
from thalweg.errors import DegradedDataWarning, EnsembleError
from thalweg.grid import Window
from thalweg.infer import Predictor
from thalweg.layers import SPREAD, combine_scene, predict_scene, read_member
from thalweg.manifest import write_json
from thalweg.manifest.card import CARD, ModelCard, read_card
from thalweg.manifest.ensembles import SCHEMA, SHIFTED, EnsembleCard, MemberEntry, write_ensemble_card
from thalweg.manifest.provenance import git_commit
from thalweg.manifest.scene import Scene, read_scenes
from thalweg.maps import PROB_SCALE, create_probs, write_layers
from thalweg.mosaic import iter_mosaic, map_grid
from thalweg.params.classes import Classes
from thalweg.params.ensembles import Ensemble
from thalweg.scoring import HELDOUT, HeldoutWindow, ReadHeld, Tally, choose_cuts, heldout_scenes, iter_heldout, tally


class Track(Protocol):
    """Shows progress while it hands its items on, as `rich.progress.track` does."""

    def __call__(self, names: Sequence[str], /, description: str) -> Iterable[str]:
        """The names, one by one."""
        ...


Shifts = dict[str, dict[str, float]]
"""Scene → channel → stability index of the input."""
_GDAL_CACHE_BYTES = 64 << 20
_MAP = "."
"""The map among the competitors, whose names are members'."""


@dataclass(frozen=True)
class Job:
    """What stays the same while one map is made."""

    name: str
    ensemble: Ensemble
    classes: Classes
    models: Path
    scenes_root: Path
    split: Path
    cards: dict[str, ModelCard]
    """Members in the order of the ensemble's."""
    scenes: dict[str, Scene]
    """On the ensemble's grid: those to map and those with held-out pixels."""
    targets: tuple[str, ...]
    """Scenes to map."""
    heldout: tuple[str, ...]
    """Scenes with held-out pixels."""
    scratch: Path

    @property
    def tags(self) -> dict[str, str]:
        """Provenance of the map, for its rasters' tags."""
        params = json.dumps(
            [self.classes.model_dump(mode="json"), self.ensemble.model_dump(mode="json")], sort_keys=True
        )
        return {
            "THALWEG_VERSION": thalweg.__version__,
            "GIT_COMMIT": git_commit() or "unknown",
            "PARAMS_SHA256": hashlib.sha256(params.encode()).hexdigest(),
            "PRODUCTS": " ".join(self.products),
            "MEMBERS": " ".join(f"{member}:{self.card_sha256(member)}" for member in self.cards),
        }

    @property
    def products(self) -> tuple[str, ...]:
        """Products on the map."""
        return tuple(sorted({self.scenes[name].record.product for name in self.targets}))

    def card_sha256(self, member: str) -> str:
        """Of a member's card."""
        return hashlib.sha256((self.models / member / CARD).read_bytes()).hexdigest()

    def member_raster(self, member: str, scene: str) -> Path:
        """Held probabilities of one member on its own grid."""
        return self.scratch / "members" / member / f"{scene}.tif"

    def member_rasters(self, scene: str) -> list[Path]:
        """Of all members that have the scene."""
        return [path for member in self.cards if (path := self.member_raster(member, scene)).exists()]

    def scene_raster(self, scene: str) -> Path:
        """Held probabilities of the ensemble, and as last band the members' disagreement, on the ensemble's grid."""
        return self.scratch / "scenes" / f"{scene}.tif"

    @property
    def map_raster(self) -> Path:
        """Held probabilities of the map."""
        return self.scratch / "probs_plain.tif"

    @property
    def spread_raster(self) -> Path:
        """Disagreement of the map's members."""
        return self.scratch / "spread_plain.tif"


def build_map(name: str, ensemble: Ensemble, classes: Classes, *, models: Path, scenes_root: Path, split: Path,
              map_dir: Path, card_dir: Path, metrics_path: Path, members: Sequence[str] | None = None,
              device: str = "auto", track: Track | None = None) -> None:  # fmt: skip
    """Makes one map, its scores on held-out ground, and its card.

    Args:
        name: Key under `ensembles`.
        ensemble: Its params.
        classes: What the members tell apart.
        models: `models/`.
        scenes_root: `build/scenes`.
        split: `build/split`.
        map_dir: Made here: probs.tif, classes.tif, uncertainty.tif, classes.qml.
        card_dir: Made here: card.json.
        metrics_path: JSON with the map's scores per part; the members' on the same pixels are in the card.
        members: Those to use instead of all of the ensemble's, for a salvaged map.
        device: torch's name, or `auto`.
        track: Wraps the scenes of a member to show progress, called as `track(scenes, description=…)`.

    Raises:
        EnsembleError: A member is missing or does not fit the classes; no scene matches; or a threshold is asked for
            that cannot be chosen.
        ContractError: A scene is not what a member was trained to read.
    """
    map_dir.mkdir(parents=True, exist_ok=True)
    with (
        rasterio.Env(GDAL_CACHEMAX=_GDAL_CACHE_BYTES),
        tempfile.TemporaryDirectory(prefix=f".{name}.", dir=map_dir.parent) as scratch,
    ):
        job = _prepare(name, ensemble, classes, models, scenes_root, split, members, Path(scratch))
        shifts = {member: _predict_member(job, member, device, track or _untracked) for member in job.cards}
        reduce = reducers.load(ensemble.reducer)
        for scene in job.scenes.values():
            combine_scene(scene, job.member_rasters(scene.name), reduce, classes.names, job.scene_raster(scene.name))
        windows = _write_mosaic(job)
        cuts, tallies = _score(job)
        write_layers(job.map_raster, job.spread_raster, windows, cuts[_MAP], classes.legend, job.tags, map_dir)
        _write_records(job, cuts, tallies, shifts, card_dir, metrics_path)


def _prepare(name: str, ensemble: Ensemble, classes: Classes, models: Path, scenes_root: Path, split: Path,
             members: Sequence[str] | None, scratch: Path) -> Job:  # fmt: skip
    if ensemble.threshold == "iou" and classes.count != 2:
        raise EnsembleError(
            f"ensemble '{name}' has threshold iou, which is for two classes, but there are {classes.count}; "
            f"set ensembles.{name}.threshold to argmax in params.yaml"
        )
    cards = {
        member: _read_member(name, member, models, classes)
        for member in (ensemble.members if members is None else members)
    }
    scenes = read_scenes(scenes_root / ensemble.grid)
    targets = tuple(scene for scene in scenes if any(fnmatchcase(scene, pattern) for pattern in ensemble.scenes))
    if not targets:
        raise EnsembleError(
            f"ensemble '{name}' maps scenes {', '.join(ensemble.scenes)}, which match none of "
            f"{', '.join(scenes)} on grid {ensemble.grid}; correct ensembles.{name}.scenes in params.yaml"
        )
    _check_places(name, [scenes[scene] for scene in targets])
    heldout = tuple(scene for scene in scenes if scene in heldout_scenes(split, ensemble.grid))
    kept = {scene: found for scene, found in scenes.items() if scene in {*heldout, *targets}}
    for member, card in cards.items():
        _check_scenes(member, card, kept, scenes_root)
    return Job(name, ensemble, classes, models, scenes_root, split, cards, kept, targets, heldout, scratch)


def _check_places(name: str, targets: Sequence[Scene]) -> None:
    """Pictures without georeference lie at arbitrary places, so no map holds two of them."""
    pictures = [scene.name for scene in targets if not scene.record.georeferenced]
    if pictures and len(targets) > 1:
        raise EnsembleError(
            f"ensemble '{name}' maps {len(targets)} scenes, of which {len(pictures)} are pictures without georeference "
            f"(such as {pictures[0]}), so their place on one map is unknown; name one scene in ensembles.{name}.scenes "
            "(all held-out scenes are scored all the same)"
        )


def _read_member(name: str, member: str, models: Path, classes: Classes) -> ModelCard:
    if not (models / member / CARD).is_file():
        raise EnsembleError(
            f"{models / member} holds no trained model, but ensemble '{name}' names it; "
            f"run `dvc repro train@{member}` or take it out of ensembles.{name}.members"
        )
    card = read_card(models / member)
    if card.classes != classes.legend:
        raise EnsembleError(
            f"{models / member} tells apart {', '.join(info.name for info in card.classes)}, but params.yaml's classes "
            f"are {', '.join(classes.names)} (names, order and colours must agree); run `dvc repro train@{member}`"
        )
    return card


def _check_scenes(member: str, card: ModelCard, wanted: Iterable[str], scenes_root: Path) -> None:
    scenes = read_scenes(scenes_root / card.grid)
    missing = [name for name in wanted if name not in scenes]
    if missing:
        warnings.warn(
            f"member '{member}' has no scene {', '.join(missing)} on its grid {card.grid}; the map has it without them",
            DegradedDataWarning, stacklevel=2)  # fmt: skip
    for name in wanted:
        if name in scenes:
            contract.check(card, scenes[name])


def _untracked(names: Sequence[str], /, description: str) -> Iterable[str]:  # noqa: ARG001 - the shape of `Track`
    return names


def _predict_member(job: Job, member: str, device: str, track: Track) -> Shifts:
    """Predicts the member's scenes; how far the input of each is shifted against its training."""
    scenes = read_scenes(job.scenes_root / job.cards[member].grid)
    predictor = Predictor.load(job.models / member, device, job.ensemble.tta)
    for name in track(sorted(set(job.scenes) & set(scenes)), description=f"{member} predicts"):
        target = job.member_raster(member, name)
        predict_scene(predictor, scenes[name], job.ensemble.overlap, job.classes.names, target)
    found = {name: contract.shift(predictor.card, scenes[name]) for name in sorted(set(job.scenes) & set(scenes))}
    found = {name: channels for name, channels in found.items() if channels}
    _warn_of_shift(member, found)
    return found


def _warn_of_shift(member: str, found: Shifts) -> None:
    shifted = {name for name, channels in found.items() if max(channels.values()) > SHIFTED}
    if shifted:
        index, name, channel = max((index, name, key) for name in shifted for key, index in found[name].items())
        warnings.warn(
            f"the input of member '{member}' is distributed otherwise than its training pixels in {len(shifted)} of "
            f"{len(found)} scenes, most in {channel} of {name} (stability index {index:.2f}, above "
            f"{SHIFTED:g}): trust the map less there",
            DegradedDataWarning, stacklevel=2)  # fmt: skip


def _write_mosaic(job: Job) -> list[Window]:
    scenes = [(job.scenes[name].grid, job.scene_raster(name)) for name in job.targets]
    grid = map_grid([scene for scene, _ in scenes])
    windows = []
    with (
        create_probs(job.map_raster, grid, job.classes.names, job.tags) as probs,
        create_probs(job.spread_raster, grid, (SPREAD,)) as spread,
    ):
        for window, held in iter_mosaic(grid, scenes):
            probs.write(held[:-1], window=raster.to_rio(window))
            spread.write(held[-1:], window=raster.to_rio(window))
            windows.append(window)
    return windows


def _score(job: Job) -> tuple[dict[str, int | None], dict[str, dict[str, Tally]]]:
    readers = {_MAP: _map_reader(job)} | {member: _member_reader(job, member) for member in job.cards}

    def windows() -> Iterator[HeldoutWindow]:
        return iter_heldout([job.scenes[name] for name in job.heldout], job.split, readers)

    cuts: dict[str, int | None] = dict.fromkeys(readers)
    if job.ensemble.threshold == "iou":
        cuts |= choose_cuts(windows(), list(readers))
    return cuts, tally(windows(), cuts, job.classes.count)


def _member_reader(job: Job, member: str) -> ReadHeld:
    def read(scene: Scene, window: Window) -> np.ndarray | None:
        path = job.member_raster(member, scene.name)
        return read_member(path, scene.grid, window) if path.exists() else None

    return read


def _map_reader(job: Job) -> ReadHeld:
    def read(scene: Scene, window: Window) -> np.ndarray:
        if scene.name in job.targets:
            return raster.read_onto(job.map_raster, scene.grid, window, "nearest")
        return raster.read_onto(job.scene_raster(scene.name), scene.grid, window, "nearest")[:-1]

    return read


def _write_records(job: Job, cuts: dict[str, int | None], tallies: dict[str, dict[str, Tally]],
                   shifts: dict[str, Shifts], card_dir: Path, metrics_path: Path) -> None:  # fmt: skip
    thresholds = {name: None if cut is None else cut / PROB_SCALE for name, cut in cuts.items()}
    scores = {name: _scores(job, tallies[name], thresholds[name]) for name in cuts}
    write_json(scores[_MAP], metrics_path)
    card = EnsembleCard(
        schema_version=SCHEMA,
        name=job.name,
        classes=job.classes.legend,
        grid=job.ensemble.grid,
        scenes=job.targets,
        products=job.products,
        members={
            member: _entry(job, member, thresholds[member], scores[member], shifts[member]) for member in job.cards
        },
        reducer=job.ensemble.reducer,
        tta=job.ensemble.tta,
        overlap=job.ensemble.overlap,
        temperature=1.0,
        threshold=thresholds[_MAP],
        scores=scores[_MAP],
        parts={part: counts.record() for part, counts in tallies[_MAP].items()},
        git_commit=git_commit(),
    )
    write_ensemble_card(card, card_dir)


def _scores(job: Job, tallies: dict[str, Tally], threshold: float | None) -> dict[str, dict[str, float]]:
    extra = {} if threshold is None else {"threshold": threshold}
    return {part: tallies[part].scores(job.classes.names) | extra for part in HELDOUT if part in tallies}


def _entry(job: Job, member: str, threshold: float | None, scores: dict[str, dict[str, float]],
           shift: Shifts) -> MemberEntry:  # fmt: skip
    return MemberEntry(
        card_sha256=job.card_sha256(member),
        grid=job.cards[member].grid,
        weight=1 / len(job.cards),
        threshold=threshold,
        scenes=tuple(scene for scene in job.scenes if job.member_raster(member, scene).exists()),
        scores=scores,
        shift=shift,
    )
