"""MNIST's own files, read where they lie, packed by gzip or not.

Source: the IDX format, as described with the data set by LeCun, Cortes and Burges: two zero bytes, the type, the number
of axes, then each axis' length as a big-endian int32, then the values, the last axis fastest.
"""

import gzip
import math
from pathlib import Path

import numpy as np

from thalweg.errors import FeatureError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def find_idx(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Part (train, test) → images and labels, of those files that lie in a folder by MNIST's names."""
    names = {"train": "train", "test": "t10k"}
    found = {part: (_find(folder, name, "images", 3), _find(folder, name, "labels", 1)) for part, name in names.items()}
    return {part: (images, labels) for part, (images, labels) in found.items() if images and labels}


def read_idx(path: Path) -> np.ndarray:
    """The array of one file.

    Raises:
        FeatureError: It is no such file, or is cut short.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError) as error:
        raise FeatureError(f"{path} is no whole gzip file ({error}); download it again") from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES:
        raise FeatureError(f"{path} does not begin as IDX files do, got {data[:4].hex()}; give MNIST's own files")
    kind, axes = np.dtype(_TYPES[data[2]]), data[3]
    shape = np.frombuffer(data, ">i4", axes, 4).tolist() if len(data) >= 4 + 4 * axes else [0]
    values = data[4 + 4 * axes :]
    if len(values) != math.prod(shape) * kind.itemsize:
        raise FeatureError(
            f"{path} holds {len(values)} bytes of values, but its head promises {shape}; download it again"
        )
    return np.frombuffer(values, kind).reshape(shape).astype(kind.newbyteorder("="))


def _find(folder: Path, part: str, what: str, axes: int) -> Path | None:
    spellings = [f"{part}-{what}{sign}idx{axes}-ubyte{end}" for sign in "-." for end in ("", ".gz")]
    return next((folder / name for name in spellings if (folder / name).is_file()), None)
