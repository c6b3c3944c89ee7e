"""How good a model is on any labelled scenes: the metrics of training, per scene and in all."""

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from thalweg import raster
from thalweg.classes import IGNORE
from thalweg.errors import DegradedDataWarning, ImageError
from thalweg.grid import Window, iter_blocks
from thalweg.infer.lattice import How
from thalweg.infer.predictor import Predicts
from thalweg.infer.scene import predict_scene
from thalweg.manifest.card import ModelCard
from thalweg.manifest.scene import Scene
from thalweg.maps import BLOCK_PX, PROB_NODATA
from thalweg.predict.apply import Shown
from thalweg.scoring import HeldoutWindow, Tally

_TILE = re.compile(r"_(T\d{2}[A-Z]{3})_")
_PART = "all"


def evaluate(member: Predicts, scenes: Mapping[str, Scene], how: How, memory_gib: float, block_px: int, scratch: Path,
             shown: Shown) -> dict[str, Any]:  # fmt: skip
    """Scores of a member on labelled scenes, as JSON.

    Args:
        member: What predicts.
        scenes: On its grid, by name.
        how: How windows sweep them.
        memory_gib: Budget beside the model.
        block_px: Edge of the blocks that intervals are drawn from.
        scratch: For rasters on the way.
        shown: Shows progress.

    Returns:
        `all`: `metrics.scores` with ECE and intervals; `scenes`: the same of each scene; `confusion`: rows truth,
        columns prediction; `classes`; `blocks_px`; `trained_on`: scenes of products that trained the model.

    Raises:
        ImageError: No scene has a labelled pixel that the model can read.
    """
    labelled = {name: scene for name, scene in scenes.items() if scene.mask is not None}
    names = [info.name for info in member.card.classes]
    seen = warn_of_training(member.card, labelled)
    total, each = Tally(len(names)), {}
    for name, scene in labelled.items():
        target = scratch / f"{name}.tif"
        with shown(f"predicting {name}") as tell:
            predict_scene({member.card.member: member}, scene, how, names, {member.card.member: target},
                          memory_gib=memory_gib, tell=tell)  # fmt: skip
        each[name] = Tally(len(names))
        for window, held in _windows(scene, target, block_px, len(total.blocks)):
            total.add(window, held, None)
            each[name].add(window, held, None)
        target.unlink()
    if not total.confusion.any():
        raise ImageError(
            f"none of the {len(scenes)} scenes has a labelled pixel that the model can read; give masks that lie on "
            "them by --masks, and check --zero and --values"
        )
    return {
        "model": member.card.member, "classes": names, "all": total.scores(names),
        "scenes": {name: tally.scores(names) for name, tally in each.items()},
        "confusion": total.confusion.tolist(), "blocks_px": block_px, "trained_on": list(seen),
    }  # fmt: skip


def warn_of_training(card: ModelCard, scenes: Mapping[str, Scene]) -> tuple[str, ...]:
    """Names of the scenes whose products trained the model, with a warning; and one for other dates of their tiles."""
    trained = {product for joined in card.products for product in joined.split(", ")}
    tiles = {match[1] for product in trained if (match := _TILE.search(product))}
    same = tuple(name for name, scene in scenes.items() if trained & set(scene.record.product.split(", ")))
    near = tuple(
        name for name, scene in scenes.items()
        if name not in same and (match := _TILE.search(scene.record.product)) and match[1] in tiles
    )  # fmt: skip
    if same:
        warnings.warn(
            f"{', '.join(same)}: products that trained '{card.member}' themselves; scores on them say how well it "
            "remembers, unless the masks cover only ground of its test part",
            DegradedDataWarning, stacklevel=2)  # fmt: skip
    if near:
        warnings.warn(
            f"{', '.join(near)}: other dates of tiles that trained '{card.member}'; where masks cover ground that it "
            "learnt from, scores are no test",
            DegradedDataWarning, stacklevel=2)  # fmt: skip
    return same


def to_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """For the terminal: a row per class, then per scene."""
    scores, names = found["all"], found["classes"]
    yield f"{found['model']}: {scores['pixels']:.0f} labelled pixels in {len(found['scenes'])} scenes"
    yield f"{'class':24} {'IoU':>7} {'F1':>7} {'precis.':>7} {'recall':>7}  95 % of IoU"
    for name in names:
        if f"iou_{name}" in scores:
            row = " ".join(f"{scores[f'{key}_{name}']:7.4f}" for key in ("iou", "f1", "precision", "recall"))
            yield f"{name:24} {row}  {_between(scores, f'iou_{name}')}"
    yield (
        f"{'in all':24} mIoU {scores['miou']:.4f} ({_between(scores, 'miou')}), accuracy {scores['accuracy']:.4f}, "
        f"ECE {scores['ece']:.4f}"
    )
    for name, one in found["scenes"].items():
        yield f"{name}: mIoU {one['miou']:.4f}, accuracy {one['accuracy']:.4f}, {one['pixels']:.0f} pixels"


def _between(scores: Mapping[str, float], key: str) -> str:
    if f"{key}_lo" not in scores:
        return "no interval: one block"
    return f"{scores[f'{key}_lo']:.4f} to {scores[f'{key}_hi']:.4f}"


def _windows(scene: Scene, target: Path, block_px: int, first: int) -> Iterator[tuple[HeldoutWindow, np.ndarray]]:
    """Windows that hold labels, with the held probabilities; blocks are numbered from `first` on."""
    across = -(-scene.grid.shape_yx[1] // block_px)
    if scene.mask is None:
        return
    for window in iter_blocks(scene.grid.shape_yx, BLOCK_PX):
        held = raster.read_onto(target, scene.grid, window, "nearest")
        known = (held[0] != PROB_NODATA) & (scene.valid[window.rows, window.cols] != 0)
        truth = np.where(known, scene.mask[window.rows, window.cols], np.uint8(IGNORE))
        if (truth != IGNORE).any():
            yield HeldoutWindow(scene.name, _PART, truth, {}, first + _blocks(window, block_px, across), window), held


def _blocks(window: Window, block_px: int, across: int) -> np.ndarray:
    rows = np.arange(window.row, window.row + window.height) // block_px
    cols = np.arange(window.col, window.col + window.width) // block_px
    return np.asarray(rows[:, None] * across + cols)
