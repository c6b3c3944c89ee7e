"""What there is to see of a map, and its numbers: classes, probabilities, members and doubts, as its files have it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from thalweg import pictures, raster
from thalweg.classes import IGNORE, ClassInfo
from thalweg.grid import Grid, Window
from thalweg.mapfiles import MapFiles

MEMBERS = "members"
LATTICE = 9
"""Places along each edge whose longitude and latitude a page is told; between them they are interpolated."""

Read = Callable[[Path], np.ndarray]
"""All bands (N, h, w) of a raster on one window, as held."""


class Ramp(NamedTuple):
    """How a measure is coloured."""

    name: str
    low: float
    high: float
    says: tuple[str, str]
    """What the two ends mean."""


@dataclass(frozen=True)
class Look:
    """A layer as the page lists it."""

    key: str
    title: str
    ramp: Ramp | None = None
    """None for classes, and for the image."""
    shown: bool = False
    opacity: float = 1.0
    short: str = ""
    """What the read-out calls it; empty where it tells nothing."""

    @property
    def kind(self) -> str:
        """What the page's legend has to say of it."""
        return "measure" if self.ramp else "image" if self.key.startswith("image") else "classes"

    def facts(self) -> dict[str, Any]:
        """For the page."""
        ramp = None
        if self.ramp:
            ramp = {"low": self.ramp.says[0], "high": self.ramp.says[1], "colors": pictures.gradient(self.ramp.name)}
        return {"key": self.key, "title": self.title, "kind": self.kind, "ramp": ramp, "shown": self.shown,
                "opacity": self.opacity}  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A layer that a raster of the map holds."""

    look: Look
    path: Path
    scale: float
    nodata: int
    band: int | None
    """1-based; None: of probabilities, the class said or the probability of it."""


class Plane(NamedTuple):
    """A layer's numbers on a window."""

    values: np.ndarray
    """(h, w) class ids, or held values of a measure."""
    scale: float
    nodata: int


@dataclass(frozen=True)
class HeldMap:
    """A map's rasters in the viewer's terms."""

    name: str
    files: MapFiles

    @cached_property
    def legend(self) -> tuple[ClassInfo, ...]:
        """Classes with the colours that classes.tif itself has, greys where it has none."""
        names = self.files.names
        with raster.opened(self.files.classes) as dataset:
            colors = dataset.colormap(1) if dataset.colorinterp[0].name == "palette" else {}
        grey = [(round(255 * number / max(len(names) - 1, 1)),) * 3 for number in range(len(names))]
        return tuple(ClassInfo(name=name, color="#{:02x}{:02x}{:02x}".format(*colors.get(number, grey[number])[:3]))
                     for number, name in enumerate(names))  # fmt: skip

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """From the bottom up; the classes lie on top."""
        binary = len(self.files.names) == 2
        of = f"of {say(self.files.names[1])}" if binary else "of the class said"
        low = 0.0 if binary else 1 / len(self.files.names)
        ramp = Ramp("viridis", low, 1.0, (f"{low:.2g}", "1"))
        found = []
        for path in sorted((self.files.classes.parent / MEMBERS).glob("*.tif")):
            title = f"{path.stem}: probability {of}" if binary else f"{path.stem}: classes"
            look = Look(f"member-{path.stem}", title, ramp if binary else None, short=path.stem)
            found += _layers(path, {2 if binary else None: look})
        if self.files.probs:
            look = Look("probability", f"Probability {of}", ramp, short=f"probability {of}")
            found += _layers(self.files.probs, {2 if binary else None: look})
        if self.files.uncertainty:
            found += _doubts(self.files.uncertainty)
        return (*found, *_layers(self.files.classes, {1: Look("classes", "Classes", None, True, 0.75, "class")}))

    def plane(self, layer: Layer, read: Read) -> Plane:
        """A layer's numbers."""
        held = read(layer.path)
        if layer.band is not None:
            return Plane(held[layer.band - 1], layer.scale, layer.nodata)
        if layer.look.ramp is None:
            said = np.where(held[0] == layer.nodata, IGNORE, held.argmax(0)).astype(np.uint8)
            return Plane(said, 1.0, IGNORE)
        labels = read(self.files.classes)[0]
        chosen = np.where(labels == IGNORE, 0, labels)[None].astype(np.intp)
        return Plane(np.take_along_axis(held, chosen, 0)[0], layer.scale, layer.nodata)

    def draw(self, look: Look, plane: Plane) -> bytes:
        """A PNG of a layer's numbers."""
        if look.ramp is None:
            return pictures.classes_png(plane.values, self.legend)
        values = np.where(plane.values == plane.nodata, np.nan, plane.values * plane.scale)
        return pictures.measure_png(values, look.ramp.low, look.ramp.high, look.ramp.name)


