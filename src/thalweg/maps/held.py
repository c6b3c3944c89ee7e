"""How probabilities and doubts between 0 and 1 are held on disk.

They are held as uint16, value = round(p × 65534), 65535 where nothing was measured. Everything downstream, labels,
scores and uncertainty, is computed from these held values, so that a reported number is the map's number. A map that
is to be small holds bytes instead, value = round(p × 254), 255 where nothing was measured.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rasterio.io import DatasetWriter

from thalweg import raster
from thalweg.classes import IGNORE
from thalweg.grid import Grid

PROB_SCALE = 65534
PROB_NODATA = 65535
BYTE_SCALE = 254
BYTE_NODATA = 255
BLOCK_PX = 512


def quantise(probs: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Probabilities (K, h, w) as held, nodata where not `measured` (h, w)."""
    held: np.ndarray = np.rint(np.clip(probs, 0, 1) * np.float32(PROB_SCALE)).astype(np.uint16)
    held[:, ~measured] = PROB_NODATA
    return held


def to_bytes(held: np.ndarray, span: float = 1.0) -> np.ndarray:
    """Held values as bytes: 254 is `span`, 255 is nodata."""
    scaled = np.minimum(held.astype(np.float32) * np.float32(BYTE_SCALE / PROB_SCALE / span), BYTE_SCALE)
    return np.where(held == PROB_NODATA, np.uint8(BYTE_NODATA), np.rint(scaled).astype(np.uint8))


def dequantise(held: np.ndarray) -> np.ndarray:
    """Held values as float32 probabilities; nodata gives values just above 1, the caller's to leave out."""
    return held.astype(np.float32) / np.float32(PROB_SCALE)


def to_labels(held: np.ndarray, cut: int | None) -> np.ndarray:
    """Class ids (h, w) uint8 of held probabilities (K, h, w), `IGNORE` where nothing was measured.

    Args:
        held: As `quantise` gives them.
        cut: Least held value of class 1 that counts as class 1 (two classes), or None for the most probable class.
    """
    labels: np.ndarray = held.argmax(0).astype(np.uint8) if cut is None else (held[1] >= cut).astype(np.uint8)
    labels[held[0] == PROB_NODATA] = IGNORE
    return labels


@contextmanager
def create_probs(path: Path, grid: Grid, names: Sequence[str],
                 tags: Mapping[str, str] | None = None) -> Iterator[DatasetWriter]:  # fmt: skip
    """A sparse raster of held probabilities on its way to a COG, a band per name, open for writing.

    Raises:
        RasterError: It cannot be written, most likely for want of room.
    """
    with raster.create_tiled(path, grid, len(names), "uint16", PROB_NODATA, sparse=True, scratch=True) as dataset:
        dataset.descriptions = tuple(names)
        dataset.scales = (1 / PROB_SCALE,) * len(names)
        dataset.update_tags(**(tags or {}))
        yield dataset
