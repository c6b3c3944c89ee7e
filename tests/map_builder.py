"""A tiny mappable world for tests: two scenes that overlap, their parts, and members with fresh weights."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
import torch
from scene_builder import make_scene

from thalweg import models, raster
from thalweg.classes import ClassInfo
from thalweg.ensemble import build_map
from thalweg.manifest.card import SCHEMA, ModelCard, Normalisation, write_card
from thalweg.manifest.chips import PARTS, part_path, write_chips
from thalweg.manifest.scene import Scene
from thalweg.params.classes import Classes
from thalweg.params.ensembles import Ensemble

LEGEND = (ClassInfo(name="background", color="#e6e0d4"), ClassInfo(name="channel", color="#1f6fb4"))
CLASSES = Classes(legend=LEGEND)
THIRD = ClassInfo(name="water", color="#000000")
CHANNELS = ("B04", "B8A")


def make_member(folder: Path, scene: Scene, legend=LEGEND, seed: int = 0, window_px: int = 32) -> None:
    """A model directory with fresh weights that `seed` decides."""
    bands = len(scene.record.channels)
    card = ModelCard(
        schema_version=SCHEMA, member=folder.name, architecture="fcn", options={"num_filters": 4},
        architecture_sha256="0" * 64, grid=scene.record.grid, pixel_m=60.0,
        pixel_m_range=(20.0, 60.0), deciles=(), shares=(), channels=scene.record.channels,
        normalisation=Normalisation(mean=(0.18,) * bands, std=(0.05,) * bands), classes=legend, window_px=window_px,
        overlap=0.5, temperature=1.0, calibration=None, preparation={}, metrics={}, epoch=0, git_commit=None, products=(), packages={},
    )  # fmt: skip
    torch.manual_seed(seed)
    network = models.network(card)
    models.save_weights(network.architecture.state_dict(), folder)
    write_card(card, folder)


def make_parts(split: Path, scene: Scene, parts: np.ndarray) -> None:
    path = part_path(split, scene.record.grid, scene.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    target = raster.create_pixels(path, scene.grid, 1, "uint8", None)
    target[:, :, 0] = parts
    target.flush()


def make_chips(split: Path, grid: str, parts: dict[str, np.ndarray]) -> None:
    rows = [
        {"scene": name, "row": 0, "col": 0, "size": 64, "block": "b", "part": part, "valid_fraction": 1.0, "labelled_px": 1}
        for name, pixels in parts.items() for part, value in PARTS.items() if part != "unused" and (pixels == value).any()
    ]  # fmt: skip
    write_chips(pd.DataFrame(rows), split, grid)


def quarters(shape: tuple[int, int]) -> np.ndarray:
    """Left half train, right half val above test."""
    parts = np.full(shape, PARTS["train"], np.uint8)
    parts[: shape[0] // 2, shape[1] // 2 :] = PARTS["val"]
    parts[shape[0] // 2 :, shape[1] // 2 :] = PARTS["test"]
    return parts


class Room:
    """A project in a temporary folder: two scenes that overlap, the first with a cloud where the second is not."""

    def __init__(self, root: Path) -> None:
        self.root = root
        clouded = np.ones((70, 90), np.uint8)
        clouded[20:40, 10:30] = 0
        self.scenes = [
            make_scene(self.grid, "a", shape=(70, 90), seed=1, valid=clouded),
            make_scene(self.grid, "b", origin=(600_000.0 + 80 * 60, 7_000_000.0 - 30 * 60), shape=(64, 64), seed=2),
        ]
        parts = {scene.name: quarters(scene.grid.shape_yx) for scene in self.scenes}
        for scene in self.scenes:
            make_parts(root / "split", scene, parts[scene.name])
        make_chips(root / "split", "g60", parts)
        make_member(root / "models" / "one", self.scenes[0], seed=1)
        make_member(root / "models" / "two", self.scenes[0], seed=2)

    @property
    def grid(self) -> Path:
        return self.root / "scenes" / "g60"

    def build(self, ensemble: Ensemble, classes: Classes = CLASSES, members=None, resume=None, track=None) -> dict:
        build_map("main", ensemble, classes, models=self.root / "models", scenes_root=self.root / "scenes",
                  split=self.root / "split", map_dir=self.root / "map", card_dir=self.root / "card",
                  metrics_path=self.root / "metrics.json", members=members, device="cpu", resume=resume,
                  track=track)  # fmt: skip
        """The map's metrics, and from its card those of its members."""
        card = json.loads((self.root / "card" / "card.json").read_text())
        members = {name: entry["scores"] for name, entry in card["members"].items()}
        return json.loads((self.root / "metrics.json").read_text()) | {"members": members}

    def read(self, name: str) -> np.ndarray:
        with rasterio.open(self.root / "map" / name) as dataset:
            return dataset.read()
