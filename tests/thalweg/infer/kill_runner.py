"""Predicts a scene and kills itself, as the kernel would, while it predicts a given window: run by test_state.py."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from predict_builder import card_for
from torch import nn

from thalweg.infer import Predictor
from thalweg.infer.scene import How, predict_scene
from thalweg.manifest.scene import Scene

FINISHED = 4
"""Two bands of each member."""


class Mortal(Predictor):
    """Dies in its n-th batch, once the bands that it has finished are on disk."""

    left = 0
    state = Path()

    def predict(self, batch: np.ndarray) -> np.ndarray:
        self.left -= 1
        if self.left == 0:
            while len(list(self.state.glob("*/*.npy"))) < FINISHED:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(batch)


def members(scene: Scene) -> dict[str, Mortal]:
    """Two that differ in window, so that both lattices are in play."""
    found = {}
    for name, window_px in (("one", 64), ("two", 96)):
        torch.manual_seed(window_px)
        network = nn.Sequential(Pixels(), nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))
        found[name] = Mortal(network, card_for(scene, window_px=window_px))
    return found


class Pixels(nn.Module):
    """Stored values to inputs."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.permute(0, 3, 1, 2).float() / 3000


def main(scene_folder: Path, out: Path, state: Path, batches: int) -> None:
    """Predicts, and dies in a batch of the second member."""
    torch.set_num_threads(1)
    scene = Scene(scene_folder)
    group = members(scene)
    group["two"].left, group["two"].state = batches, state
    targets = {name: out / f"{name}.tif" for name in group}
    predict_scene(group, scene, How((0.5, 0.25), "hann"), ("a", "b"), targets, memory_gib=1, state=state)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]), int(sys.argv[4]))
