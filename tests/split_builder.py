"""Splits of tiny scenes for tests: params with everything given, and where parts lie on the ground."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import Transformer

from thalweg.classes import ClassInfo
from thalweg.manifest.chips import PARTS, WITHHELD
from thalweg.manifest.scene import Scene
from thalweg.params.classes import Classes
from thalweg.params.split import Split
from thalweg.split.build import build_split
from thalweg.split.position import ecef

VALUES = {**PARTS, "withheld": WITHHELD}
CLASSES = Classes(legend=(ClassInfo(name="ground", color="#000000"), ClassInfo(name="channel", color="#0000ff")))


def params(**changes: Any) -> Split:
    """A split of blocks with small numbers; changes replace whole keys."""
    section = {
        "input": "masks/none.yaml", "unit": "blocks", "cells": None, "stratify": "classes", "official": None,
        "seed": 3, "block_m": 900, "buffer_m": 120, "fractions": {"train": 0.6, "val": 0.2, "test": 0.2},
        "rules": [], "yields": "train", "leak": "fail", "chip_px": {"g60": 16, "g20": 32},
    }  # fmt: skip
    return Split.model_validate_json(json.dumps(section | changes))


def rule(part: str, scene: str | None = None, mask: str | None = None) -> dict[str, str | None]:
    return {"part": part, "scene": scene, "mask": mask}


def run(root: Path, split: Split, grids: tuple[str, ...] = ("g60",), name: str = "split") -> Path:
    build_split(root, grids, split, CLASSES, root / name)
    return root / name


def ground(scene: Scene, parts: np.ndarray, *names: str) -> np.ndarray:
    rows, cols = np.nonzero(np.isin(parts, [VALUES[name] for name in names]))
    return ecef(*scene.grid.lonlat(rows + 0.5, cols + 0.5))


def zone_21_origin(x: float, y: float) -> tuple[float, float]:
    """Upper left corner in zone 21 of a corner in zone 20."""
    east, north = Transformer.from_crs(32720, 32721, always_xy=True).transform(x, y)
    return round(east, -1), round(north, -1)
