"""What stays the same while one map is made, and whether it can be made at all."""

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

from thalweg import contract
from thalweg.classes import ClassInfo
from thalweg.errors import DegradedDataWarning, EnsembleError
from thalweg.manifest.card import CARD, ModelCard, read_card
from thalweg.manifest.scene import Scene
from thalweg.maps.provenance import file_sha256, provenance_tags
from thalweg.params.ensembles import Ensemble


class Track(Protocol):
    """Shows progress while it hands its items on, as `rich.progress.track` does."""

    def __call__(self, names: Sequence[str], /, description: str) -> Iterable[str]:
        """The names, one by one."""
        ...


def untracked(names: Sequence[str], /, description: str) -> Iterable[str]:  # noqa: ARG001 - the shape of `Track`
    """Shows nothing."""
    return names


@dataclass(frozen=True)
class Job:
    """One map."""

    name: str
    ensemble: Ensemble
    legend: tuple[ClassInfo, ...]
    models: Path
    cards: dict[str, ModelCard]
    """Members in the order of the ensemble's."""
    grids: Mapping[str, Mapping[str, Scene]]
    """Grid → name → scene, of the ensemble's and of its members' grids."""
    targets: tuple[str, ...]
    """Scenes to map."""
    heldout: tuple[str, ...]
    """Scenes with held-out pixels; empty where nothing is scored."""
    scratch: Path
    place: Path
    """Where the map's folder lies in the end."""
    weights: Mapping[str, Path] = field(default_factory=dict)
    """Member → the file that readers of the map find its weights in, where that is not in `models`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes."""
        return tuple(info.name for info in self.legend)

    @property
    def scenes(self) -> dict[str, Scene]:
        """On the ensemble's grid: those to map and those with held-out pixels."""
        wanted = {*self.targets, *self.heldout}
        return {name: scene for name, scene in self.grids[self.ensemble.grid].items() if name in wanted}

    @property
    def tags(self) -> dict[str, str]:
        """Provenance of the map, for its rasters' tags."""
        folders = {member: self.models / member for member in self.cards}
        return provenance_tags(self.said, self.products, folders)

    @property
    def said(self) -> Any:
        """What the map was asked to be, plain JSON."""
        legend = {"legend": [info.model_dump(mode="json") for info in self.legend]}
        return [legend, self.ensemble.model_dump(mode="json")]

    @property
    def products(self) -> tuple[str, ...]:
        """Products on the map."""
        return tuple(sorted({self.scenes[name].record.product for name in self.targets}))

    def fingerprint(self) -> str:
        """What tells this map from any other, for what is kept through a kill."""
        said = json.dumps([self.tags, self.targets, self.heldout], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def card_sha256(self, member: str) -> str:
        """Of a member's card."""
        return file_sha256(self.models / member / CARD)

    def scenes_of(self, member: str) -> dict[str, Scene]:
        """Those of the map that a member's grid has, sorted by name."""
        there = self.grids[self.cards[member].grid]
        return {name: there[name] for name in sorted(self.scenes) if name in there}

    def member_raster(self, member: str, scene: str) -> Path:
        """Held probabilities of one member on its own grid."""
        return self.scratch / "members" / member / f"{scene}.tif"

    def member_rasters(self, scene: str) -> list[Path | None]:
        """Of each member, None where it lacks the scene."""
        paths = [self.member_raster(member, scene) for member in self.cards]
        return [path if path.exists() else None for path in paths]

    def scene_raster(self, scene: str) -> Path:
        """Held probabilities of the ensemble on its grid."""
        return self.scratch / "scenes" / f"{scene}.tif"

    def scene_between(self, scene: str) -> Path:
        """Doubts that only the members together can tell, on the ensemble's grid."""
        return self.scratch / "scenes" / f"{scene}.between.tif"

    @property
    def map_raster(self) -> Path:
        """Held probabilities of the map."""
        return self.scratch / "probs_plain.tif"

    @property
    def between_raster(self) -> Path:
        """Doubts of the map that only the members together can tell."""
        return self.scratch / "between_plain.tif"

    @property
    def doubts_raster(self) -> Path:
        """All doubts that the map shows."""
        return self.scratch / "doubts_plain.tif"


def read_members(name: str, members: Sequence[str], models: Path, legend: Sequence[ClassInfo]) -> dict[str, ModelCard]:
    """The cards of an ensemble's members.

    Raises:
        EnsembleError: One is missing, or tells other classes apart.
    """
    return {member: _read_member(name, member, models, legend) for member in members}


def find_targets(name: str, ensemble: Ensemble, scenes: Mapping[str, Scene]) -> tuple[str, ...]:
    """Scenes of the ensemble's grid that are to be mapped.

    Raises:
        EnsembleError: No scene matches, or pictures without georeference would share a map.
    """
    targets = tuple(scene for scene in scenes if any(fnmatchcase(scene, pattern) for pattern in ensemble.scenes))
    if not targets:
        raise EnsembleError(
            f"ensemble '{name}' maps scenes {', '.join(ensemble.scenes)}, which match none of "
            f"{', '.join(scenes)} on grid {ensemble.grid}; correct ensembles.{name}.scenes in params.yaml"
        )
    check_places(name, [scenes[scene] for scene in targets])
    return targets


def check_places(name: str, targets: Sequence[Scene]) -> None:
    """Pictures without georeference lie at arbitrary places, so no map holds two of them.

    Raises:
        EnsembleError: This one would.
    """
    pictures = [scene.name for scene in targets if not scene.record.georeferenced]
    if pictures and len(targets) > 1:
        raise EnsembleError(
            f"ensemble '{name}' maps {len(targets)} scenes, of which {len(pictures)} are pictures without georeference "
            f"(such as {pictures[0]}), so their place on one map is unknown; name one scene in ensembles.{name}.scenes "
            "(all held-out scenes are scored all the same)"
        )


def check_scenes(job: Job) -> None:
    """Whether the members can read the scenes; a scene that one lacks is a warning.

    Raises:
        ContractError: A scene is not what a member was trained to read.
        EnsembleError: A scene that is to be mapped is on no member's grid.
    """
    for member, card in job.cards.items():
        there = job.scenes_of(member)
        missing = [name for name in job.scenes if name not in there]
        if missing:
            warnings.warn(
                f"member '{member}' has no scene {', '.join(missing)} on its grid {card.grid}; the map has it without "
                "them", DegradedDataWarning, stacklevel=2)  # fmt: skip
        for scene in there.values():
            contract.check(card, scene)
    lacking = [name for name in job.targets if not any(name in job.scenes_of(member) for member in job.cards)]
    if lacking:
        grids = ", ".join(dict.fromkeys(card.grid for card in job.cards.values()))
        raise EnsembleError(
            f"no member of ensemble '{job.name}' has scene {lacking[0]} on its grid ({grids}), so nothing can be said "
            f"of it; prepare it there, or narrow ensembles.{job.name}.scenes in params.yaml"
        )


def _read_member(name: str, member: str, models: Path, legend: Sequence[ClassInfo]) -> ModelCard:
    if not (models / member / CARD).is_file():
        raise EnsembleError(
            f"{models / member} holds no trained model, but ensemble '{name}' names it; "
            f"run `dvc repro train@{member}` or take it out of ensembles.{name}.members"
        )
    card = read_card(models / member)
    if card.classes != tuple(legend):
        names = ", ".join(info.name for info in legend)
        raise EnsembleError(
            f"{models / member} tells apart {', '.join(info.name for info in card.classes)}, but params.yaml's classes "
            f"are {names} (names, order and colours must agree); run `dvc repro train@{member}`"
        )
    return card
