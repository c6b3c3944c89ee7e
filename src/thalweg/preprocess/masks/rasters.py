"""Masks of pixels, drawn onto parts of a scene's grid: files of codes or colours, and a product's band of codes."""

from collections.abc import Callable

import numpy as np

from thalweg import raster
from thalweg.classes import IGNORE
from thalweg.grid import Grid, Window
from thalweg.preprocess.masks.files import MaskFile
from thalweg.preprocess.masks.meaning import OUTSIDE, Meaning, Strange, class_ids, ids_of_colors
from thalweg.preprocess.masks.place import read_onto


class Raster:
    """A mask of pixels: a file, or a band of the product."""

    def __init__(self, name: str, where: str, read: Callable[[Window], np.ndarray], source: Grid, target: Grid,
                 meaning: Meaning, palette: dict[int, int] | None = None, alpha: bool = False,
                 nodata: float | None = None) -> None:  # fmt: skip
        self.name = name
        self._where = where
        self._read = read
        self._source, self._target = source, target
        self._meaning, self._palette, self._alpha = meaning, palette, alpha
        self._nodata = nodata
        self._strange = Strange()
        self.ground: int | None = None
        self.reached, self._nothing = False, True
        self._shares = False

    def ids(self, part: Window) -> np.ndarray:
        """As `Drawing` says."""
        values, inside = read_onto(self._read, self._source, self._target.crop(part))
        ids = np.full(inside.shape, OUTSIDE, np.uint8)
        if not inside.any():
            return ids
        if self._alpha:
            inside &= values[-1] != 0
            values = values[:-1]
        self.reached |= bool(inside.any())
        self._nothing &= len(values) == 1 and not values[:, inside].any()
        self._shares |= values.dtype.kind == "f"
        ids[inside] = self._meant(values[:, inside])
        return ids

    def _meant(self, values: np.ndarray) -> np.ndarray:
        """Class ids (n,) of values (B, n)."""
        if len(values) == 3:
            return ids_of_colors(values, self._meaning, self._strange)
        return class_ids(values[0], self._meaning, self._strange, self._palette, self._nodata)

    def finish(self) -> list[str]:
        """As `Drawing` says."""
        shares = self._shares and self._meaning.threshold is None
        self._strange.check(
            self._where, self._meaning, hint="; of shares or probabilities, set masks.threshold" if shares else ""
        )
        if not (self.reached and self._nothing):
            return []
        meant = "unlabelled" if self._meaning.zero == IGNORE else "background"
        return [f"the mask {self.name} is zero everywhere on it ({meant})"]


def raster_of(file: MaskFile, target: Grid, source: Grid, meaning: Meaning) -> Raster:
    """A raster file as a mask of a scene that lies on `target`; `source` is where the file's pixels lie."""
    bands = (*file.bands, *(() if file.alpha is None else (file.alpha,)))

    def read(window: Window) -> np.ndarray:
        return raster.read_window(file.path, window, bands)

    return Raster(file.name, str(file.path), read, source, target, meaning, file.palette, file.alpha is not None,
                  file.nodata)  # fmt: skip
