"""A map's folder from its held probabilities, window by window; tags go in before the COG is made of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from rasterio.io import DatasetWriter

from thalweg import raster
from thalweg.classes import ClassInfo
from thalweg.errors import MapError
from thalweg.grid import Window
from thalweg.maps.held import (
    BYTE_NODATA,
    BYTE_SCALE,
    PROB_NODATA,
    PROB_SCALE,
    to_bytes,
)
from thalweg.maps.styles import write_category_names, write_palette, write_ramp

DOUBTS: Mapping[str, tuple[str, float]] = {
    "entropy": ("normalised entropy", 1.0),
    "mutual_information": ("mutual information of members", 1.0),
    "margin": ("lack of margin", 1.0),
    "disagreement": ("disagreement of members", 0.5),
    "set_size": ("share of the classes in the conformal set", 1.0),
    "abstained": ("label not to be believed at the promised error", 1.0),
}
"""Bands that uncertainty.tif may have: what each is, and the largest value that it can take (0.5 is the largest
standard deviation of values between 0 and 1)."""
MASKS = "masks"
MEMBERS = "members"

ToLabels = Callable[[np.ndarray], np.ndarray]
"""Held probabilities (K, h, w) to class ids (h, w), 255 where there is none; called per window."""


@dataclass(frozen=True)
class Parts:
    """What a map is written from: tiled rasters of held values on the map's grid, nodata in all alike."""

    probs: Path
    """A band per class."""
    doubts: Path
    """A band per doubt, its description a key of `DOUBTS`; held as probabilities are."""
    windows: Sequence[Window]
    """Those that hold anything; multiples of the rasters' tiles."""
    members: Mapping[str, Path] = field(default_factory=dict)
    """Member → its own probabilities, to be written as members/<member>.tif."""


@dataclass(frozen=True)
class Look:
    """How a map is written."""

    legend: Sequence[ClassInfo]
    """Classes by id."""
    tags: Mapping[str, str]
    """Provenance, in every raster."""
    to_labels: ToLabels
    """From the finest probabilities there are, also where bytes are written."""
    probs: Literal["uint8", "uint16"] = "uint16"
    """How probabilities are written."""
    masks: Mapping[str, int] = field(default_factory=dict)
    """Class → least held value that counts as the class: masks/<class>.tif, 1 or 0, nodata 255."""


def write_map(parts: Parts, look: Look, folder: Path, scratch: Path) -> None:
    """The map's rasters as COGs, and their styles.

    Always probs.tif, classes.tif and uncertainty.tif; masks/ and members/ as asked. Overviews of classes and masks take
    the most frequent value of what was measured, those of measures its mean.

    Args:
        parts: Lie elsewhere and stay.
        look: How.
        folder: Made here.
        scratch: Folder for rasters on their way to a COG.

    Raises:
        MapError: A band of doubt or a mask's class is unknown.
    """
    with raster.opened(parts.doubts) as dataset:
        doubts = tuple(dataset.descriptions)
    _check(parts, look, doubts)
    for each in (folder, *(folder / name for name, there in ((MASKS, look.masks), (MEMBERS, parts.members)) if there)):
        each.mkdir(parents=True, exist_ok=True)
    plain = _Plain(parts, look, doubts, scratch)
    for name, resampling, make in plain.kinds():
        source, tags = make()
        raster.write_cog(source, folder / f"{name}.tif", resampling, {**look.tags, **tags})
    write_category_names(look.legend, folder / "classes.tif.aux.xml")
    write_palette(look.legend, folder / "classes.qml")
    write_ramp(2 if len(look.legend) == 2 else 1, 1.0, folder / "probs.qml")
    write_ramp(1, DOUBTS[doubts[0]][1], folder / "uncertainty.qml")


Made = tuple[Path, Mapping[str, str]]
"""A tiled raster and its own tags."""


