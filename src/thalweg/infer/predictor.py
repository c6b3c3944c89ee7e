"""A trained member as a function: windows of stored values in, calibrated probabilities out."""

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from thalweg import models
from thalweg.errors import ParamsError
from thalweg.infer.views import DIHEDRAL, scaled, turned, unscaled, unturned
from thalweg.manifest.card import ModelCard, read_card
from thalweg.manifest.scene import NODATA


class Predicts(Protocol):
    """What a scene is predicted with: a `Predictor`, or anything that does the same."""

    @property
    def card(self) -> ModelCard:
        """The member's."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """(B, h, w, C) stored values → (B, K, h, w) float32 probabilities; the result is the caller's to change."""

    def identity(self) -> str:
        """What tells it from any other that predicts otherwise."""


class Predictor:
    """A trained member: windows in, calibrated probabilities out."""

    def __init__(self, network: nn.Module, card: ModelCard, device: str = "cpu", views: int = 1,
                 scales: Sequence[float] = (1.0,), half: bool = False) -> None:  # fmt: skip
        """Moves a network to where it shall compute.

        Args:
            network: Takes stored values (B, h, w, C), gives logits (B, K, h, w).
            card: The member's.
            device: torch's name, or `auto`: the accelerator if there is one.
            views: 8: the mean of all flips and turns of every window; 1: as it lies.
            scales: Sizes of pixels, in the window's own, at which it is seen; their mean.
            half: Compute in 16 bits where that is safe (torch's autocast), on an accelerator.

        Raises:
            ParamsError: There is no such number of views, a scale is not positive, or the device is not there.
        """
        if views not in (1, len(DIHEDRAL)) or not scales or min(scales) <= 0:
            raise ParamsError(
                f"member '{card.member}' shall predict from {views} views at scales {tuple(scales)}; "
                "views are 1 or 8, scales one or more positive numbers"
            )
        self.card = card
        self.device = to_device(device)
        self.views = views
        self.scales = tuple(scales)
        self.half = half
        self._network = network.to(self.device).eval()
        self._scale, self._shift = to_affine(card, self.device)

    @classmethod
    def load(cls, folder: Path, device: str = "auto", views: int = 1, scales: Sequence[float] = (1.0,),
             half: bool = False) -> "Predictor":  # fmt: skip
        """The member in a model directory.

        Args:
            folder: `models/<member>/`.
            device: torch's name, or `auto`: the accelerator if there is one.
            views: As for the class.
            scales: As for the class.
            half: As for the class.

        Raises:
            CardError: The weights do not fit the card.
            SceneError: The card is missing or broken.
        """
        card = read_card(folder)
        network = models.network(card)
        models.load_weights(network, folder)
        return cls(network, card, device, views, scales, half)

    @torch.inference_mode()
    def predict(self, batch: np.ndarray) -> np.ndarray:
        """(B, h, w, C) stored values → (B, K, h, w) float32 probabilities, the mean over views and scales."""
        windows = torch.from_numpy(np.ascontiguousarray(batch))
        if self.device.type == "cuda":
            windows = windows.pin_memory().to(self.device, non_blocking=True)
        seen = itertools.product(self.scales, DIHEDRAL[: self.views])
        total = self._seen(windows, *next(seen))
        for scale, view in seen:
            total += self._seen(windows, scale, view)
        if (count := len(self.scales) * self.views) > 1:
            total /= count
        return np.asarray(total.cpu().numpy())

    def identity(self) -> str:
        """Hash of weights, card, and how they are used."""
        said = hashlib.sha256(self.card.model_dump_json().encode())
        said.update(repr((self.views, self.scales, self.half, self.device.type)).encode())
        for name, tensor in sorted(self._network.state_dict().items()):
            said.update(name.encode())
            said.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return said.hexdigest()

    def _seen(self, windows: Tensor, scale: float, view: tuple[int, bool]) -> Tensor:
        pixels = windows.to(self.device)
        if scale != 1:
            pixels = scaled(pixels, scale, NODATA)
        probs = unturned(self._probs(turned(pixels, view, (1, 2))), view, (2, 3))
        return probs if scale == 1 else unscaled(probs, (windows.shape[1], windows.shape[2]))

    def _probs(self, pixels: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=self.half):
            logits = self._network(pixels)
        return torch.softmax(logits.float() * self._scale + self._shift, 1)


def to_affine(card: ModelCard, device: torch.device) -> tuple[Tensor, Tensor]:
    """What logits are multiplied with, and what is added, (K, 1, 1) each: the calibration's if it is kept."""
    if card.calibration is not None and card.calibration.kept:
        scale, shift = card.calibration.scale, card.calibration.shift
    else:
        scale, shift = (1 / card.temperature,), (0.0,)
    made = [torch.tensor(values, dtype=torch.float32, device=device)[:, None, None] for values in (scale, shift)]
    return made[0], made[1]


def to_device(name: str) -> torch.device:
    """Where a name of torch's computes; `auto`: the accelerator if there is one.

    Raises:
        ParamsError: This machine has no such device.
    """
    there = _devices()
    wanted = there[-1] if name == "auto" else name
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ParamsError(f"'{name}' is no device that torch knows; give one of auto, {', '.join(there)}") from error
    if wanted not in there and not (device.type == "cuda" and device.index in range(torch.cuda.device_count())):
        raise ParamsError(
            f"there is no device '{name}' for torch on this machine; give one of auto, {', '.join(there)}"
        )
    return device


def _devices() -> list[str]:
    """Kinds of devices that can compute here, the best last."""
    mps, cuda = torch.backends.mps.is_available(), torch.cuda.is_available()
    return ["cpu", *["mps"] * mps, *["cuda"] * cuda]
