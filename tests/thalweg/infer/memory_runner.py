"""Predicts a scene and prints what it took, bytes: the plan's peak, and the process's above what it had before."""

import sys
from pathlib import Path

import torch
from predict_builder import card_for

from thalweg import models
from thalweg.infer import Predictor
from thalweg.infer.scene import How, plan_scene, predict_scene
from thalweg.manifest.scene import Scene


def memory_bytes(key: str) -> int:
    """Of this process: `VmHWM` the most it ever had, `VmRSS` what it has."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{key}:")]
    return int(line.split()[1]) << 10


def main(folder: Path, target: Path, memory_gib: float, members: int, window_px: int) -> None:
    """Several U-Nets of the sample's params, which tell seven classes apart."""
    scene = Scene(folder)
    names = tuple("abcdefg")
    card = card_for(scene, classes=len(names), window_px=window_px, architecture="unet",
                    options={"widths": [16, 32, 64, 128], "dropout": 0.1, "upsample": "nearest"})  # fmt: skip
    group = {f"m{number}": Predictor(models.network(card), card) for number in range(members)}
    group["m0"].predict(torch.zeros(1, 32, 32, len(card.channels), dtype=torch.int16).numpy())
    before = memory_bytes("VmRSS")
    how = How((0.25,), "hann")
    parts = plan_scene(group, scene, how, names, memory_gib)
    predict_scene(group, scene, how, names, {name: target / f"{name}.tif" for name in group}, memory_gib=memory_gib)
    planned = max(part.peak_bytes for part in parts)
    sys.stdout.write(f"{len(parts)} {parts[0].batches[window_px]} {planned} {memory_bytes('VmHWM') - before}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
