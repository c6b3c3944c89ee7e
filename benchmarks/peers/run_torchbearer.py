"""torchbearer's way to a map, as a replica. Argument: a JSON file with image, model, windows and target.

What it does is told in ../shared/reference/torchbearer.md, "Ensemble file": each window's logits clipped to 0…1,
× 255, as a georeferenced uint8 dataset in memory; all windows merged by `rasterio.merge` with max into one GeoTIFF.
Kinder than the original: windows are read from one raster straight, not through a sampler
that merges files per query, in batches, and the GeoTIFF is compressed as ours is.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.io import DatasetReader, MemoryFile
from rasterio.merge import merge
from rasterio.windows import Window as RioWindow

from benchmarks.project import held_mib, peak_mib
from thalweg.grid import Window, iter_windows
from thalweg.infer import Predictor

job = json.loads(Path(sys.argv[1]).read_text())
torch.set_num_threads(job["threads"])
network = Predictor.load(Path(job["model"]), "cpu")._network
size, target = job["window_px"], Path(job["out"]) / "torchbearer.tif"
target.parent.mkdir(exist_ok=True)


def in_memory(scores: np.ndarray, window: Window, source: DatasetReader) -> DatasetReader:
    """One window as a dataset."""
    at = source.window_transform(RioWindow(window.col, window.row, size, size))
    memory = MemoryFile()
    with memory.open(driver="GTiff", height=size, width=size, count=len(scores), dtype="uint8", crs=source.crs,
                     transform=at) as dataset:  # fmt: skip
        dataset.write(scores)
    return memory.open()


before, cpu, wall = held_mib(), time.process_time(), time.perf_counter()
with rasterio.open(job["image"]) as image, torch.inference_mode():
    windows = list(iter_windows((image.height, image.width), size, job["stride_px"]))
    pieces = []
    for start in range(0, len(windows), job["batch"]):
        batch = windows[start : start + job["batch"]]
        pixels = [np.moveaxis(image.read(window=RioWindow(w.col, w.row, size, size)), 0, -1) for w in batch]
        logits = network(torch.from_numpy(np.stack(pixels))).clamp(0, 1).mul(255).to(torch.uint8).numpy()
        pieces += [in_memory(scores, window, image) for scores, window in zip(logits, batch, strict=True)]
    merged, transform = merge(pieces, method="max")
    profile = {"driver": "GTiff", "height": image.height, "width": image.width, "count": len(merged), "dtype": "uint8",
               "crs": image.crs, "transform": transform, "compress": "deflate"}  # fmt: skip
with rasterio.open(target, "w", **profile) as dataset:
    dataset.write(merged)
spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
print(json.dumps(spent | {"peak": peak_mib(), "grown": peak_mib() - before, "bytes": target.stat().st_size}))
