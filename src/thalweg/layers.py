"""Rasters of held probabilities of one scene: one member's prediction, and the combination of several members'."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from thalweg import contract, raster
from thalweg.grid import Grid, Window, cut, iter_blocks
from thalweg.infer import Predictor, iter_rows
from thalweg.manifest.scene import NODATA, Scene
from thalweg.maps import BLOCK_PX, PROB_NODATA, create_probs, dequantise, quantise
from thalweg.reducers import Reduce

SPREAD = "disagreement"
"""Name of the last band of a combination."""
_BATCH_PX = 1 << 18
_BAND_PX = 256


def predict_scene(predictor: Predictor, scene: Scene, overlap: float, names: Sequence[str], target: Path) -> None:
    """Predicts a scene into a raster of held probabilities; pixels that are not measured or not valid are nodata.

    Args:
        predictor: A member.
        scene: On the member's grid.
        overlap: Share of a window that overlaps its neighbour.
        names: Class names, the bands' descriptions.
        target: New file; its folder is made.

    Raises:
        ContractError: The scene is not what the member was trained to read.
    """
    contract.check(predictor.card, scene)
    target.parent.mkdir(parents=True, exist_ok=True)
    window_px, shape_yx = predictor.card.window_px, scene.grid.shape_yx
    batch_size = max(_BATCH_PX // window_px**2, 1)
    read = partial(cut, scene.image, fill=NODATA)
    runs = iter_rows(predictor.predict, read, shape_yx, len(names), window_px, overlap, batch_size)
    with create_probs(target, scene.grid, names) as dataset:
        for top, probs in _regrouped(runs, _BAND_PX):
            window = Window(top, 0, probs.shape[1], shape_yx[1])
            dataset.write(quantise(probs, _measured(scene, window)), window=raster.to_rio(window))
            raster.release(scene.image)
            raster.release(scene.valid)


def combine_scene(scene: Scene, members: Sequence[Path], reduce: Reduce, names: Sequence[str], target: Path) -> None:
    """Combines members' rasters into one on the scene's grid, with the members' disagreement as its last band.

    Args:
        scene: On the ensemble's grid; pixels that are not measured or not valid become nodata.
        members: One raster per member, each on its own grid.
        reduce: How they are combined.
        names: Class names.
        target: New file; its folder is made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with create_probs(target, scene.grid, (*names, SPREAD)) as dataset:
        for window in iter_blocks(scene.grid.shape_yx, BLOCK_PX):
            usable = _measured(scene, window)
            if members and usable.any():
                layers = np.stack([read_member(path, scene.grid, window) for path in members])
                dataset.write(combine(layers, usable, reduce), window=raster.to_rio(window))
            raster.release(scene.image)
            raster.release(scene.valid)


def combine(layers: np.ndarray, usable: np.ndarray, reduce: Reduce) -> np.ndarray:
    """Members' held probabilities (M, K, h, w) to (K + 1, h, w): the ensemble's, and the members' disagreement.

    Disagreement is the standard deviation, over members, of the probability of the ensemble's most probable class.

    Args:
        layers: One per member, nodata in all classes alike.
        usable: (h, w) bool; other pixels become nodata.
        reduce: How members are combined.
    """
    measured = layers[:, 0] != PROB_NODATA
    probs = dequantise(layers)
    reduced = reduce(probs, measured)
    top = np.take_along_axis(probs, reduced.argmax(0)[None, None], 1)[:, 0]
    count = np.maximum(measured.sum(0), 1)
    mean = np.where(measured, top, 0).sum(0) / count
    variance = np.where(measured, (top - mean) ** 2, 0).sum(0) / count
    return quantise(np.concatenate([reduced, np.sqrt(variance)[None]]), usable & measured.any(0))


def read_member(path: Path, grid: Grid, window: Window) -> np.ndarray:
    """A member's held probabilities (K, h, w) on a window of another grid.

    From finer to coarser pixels they are averaged, so that all of them count; otherwise interpolated.
    """
    finer = raster.read_grid(path).pixel_m_yx[0] < 0.9 * grid.pixel_m_yx[0]
    return raster.read_onto(path, grid, window, "average" if finer else "bilinear")


def _measured(scene: Scene, window: Window) -> np.ndarray:
    image, valid = scene.image[window.rows, window.cols], scene.valid[window.rows, window.cols]
    return np.asarray((valid != 0) & (image != NODATA).any(-1))


def _regrouped(runs: Iterator[tuple[int, np.ndarray]], rows_px: int) -> Iterator[tuple[int, np.ndarray]]:
    """Runs of rows as bands of `rows_px`, the height of the raster's tiles, so that each tile is compressed once."""
    top, waiting = 0, np.empty((0, 0, 0), np.float32)
    for first, run in runs:
        waiting = run if not waiting.size else np.concatenate([waiting, run], axis=1)
        whole = waiting.shape[1] // rows_px * rows_px
        if whole:
            yield top, waiting[:, :whole]
            waiting = waiting[:, whole:]
        top = first + run.shape[1] - waiting.shape[1]
    if waiting.size:
        yield top, waiting
