"""From the members' rasters to the map's folder: combined scene by scene, brought onto the map's grid, and written."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from thalweg import doubt, raster
from thalweg.centrelines import LineRules, write_lines
from thalweg.ensemble.job import Job
from thalweg.ensemble.predict import area_on
from thalweg.ensemble.score import to_doubts
from thalweg.grid import Grid, Window, iter_blocks
from thalweg.infer.area import to_inside
from thalweg.layers import BETWEEN, Rule, combine_scene, read_member
from thalweg.manifest.card import WEIGHTS
from thalweg.manifest.ensembles import Combination
from thalweg.manifest.promises import AbstainRule, SetRule
from thalweg.maps import BLOCK_PX, PROB_NODATA, PROB_SCALE, Look, Parts, create_probs, dequantise, quantise, write_map
from thalweg.maps.catalogue import Facts, write_item
from thalweg.mosaic import iter_mosaic, map_grid
from thalweg.params.ensembles import Ensemble
from thalweg.polygons import Rules, write_polygons
from thalweg.scoring import Cut, to_labels

FROM_PROBS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"entropy": doubt.entropy, "margin": doubt.margin}
"""Doubts that follow from the map's probabilities (K, h, w)."""


def between(ensemble: Ensemble) -> tuple[str, ...]:
    """Doubts asked for that only the members together can tell."""
    return tuple(name for name in BETWEEN if name in ensemble.uncertainty)


def combine_scenes(job: Job, rule: Rule) -> list[Window]:
    """Combines every scene, and brings the targets onto the map; the map's windows that hold anything."""
    for scene in job.scenes.values():
        combine_scene(scene, job.member_rasters(scene.name), rule, job.names, job.scene_raster(scene.name),
                      job.scene_between(scene.name))  # fmt: skip
    grid = map_grid([job.scenes[name].grid for name in job.targets], job.ensemble.onto)
    if rule.doubts:
        _onto_map(job, grid, rule.doubts, job.scene_between, job.between_raster)
    return _onto_map(job, grid, job.names, job.scene_raster, job.map_raster)


def write_folder(job: Job, rule: Rule, windows: Sequence[Window], cut: Cut, promise: SetRule | AbstainRule | None,
                 folder: Path) -> None:  # fmt: skip
    """Writes the map's folder.

    Args:
        job: What is made.
        rule: How members were combined.
        windows: Those of the map that hold anything.
        cut: How labels are found.
        promise: What is told beside the doubts asked for; None: nothing.
        folder: The map's.
    """
    _write_doubts(job, rule, windows, cut, promise)
    outputs = job.ensemble.outputs
    members = {}
    if outputs.members:
        members = {member: _member_on_map(job, member, windows) for member in job.cards}
    look = Look(job.legend, job.tags, partial(to_labels, cut=cut), outputs.probs,
                _mask_cuts(job, cut) if outputs.masks else {})  # fmt: skip
    write_map(Parts(job.map_raster, job.doubts_raster, windows, members), look, folder, job.scratch)
    if polygons := outputs.polygons:
        write_polygons(folder, Rules((), polygons.min_area_m2, polygons.fill_m2, polygons.simplify_m), polygons.formats)
    if lines := outputs.lines:
        wanted = LineRules(lines.name, lines.max_width_m, lines.spur_widths, lines.min_length_m, lines.tolerance_m)
        write_lines(folder, wanted, lines.formats)


def write_facts(job: Job, combination: Combination, folder: Path) -> None:
    """Writes the map's STAC item; pictures without georeference lie nowhere on the ground and have none."""
    scenes = [job.scenes[name].record for name in job.targets]
    if not all(scene.georeferenced for scene in scenes):
        return
    times = [day for scene in scenes for day in (scene.dates or (scene.sensing_time,)) if day]
    members = {
        member: (job.weights.get(member, job.models / member / WEIGHTS), card) for member, card in job.cards.items()
    }
    write_item(folder, Facts(job.name, job.legend, times, job.tags, job.said, members, combination.reducer, job.place))


