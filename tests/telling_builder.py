"""Scenes whose pixels say their own probabilities, and a real model directory that reads them: maps known beforehand.

The network is the FCN with hand-set weights: every convolution passes its centre on, so that the logits of a pixel are
its stored values, log-probabilities moved up by `UP` to be positive (softmax does not see that).
"""

import json
from pathlib import Path

import numpy as np
import rasterio
import torch
from ensemble_builder import make_ensemble
from map_builder import make_chips, make_parts, quarters
from scene_builder import make_scene

from thalweg import models
from thalweg.classes import ClassInfo
from thalweg.ensemble import build_map
from thalweg.manifest.card import SCHEMA, ModelCard, Normalisation, write_card
from thalweg.manifest.scene import NODATA, Scene
from thalweg.params.classes import Classes

GRID = "g60"
UP = 3.2
LEAST = float(np.exp(-UP))
"""Smallest probability that a pixel can say."""
ATOL = 2e-4
"""Of probabilities that went through int16 logits and uint16."""


def legend(classes: int) -> tuple[ClassInfo, ...]:
    return tuple(ClassInfo(name=f"class{k}", color=f"#{40 + 60 * k:02x}8040") for k in range(classes))


def telling(probs: np.ndarray) -> np.ndarray:
    """Stored values (H, W, K) of probabilities (K, H, W), NaN where there is no measurement."""
    values = np.log(np.maximum(probs, LEAST)) + UP
    return (
        np.where(np.isnan(values), NODATA, np.rint(np.nan_to_num(values) * 10_000)).astype(np.int16).transpose(1, 2, 0)
    )


def any_probs(shape: tuple[int, int], classes: int = 3, seed: int = 3) -> np.ndarray:
    """(K, H, W), different at every pixel, none below `LEAST`."""
    probs = np.random.default_rng(seed).dirichlet(np.ones(classes), shape).transpose(2, 0, 1)
    return (probs + 0.1) / (1 + 0.1 * classes)


def make_telling_scene(root: Path, name: str, probs: np.ndarray, **options) -> Scene:
    channels = tuple(f"told{k}" for k in range(len(probs)))
    made = {"mask": None, "shape": probs.shape[1:]} | options
    return make_scene(root / "scenes" / GRID, name, image=telling(probs), channels=channels, **made)


def make_telling_member(folder: Path, scene: Scene, window_px: int = 32, logit_gain: float = 1.0) -> None:
    """A model directory whose probabilities are those that the pixels say, sharpened by `logit_gain`."""
    count = len(scene.record.channels)
    card = ModelCard(
        schema_version=SCHEMA, member=folder.name, architecture="fcn", options={"num_filters": count},
        architecture_sha256="0" * 64, grid=GRID, pixel_m=60.0, pixel_m_range=(10.0, 60.0), deciles=(), shares=(),
        channels=scene.record.channels, normalisation=Normalisation(mean=(0.0,) * count, std=(1.0,) * count),
        classes=legend(count), window_px=window_px, overlap=0.5, temperature=1.0, calibration=None, preparation={},
        metrics={}, epoch=0, git_commit=None, products=(), packages={},
    )  # fmt: skip
    network = models.network(card)
    with torch.no_grad():
        for name, weights in network.architecture.named_parameters():
            weights.zero_()
            if name.endswith("weight"):
                centre = weights.shape[2] // 2
                weights[:, :, centre, centre] = torch.eye(count) * (logit_gain if name.startswith("last") else 1)
    models.save_weights(network.architecture.state_dict(), folder)
    write_card(card, folder)


class Ground:
    """A project of telling scenes and one telling member, `one`."""

    def __init__(self, root: Path, **probs: np.ndarray) -> None:
        """Scenes by name, side by side from west to east in one row."""
        self.root, self.scenes, col = root, {}, 0
        for name, planes in probs.items():
            self.scenes[name] = self.add(name, planes, col)
            col += planes.shape[2]
        make_telling_member(root / "models" / "one", next(iter(self.scenes.values())))
        self.classes = Classes(legend=legend(len(next(iter(probs.values())))))

    def add(self, name: str, probs: np.ndarray, col: int = 0, **options) -> Scene:
        """A scene whose left edge is `col` pixels east."""
        scene = make_telling_scene(self.root, name, probs, origin=(600_000.0 + 60 * col, 7_000_000.0), **options)
        parts = quarters(scene.grid.shape_yx)
        make_parts(self.root / "split", scene, parts)
        make_chips(self.root / "split", GRID, {name: parts})
        return scene

    def build(self, **changes) -> dict:
        """The map's metrics."""
        made = make_ensemble(threshold=changes.pop("threshold", "argmax"), **changes)
        build_map("main", made, self.classes, models=self.root / "models", scenes_root=self.root / "scenes",
                  split=self.root / "split", map_dir=self.root / "map", card_dir=self.root / "card",
                  metrics_path=self.root / "metrics.json", device="cpu")  # fmt: skip
        return json.loads((self.root / "metrics.json").read_text())

    def read(self, name: str) -> np.ndarray:
        with rasterio.open(self.root / "map" / name) as dataset:
            return dataset.read()

    def probs(self) -> np.ndarray:
        """Of the map, (K, H, W) by the file's own scale, NaN where the file says nodata."""
        with rasterio.open(self.root / "map" / "probs.tif") as dataset:
            held = dataset.read().astype(float)
            held[held == dataset.nodata] = np.nan
            return held * np.array(dataset.scales)[:, None, None] + np.array(dataset.offsets)[:, None, None]
