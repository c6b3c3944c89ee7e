"""Prediction of areas of any size by overlapping windows, in memory that does not grow with the scene's height.

Windows are blended by a Hann taper that is divided by the exact sum of weights at every pixel, so that a pixel that
only one window sees, at a border or in a scene smaller than a window, has the weight 1 all the same. Windows lie on a
lattice, so the sum of weights is the product of a sum over rows and a sum over columns.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thalweg import models
from thalweg.grid import Window, iter_windows
from thalweg.manifest.card import ModelCard, read_card
from thalweg.manifest.scene import NODATA

Predict = Callable[[np.ndarray], np.ndarray]
"""(B, h, w, C) int16 → (B, K, h, w) float32."""
Read = Callable[[Window], np.ndarray]
"""Window → (h, w, C) int16, nodata past the raster's edge."""

_TAPER_FLOOR = 1e-3
_STRIDE_PX = 32
"""Small scenes get windows that just hold them, in steps that networks divide by."""


def iter_rows(predict: Predict, read: Read, shape_yx: tuple[int, int], classes: int, window_px: int,
              overlap: float, batch_size: int) -> Iterator[tuple[int, np.ndarray]]:  # fmt: skip
    """Predicts an area from its top to its bottom and yields each run of rows as soon as no window touches it.

    Windows without any measurement are not shown to the network: their share of the blend is the uniform
    distribution, and only pixels without a measurement get it.

    Args:
        predict: Windows to probabilities.
        read: Reads one window; it may reach past the edge.
        shape_yx: Rows and columns of the area.
        classes: Number of classes, K.
        window_px: Edge of a window.
        overlap: Share of a window that overlaps its neighbour, 0 ≤ overlap < 1.
        batch_size: Windows per call of `predict`.

    Yields:
        First row and (K, rows, W) float32 probabilities; runs follow each other without a gap.
    """
    height, width = shape_yx
    window_px = min(window_px, math.ceil(max(shape_yx) / _STRIDE_PX) * _STRIDE_PX)
    windows = list(iter_windows(shape_yx, window_px, stride_px(window_px, overlap)))
    taper_y = _tapers({window.row for window in windows}, height, window_px)
    taper_x = _tapers({window.col for window in windows}, width, window_px)
    top, blend = 0, np.zeros((classes, 0, width), np.float32)
    following = windows[batch_size::batch_size]
    for batch, after in itertools.zip_longest(_batches(windows, batch_size), following):
        blend = _grown(blend, min(batch[-1].row + window_px, height) - top)
        for window, probs in zip(batch, _predict(predict, [read(window) for window in batch], classes), strict=True):
            inside = window.clip(shape_yx)
            weights = taper_y[window.row][:, None] * taper_x[window.col]
            rows = slice(inside.row - top, inside.row - top + inside.height)
            blend[:, rows, inside.cols] += probs[:, : inside.height, : inside.width] * weights
        bottom = after.row if after else height
        if bottom > top:
            yield top, blend[:, : bottom - top]
            top, blend = bottom, blend[:, bottom - top :].copy()


def stride_px(window_px: int, overlap: float) -> int:
    """Distance of neighbouring windows, pixels, at least 1."""
    return max(round(window_px * (1 - overlap)), 1)


class Predictor:
    """A trained member: windows in, calibrated probabilities out."""

    def __init__(self, network: nn.Module, card: ModelCard, device: str = "cpu", tta: bool = False) -> None:
        self.card = card
        self.device = torch.device(device)
        self.tta = tta
        self._network = network.to(self.device).eval()

    @classmethod
    def load(cls, folder: Path, device: str = "auto", tta: bool = False) -> "Predictor":
        """The member in a model directory.

        Args:
            folder: `models/<member>/`.
            device: torch's name, or `auto`: the accelerator if there is one.
            tta: Average over the eight flips and turns of every window.

        Raises:
            CardError: The weights do not fit the card.
            SceneError: The card is missing or broken.
        """
        card = read_card(folder)
        network = models.network(card)
        models.load_weights(network, folder)
        return cls(network, card, _accelerator() if device == "auto" else device, tta)

    @torch.inference_mode()
    def predict(self, batch: np.ndarray) -> np.ndarray:
        """(B, h, w, C) int16 → (B, K, h, w) float32 probabilities, softmax of logits / temperature."""
        windows = torch.from_numpy(np.ascontiguousarray(batch)).to(self.device)
        if not self.tta:
            return np.asarray(self._probs(windows).cpu().numpy())
        views = [_turned(self._probs(_turned(windows, turn, flip, (1, 2))), -turn, flip, (2, 3), back=True)
                 for turn, flip in itertools.product(range(4), (False, True))]  # fmt: skip
        return np.asarray(torch.stack(views).mean(0).cpu().numpy())

    def _probs(self, windows: torch.Tensor) -> torch.Tensor:
        logits = self._network(windows).float()
        return torch.softmax(logits / self.card.temperature, 1)


def _turned(tensor: torch.Tensor, turn: int, flip: bool, dims: tuple[int, int], back: bool = False) -> torch.Tensor:
    # Turn, then flip; the way back flips first.
    if flip and back:
        tensor = tensor.flip(dims[1])
    tensor = torch.rot90(tensor, turn, dims)
    if flip and not back:
        tensor = tensor.flip(dims[1])
    return tensor


def _accelerator() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _predict(predict: Predict, windows: Sequence[np.ndarray], classes: int) -> np.ndarray:
    batch = np.stack(windows)
    measured = (batch != NODATA).any(axis=(1, 2, 3))
    probs = np.full((len(batch), classes, *batch.shape[1:3]), 1 / classes, np.float32)
    if measured.any():
        probs[measured] = predict(batch[measured])
    return probs


def _batches(windows: Sequence[Window], size: int) -> Iterator[Sequence[Window]]:
    return (windows[start : start + size] for start in range(0, len(windows), size))


def _grown(blend: np.ndarray, rows: int) -> np.ndarray:
    missing = max(rows - blend.shape[1], 0)
    return np.pad(blend, ((0, 0), (0, missing), (0, 0)))


def _tapers(starts: set[int], length_px: int, size_px: int) -> dict[int, np.ndarray]:
    """Per window start the weights along one axis, clipped to the raster; they sum to 1 over all starts."""
    hann = np.maximum(np.sin(np.pi * (np.arange(size_px) + 0.5) / size_px) ** 2, _TAPER_FLOOR)
    clipped = {start: hann[: max(length_px - start, 0)] for start in starts}
    total = np.zeros(length_px)
    for start, weights in clipped.items():
        total[start : start + len(weights)] += weights
    return {
        start: (weights / total[start : start + len(weights)]).astype(np.float32) for start, weights in clipped.items()
    }
