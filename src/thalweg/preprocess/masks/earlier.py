"""Masks that an earlier round's map gives: class ids as they are, for pixels that nothing else labels."""

import hashlib

import numpy as np

from thalweg import raster
from thalweg.classes import IGNORE
from thalweg.errors import MaskError
from thalweg.grid import Grid, Window
from thalweg.manifest.rounds import FROM_A_ROUND, RoundFolder
from thalweg.preprocess.masks.files import MaskFile
from thalweg.preprocess.masks.place import read_onto


class Earlier:
    """Labels of an earlier round on one scene, drawn part by part."""

    def __init__(self, file: MaskFile, target: Grid) -> None:
        self.name = file.name
        self._file, self._target = file, target
        self.pixels = 0
        """Labelled so far."""

    def fill(self, labels: np.ndarray, part: Window) -> np.ndarray:
        """Class ids (h, w) of a window, with labels where there were none."""
        grid = self._file.grid
        if grid is None:
            return labels
        values, inside = read_onto(lambda window: raster.read_window(self._file.path, window), grid,
                                   self._target.crop(part))  # fmt: skip
        said = inside & (values[0] != IGNORE) & (labels == IGNORE)
        self.pixels += int(np.count_nonzero(said))
        return np.where(said, values[0], labels)


def read_earlier(earlier: RoundFolder | None) -> tuple[MaskFile, ...]:
    """The masks of a round, by name.

    Raises:
        RasterError: One cannot be read or has no CRS.
        MaskError: One is none of class ids, or holds an id that no class has.
    """
    files = []
    if earlier is None:
        return ()
    for path in earlier.masks:
        grid = raster.read_grid(path)
        with raster.opened(path) as dataset:
            kind, nodata = dataset.dtypes, dataset.nodata
        if kind != ("uint8",) or nodata != IGNORE:
            raise MaskError(
                f"{path} should be one band of uint8 with nodata {IGNORE}, got {', '.join(kind)} with {nodata}; make "
                "it again by `thalweg pseudo-label`"
            )
        ids = np.unique(raster.read_band(path))
        if strange := [int(number) for number in ids if number != IGNORE and number >= len(earlier.record.classes)]:
            raise MaskError(
                f"{path} holds the class id {strange[0]}, but there are {len(earlier.record.classes)} classes; make it "
                "again by `thalweg pseudo-label`"
            )
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files.append(
            MaskFile(f"{FROM_A_ROUND}{path.name}", path, digest, grid, grid.shape_yx, (1,), None, None, None, IGNORE)
        )
    return tuple(files)
