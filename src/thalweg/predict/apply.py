"""Scenes to a map, by the rooms of the stage ensemble: a model as an ensemble of one, an ensemble as its card says."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import rasterio

from thalweg.ensemble import apply_ensemble
from thalweg.ensemble.area import read_area
from thalweg.ensemble.combination import to_rule
from thalweg.ensemble.job import Job, Track
from thalweg.ensemble.mapping import between, combine_scenes, write_facts, write_folder
from thalweg.errors import ImageError
from thalweg.grid import Grid
from thalweg.infer.area import Area
from thalweg.infer.lattice import How
from thalweg.infer.memory import CACHE_BYTES
from thalweg.infer.predictor import Predicts
from thalweg.infer.scene import predict_scene
from thalweg.manifest.card import ModelCard
from thalweg.manifest.ensembles import Combination
from thalweg.manifest.scene import Scene
from thalweg.params.ensembles import Ensemble, Tta

Tell = Callable[[float], None]
Shown = Callable[[str], AbstractContextManager[Tell]]
"""What shows the progress of a named step, told its share 0…1."""


@dataclass(frozen=True)
class Sweep:
    """Windows, and from how many views each is seen."""

    how: How
    views: int
    scales: Sequence[float]


@dataclass(frozen=True)
class Settings:
    """How images are predicted; what is None or 1 is as the model or the ensemble has it."""

    overlap: float | None
    """Share of a window that overlaps its neighbour."""
    blend: str | None
    views: Literal[1, 8]
    memory_gib: float
    device: str
    aoi: Path | None
    """Vector file: only ground inside is mapped."""

    def area(self, grid: Grid) -> Area | None:
        """What of a grid is wanted; None: all."""
        return None if self.aoi is None else read_area(self.aoi, grid.crs_wkt)

    def how(self, card: ModelCard) -> How:
        """How windows of one model sweep a scene."""
        return How((card.overlap if self.overlap is None else self.overlap,), self.blend or "hann")

    def sweep(self, card: ModelCard, ensemble: Ensemble | None) -> "Sweep":
        """How one model, or every model of an ensemble, sweeps a scene."""
        if ensemble is None:
            return Sweep(self.how(card), self.views, (1.0,))
        said = ensemble.model_copy(update=self.changes())
        return Sweep(How(said.overlaps, said.blend), said.tta.views, said.tta.scales)

    def ensemble_of_one(self, card: ModelCard) -> Ensemble:
        """The params of an ensemble that is one model."""
        how = self.how(card)
        values = {
            "members": [card.member], "grid": card.grid, "scenes": ["*"], "area": self.aoi and str(self.aoi),
            "onto": None, "select": "all", "reducer": "mean", "weights": None, "calibrate": "none",
            "tta": {"views": self.views, "scales": [1]}, "overlaps": list(how.overlaps), "blend": how.blend,
            "memory_gib": self.memory_gib, "threshold": "argmax", "conformal": None,
            "uncertainty": ["entropy", "disagreement"],
            "outputs": {"probs": "uint16", "members": False, "masks": False, "polygons": None, "lines": None},
        }  # fmt: skip
        return Ensemble.model_validate_json(json.dumps(values))

    def changes(self) -> dict[str, Any]:
        """What is said anew of an ensemble's params."""
        said: dict[str, Any] = {"memory_gib": self.memory_gib, "area": self.aoi and str(self.aoi)}
        if self.overlap is not None:
            said["overlaps"] = (self.overlap,)
        if self.blend is not None:
            said["blend"] = self.blend
        if self.views == 8:
            said["tta"] = Tta(views=8, scales=(1.0,))
        return said


@dataclass(frozen=True)
class Target:
    """Where a map is made, and what its item says of places."""

    folder: Path
    """Of the map, to be made."""
    place: Path
    """Where that folder will lie in the end."""
    models: Path
    """Holds the members' model directories by their names."""
    weights: Mapping[str, Path]
    """Member → the file that its weights are to be found in hereafter."""


Fill = Callable[[Scene, Path, Tell], None]
"""Writes a scene's held probabilities to a path, and tells how far it is."""


def filled_by(member: Predicts, settings: Settings, state: Path) -> Fill:
    """Predicts; what is finished outlives a kill in `state`.

    Raises:
        BudgetError: Not even one window fits the memory.
    """
    card = member.card
    names = tuple(info.name for info in card.classes)

    def fill(scene: Scene, path: Path, tell: Tell) -> None:
        area = settings.area(scene.grid)
        predict_scene({card.member: member}, scene, settings.how(card), names, {card.member: path}, area=area,
                      memory_gib=settings.memory_gib, state=state, tell=tell)  # fmt: skip

    return fill


def map_scenes(card: ModelCard, scenes: Mapping[str, Scene], settings: Settings, target: Target, fill: Fill,
               shown: Shown) -> None:  # fmt: skip
    """Writes the folder of a map by one model.

    Args:
        card: The model's.
        scenes: On its grid, by name.
        settings: How they are predicted.
        target: What is made; rasters on the way lie beside its folder.
        fill: Gives the model's probabilities.
        shown: Shows progress.

    Raises:
        ImageError: Several pictures without georeference shall be on one map.
        EnsembleError: Scenes lie too far apart for one map, or the area cannot be read.
        BudgetError: Not even one window fits the memory.
    """
    _check_places(scenes)
    job = Job(card.member, settings.ensemble_of_one(card), card.classes, target.models, {card.member: card},
              {card.grid: scenes}, tuple(scenes), (), target.folder.parent, target.place, target.weights)  # fmt: skip
    for name, scene in scenes.items():
        with shown(f"predicting {name}") as tell:
            fill(scene, job.member_raster(card.member, name), tell)
    alone = Combination(reducer="mean", bag=(card.member,), weights={card.member: 1.0}, stacking=None, picks=(),
                        reason="one model")  # fmt: skip
    with shown("writing the map"), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        rule = to_rule(alone, (card.member,), None, between(job.ensemble))
        target.folder.mkdir(parents=True, exist_ok=True)
        write_folder(job, rule, combine_scenes(job, rule), None, None, target.folder)
        write_facts(job, alone, target.folder)


def map_by_ensemble(card_dir: Path, grids: Mapping[str, Mapping[str, Scene]], settings: Settings, scratch: Path,
                    target: Target, track: Track) -> None:  # fmt: skip
    """Maps scenes as an ensemble's card says.

    Args:
        card_dir: With its card.
        grids: Grid → name → scene.
        settings: How, where it is said anew.
        scratch: What is finished of a prediction outlives a kill here.
        target: What is made.
        track: Shows progress.

    Raises:
        EnsembleError: A member is missing or another.
    """
    for scenes in grids.values():
        _check_places(scenes)
    found = [scene for scenes in grids.values() for scene in scenes.values()]
    apply_ensemble(card_dir, target.models, found, target.folder, changes=settings.changes(), device=settings.device,
                   track=track, resume=scratch / "state", place=target.place, weights=target.weights)  # fmt: skip


def _check_places(scenes: Mapping[str, Scene]) -> None:
    """Pictures without georeference lie at arbitrary places, so no map holds two of them."""
    pictures = [name for name, scene in scenes.items() if not scene.record.georeferenced]
    if pictures and len(scenes) > 1:
        raise ImageError(
            f"{pictures[0]} is a picture without georeference, so its place beside the other {len(scenes) - 1} is "
            "unknown; give --each for a map of each image"
        )
