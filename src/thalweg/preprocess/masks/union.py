"""All masks of a scene into its mask.tif, stripe by stripe, and what is to be said of them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from thalweg import raster
from thalweg.classes import IGNORE
from thalweg.errors import MaskError
from thalweg.grid import Grid, Window
from thalweg.preprocess.masks.earlier import Earlier
from thalweg.preprocess.masks.features import read_features
from thalweg.preprocess.masks.files import MaskFile
from thalweg.preprocess.masks.match import SceneMasks
from thalweg.preprocess.masks.meaning import OUTSIDE
from thalweg.preprocess.masks.outlines import Outlines, stripes
from thalweg.preprocess.masks.rasters import Raster, raster_of
from thalweg.preprocess.masks.vectors import Vectors
from thalweg.products import Delivery, Layer


class Drawing(Protocol):
    """A mask of one scene, drawn part by part."""

    name: str
    ground: int | None
    """Class id of all ground of which it says nothing; None of a mask that covers its own pixels only."""
    reached: bool
    """Whether it covers anything of the parts drawn so far."""

    def ids(self, part: Window) -> np.ndarray:
        """Class ids (h, w) of a window of the scene, 255 unlabelled, 254 where the mask says nothing."""

    def finish(self) -> list[str]:
        """What is to be said when all parts are drawn.

        Raises:
            MaskError: It holds values that have no meaning.
        """


def write_mask(
    scene: str, delivery: Delivery, masks: SceneMasks, folder: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Writes mask.tif, where a mask reaches the scene.

    Args:
        scene: Its name.
        delivery: Its product, opened: grid, and the band that holds labels.
        masks: What is known of its masks.
        folder: Of the scene.

    Returns:
        Names of the masks that reach it, and warnings.

    Raises:
        MaskError: A mask holds a value that no class has, or is not of the picture's size.
        RasterError: A mask cannot be read.
    """
    if masks.areas is not None and masks.files and not delivery.georeferenced:
        raise MaskError(
            f"{scene} has no place on the ground, but masks.area says where ground is labelled; give the picture a CRS "
            "and a world file, or set masks.area to null"
        )
    earlier = [Earlier(file, delivery.grid) for file in masks.earlier]
    sheet = _Sheet(_drawings(scene, delivery, masks), _area(masks, delivery.grid), masks.meaning.outside, earlier)
    if not (sheet.drawings or sheet.earlier or (sheet.area and masks.meaning.outside != IGNORE)):
        return (), masks.warnings
    path = folder / "mask.tif"
    mask = raster.create_pixels(path, delivery.grid, 1, "uint8", IGNORE, descriptions=("mask",))
    for part in stripes(delivery.grid.shape_yx):
        mask[part.rows, :, 0] = sheet.labels(part)
        raster.release(mask)
    del mask
    names, said = sheet.finish()
    warnings = [f"{scene}: {text}" for text in said]
    if not names:
        path.unlink()
    elif not sheet.labelled:
        warnings.append(f"{scene} has masks ({', '.join(names)}), but no labelled pixel")
    return tuple(names), (*masks.warnings, *warnings)


def merge(under: np.ndarray, over: np.ndarray) -> np.ndarray:
    """Two masks of one scene: the first label that says anything wins; covered beats outside."""
    silent = (under == OUTSIDE) | ((under == IGNORE) & (over != OUTSIDE))
    return np.where(silent, over, under)


def conflict_px(under: np.ndarray, over: np.ndarray) -> int:
    """Pixels that two masks of one scene give different classes."""
    return int(np.count_nonzero((under < OUTSIDE) & (over < OUTSIDE) & (under != over)))


