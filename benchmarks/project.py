"""A project as the pipeline leaves it, for measuring maps: one scene of any size, its parts, and members as given."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from affine import Affine

from thalweg import models, params, raster
from thalweg.bands import wavelength_nm
from thalweg.classes import ClassInfo
from thalweg.ensemble import build_map
from thalweg.grid import Grid, iter_blocks
from thalweg.manifest.card import SCHEMA as CARD_SCHEMA
from thalweg.manifest.card import ModelCard, Normalisation, write_card
from thalweg.manifest.chips import PARTS, part_path, write_chips
from thalweg.manifest.scene import NODATA, REFLECTANCE_SCALE, SCHEMA, Channel, Scene, SceneRecord, write_scene_record
from thalweg.params.classes import Classes
from thalweg.params.ensembles import Ensemble

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes/sample.yaml"
GRID, SCENE = "bench", "scene"
BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12", "B01")


def legend(count: int) -> Classes:
    """So many classes."""
    return Classes(legend=tuple(ClassInfo(name=f"class{k}", color=f"#{40 * k:02x}6fb4") for k in range(count)))


def default_options() -> dict[str, Any]:
    """Of the default params' U-Net."""
    options: dict[str, Any] = params.read_yaml(RECIPE)["models"]["unet"]["options"]
    return options


def make_scene(root: Path, shape: tuple[int, int], classes: int, metres: float = 10.0) -> Scene:
    """A scene of noise over random labels; nothing of it compresses, nothing is missing."""
    folder = scene_folder(root)
    rng = np.random.default_rng(3)
    grid = Grid("EPSG:32720", Affine(metres, 0, 600_000, 0, -metres, 7_000_000), shape)
    image = raster.create_pixels(folder / "image.tif", grid, len(BANDS), "int16", NODATA)
    valid = raster.create_pixels(folder / "valid.tif", grid, 1, "uint8", None)
    for window in iter_blocks(shape, 256):
        image[window.rows, window.cols] = rng.integers(
            0, 2000, (window.height, window.width, len(BANDS)), dtype=np.int16
        )
        valid[window.rows, window.cols] = 1
    image.flush()
    valid.flush()
    return complete(root, grid, classes)


def scene_folder(root: Path) -> Path:
    """Of the one scene; made here."""
    folder = root / "scenes" / GRID / SCENE
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def complete(root: Path, grid: Grid, classes: int) -> Scene:
    """Labels, record and split of a scene whose image and valid pixels are there: upper half val, lower half test."""
    folder, shape = scene_folder(root), grid.shape_yx
    mask = raster.create_pixels(folder / "mask.tif", grid, 1, "uint8", 255)
    rng = np.random.default_rng(4)
    for window in iter_blocks(shape, 256):
        mask[window.rows, window.cols, 0] = rng.integers(0, classes, (window.height, window.width), dtype=np.uint8)
    channels = tuple(Channel(name=band, wavelength_nm=wavelength_nm(band), scale=REFLECTANCE_SCALE, offset=0.0,
                             unit="reflectance") for band in BANDS)  # fmt: skip
    record = SceneRecord(schema_version=SCHEMA, name=SCENE, grid=GRID, preparation={}, product="bench", baseline=None,
                         offsets_applied={}, sensing_time=None, crs=grid.crs_wkt, transform=tuple(grid.transform)[:6],
                         shape_yx=shape, georeferenced=True, dtype="int16", dates=(), prior=None, channels=channels,
                         masks=("bench",), labelled=True, valid_fraction=1.0, clipped={}, sources={},
                         warnings=())  # fmt: skip
    write_scene_record(record, folder)
    path = part_path(root / "split", GRID, SCENE)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = raster.create_pixels(path, grid, 1, "uint8", None)
    parts[: shape[0] // 2], parts[shape[0] // 2 :] = PARTS["val"], PARTS["test"]
    parts.flush()
    chip = {"scene": SCENE, "row": 0, "col": 0, "size": 128, "block": "b", "part": "val", "valid_fraction": 1.0,
            "labelled_px": 1}  # fmt: skip
    write_chips(pd.DataFrame([chip]), root / "split", GRID)
    return Scene(folder)


def make_member(root: Path, name: str, scene: Scene, classes: int, options: Mapping[str, Any], window_px: int,
                seed: int = 0) -> Path:  # fmt: skip
    """A U-Net with fresh weights in `models/<name>`."""
    import torch  # noqa: PLC0415 - makers of scenes do without

    count = len(scene.record.channels)
    card = ModelCard(schema_version=CARD_SCHEMA, member=name, architecture="unet", options=dict(options),
                     architecture_sha256="0" * 64, grid=GRID, pixel_m=10.0, pixel_m_range=(10.0, 10.0),
                     channels=scene.record.channels, deciles=(), shares=(),
                     normalisation=Normalisation(mean=(0.1,) * count, std=(0.05,) * count),
                     classes=legend(classes).legend, window_px=window_px, overlap=0.25, temperature=1.0,
                     calibration=None, preparation={}, metrics={}, epoch=0, git_commit=None, products=(),
                     packages={})  # fmt: skip
    torch.manual_seed(seed)
    folder = root / "models" / name
    models.save_weights(models.network(card).architecture.state_dict(), folder)
    write_card(card, folder)
    return folder


def ensemble(members: tuple[str, ...], **changes: Any) -> Ensemble:
    """The default params' ensemble of other members, one view and a quarter of overlap."""
    block = params.read_yaml(RECIPE)["ensembles"]["main"]
    block |= {"members": members, "grid": GRID, "scenes": ("*",), "threshold": "argmax", "overlaps": (0.25,),
              "tta": {"views": 1, "scales": (1,)}}  # fmt: skip
    return Ensemble.model_validate_json(json.dumps(block | changes, default=str))


def map_project(root: Path, made: Ensemble, classes: int) -> Path:
    """The whole map with its scores; its folder."""
    build_map("bench", made, legend(classes), models=root / "models", scenes_root=root / "scenes",
              split=root / "split", map_dir=root / "map", card_dir=root / "card", metrics_path=root / "metrics.json",
              device="cpu")  # fmt: skip
    return root / "map"


def peak_mib() -> float:
    """Most memory that this process ever held, MiB, memory-mapped pages included, its parent's not."""
    return _status("VmHWM")


def held_mib() -> float:
    """Memory that this process holds, MiB."""
    return _status("VmRSS")


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(key))) / 1024
