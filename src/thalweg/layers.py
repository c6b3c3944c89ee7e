"""Rasters of held probabilities of one scene: the combination of several members', and how far they disagree."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thalweg import doubt, raster
from thalweg.calibrate import to_logits
from thalweg.grid import Grid, Window, iter_blocks
from thalweg.infer.scene import usable
from thalweg.manifest.calibration import Calibration
from thalweg.manifest.scene import Scene
from thalweg.maps import BLOCK_PX, PROB_NODATA, create_probs, dequantise, quantise
from thalweg.reducers import Reduce

BETWEEN = ("mutual_information", "disagreement")
"""Doubts that only the members together can tell; the others follow from the map's probabilities."""


@dataclass(frozen=True)
class Rule:
    """How members become one."""

    bag: tuple[int, ...]
    """Numbers of the members that are reduced, in order; one that counts twice is there twice."""
    reduce: Reduce
    calibration: Calibration | None = None
    """Of what is reduced."""
    doubts: tuple[str, ...] = ()
    """Of `BETWEEN`: what is told of the members."""
    plain: bool = False
    """A lone member is what comes out, unchanged."""

    def probs(self, probs: np.ndarray, measured: np.ndarray, raw: bool = False) -> np.ndarray:
        """Probabilities (K, …) of members' (M, K, …) where they are measured (M, …).

        Pixels that no member of the bag has get the mean of the others. Raw: before calibration.
        """
        bag, chosen = probs, measured
        if self.bag != tuple(range(len(probs))):
            bag, chosen = probs[list(self.bag)], measured[list(self.bag)]
        reduced = self.reduce(bag, chosen)
        missing = measured.any(0) & ~chosen.any(0)
        if missing.any():
            others = np.where(measured[:, None], probs, 0).sum(0) / np.maximum(measured.sum(0), 1)
            reduced = np.where(missing, others, reduced)
        if raw or self.calibration is None or not self.calibration.kept:
            return np.asarray(reduced, np.float32)
        return self.calibration.apply(to_logits(reduced))


def combine_scene(scene: Scene, members: Sequence[Path | None], rule: Rule, names: Sequence[str], target: Path,
                  between: Path) -> None:  # fmt: skip
    """Combines members' rasters into one on the scene's grid.

    Args:
        scene: On the ensemble's grid; pixels that are not measured or not valid become nodata.
        members: One raster per member, each on its own grid; None where a member lacks the scene.
        rule: How they are combined.
        names: Class names.
        target: New file; its folder is made. A second name of a member's that needs no change.
        between: New file for the rule's doubts, where it has any.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if rule.plain and members[0] is not None and raster.read_grid(members[0]) == scene.grid:
        raster.link(members[0], target)
        return
    with ExitStack() as stack:
        dataset = stack.enter_context(create_probs(target, scene.grid, names))
        doubts = stack.enter_context(create_probs(between, scene.grid, rule.doubts)) if rule.doubts else None
        for window in iter_blocks(scene.grid.shape_yx, BLOCK_PX):
            here = usable(scene, window)
            if here.any() and any(members):
                layers = read_members(members, len(names), scene.grid, window)
                held = combine(layers, here, rule)
                dataset.write(held[: len(names)], window=raster.to_rio(window))
                if doubts:
                    doubts.write(held[len(names) :], window=raster.to_rio(window))
            raster.release(scene.image)
            raster.release(scene.valid)


def combine(layers: np.ndarray, here: np.ndarray, rule: Rule) -> np.ndarray:
    """Members' held probabilities (M, K, h, w) to (K + doubts, h, w): the ensemble's, and how far members disagree.

    Disagreement is the standard deviation, over members, of the probability of the ensemble's most probable class.

    Args:
        layers: One per member, nodata in all classes alike.
        here: (h, w) bool; other pixels become nodata.
        rule: How they are combined.
    """
    measured = layers[:, 0] != PROB_NODATA
    probs = dequantise(layers)
    combined = rule.probs(probs, measured)
    said = np.zeros(len(layers), bool)
    said[list(rule.bag)] = True
    said = np.where((measured & said[:, None, None]).any(0), measured & said[:, None, None], measured)
    found = _between(probs, said, combined.argmax(0), rule.doubts)
    return quantise(np.concatenate([combined, *(found[name][None] for name in rule.doubts)]), here & measured.any(0))


def read_members(members: Sequence[Path | None], classes: int, grid: Grid, window: Window) -> np.ndarray:
    """Held probabilities (M, K, h, w) of several members on a window of one grid, nodata where one lacks the scene."""
    absent = np.full((classes, window.height, window.width), PROB_NODATA, np.uint16)
    return np.stack([absent if path is None else read_member(path, grid, window) for path in members])


def read_member(path: Path, grid: Grid, window: Window) -> np.ndarray:
    """A member's held probabilities (K, h, w) on a window of another grid.

    From finer to coarser pixels they are averaged, so that all of them count; otherwise interpolated.
    """
    finer = raster.read_grid(path).pixel_m_yx[0] < 0.9 * grid.pixel_m_yx[0]
    return raster.read_onto(path, grid, window, "average" if finer else "bilinear")


def _between(probs: np.ndarray, said: np.ndarray, labels: np.ndarray,
             doubts: Sequence[str]) -> Mapping[str, np.ndarray]:  # fmt: skip
    found = {}
    if "disagreement" in doubts:
        top = np.take_along_axis(probs, labels[None, None], 1)[:, 0]
        count = np.maximum(said.sum(0), 1)
        mean = np.where(said, top, 0).sum(0) / count
        found["disagreement"] = np.sqrt(np.where(said, (top - mean) ** 2, 0).sum(0) / count)
    if "mutual_information" in doubts:
        found["mutual_information"] = doubt.mutual_information(probs, said)
    return found
