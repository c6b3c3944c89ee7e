"""Pictures of the forms that the recipes landcover and potsdam read, and those recipes in a small mode."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from product_builder import make_raster
from ruamel.yaml import YAML

from thalweg.params import read_yaml

ROOT = Path(__file__).parents[1]
TILE_PX = 64
"""Edge of an official tile, which the small landcover trains on."""
PHOTO_PX = 160
"""Edge of an orthophoto: rows of three tiles, the last of them 32 px wide."""
POTSDAM_PX = 192
"""Edge of a Potsdam tile: 9.6 m."""
POTSDAM = ("2_10", "2_11", "2_12", "3_11", "3_12", "6_12")
"""Row and column of the tiles; the recipe holds out three of them."""


def write_landcover(data: Path) -> None:
    """Two orthophotos of 25 cm and one of 50 cm far from each other, masks, and lists that name their complete tiles."""
    home = data / "landcover.ai.v1"
    for number, (name, pixel) in enumerate({"M-33-7": 0.25, "M-34-6": 0.25, "N-33-60": 0.5}.items()):
        ids, image = _ground((PHOTO_PX, PHOTO_PX), 5, seed=number)
        origin = (300_000.0 + 30_000 * number, 500_000.0)
        make_raster(home / f"images/{name}.tif", image, "EPSG:2180", origin, pixel)
        make_raster(home / f"masks/{name}.tif", ids[None], "EPSG:2180", origin, pixel)
    lists = {
        "train": ["M-33-7_0", "M-33-7_1", "M-33-7_4", "M-34-6_0", "N-33-60_0", "N-33-60_1", "N-33-60_4"],
        "val": ["M-33-7_3", "M-34-6_1", "N-33-60_3"],
        "test": ["M-34-6_3", "M-34-6_4"],
    }
    for part, names in lists.items():
        (home / f"{part}.txt").write_text("".join(f"{name}\n" for name in names))


def write_potsdam(data: Path) -> None:
    """Six tiles in their places, with world files and no CRS inside, and RGB-coded labels with black borders."""
    for number, tile in enumerate(POTSDAM):
        ids, image = _ground((POTSDAM_PX, POTSDAM_PX), 6, seed=number)
        colors = np.array([[255, 255, 255], [0, 0, 255], [0, 255, 255], [0, 255, 0], [255, 255, 0], [255, 0, 0]])
        labels = np.moveaxis(colors[ids], -1, 0).astype(np.uint8)
        labels[:, :8] = 0
        row, col = (int(part) for part in tile.split("_"))
        corner = (366_676.0 + (col - 10) * POTSDAM_PX * 0.05, 5_808_649.5 - (row - 2) * POTSDAM_PX * 0.05)
        for path, planes in ((f"3_Ortho_IRRG/top_potsdam_{tile}_IRRG.tif", image),
                             (f"5_Labels_all/top_potsdam_{tile}_label.tif", labels)):  # fmt: skip
            _write_with_world_file(data / "potsdam" / path, planes, corner)


def small(recipe: str, root: Path, member: str, options: dict[str, Any], changes: dict[str, Any]) -> None:
    """Writes `root/params.yaml`: the recipe with one member, whose own block stays but for its sizes.

    Args:
        recipe: Its name.
        root: Of the project.
        member: The one that stays.
        options: Sizes of its architecture.
        changes: Dotted key → value, sizes all of them.
    """
    content = read_yaml(ROOT / f"recipes/{recipe}.yaml")
    block = content["models"][member]
    block["options"] |= options
    block |= {"chip_px": 64, "chips_per_epoch": 4, "batch_size": 2, "max_epochs": 1, "window_px": 64, "overlap": 0}
    content["models"] = {member: block}
    content["train"] |= {"accelerator": "cpu", "loggers": ["csv"], "watch": []}
    content["ensembles"]["main"]["members"] = [member]
    for dotted, value in changes.items():
        *outer, last = dotted.split(".")
        section = content
        for key in outer:
            section = section[key]
        section[last] = value
    root.mkdir(parents=True, exist_ok=True)
    (root / "masks").mkdir(exist_ok=True)
    for name in ("none", "first"):
        (root / f"masks/{name}.yaml").write_text((ROOT / f"masks/{name}.yaml").read_text())
    with (root / "params.yaml").open("w") as stream:
        YAML().dump(content, stream)


def _ground(shape: tuple[int, int], classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Class ids in squares of 16 px, each class somewhere, and three bands (3, H, W) in which each has its colour."""
    random = np.random.default_rng(seed)
    cells = random.permutation(np.resize(np.arange(classes), (shape[0] // 16) * (shape[1] // 16)))
    ids = np.kron(cells.reshape(shape[0] // 16, shape[1] // 16), np.ones((16, 16), np.uint8)).astype(np.uint8)
    colors = np.random.default_rng(0).integers(30, 220, (classes, 3))
    image = np.clip(colors[ids] + random.normal(0, 8, (*shape, 3)), 0, 255).astype(np.uint8)
    return ids, np.moveaxis(image, -1, 0)


def _write_with_world_file(path: Path, planes: np.ndarray, corner: tuple[float, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = planes.shape
    with rasterio.open(path, "w", driver="GTiff", count=count, height=height, width=width, dtype="uint8") as dataset:
        dataset.write(planes)
    path.with_suffix(".tfw").write_text(f"0.05\n0.0\n0.0\n-0.05\n{corner[0] + 0.025:.3f}\n{corner[1] - 0.025:.3f}\n")
