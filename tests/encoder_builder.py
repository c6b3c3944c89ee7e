"""Encoders' params and a tiny world to pre-train in: the two scenes of `member_builder`, or one place on two dates."""

from pathlib import Path
from typing import Any

import numpy as np
from member_builder import GRID, make_places, write_split
from scene_builder import make_scene

from thalweg.params.encoders import EncoderParams
from thalweg.pretrain.run import Places

CROPS = {"chip_m": 1920.0, "wide_m": (960.0, 1440.0), "wide_px": 16, "small_m": None, "small_px": 8, "small": 0}
"""Of pixels of 60 m: chips of 32 px, views of 16 to 24."""
ALTER = {"d4": 1, "jitter": 0.1, "gain": 0.05, "haze": 0.02, "noise": 0.05, "band_dropout": 0.1}
OPTIONS: dict[str, dict[str, Any]] = {
    "byol": {"hidden": 32, "projection": 16, "heads": True},
    "moco_v2": {"hidden": 32, "projection": 16, "queue": 32, "temperature": 0.2},
    "vicreg": {"hidden": 32, "projection": 32, "invariance": 25.0, "variance": 25.0, "covariance": 1.0, "dense": 0.5,
               "level": 2},
    "dino": {"hidden": 32, "bottleneck": 16, "prototypes": 32, "teacher_temperature": 0.04, "warmup_temperature": 0.04,
             "warmup_temperature_epochs": 0, "student_temperature": 0.1, "freeze_epochs": 1},
    "mae": {"mask": 0.5, "width": 32, "blocks": 1, "heads": 2},
    "seasonal": {"hidden": 32, "projection": 16, "queue": 32, "temperature": 0.1},
}  # fmt: skip
"""Small enough for tests, every key given."""


def params(method: str = "vicreg", **changes: Any) -> EncoderParams:
    """An encoder that is pre-trained in about a second."""
    values: dict[str, Any] = {
        "grid": GRID, "method": method, "options": OPTIONS[method], "encoder": "resnet18", "depth": 3,
        "parts": ("train",), "positives": "augmented", "sites": "masks/none.yaml", "crops": CROPS, "alter": ALTER,
        "least_valid": 0.3, "chips_per_epoch": 16, "batch_size": 8, "max_epochs": 2, "seed": 3, "lr": 1e-3,
        "weight_decay": 1e-4, "warmup_epochs": 0.0, "clip_norm": None, "ema": 0.9,
        "collapse": {"std": 0.0, "rank": 1.0, "then": "warn"},
    }  # fmt: skip
    if method == "mae":
        values |= {"encoder": "tu-test_vit", "depth": 4, "crops": CROPS | {"wide_px": 32}}
    if method == "dino":
        values["crops"] = CROPS | {"small_m": (480.0, 960.0), "small": 2}
    if method == "seasonal":
        values["positives"] = "dates"
    return EncoderParams(**(values | changes))


def make_world(root: Path) -> Places:
    """The two places of `member_builder`."""
    made = make_places(root)
    return places(root, made.scenes, made.split)


def make_dates(root: Path, names: tuple[str, ...] = ("spring", "autumn"), width: int = 96) -> Places:
    """One place on some dates that differ in light; columns from the left: half train, a quarter val, a quarter test."""
    base = make_scene(root / "first", names[0], shape=(48, width), seed=1, channels=("B04", "B03", "B02"))
    scenes = [make_scene(root / "scenes" / GRID, name, shape=(48, width), seed=1, channels=("B04", "B03", "B02"),
                         image=np.asarray(base.image) + np.int16(200 * number),
                         sensing_time=f"2025-{number + 1:02}-15T14:17:09Z") for number, name in enumerate(names)]  # fmt: skip
    write_split(root / "split", scenes)
    return places(root, root / "scenes" / GRID, root / "split")


def places(root: Path, scenes: Path, split: Path, outs: str = "outs") -> Places:
    """Where a pre-training in `root` reads and writes."""
    out = root / outs
    return Places(scenes=scenes, split=split, encoder=out / "encoder", metrics=out / "metrics.json", runs=root / "runs",
                  resume=root / "resume")  # fmt: skip
