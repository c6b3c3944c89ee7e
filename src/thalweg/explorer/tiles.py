"""Windows of maps and scenes of any size as pictures, straight from the COGs and their overviews, memory bounded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from thalweg import pictures, raster
from thalweg.classes import IGNORE, ClassInfo
from thalweg.errors import ViewError
from thalweg.explorer import held
from thalweg.explorer.embed import MASK
from thalweg.explorer.ground import Ground
from thalweg.explorer.held import HeldMap, Look, Plane
from thalweg.grid import Grid, Window

TILE_PX = 256


class Tile(NamedTuple):
    """A picture."""

    kind: str
    """`png` or `webp`."""
    content: bytes


@dataclass(frozen=True)
class Source:
    """What is looked at: a map with the scenes below it, or scenes alone."""

    name: str
    ground: Ground
    shown: HeldMap | None = None
    classes: Sequence[ClassInfo] = field(default=())
    """Of the mask, where there is no map."""

    @property
    def grid(self) -> Grid:
        """On which everything is shown."""
        return self.ground.grid

    @property
    def legend(self) -> Sequence[ClassInfo]:
        """Names and colours of the classes."""
        return self.shown.legend if self.shown else self.classes

    @property
    def levels(self) -> int:
        """Level 0 shows each pixel; each further one half as many along an edge, until all fit one tile."""
        return max(int(np.ceil(np.log2(max(self.grid.shape_yx) / TILE_PX))), 0) + 1

    def looks(self) -> tuple[Look, ...]:
        """Its layers from the bottom up."""
        images = [Look(f"image-{number}", f"Image, {kind}", shown=number == 0)
                  for number, (_, kind) in enumerate(self.ground.choices)]  # fmt: skip
        masks = [MASK] if self.ground.labelled and self.legend else []
        return (*images, *masks, *(layer.look for layer in (self.shown.layers if self.shown else ())))

    def describe(self) -> dict[str, Any]:
        """For the page."""
        page = held.describe(self.name, self.grid, self.legend, self.looks())
        tiles = {"size": TILE_PX, "levels": self.levels, "url": "tile/{layer}/{level}/{row}/{col}",
                 "value": "value?row={row}&col={col}"}  # fmt: skip
        pieces = [list(piece) for piece in self.ground.pieces]
        return {**page, "origin": [0, 0], "small": list(self.grid.shape_yx), "pieces": pieces, "values": None,
                "tiles": tiles}  # fmt: skip

    def tile(self, key: str, level: int, row: int, col: int) -> Tile:
        """One picture, `TILE_PX` along each edge, see-through past the map's.

        Raises:
            ViewError: There is no such layer or tile.
            RasterError: A raster cannot be read.
        """
        span = TILE_PX << max(level, 0)
        window = Window(row * span, col * span, span, span).clip(self.grid.shape_yx)
        if not 0 <= level < self.levels or row < 0 or col < 0 or not (window.height and window.width):
            raise ViewError(f"{self.name} has no tile {level}/{row}/{col}; its levels are 0 to {self.levels - 1}")
        shape = (-(-window.height >> level) or 1, -(-window.width >> level) or 1)
        if key.startswith("image-"):
            return self._image(key, window, shape)
        look, plane = self._plane(key, window, shape)
        padded = np.full((TILE_PX, TILE_PX), plane.nodata, plane.values.dtype)
        padded[: shape[0], : shape[1]] = plane.values
        drawn = self.shown.draw(look, plane._replace(values=padded)) if self.shown else None
        return Tile("png", drawn or pictures.classes_png(padded, self.legend))

    def values(self, row: int, col: int) -> list[dict[str, Any]]:
        """What the map holds at a pixel, layer by layer.

        Raises:
            ViewError: There is no such pixel.
            RasterError: A raster cannot be read.
        """
        height, width = self.grid.shape_yx
        if not (0 <= row < height and 0 <= col < width):
            raise ViewError(f"{self.name} has no pixel {row}, {col}; it has {height} rows and {width} columns")
        found = []
        for look in self.looks():
            if look.short:
                _, plane = self._plane(look.key, Window(row, col, 1, 1), (1, 1))
                value = int(plane.values[0, 0])
                found.append({"title": held.say(look.short), "kind": look.kind, "scale": plane.scale,
                              "value": None if value == plane.nodata else value})  # fmt: skip
        return found

    def _plane(self, key: str, window: Window, shape: tuple[int, int]) -> tuple[Look, Plane]:
        if key == MASK.key and MASK in self.looks():
            rows, cols = _thinned(window, shape)
            return MASK, Plane(self.ground.mask(rows, cols), 1.0, IGNORE)
        for layer in self.shown.layers if self.shown else ():
            if layer.look.key == key and self.shown:
                return layer.look, self.shown.plane(layer, partial(_read, window=window, shape=shape))
        known = ", ".join(look.key for look in self.looks())
        raise ViewError(f"{self.name} has no layer '{key}', but {known}; open the page anew")

    def _image(self, key: str, window: Window, shape: tuple[int, int]) -> Tile:
        number = key.removeprefix("image-")
        if not number.isdigit() or int(number) >= len(self.ground.choices):
            raise ViewError(f"{self.name} has no picture '{key}'; open the page anew")
        rgb = np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
        there = np.zeros((TILE_PX, TILE_PX), bool)
        seen = self.ground.picture(*_thinned(window, shape), int(number))
        rgb[: shape[0], : shape[1]], there[: shape[0], : shape[1]] = seen
        return Tile("webp", pictures.image_webp(rgb, there, method=0))


def _read(path: Path, window: Window, shape: tuple[int, int]) -> np.ndarray:
    """From the overview that suits."""
    with raster.opened(path) as dataset:
        pixels: np.ndarray = dataset.read(window=raster.to_rio(window), out_shape=(dataset.count, *shape))
    return pixels


def _thinned(window: Window, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return held.centres(window.height, shape[0]) + window.row, held.centres(window.width, shape[1]) + window.col