def _layers(path: Path, looks: dict[int | None, Look]) -> list[Layer]:
    """Layers of one raster, by band."""
    with raster.opened(path) as dataset:
        return [Layer(look, path, dataset.scales[(band or 1) - 1], int(dataset.nodata), band)
                for band, look in looks.items()]  # fmt: skip


def _doubts(path: Path) -> list[Layer]:
    """The bands of uncertainty.tif, each to the largest value that it can hold."""
    with raster.opened(path) as dataset:
        most = [scale * (dataset.nodata - 1) for scale in dataset.scales]
        titles = [(text or f"doubt {number}") for number, text in enumerate(dataset.descriptions, 1)]
    looks: dict[int | None, Look] = {
        number: Look(f"doubt-{number}", title.capitalize(), Ramp("magma", 0.0, high, ("none", "most")), short=title)
        for number, (title, high) in enumerate(zip(titles, most, strict=True), 1)
    }
    return _layers(path, looks)


def say(name: str) -> str:
    """A class's name as people write it."""
    return name.replace("_", " ")


def describe(name: str, grid: Grid, legend: Sequence[ClassInfo], looks: Sequence[Look]) -> dict[str, Any]:
    """What the page must know of any map, whichever way its pixels come."""
    height, width = grid.shape_yx
    rows, cols = np.meshgrid(np.linspace(0, height, LATTICE), np.linspace(0, width, LATTICE), indexing="ij")
    lon, lat = grid.lonlat(rows, cols)
    return {
        "name": name, "shape": [height, width], "transform": list(grid.transform[:6]), "crs": grid.crs.name,
        "pixel_m": round(grid.pixel_m_yx[1], 6), "lattice": LATTICE,
        "lon": np.round(lon, 7).ravel().tolist(), "lat": np.round(lat, 7).ravel().tolist(),
        "classes": [{"name": say(info.name), "color": info.color} for info in legend],
        "layers": [look.facts() for look in looks],
    }  # fmt: skip


def centres(length_px: int, count: int) -> np.ndarray:
    """The middle pixels (count,) of `count` equal stretches of a row or column of `length_px`."""
    return np.minimum(((np.arange(count) + 0.5) * length_px / count).astype(np.int64), length_px - 1)


def sample(path: Path, window: Window, shape_yx: tuple[int, int]) -> np.ndarray:
    """Single pixels (bands, h, w), as held, at the `centres` of a window cut into `shape_yx` pieces; no overviews.

    Raises:
        RasterError: The file cannot be read.
    """
    rows, cols = (centres(length, count) for length, count in zip(window[2:], shape_yx, strict=True))
    with raster.opened(path) as dataset:
        found = np.empty((dataset.count, *shape_yx), dataset.dtypes[0])
        step = dataset.block_shapes[0][0]
        first = window.row
        while first < window.row + window.height:
            last = min((first // step + 1) * step, window.row + window.height)
            here = np.flatnonzero((rows + window.row >= first) & (rows + window.row < last))
            if here.size:
                stripe = dataset.read(window=raster.to_rio(Window(first, window.col, last - first, window.width)))
                found[:, here] = stripe[:, rows[here] + window.row - first][:, :, cols]
            first = last
    return found
