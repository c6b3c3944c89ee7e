"""A tiny trainable world for tests: two labelled scenes, a split written directly, and a member's params."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scene_builder import make_scene

from thalweg import raster
from thalweg.grid import iter_windows
from thalweg.manifest.chips import PARTS, Stats, part_path, write_chips, write_stats
from thalweg.manifest.scene import Scene
from thalweg.params.classes import Classes
from thalweg.params.models import Member
from thalweg.params.train import Train
from thalweg.train import Places

GRID = "s2_60m"
NAMES = ("background", "channel")
CHIP_PX = 16


def make_places(root: Path, shape: tuple[int, int] = (48, 64)) -> Places:
    """Two scenes; columns from the left: half train, a quarter val, a quarter test, one unused column between."""
    scenes = [make_scene(root / "scenes" / GRID, name, shape=shape, seed=seed, channels=("B04", "B03", "B02"),
                         origin=(600_000.0, 7_000_000.0 + 9_000 * seed)) for seed, name in enumerate(("one", "two"))]  # fmt: skip
    write_split(root / "split", scenes)
    return places(root)


def places(root: Path, outs: str = "outs") -> Places:
    """Where a training in `root` reads and writes."""
    out = root / outs
    return Places(scenes=root / "scenes" / GRID, split=root / "split", model=out / "model", heldout=out / "heldout",
                  history=out / "history.csv", metrics=out / "metrics.json", runs=root / "runs", resume=root / "resume")  # fmt: skip


def write_split(split: Path, scenes: list[Scene]) -> None:
    """Part rasters, chip table and statistics of some scenes."""
    rows, train_pixels = [], []
    for scene in scenes:
        height, width = scene.record.shape_yx
        parts = np.full((height, width), PARTS["train"], np.uint8)
        parts[:, width // 2 :], parts[:, width * 3 // 4 :] = PARTS["val"], PARTS["test"]
        parts[:, [width // 2, width * 3 // 4]] = PARTS["unused"]
        path = part_path(split, GRID, scene.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        target = raster.create_pixels(path, scene.grid, 1, "uint8", None)
        target[:] = parts[:, :, None]
        target.flush()
        rows += _rows(scene, parts)
        train_pixels.append(scene.image[(parts == PARTS["train"]) & (scene.valid > 0)])
    write_chips(pd.DataFrame(rows), split, GRID)
    write_stats(_stats(np.concatenate(train_pixels), scenes[0], pd.DataFrame(rows)), split, GRID)


def member(**changes: Any) -> Member:
    """A member that trains in about a second."""
    values: dict[str, Any] = {
        "model": "unet", "options": {"widths": [8, 16], "dropout": 0.1, "upsample": "nearest"}, "grid": GRID, "seed": 3,
        "loss": {"cross_entropy": 1.0, "dice": 1.0}, "class_weights": "none", "augment": {"d4": 1.0, "gain": 0.05}, "chip_px": CHIP_PX,
        "chips_per_epoch": 16, "sampler": "random", "least_valid": 0.0, "oversample": None, "train_prop": None,
        "train_count": None, "area": None, "freeze": (), "thaw_epochs": None, "prior_bias": False, "after": "masks/none.yaml", "holdout": None, "active": None, "batch_size": 4, "max_epochs": 3, "patience": 3, "keep": "best", "optimizer": "adamw",
        "lr": 0.01, "weight_decay": 0.01, "schedule": "one_cycle", "warmup_epochs": 0.0, "clip_norm": None, "accumulate": 1, "ema": None,
        "calibrate": "none", "window_px": CHIP_PX, "overlap": 0.5,
    }  # fmt: skip
    return Member(**(values | changes))


def train_params(**changes: Any) -> Train:
    """The machine of the tests."""
    values: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "num_nodes": 1,
        "strategy": "auto",
        "precision": "32-true",
        "compile": False,
        "channels_last": True,
        "workers": 0,
        "loggers": ("csv", "tensorboard"),
        "watch": (),
        "profiler": None,
    }
    return Train(**(values | changes))


def classes() -> Classes:
    """The two classes of `make_scene`'s blobs."""
    legend = [{"name": name, "color": color} for name, color in zip(NAMES, ("#e6e0d4", "#1f6fb4"), strict=True)]
    return Classes.model_validate({"legend": tuple(legend)})


def _rows(scene: Scene, parts: np.ndarray) -> list[dict[str, Any]]:
    rows = []
    for window in iter_windows(scene.record.shape_yx, CHIP_PX, CHIP_PX):
        for part in ("train", "val", "test"):
            inside = (parts[window.rows, window.cols] == PARTS[part]) & (scene.valid[window.rows, window.cols] > 0)
            labels = np.full(inside.shape, 255) if scene.mask is None else scene.mask[window.rows, window.cols]
            counts = [int(((labels == k) & inside).sum()) for k in range(len(NAMES))]
            if sum(counts):
                rows.append({"scene": scene.name, "row": window.row, "col": window.col, "size": CHIP_PX,
                             "block": f"{scene.name}-{window.row}", "part": part, "valid_fraction": float(inside.mean()), "hidden_fraction": 0.0,
                             "labelled_px": sum(counts), **{f"px_{n}": c for n, c in zip(NAMES, counts, strict=True)}})  # fmt: skip
    return rows


def _stats(pixels: np.ndarray, scene: Scene, rows: pd.DataFrame) -> Stats:
    values = pixels * 1e-4
    p02, p50, p98 = (tuple(row.tolist()) for row in np.quantile(values, (0.02, 0.5, 0.98), axis=0))
    deciles = np.quantile(values, np.arange(1, 10) / 10, axis=0, method="inverted_cdf").T
    bins = [np.diff([0, *((band[:, None] <= edges).mean(0)), 1]) for band, edges in zip(values.T, deciles, strict=True)]
    sums = rows.groupby("part")[[f"px_{name}" for name in NAMES]].sum()
    counts = {str(part): {name: int(row[f"px_{name}"]) for name in NAMES} for part, row in sums.iterrows()}
    return Stats(channels=tuple(c.name for c in scene.record.channels), mean=tuple(values.mean(0).tolist()),
                 std=tuple(values.std(0).tolist()), p02=p02, p50=p50, p98=p98, pixels=len(values),
                 deciles=_nested(deciles), shares=_nested(bins),
                 class_px=counts["train"], parts_px=counts, leak_m=None, shown_m=None, hidden_fraction=0.0)  # fmt: skip


def _nested(rows: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in rows)
