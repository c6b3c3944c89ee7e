"""A model directory whose card knows how its scenes are made, the images of its ground, and the command line."""

from pathlib import Path

import torch
from product_builder import BANDS_60M, build, grid_params, index, make_raster, make_safe
from typer.testing import CliRunner

from thalweg import models
from thalweg.classes import ClassInfo
from thalweg.cli import app
from thalweg.manifest.card import SCHEMA, ModelCard, Normalisation, write_card
from thalweg.manifest.scene import Scene

LEGEND = (ClassInfo(name="background", color="#e6e0d4"), ClassInfo(name="channel", color="#1f6fb4"))
BANDS = ("B02", "B03", "B04", "B8A")


def make_model(folder: Path, scene: Scene, seed: int = 0, **changes) -> ModelCard:
    """A small network with fresh weights, with the card that training on the scene would write."""
    bands = len(scene.record.channels)
    values = {
        "schema_version": SCHEMA, "member": folder.name, "architecture": "fcn", "options": {"num_filters": 8},
        "architecture_sha256": "0" * 64, "grid": scene.record.grid, "pixel_m": 60.0, "pixel_m_range": (59.9, 60.1),
        "deciles": (), "shares": (), "channels": scene.record.channels,
        "normalisation": Normalisation(mean=(0.18,) * bands, std=(0.05,) * bands), "classes": LEGEND, "window_px": 32,
        "overlap": 0.5, "temperature": 1.5, "calibration": None, "preparation": scene.record.preparation,
        "metrics": {}, "epoch": 0, "git_commit": None, "products": (scene.record.product,), "packages": {},
    }  # fmt: skip
    card = ModelCard(**(values | changes))
    torch.manual_seed(seed)
    network = models.network(card)
    models.save_weights(network.architecture.state_dict(), folder)
    write_card(card, folder)
    return card


class World:
    """A sample product, its scene on the grid `g`, and the model `models/one` trained on it."""

    def __init__(self, root: Path, scl: tuple[int, ...] = (), **grid) -> None:
        self.root = root
        self.safe = make_safe(root / "raw")
        index(root / "raw", self.safe)
        [self.scene] = build(root, grid_params(scl=scl, bands=BANDS, **grid)).values()
        self.model = root / "models" / "one"
        self.card = make_model(self.model, self.scene)


def call(*words: object) -> str:
    """Output of `thalweg`; an error is raised as it is."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


__all__ = ["BANDS", "BANDS_60M", "LEGEND", "World", "call", "make_model", "make_raster"]