def _onto_map(job: Job, grid: Grid, names: Sequence[str], of: Callable[[str], Path], target: Path) -> list[Window]:
    """Scenes' rasters onto the map; a whole scene on the map's grid becomes the map without a copy."""
    scenes = [(job.scenes[name].grid, of(name)) for name in job.targets]
    if len(scenes) == 1 and scenes[0][0] == grid and job.ensemble.area is None:
        raster.link(scenes[0][1], target)
        return [window for window in iter_blocks(grid.shape_yx, BLOCK_PX)
                if (raster.read_window(target, window) != PROB_NODATA).any()]  # fmt: skip
    inside = to_inside(area_on(job, grid), grid)
    windows = []
    with create_probs(target, grid, names) as dataset:
        for window, held in iter_mosaic(grid, scenes):
            held[:, ~inside(window)] = PROB_NODATA
            if (held[0] == PROB_NODATA).all():
                continue
            dataset.write(held, window=raster.to_rio(window))
            windows.append(window)
    return windows


def _write_doubts(job: Job, rule: Rule, windows: Sequence[Window], cut: Cut,
                  promise: SetRule | AbstainRule | None) -> None:  # fmt: skip
    grid = raster.read_grid(job.map_raster)
    extra: tuple[str, ...] = ()
    if promise is not None:
        extra = ("set_size",) if isinstance(promise, SetRule) else ("abstained",)
    with create_probs(job.doubts_raster, grid, (*job.ensemble.uncertainty, *extra)) as dataset:
        for window in windows:
            held = raster.read_onto(job.map_raster, grid, window, "nearest")
            there = held[0] != PROB_NODATA
            bands = _between(job, rule, window, there)
            probs = dequantise(held)
            probs /= np.maximum(probs.sum(0), np.float32(1e-6))
            for name in job.ensemble.uncertainty:
                if name in FROM_PROBS:
                    bands[name] = quantise(FROM_PROBS[name](probs)[None], there)[0]
            if promise is not None:
                _, values = to_doubts(held, to_labels(held, cut), promise)
                bands[extra[0]] = quantise(values[None], there)[0]
            found = np.stack([bands[name] for name in (*job.ensemble.uncertainty, *extra)])
            dataset.write(found, window=raster.to_rio(window))


def _between(job: Job, rule: Rule, window: Window, there: np.ndarray) -> dict[str, np.ndarray]:
    """Doubts between members; a member by itself agrees with itself."""
    none = dict.fromkeys(between(job.ensemble), np.where(there, np.uint16(0), np.uint16(PROB_NODATA)))
    if not rule.doubts:
        return none
    bands = tuple(range(1, len(rule.doubts) + 1))
    return dict(zip(rule.doubts, raster.read_window(job.between_raster, window, bands), strict=True))


def _member_on_map(job: Job, member: str, windows: Sequence[Window]) -> Path:
    """One member's probabilities on the map's grid, where its scenes overlap their mean, as the map's are."""
    grid, path = raster.read_grid(job.map_raster), job.scratch / "shown" / f"{member}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    scenes = [(job.scenes[name].grid, _member_on_scene(job, member, name)) for name in job.targets
              if job.member_raster(member, name).exists()]  # fmt: skip
    wanted = set(windows)
    with create_probs(path, grid, job.names) as dataset:
        for window, held in iter_mosaic(grid, scenes):
            if window in wanted:
                there = raster.read_onto(job.map_raster, grid, window, "nearest")[0] != PROB_NODATA
                held[:, ~there] = PROB_NODATA
                dataset.write(held, window=raster.to_rio(window))
    return path


def _member_on_scene(job: Job, member: str, name: str) -> Path:
    source, grid = job.member_raster(member, name), job.scenes[name].grid
    if _same(raster.read_grid(source), grid):
        return source
    target = job.scratch / "shown" / member / f"{name}.tif"
    target.parent.mkdir(parents=True, exist_ok=True)
    with create_probs(target, grid, job.names) as dataset:
        for window in iter_blocks(grid.shape_yx, BLOCK_PX):
            dataset.write(read_member(source, grid, window), window=raster.to_rio(window))
    return target


def _same(one: Grid, other: Grid) -> bool:
    return one.offset_px(other) == (0, 0) and one.shape_yx == other.shape_yx


def _mask_cuts(job: Job, cut: Cut) -> dict[str, int]:
    """Class → least held value that counts as the class; one half where labels have no threshold."""
    if isinstance(cut, tuple):
        return {name: round(value * PROB_SCALE) for name, value in zip(job.names, cut, strict=True)}
    if cut is not None:
        return {job.names[0]: PROB_SCALE - cut + 1, job.names[1]: cut}
    return dict.fromkeys(job.names, PROB_SCALE // 2)
