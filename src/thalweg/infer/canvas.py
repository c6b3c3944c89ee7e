"""Where windows are blended: bands of rows that are handed on, and forgotten, once no window touches them any more."""

from collections.abc import Iterator

import numpy as np

from thalweg.grid import Window
from thalweg.infer.lattice import Lattice


class Canvas:
    """Probabilities of one member over an area, of which only the bands that are being blended are in memory."""

    def __init__(self, lattice: Lattice, classes: int, band_px: int, top: int = 0) -> None:
        """Starts empty.

        Args:
            lattice: The windows to come.
            classes: Planes, K.
            band_px: Rows of a band.
            top: Rows above are of no interest; a multiple of `band_px`.
        """
        self._lattice = lattice
        self._classes = classes
        self._band_px = band_px
        self._following = top // band_px
        self._bands: dict[int, np.ndarray] = {}

    def add(self, window: Window, probs: np.ndarray) -> None:
        """Adds a window's weighted probabilities, (K, h, w) float32, which may reach past the area's edge."""
        inside = window.clip(self._lattice.shape_yx)
        shares = probs[:, : inside.height, : inside.width] * self._lattice.weights(window)
        bottom = inside.row + inside.height
        for number in range(max(inside.row // self._band_px, self._following), -(-bottom // self._band_px)):
            top = number * self._band_px
            first, last = max(inside.row, top), min(bottom, top + self._band_px)
            self._band(number)[:, first - top : last - top, inside.cols] += shares[
                :, first - inside.row : last - inside.row
            ]

    def finished(self, row: int) -> Iterator[tuple[int, np.ndarray]]:
        """First row and (K, rows, W) of each band above a row, from which on windows may still come, in order.

        A band that no window touched is 0 everywhere.
        """
        height = self._lattice.shape_yx[0]
        while (top := self._following * self._band_px) < height and min(top + self._band_px, height) <= row:
            band = self._band(self._following)
            del self._bands[self._following]
            self._following += 1
            yield top, band[:, : height - top]

    def _band(self, number: int) -> np.ndarray:
        if number not in self._bands:
            self._bands[number] = np.zeros((self._classes, self._band_px, self._lattice.shape_yx[1]), np.float32)
        return self._bands[number]