@dataclass
class _Sheet:
    """A mask that is being drawn."""

    drawings: list[Drawing]
    area: list[tuple[str, Outlines]] | None
    outside: int
    earlier: list[Earlier] = field(default_factory=list)
    conflicts: Counter[str] = field(default_factory=Counter)
    labelled: bool = False

    def labels(self, part: Window) -> np.ndarray:
        """Class ids (h, w) of a window, 255 where unlabelled."""
        labels = np.full((part.height, part.width), OUTSIDE, np.uint8)
        for drawing in self.drawings:
            here = drawing.ids(part)
            self.conflicts[drawing.name] += conflict_px(labels, here)
            labels = merge(labels, here)
        grounds = [drawing.ground for drawing in self.drawings if drawing.ground is not None]
        labels[labels == OUTSIDE] = grounds[0] if grounds else self.outside
        if self.area is not None:
            labels[~self._inside(part)] = IGNORE
        for mask in self.earlier:
            labels = mask.fill(labels, part)
        self.labelled |= bool((labels != IGNORE).any())
        return labels

    def _inside(self, part: Window) -> np.ndarray:
        inside = np.zeros((part.height, part.width), bool)
        for _, outlines in self.area or []:
            inside |= outlines.burn(part) > 0
        return inside

    def finish(self) -> tuple[list[str], list[str]]:
        """Names of the masks that reach the scene, or of the areas that label it, and warnings.

        Raises:
            MaskError: A mask holds a value that no class has.
        """
        said = {drawing.name: drawing.finish() for drawing in self.drawings}
        names = [drawing.name for drawing in self.drawings if drawing.reached]
        warnings = []
        for number, name in enumerate(names):
            if self.conflicts[name]:
                warnings.append(
                    f"the mask {name} differs from {' and '.join(names[:number])} in {self.conflicts[name]} pixels "
                    "that both label; there it does not count"
                )
            warnings += said[name]
        if not names and self.labelled and self.area:
            names = [name for name, _ in self.area]
        return [*names, *(drawing.name for drawing in self.earlier if drawing.pixels)], warnings


def _drawings(scene: str, delivery: Delivery, masks: SceneMasks) -> list[Drawing]:
    if masks.masks.band is not None:
        return [_band(f"{scene}:{masks.masks.band}", delivery.labels[masks.masks.band], delivery.grid, masks)]
    return [_drawing(scene, delivery, masks, file) for file in masks.files]


def _drawing(scene: str, delivery: Delivery, masks: SceneMasks, file: MaskFile) -> Drawing:
    target, meaning = delivery.grid, masks.meaning
    if file.layer is None:
        return raster_of(file, target, file.grid or _as_picture(scene, delivery, file), meaning)
    if not delivery.georeferenced:
        raise MaskError(
            f"{scene} has no place on the ground, but the mask {file.name} is made of vectors, which need one; give "
            "the picture a CRS and a world file, or write the mask as a raster of its size"
        )
    return Vectors(file.name, file.layer, target, masks.vector, meaning, everywhere=masks.masks.match == "name")


def _as_picture(scene: str, delivery: Delivery, file: MaskFile) -> Grid:
    """The picture's own pixels, which a mask that is matched by name shares one by one."""
    places = (delivery.grid, *(layer.grid for layer in delivery.bands.values()))
    same = [place for place in places if place.shape_yx == file.shape_yx]
    if not same:
        height, width = delivery.grid.shape_yx
        raise MaskError(
            f"{file.path} has {file.shape_yx[0]} × {file.shape_yx[1]} pixels, but {scene}, whose name it carries, has "
            f"{height} × {width}; a mask that is matched by name has the picture's size"
        )
    return same[0]


def _band(name: str, layer: Layer, target: Grid, masks: SceneMasks) -> Raster:
    read: Callable[[Window], np.ndarray] | None = layer.read

    def codes(window: Window) -> np.ndarray:
        return raster.read_window(layer.path, window, (layer.index,)) if read is None else read(window)[None]

    return Raster(name, name, codes, layer.grid, target, masks.meaning, nodata=layer.nodata)


def _area(masks: SceneMasks, target: Grid) -> list[tuple[str, Outlines]] | None:
    if masks.areas is None:
        return None
    layers = [(file.name, file.layer) for file in masks.areas if file.layer is not None]
    return [(name, Outlines(read_features(layer, target, 0), target, all_touched=False)) for name, layer in layers]
