"""A task of one convolution and a loader of eight chips, for tests of the trainer itself."""

import numpy as np
import torch
from member_builder import member
from torch import nn
from torch.utils.data import DataLoader

from thalweg.manifest.card import Normalisation
from thalweg.manifest.scene import Channel
from thalweg.models import Network
from thalweg.task import SegmentationTask

CHIPS = 8


def loader(batch_size: int) -> DataLoader:
    """Fully labelled chips of two channels, always the same."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 3000, (CHIPS, 8, 8, 2)).astype(np.int16)
    target = (pixels[..., 0] > 1500).astype(np.uint8)
    return DataLoader(
        [(torch.from_numpy(p), torch.from_numpy(t)) for p, t in zip(pixels, target, strict=True)], batch_size
    )


def task(**changes) -> SegmentationTask:
    torch.manual_seed(0)
    channels = [Channel(name=n, wavelength_nm=None, scale=1e-4, offset=0.0, unit="reflectance") for n in "ab"]
    network = Network(nn.Conv2d(2, 2, 3, padding=1), channels, Normalisation(mean=(0.15, 0.15), std=(0.1, 0.1)))
    options = {"augment": {}, "loss": {"cross_entropy": 1.0}, "optimizer": "sgd", "schedule": "constant", "lr": 0.1,
               "weight_decay": 0.0}  # fmt: skip
    return SegmentationTask("m", member(**(options | changes)), network, ("no", "yes"), None)


def weight(made: SegmentationTask) -> np.ndarray:
    return next(made.network.architecture.parameters()).detach().numpy()
