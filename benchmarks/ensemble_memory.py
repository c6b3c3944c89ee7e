"""Does the ensemble's peak memory grow with a scene's height? A whole map of two members at three heights.

Run: python -m benchmarks.ensemble_memory [--width-px 1024] [--base-px 1024] [--work /tmp/…]. Exits 1 if the peak of the
tallest exceeds that of the lowest by more than a fifth. Each size runs in a process of its own; the peak is the
kernel's high-water mark (`getrusage`), memory-mapped pages included.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from affine import Affine

from thalweg import raster
from thalweg.bands import wavelength_nm
from thalweg.classes import ClassInfo
from thalweg.grid import Grid, iter_blocks
from thalweg.manifest.card import SCHEMA as CARD_SCHEMA
from thalweg.manifest.card import ModelCard, Normalisation, write_card
from thalweg.manifest.chips import PARTS, part_path, write_chips
from thalweg.manifest.scene import NODATA, REFLECTANCE_SCALE, SCHEMA, Channel, Scene, SceneRecord, write_scene_record
from thalweg.params.classes import Classes
from thalweg.params.ensembles import Ensemble

HEIGHTS = (1, 2, 4)
GROWTH = 1.2
GRID = "bench"
BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12", "B01")
CLASSES = Classes(legend=(ClassInfo(name="background", color="#e6e0d4"), ClassInfo(name="channel", color="#1f6fb4")))


def main() -> int:
    """Measures all heights and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width-px", type=int, default=1024)
    parser.add_argument("--base-px", type=int, default=1024, help="Height of the lowest scene.")
    parser.add_argument("--work", type=Path, default=None, help="Scratch folder; the system's if not given.")
    parser.add_argument("--step", choices=("make", "map"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step == "make":
        return _make_project(args.work, (args.base_px, args.width_px))
    if args.step == "map":
        return _map(args.work)
    print(f"{'height':>8} {'width':>8} {'image MiB':>10} {'peak MiB':>10} {'seconds':>9}")
    peaks = [_measure(factor * args.base_px, args.width_px, args.work) for factor in HEIGHTS]
    growth = peaks[-1] / peaks[0]
    print(f"peak grows by a factor of {growth:.3f} while the scene grows by {HEIGHTS[-1]} (limit {GROWTH})")
    return int(growth > GROWTH)


def _measure(height: int, width: int, work: Path | None) -> float:
    """Peak resident memory of the mapping process, MiB.

    Making the project is a process of its own: Linux hands a parent's peak on to its children.
    """
    with tempfile.TemporaryDirectory(dir=work) as folder:
        _run("make", folder, height, width)
        start = time.perf_counter()
        peak = float(_run("map", folder, height, width))
        seconds = time.perf_counter() - start
    image_mib = height * width * len(BANDS) * 2 / 2**20
    print(f"{height:>8} {width:>8} {image_mib:>10.0f} {peak:>10.0f} {seconds:>9.1f}", flush=True)
    return peak


def _run(step: str, folder: str, height: int, width: int) -> str:
    command = [sys.executable, "-m", "benchmarks.ensemble_memory", "--step", step, "--work", folder,
               "--base-px", str(height), "--width-px", str(width)]  # fmt: skip
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _map(root: Path) -> int:
    from thalweg.ensemble import build_map  # noqa: PLC0415 - torch only in the child

    ensemble = Ensemble(members=("one", "two"), grid=GRID, scenes=("*",), reducer="mean", tta=False, overlap=0.25,
                        threshold="iou")  # fmt: skip
    build_map("bench", ensemble, CLASSES, models=root / "models", scenes_root=root / "scenes", split=root / "split",
              map_dir=root / "map", card_dir=root / "card", metrics_path=root / "metrics.json",
              device="cpu")  # fmt: skip
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return 0


def _make_project(root: Path, shape: tuple[int, int]) -> int:
    scene = _make_scene(root / "scenes" / GRID / "tall", shape)
    path = part_path(root / "split", GRID, scene.name)
    path.parent.mkdir(parents=True)
    parts = raster.create_pixels(path, scene.grid, 1, "uint8", None)
    parts[: shape[0] // 2], parts[shape[0] // 2 :] = PARTS["val"], PARTS["test"]
    parts.flush()
    chip = {"scene": scene.name, "row": 0, "col": 0, "size": 128, "block": "b", "part": "val", "valid_fraction": 1.0,
            "labelled_px": 1}  # fmt: skip
    write_chips(pd.DataFrame([chip]), root / "split", GRID)
    for seed, name in enumerate(("one", "two")):
        _make_member(root / "models" / name, scene, seed)
    return 0


def _make_scene(folder: Path, shape: tuple[int, int]) -> Scene:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    grid = Grid("EPSG:32720", Affine(20, 0, 600_000, 0, -20, 7_000_000), shape)
    image = raster.create_pixels(folder / "image.tif", grid, len(BANDS), "int16", NODATA)
    valid = raster.create_pixels(folder / "valid.tif", grid, 1, "uint8", None)
    mask = raster.create_pixels(folder / "mask.tif", grid, 1, "uint8", 255)
    for window in iter_blocks(shape, 256):
        size = (window.height, window.width)
        mask[window.rows, window.cols, 0] = labels = rng.integers(0, 2, size, dtype=np.uint8)
        noise = rng.integers(0, 2000, (*size, len(BANDS)), dtype=np.int16)
        image[window.rows, window.cols] = noise + labels[:, :, None] * np.int16(500)
        valid[window.rows, window.cols] = 1
    channels = tuple(Channel(name=band, wavelength_nm=wavelength_nm(band), scale=REFLECTANCE_SCALE, offset=0.0,
                             unit="reflectance") for band in BANDS)  # fmt: skip
    record = SceneRecord(schema_version=SCHEMA, name=folder.name, grid=GRID, product="bench", baseline=None,
                         offsets_applied={}, sensing_time=None, crs=grid.crs_wkt, transform=tuple(grid.transform)[:6],
                         shape_yx=shape, georeferenced=True, dtype="int16", dates=(), prior=None,
                         channels=channels, masks=("bench",), labelled=True, valid_fraction=1.0,
                         clipped={}, sources={}, warnings=())  # fmt: skip
    write_scene_record(record, folder)
    return Scene(folder)


def _make_member(folder: Path, scene: Scene, seed: int) -> None:
    import torch  # noqa: PLC0415

    from thalweg import models  # noqa: PLC0415

    count = len(BANDS)
    card = ModelCard(schema_version=CARD_SCHEMA, member=folder.name, architecture="unet",
                     options={"widths": [8, 16], "dropout": 0.0, "upsample": "nearest"}, architecture_sha256="0" * 64,
                     grid=GRID, pixel_m=20.0, pixel_m_range=(20.0, 20.0), channels=scene.record.channels,
                     deciles=(), shares=(),
                     normalisation=Normalisation(mean=(0.1,) * count, std=(0.05,) * count), classes=CLASSES.legend,
                     window_px=128, overlap=0.25, temperature=1.0, calibration=None, preparation={}, metrics={},
                     epoch=0, git_commit=None, products=(),
                     packages={})  # fmt: skip
    torch.manual_seed(seed)
    models.save_weights(models.network(card).architecture.state_dict(), folder)
    write_card(card, folder)


if __name__ == "__main__":
    sys.exit(main())
