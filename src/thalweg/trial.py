"""A member's training cut short by a preset, to find a fault: it touches no out, and DVC knows nothing of it."""

import math
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from thalweg import raster
from thalweg.dataset.sampler import lattice
from thalweg.errors import TrainingError
from thalweg.grid import cut
from thalweg.manifest.chips import (
    PARTS,
    WITHHELD,
    part_file,
    read_chips,
    read_stats,
    scene_parts,
    write_chips,
    write_stats,
)
from thalweg.manifest.scene import Scene, read_scenes
from thalweg.params import NOTHING
from thalweg.params.classes import Classes
from thalweg.params.models import Member
from thalweg.params.presets import Preset
from thalweg.params.train import Train
from thalweg.train import Places, train_member


@dataclass(frozen=True)
class Trial:
    """What a cut training left."""

    folder: Path
    """Of its outs; its record lies beside."""
    losses: tuple[float, ...]
    """Of training, per epoch."""


def run(name: str, member: Member, train: Train, classes: Classes, preset: Preset, build: Path, home: Path) -> Trial:
    """Trains a member as a preset has it.

    Args:
        name: The member's.
        member: Its block, with the preset's values.
        train: What members share, with the preset's values.
        classes: The legend.
        preset: How much of the data it sees.
        build: Folder of `scenes/` and `split/`.
        home: Folder of all trials of this preset.

    Raises:
        TrainingError: The training fails, or its loss does not fall as the preset asks.
    """
    scenes, last = build / "scenes" / member.grid, home / name / "last"
    with tempfile.TemporaryDirectory(prefix="thalweg.") as scratch:
        split = build / "split"
        if preset.batches is not None:
            member = _fewer(name, member, preset, scenes, split, Path(scratch))
            split = Path(scratch)
        places = Places(
            scenes=scenes, split=split, model=last / "model", heldout=last / "heldout", history=last / "history.csv",
            metrics=last / "metrics.json", runs=home, resume=Path(scratch) / "resume", cache=Path(scratch) / "cache",
            after=None if member.after == NOTHING else Path(member.after))  # fmt: skip
        with torch.autograd.set_detect_anomaly(True) if preset.anomalies else nullcontext():
            train_member(name, member, train, classes, places)
    losses = tuple(pd.read_csv(last / "history.csv")["train_loss"].tolist())
    if preset.falls is not None and not losses[-1] < preset.falls * losses[0]:
        raise TrainingError(
            f"models.{name} does not learn its batch by heart: the loss is {losses[0]:.4g} in the first epoch and "
            f"{losses[-1]:.4g} in the last of {len(losses)}, where less than {preset.falls * losses[0]:.4g} is asked; "
            f"look at {last.parent} (samples.png, panels), then at its lr ({member.lr}), loss and labels"
        )
    return Trial(last, losses)


def _fewer(name: str, member: Member, preset: Preset, scenes: Path, split: Path, target: Path) -> Member:
    """Writes a split of some batches, and gives the member that draws just these.

    Raises:
        TrainingError: The split has no training chip.
    """
    chips, count = read_chips(split, member.grid), preset.batches or 1
    chips = chips[chips["labelled_px"] > 0]
    if not (chips["part"] == "train").any():
        raise TrainingError(f"models.{name}: no pixel of part train on grid {member.grid} is labelled; see `split`")
    windows = math.ceil(int(chips["size"].max()) / member.chip_px) ** 2 if preset.same else 1
    rows = max(count * member.batch_size // windows, 1)
    kept = pd.concat([_richest(each, rows) for _, each in chips.groupby("part")])
    chosen = len(kept[kept["part"] == "train"]) * windows
    _write_split(kept, scenes, split, target, member.grid)
    shown = min(chosen, count * member.batch_size) if preset.same else count * member.batch_size
    size = min(member.batch_size, shown)
    return member.model_copy(update={"chips_per_epoch": shown, "batch_size": size})


def _richest(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """Rows that show the most classes, and of these the most labels."""
    classes = [name for name in rows.columns if name.startswith("px_")]
    order = np.lexsort((-rows["labelled_px"], -(rows[classes] > 0).sum(axis=1)))
    return rows.iloc[order[:count]]


def _write_split(kept: pd.DataFrame, scenes: Path, split: Path, target: Path, grid: str) -> None:
    """The chips that are kept, and part rasters on which nothing else is of any part."""
    found = {name: scene for name, scene in read_scenes(scenes).items() if name in set(kept["scene"])}
    for scene in found.values():
        path = part_file(target, scene)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            raster.create_pixels(path, scene.pack.grid if scene.pack else scene.grid, 1, "uint8", None).flush()
        _copy_parts(kept[kept["scene"] == scene.name], scene, split, path)
    write_chips(kept, target, grid)
    write_stats(read_stats(split, grid), target, grid)


def _copy_parts(rows: pd.DataFrame, scene: Scene, split: Path, path: Path) -> None:
    before, pixels = np.asarray(scene_parts(split, scene)), raster.map_pixels(path, "r+")
    parts = np.where(np.isin(before, (PARTS["test"], WITHHELD)), WITHHELD, PARTS["unused"]).astype(np.uint8)
    for _, window in lattice(rows):
        inside = window.clip((parts.shape[0], parts.shape[1]))
        parts[inside.rows, inside.cols] = cut(before, inside, PARTS["unused"])
    pixels[scene.window.rows, scene.window.cols, 0] = parts
    pixels.flush()
