"""Draws one scene of a finished map for the manual: image, mask, classes, probability of class 1, doubt.

The manual's two, from runs of params.yaml and of recipes/barkbeetle.yaml:

python docs/hooks/pictures.py . main S2A_MSIL2A_20231014T141731_N0509_R010_T20KMA --false docs/images/map.png
python docs/hooks/pictures.py BARKBEETLE MAP geojson_348438 docs/images/barkbeetle.png
"""

import argparse
import base64
import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from PIL import Image

from thalweg import mapfiles, pictures, raster
from thalweg.classes import IGNORE
from thalweg.explorer.find import ground_of
from thalweg.grid import Window
from thalweg.mosaic import footprint

_EDGE_IN = 2.48
"""Width of a panel."""
_TITLE_IN = 0.24
Panels = list[tuple[str, np.ndarray, dict[str, object]]]


def draw(project: Path, name: str, scene: str, target: Path, false_color: bool = False) -> None:
    """Writes the picture, as high as its panels and their titles, so that nothing below them is blank."""
    panels = _panels(project, name, scene, false_color)
    height, width = panels[0][1].shape[:2]
    high = _EDGE_IN * height / width + _TITLE_IN
    figure = Figure((_EDGE_IN * len(panels), high), dpi=110)
    for number, (title, pixels, look) in enumerate(panels):
        place = (number / len(panels) + 0.006, 0.012, 1 / len(panels) - 0.012, 1 - _TITLE_IN / high - 0.012)
        axes = figure.add_axes(place)
        axes.imshow(pixels, aspect="auto", interpolation="nearest", **look)
        axes.set_title(title, fontsize=9, pad=3)
        axes.set_axis_off()
    figure.savefig(target)


def _panels(project: Path, name: str, scene: str, false_color: bool) -> Panels:
    files = mapfiles.read_map(project / "maps" / name)
    [shown] = [each for each in ground_of(files.grid, project / "build/scenes").scenes if each.name == scene]
    window = footprint(files.grid, shown.grid)
    labels, small = pictures.read_small(files.classes, window)
    with raster.opened(files.classes) as dataset:
        colors = ListedColormap([np.array(dataset.colormap(1)[k]) / 255 for k in range(len(files.names))])
    legend = {"cmap": colors, "vmin": -0.5, "vmax": len(files.names) - 0.5}
    seen = pictures.draw_image([shown], small, ~np.ma.getmaskarray(labels), int(false_color))
    panels: Panels = [("image", _pixels(seen), {})] if seen else []
    if shown.mask is not None:
        panels.append(("mask", np.ma.masked_equal(shown.mask, IGNORE), legend))
    panels.append(("classes", labels, legend))
    for title, path, band, ramp in (
        (f"probability of {files.names[1].replace('_', ' ')}", files.probs, 2, "viridis"),
        ("uncertainty (entropy)", files.uncertainty, 1, "magma"),
    ):
        if path is not None:
            panels.append((title, _scaled(path, window, band), {"cmap": mpl.colormaps[ramp], "vmin": 0, "vmax": 1}))
    return panels


def _scaled(path: Path, window: Window, band: int) -> np.ndarray:
    held, _ = pictures.read_small(path, window, band)
    with raster.opened(path) as dataset:
        return held * dataset.scales[band - 1]


def _pixels(picture: pictures.Picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))).convert("RGBA"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("map")
    parser.add_argument("scene")
    parser.add_argument("target", type=Path)
    parser.add_argument("--false", action="store_true", help="infrared, red and green as red, green and blue")
    asked = parser.parse_args()
    draw(asked.project, asked.map, asked.scene, asked.target, asked.false)
