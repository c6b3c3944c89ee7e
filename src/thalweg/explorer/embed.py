"""A map inside a page: its layers as pictures, and the numbers that the read-out tells, at a bounded size.

Larger maps are thinned, not averaged: of each square of pixels the middle one is shown, so that what the read-out says
of it is what the map holds there.
"""

import base64
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from thalweg import pictures
from thalweg.classes import IGNORE
from thalweg.explorer import held
from thalweg.explorer.ground import Ground
from thalweg.explorer.held import HeldMap, Look, Plane
from thalweg.grid import Window

MAX_PX = 1000
"""Of the longer edge of what a page holds of a map."""
MASK = Look("mask", "Mask", short="mask")
_HELD_AS = {"uint8": "u1", "uint16": "u2"}


def embed(shown: HeldMap, ground: Ground, window: Window, max_px: int = MAX_PX) -> dict[str, Any]:
    """A window of a map as the viewer's page wants it.

    Args:
        shown: The map.
        ground: The scenes below it, on the map's own grid; it may have none.
        window: Of the map's grid, inside it.
        max_px: Bound of the pixels along the longer edge.

    Raises:
        RasterError: One of the map's rasters cannot be read.
    """
    grid = shown.files.grid.crop(window)
    small = pictures.shrink(grid, max_px)

    @cache
    def read(path: Path) -> np.ndarray:
        return held.sample(path, window, small.shape_yx)

    looks: list[tuple[Look, str]] = []
    values: list[dict[str, Any]] = []
    there = read(shown.files.classes)[0] != IGNORE
    for number, (_, kind) in enumerate(ground.choices):
        picture = pictures.draw_image(ground.scenes, small, there, number)
        if picture is not None:
            looks.append((Look(f"image-{number}", f"Image, {kind}", shown=number == 0), picture.uri))
    if ground.labelled:
        rows, cols = (held.centres(length, count) + start
                      for length, count, start in zip(window[2:], small.shape_yx, window[:2], strict=True))  # fmt: skip
        plane = Plane(ground.mask(rows, cols), 1.0, IGNORE)
        looks.append((MASK, pictures.to_uri("png", shown.draw(MASK, plane))))
        values.append(_numbers(MASK, plane))
    for layer in shown.layers:
        plane = shown.plane(layer, read)
        looks.append((layer.look, pictures.to_uri("png", shown.draw(layer.look, plane))))
        values.append(_numbers(layer.look, plane))
    page = held.describe(shown.name, grid, shown.legend, [look for look, _ in looks])
    for facts, (_, source) in zip(page["layers"], looks, strict=True):
        facts["src"] = source
    whole = [[0, 0, *grid.shape_yx]]
    return {**page, "origin": [window.row, window.col], "small": list(small.shape_yx), "pieces": whole,
            "values": values, "tiles": None}  # fmt: skip


def _numbers(look: Look, plane: Plane) -> dict[str, Any]:
    """A layer's numbers for the read-out, little-endian and compressed."""
    values = np.ascontiguousarray(plane.values, plane.values.dtype.newbyteorder("<"))
    return {"title": held.say(look.short), "kind": look.kind, "as": _HELD_AS[values.dtype.name], "scale": plane.scale,
            "nodata": plane.nodata, "data": base64.b64encode(zlib.compress(values.tobytes(), 9)).decode()}  # fmt: skip
