"""Labelled pictures: folders by class (UC Merced, AID, EuroSAT), MNIST's files, or scikit-learn's bundled digits."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rasterio.enums import ColorInterp
from torch import Tensor
from torch.nn import functional as F

from thalweg import raster
from thalweg.bands import wavelength_nm
from thalweg.classes import IGNORE
from thalweg.errors import FeatureError
from thalweg.manifest.chips import PARTS
from thalweg.manifest.scene import Channel
from thalweg.probe.idx import find_idx, read_idx

SUFFIXES = (".tif", ".tiff", ".jpg", ".jpeg", ".png", ".jp2")
DIGITS = "digits"
BANDS = {
    1: ("grey",),
    3: ("B04", "B03", "B02"),
    4: ("B04", "B03", "B02", "B08"),
    13: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A"),
}
"""Number of bands → their names in the order of the file: red, green, blue; those and near infrared; and EuroSAT's,
whose B8A is the last (phelber/EuroSAT#7, torchgeo/torchgeo#2458)."""
_MEASURED = 500
"""Pictures whose size is looked at to find the usual one."""
_NAMES = tuple(part for part in PARTS if part != "unused")


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures, read one by one."""

    names: tuple[str, ...]
    """Of the classes."""
    labels: np.ndarray
    """(N,) uint8 class ids, 255 = nobody said."""
    parts: np.ndarray | None
    """(N,) `train`, `val` or `test`, where the data set says so."""
    bands: tuple[str, ...]
    read: Callable[[int], np.ndarray]
    """Picture → (C, h, w) float32 physical values, NaN = not measured."""
    size_px: int
    """Edge that most of them have; the others are brought to it."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Its bands, for a network that is to read them."""
        return tuple(Channel(name=name, wavelength_nm=wavelength_nm(name), scale=1.0, offset=0.0, unit="1")
                     for name in self.bands)  # fmt: skip

    def batch(self, numbers: Sequence[int]) -> Tensor:
        """(B, C, size, size) physical values of some pictures; NaN where one measures nothing."""
        return torch.stack([_sized(torch.from_numpy(self.read(number)), self.size_px) for number in numbers])


def open_pictures(data: str, bands: Sequence[str] | None, ignore: Sequence[str], size_px: int | None) -> Pictures:
    """The pictures that a path or the word `digits` names.

    Args:
        data: A folder of classes, of `train`, `val` and `test` with classes in each, or of MNIST's files; or `digits`.
        bands: Names in the order of the files; None: by their number.
        ignore: Classes whose pictures count as unlabelled.
        size_px: Edge that pictures are brought to; None: that which most have.

    Raises:
        FeatureError: It is none of these, or a picture's bands have no names, or a class to ignore is not there.
        RasterError: A picture cannot be read.
    """
    folder = Path(data)
    if data == DIGITS and not folder.exists():
        return _digits(size_px)
    if not folder.is_dir():
        raise FeatureError(f"{data} is no folder of pictures; give one, or the word '{DIGITS}' for the bundled digits")
    if parts := find_idx(folder):
        return _mnist(parts, size_px)
    return _folders(folder, bands, ignore, size_px)


def _digits(size_px: int | None) -> Pictures:
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes seconds

    found = load_digits()
    return _arrays(found.images / 16.0, found.target, None, size_px)


def _mnist(found: dict[str, tuple[Path, Path]], size_px: int | None) -> Pictures:
    images = {part: read_idx(path) for part, (path, _) in found.items()}
    labels = {part: read_idx(path) for part, (_, path) in found.items()}
    for part, (path, beside) in found.items():
        if len(images[part]) != len(labels[part]):
            raise FeatureError(
                f"{path} has {len(images[part])} pictures, but {beside.name} {len(labels[part])} labels; download both "
                "again"
            )
    parts = np.concatenate([np.full(len(images[part]), part) for part in found])
    return _arrays(np.concatenate(list(images.values())) / 255.0, np.concatenate(list(labels.values())), parts, size_px)


def _arrays(images: np.ndarray, labels: np.ndarray, parts: np.ndarray | None, size_px: int | None) -> Pictures:
    planes = images.astype(np.float32)[:, None]
    names = tuple(str(label) for label in range(int(labels.max()) + 1))
    return Pictures(names, labels.astype(np.uint8), parts, BANDS[1], planes.__getitem__, size_px or planes.shape[-1])


def _folders(folder: Path, bands: Sequence[str] | None, ignore: Sequence[str], size_px: int | None) -> Pictures:
    homes = _homes(folder)
    names = sorted({path.name for home in homes.values() for path in home.iterdir() if path.is_dir()} - set(ignore))
    listed = [(path, label, part) for part, home in homes.items() for label in sorted([*names, *ignore])
              for path in _listed(home / label)]  # fmt: skip
    if unknown := [name for name in ignore if not any(label == name for _, label, _ in listed)]:
        raise FeatureError(f"--ignore names {', '.join(unknown)}, but {folder} has {', '.join(names)}; correct it")
    labelled = [label for _, label, _ in listed if label not in ignore]
    if len(set(labelled)) < 2 or len(names) >= IGNORE:
        raise FeatureError(
            f"{folder} has pictures ({', '.join(SUFFIXES)}) of {len(set(labelled))} classes, where 2 to {IGNORE - 1} "
            "folders of pictures are needed, one per class; give the folder that holds these"
        )
    paths = [path for path, _, _ in listed]
    labels = np.array([names.index(label) if label in names else IGNORE for _, label, _ in listed], np.uint8)
    parts = np.array([part for _, _, part in listed]) if "" not in homes else None
    named = _named(paths[0], bands)
    sizes = Counter(_edge(path) for path in paths[:: max(len(paths) // _MEASURED, 1)])
    return Pictures(tuple(names), labels, parts, named, lambda number: _read(paths[number], len(named)),
                    size_px or sizes.most_common(1)[0][0])  # fmt: skip


def _homes(folder: Path) -> dict[str, Path]:
    """Part → the folder that holds its classes; the part is empty where the data set has none."""
    parts = {name: folder / name for name in _NAMES if (folder / name).is_dir()}
    return parts if "train" in parts and "test" in parts else {"": folder}


def _listed(home: Path) -> list[Path]:
    return sorted(path for path in home.rglob("*") if path.suffix.lower() in SUFFIXES) if home.is_dir() else []


def _named(path: Path, bands: Sequence[str] | None) -> tuple[str, ...]:
    with raster.opened(path) as dataset:
        count = sum(kind != ColorInterp.alpha for kind in dataset.colorinterp)
        said = tuple(name or "" for name in dataset.descriptions[:count])
    if bands is not None:
        if len(bands) != count:
            raise FeatureError(f"--bands names {len(bands)} bands, but {path} has {count}; name them in its order")
        return tuple(bands)
    if all(said):
        return said
    if count not in BANDS:
        raise FeatureError(f"{path} has {count} bands without names; say which they are by --bands B02,B03,…")
    return BANDS[count]


def _edge(path: Path) -> int:
    with raster.opened(path) as dataset:
        return int(max(dataset.height, dataset.width))


def _read(path: Path, count: int) -> np.ndarray:
    """(C, h, w) float32: bytes as a share of 255, 16 bits as reflectance × 10 000, others as they are."""
    with raster.opened(path) as dataset:
        if dataset.count < count:
            raise FeatureError(f"{path} has {dataset.count} bands, but the first picture {count}; take it away")
        stored, there = dataset.read(list(range(1, count + 1))), dataset.read_masks(list(range(1, count + 1))) > 0
    scale = {1: 1 / 255, 2: 1e-4}.get(stored.dtype.itemsize, 1.0) if stored.dtype.kind in "iu" else 1.0
    found: np.ndarray = np.where(there, stored.astype(np.float32) * np.float32(scale), np.float32(np.nan))
    return found


def _sized(picture: Tensor, size_px: int) -> Tensor:
    if picture.shape[1:] == (size_px, size_px):
        return picture
    known = picture.isnan().logical_not()
    values = F.interpolate(picture.nan_to_num()[None], (size_px, size_px), mode="bilinear", antialias=True)[0]
    weight = F.interpolate(known.to(picture)[None], (size_px, size_px), mode="bilinear", antialias=True)[0]
    return torch.where(weight > 0.5, values / weight.clamp(min=0.5), torch.nan)
