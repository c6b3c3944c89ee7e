"""The holdout member's loss on every training pixel, computed once and kept by a fingerprint.

Source: Mindermann et al. 2022, https://arxiv.org/abs/2206.07137, section 3 (irreducible losses are computed once).
"""

import hashlib
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from thalweg import models
from thalweg.active.costs import of_forward
from thalweg.classes import IGNORE
from thalweg.dataset.chips import ChipReader
from thalweg.errors import CardError
from thalweg.grid import Window, cut
from thalweg.infer import Predictor, iter_rows
from thalweg.infer.lattice import How, Lattice
from thalweg.manifest.card import WEIGHTS, read_card
from thalweg.manifest.scene import NODATA, Scene

PART = "train"
_BATCH_PX = 1 << 18
_FLOOR = 1e-6


class Irreducible:
    """Loss maps of one holdout member on the scenes of a grid."""

    def __init__(self, folder: Path, reader: ChipReader, cache: Path) -> None:
        """Takes the holdout member's directory, the scenes with their split, and where maps are kept.

        Raises:
            CardError: The holdout member was trained on another grid.
        """
        card = read_card(folder)
        grids = sorted({scene.record.grid for scene in reader.scenes.values()})
        if [card.grid] != grids:
            raise CardError(
                f"{folder} was trained on grid {card.grid}, but is to judge chips of grid {', '.join(grids)}; name a "
                "member of that grid in 'after'"
            )
        self._folder, self._reader = folder, reader
        weights = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        keys = {name: _key(f"{weights}\n{card.model_dump_json()}", scene, reader)
                for name, scene in reader.scenes.items() if scene.mask is not None}  # fmt: skip
        self._paths = {name: cache / f"{key}.npy" for name, key in keys.items() if key}
        self._maps: dict[str, np.ndarray] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What a loader process gets: it opens its own maps, which would be sent pixel by pixel."""
        return self.__dict__ | {"_maps": {}}

    def build(self, device: str = "auto") -> int:
        """Makes the maps that are missing; how many those were."""
        missing = [name for name, path in self._paths.items() if not path.exists()]
        if missing:
            predictor = Predictor.load(self._folder, device)
            for name in missing:
                _write(_losses(predictor, self._reader, name), self._paths[name])
        return len(missing)

    def flops(self) -> int:
        """Operations that all maps take, whoever made them: forward passes over the windows that are looked at."""
        card = read_card(self._folder)
        network, each = models.network(card), dict[int, int]()
        total = 0
        for name in self._paths:
            lattice = Lattice.over(
                self._reader.scenes[name].grid.shape_yx, card.window_px, How((card.overlap,), "hann")
            )
            shown = sum(
                bool((self._reader.target(name, window, PART) != IGNORE).any())
                for top in lattice.tops
                for window in lattice.windows(top)
            )
            edge = lattice.window_px
            if edge not in each:
                each[edge] = of_forward(network, torch.zeros(1, edge, edge, len(card.channels)))
            total += shown * each[edge]
        return total

    def mean(self, scene: str, window: Window, wanted: np.ndarray | None = None) -> float:
        """Mean loss over the labelled training pixels of a window, of those `wanted` (h, w); nats, NaN without any."""
        if scene not in self._maps:  # a plain view of the map: slicing np.memmap itself costs more than a chip's mean
            self._maps[scene] = np.asarray(np.load(self._paths[scene], mmap_mode="r"))
        losses = cut(self._maps[scene], window, fill=float("nan"))
        known = (losses.ravel() if wanted is None else losses[wanted]).astype(np.float32)
        total = float(np.add.reduce(known))
        if math.isnan(total):
            known = known[~np.isnan(known)]
            total = float(np.add.reduce(known))
        return total / known.size if known.size else float("nan")


def _losses(predictor: Predictor, reader: ChipReader, name: str) -> np.ndarray:
    """(H, W) float16 loss of every labelled training pixel, NaN elsewhere.

    What is withheld from training is not shown, and windows without such a pixel are not looked at.
    """

    def read(window: Window) -> np.ndarray:
        pixels, target = reader.read(name, window, PART)
        return pixels if (target != IGNORE).any() else np.full_like(pixels, NODATA)

    scene = reader.scenes[name]
    shape_yx, card = scene.grid.shape_yx, predictor.card
    losses = np.full(shape_yx, np.nan, np.float16)
    runs = iter_rows(predictor.predict, read, shape_yx, len(card.classes), card.window_px, card.overlap,
                     max(_BATCH_PX // card.window_px**2, 1))  # fmt: skip
    for top, probs in runs:
        target = reader.target(name, Window(top, 0, probs.shape[1], shape_yx[1]), PART)
        known = target != IGNORE
        picked = np.take_along_axis(probs, np.where(known, target, 0)[None].astype(np.int64), 0)[0]
        losses[top : top + probs.shape[1]][known] = -np.log(np.maximum(picked[known], _FLOOR))
    return losses


def _key(member: str, scene: Scene, reader: ChipReader) -> str:
    """Of everything that a loss map follows from; empty where there is no labelled training pixel."""
    target = reader.target(scene.name, Window(0, 0, *scene.grid.shape_yx), PART)
    if not (target != IGNORE).any():
        return ""
    digest = hashlib.sha256(f"{member}\n{scene.record.model_dump_json()}\n".encode())
    for plane in (reader.parts(scene.name), target):
        digest.update(np.ascontiguousarray(plane).tobytes())
    return digest.hexdigest()


def _write(losses: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_name(f".{path.name}.part{os.getpid()}")  # members with one judge may train side by side
    with partial_path.open("wb") as file:
        np.save(file, losses)
    partial_path.replace(path)
