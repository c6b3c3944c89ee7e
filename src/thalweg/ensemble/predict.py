"""The members' predictions, all of one grid in one pass over the pixels, and how far their input is shifted."""

import warnings
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shapely import box
from shapely.geometry.base import BaseGeometry

from thalweg import contract
from thalweg.ensemble.area import read_area
from thalweg.ensemble.job import Job, Track
from thalweg.errors import DegradedDataWarning, EnsembleError
from thalweg.grid import Grid
from thalweg.infer import Predictor
from thalweg.infer.elsewhere import Members, Order, predict_scenes
from thalweg.infer.scene import How, predict_scene
from thalweg.manifest.ensembles import SHIFTED

_AROUND_PX = 4
"""Of the coarsest pixels, around an area: from a member's grid to the scene's and from that to the map's, interpolation
takes two of either at most."""


@dataclass(frozen=True)
class Shift:
    """How far a member's input is distributed otherwise than its training pixels."""

    scenes: dict[str, dict[str, float]]
    """Scene → channel → stability index."""
    pooled: dict[str, float]
    """Channel → index of all scenes of the map together."""


def predict_members(job: Job, device: str, track: Track, state: Path | None,
                    executor: Executor | None = None) -> dict[str, Shift]:  # fmt: skip
    """Predicts every scene by every member; how far the input of each is shifted.

    Args:
        job: What is made.
        device: torch's name, or `auto`.
        track: Shows progress.
        state: Folder that outlives a kill; None: nothing is kept.
        executor: Predicts bands of rows elsewhere; None: scenes one by one, here.

    Raises:
        EnsembleError: The area of interest lies elsewhere.
    """
    _check_area(job)
    groups: dict[str, list[str]] = {}
    for member, card in job.cards.items():
        groups.setdefault(card.grid, []).append(member)
    for grid, members in groups.items():
        shown, tta, kept = f"{', '.join(members)} predict", job.ensemble.tta, None if state is None else state / grid
        if executor is None:
            group = {name: Predictor.load(job.models / name, device, tta.views, tta.scales) for name in members}
            for scene in track(list(job.scenes_of(members[0])), description=shown):
                _predict(job, group, grid, scene, None if kept is None else kept / scene)
        else:
            sent = Members(job.models, tuple(members), device, tta.views, tta.scales)
            orders = [_order(job, sent, grid, scene, kept or job.scratch / "state" / grid)
                      for scene in job.scenes_of(members[0])]  # fmt: skip
            predict_scenes(orders, executor, partial(track, description=shown))
    shifts = {member: _shift(job, member) for member in job.cards}
    for member, shift in shifts.items():
        _warn(member, shift, len(job.targets))
    return shifts


def area_around(job: Job, scene: str, grid: Grid) -> BaseGeometry | None:
    """The area of interest and what its edge takes to be interpolated, in a member's grid's CRS; None: all is wanted.

    A map's pixel may lie inside where no centre of a coarser member's pixel does, and is made of several of them.
    """
    area, onto = area_on(job, grid), job.ensemble.onto
    if area is None:
        return None
    widths_m = [*grid.pixel_m_yx, *job.scenes[scene].grid.pixel_m_yx, *([onto.resolution_m] if onto else [])]
    unit_m = min(grid.pixel_m_yx) / abs(grid.transform.a)
    return area.buffer(_AROUND_PX * max(widths_m) / unit_m)


def area_on(job: Job, grid: Grid) -> BaseGeometry | None:
    """The area of interest in a grid's CRS; None where all is wanted."""
    return None if job.ensemble.area is None else read_area(Path(job.ensemble.area), grid.crs_wkt)


def _check_area(job: Job) -> None:
    areas = [(area_on(job, scene.grid), scene.grid) for scene in (job.scenes[name] for name in job.targets)]
    if not any(area is None or area.intersects(box(*grid.bounds)) for area, grid in areas):
        raise EnsembleError(
            f"{job.ensemble.area}, the area of interest, meets none of the {len(areas)} scenes of ensemble "
            f"'{job.name}' ({', '.join(job.targets[:3])}{', …' if len(areas) > 3 else ''}); give another area, or "
            "other scenes, and check the file's CRS"
        )


def _predict(job: Job, group: Mapping[str, Predictor], grid: str, name: str, state: Path | None) -> None:
    scene = job.grids[grid][name]
    targets = {member: job.member_raster(member, name) for member in group}
    predict_scene(group, scene, _how(job), job.names, targets, area=_wanted(job, name, scene.grid),
                  memory_gib=job.ensemble.memory_gib, state=state)  # fmt: skip


def _order(job: Job, members: Members, grid: str, name: str, kept: Path) -> Order:
    scene = job.grids[grid][name]
    targets = {member: job.member_raster(member, name) for member in members.names}
    return Order.of(members, scene, _how(job), job.names, _wanted(job, name, scene.grid), job.ensemble.memory_gib,
                    kept / name, targets)  # fmt: skip


def _how(job: Job) -> How:
    return How(job.ensemble.overlaps, job.ensemble.blend)


def _wanted(job: Job, name: str, grid: Grid) -> BaseGeometry | None:
    """Held-out ground is scored wherever it lies."""
    return None if name in job.heldout else area_around(job, name, grid)


def _shift(job: Job, member: str) -> Shift:
    card, found = job.cards[member], {}
    pool = contract.Pool(card)
    for name, scene in job.scenes_of(member).items():
        seen = contract.Pool(card)
        seen.add(scene)
        found[name] = seen.index()
        if name in job.targets:
            pool.merge(seen)
    return Shift({name: channels for name, channels in found.items() if channels}, pool.index())


def _warn(member: str, shift: Shift, scenes: int) -> None:
    """Only the map as a whole: single small scenes are of few kinds of ground, and so nearly always unlike the rest."""
    index, channel = max(((index, key) for key, index in shift.pooled.items()), default=(0.0, ""))
    if index > SHIFTED:
        alone = sum(max(channels.values()) > SHIFTED for channels in shift.scenes.values())
        warnings.warn(
            f"the input of member '{member}' is distributed otherwise than its training pixels, most in {channel} "
            f"(stability index {index:.2f} over the map's {scenes} scenes together, above {SHIFTED:g}; {alone} of "
            f"{len(shift.scenes)} scenes differ by themselves): trust the map less",
            DegradedDataWarning, stacklevel=2)  # fmt: skip