class _Plain:
    """Tiled rasters and their own tags, one by one, of which COGs are made; each takes the last one's place."""

    def __init__(self, parts: Parts, look: Look, doubts: Sequence[str], scratch: Path) -> None:
        self._parts, self._look, self._doubts = parts, look, doubts
        self._path = scratch / "plain.tif"
        self._grid = raster.read_grid(parts.probs)

    def kinds(self) -> Iterator[tuple[str, str, Callable[[], Made]]]:
        """Name, resampling of the overviews, and what makes the raster."""
        yield "probs", "average", lambda: (self._probs(self._parts.probs), {})
        yield "classes", "mode", self._classes
        yield "uncertainty", "average", self._uncertainty
        for name in self._look.masks:
            yield f"{MASKS}/{name}", "mode", partial(self._mask, name)
        for name, path in self._parts.members.items():
            yield f"{MEMBERS}/{name}", "average", partial(self._member, name, path)

    def _probs(self, source: Path) -> Path:
        """Probabilities that are shown as they are held need no copy."""
        if self._look.probs == "uint16":
            return source
        names = [info.name for info in self._look.legend]
        with self._created(len(names)) as dataset:
            dataset.descriptions, dataset.scales = tuple(names), (1 / BYTE_SCALE,) * len(names)
            self._fill(dataset, source, to_bytes)
        return self._path

    def _member(self, name: str, source: Path) -> Made:
        return self._probs(source), {"MEMBER": name}

    def _classes(self) -> Made:
        legend = self._look.legend
        with self._created(1) as dataset:
            dataset.write_colormap(1, {value: (*info.rgb, 255) for value, info in enumerate(legend)})
            dataset.descriptions = ("class",)
            self._fill(dataset, self._parts.probs, lambda held: self._look.to_labels(held)[None])
        return self._path, {f"CLASS_{value}": info.name for value, info in enumerate(legend)}

    def _mask(self, name: str) -> Made:
        [(value, info)] = [(n, info) for n, info in enumerate(self._look.legend) if info.name == name]
        cut = self._look.masks[name]
        with self._created(1) as dataset:
            dataset.write_colormap(1, {0: (0, 0, 0, 255), 1: (*info.rgb, 255)})
            dataset.descriptions = (name,)
            self._fill(dataset, self._parts.probs, partial(_to_mask, value=value, cut=cut))
        return self._path, {"CLASS_0": f"not_{name}", "CLASS_1": name, "THRESHOLD": f"{cut / PROB_SCALE:.6f}"}

    def _uncertainty(self) -> Made:
        spans = [DOUBTS[name][1] for name in self._doubts]
        with self._created(len(spans)) as dataset:
            dataset.descriptions = tuple(DOUBTS[name][0] for name in self._doubts)
            dataset.scales = tuple(span / BYTE_SCALE for span in spans)
            self._fill(dataset, self._parts.doubts, lambda held: np.stack(
                [to_bytes(band, span) for band, span in zip(held, spans, strict=True)]))  # fmt: skip
        return self._path, {}

    def _created(self, count: int) -> AbstractContextManager[DatasetWriter]:
        return raster.create_tiled(self._path, self._grid, count, "uint8", BYTE_NODATA, sparse=True, scratch=True)

    def _fill(self, dataset: DatasetWriter, source: Path, made: Callable[[np.ndarray], np.ndarray]) -> None:
        for window in self._parts.windows:
            held = raster.read_onto(source, self._grid, window, "nearest")
            dataset.write(made(held), window=raster.to_rio(window))


def _to_mask(held: np.ndarray, value: int, cut: int) -> np.ndarray:
    return np.where(held[:1] == PROB_NODATA, BYTE_NODATA, held[value, None] >= cut).astype(np.uint8)


def _check(parts: Parts, look: Look, doubts: Sequence[str | None]) -> None:
    for what, found, known in (
        ("band of doubt", doubts, tuple(DOUBTS)),
        ("mask of class", tuple(look.masks), tuple(info.name for info in look.legend)),
    ):
        strange = [name for name in found if name not in known]
        if strange:
            raise MapError(f"{parts.probs} has no {what} '{strange[0]}', but {', '.join(known)}; ask for one of these")
