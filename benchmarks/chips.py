"""Chips per second: our memory-mapped scene against torchgeo's RasterDataset over the same product's JP2 files.

One full-tile product of the embedded sample at 20 m, 10 bands, 128-px chips in batches of 8, same run, one process, all
files in the page cache. Limit: 1000 times the JP2 way, as training reads (pixels and labels through torch's loader).
The product and its scene are made once, into .cache/bench/chips (some minutes, 1.5 GB).
"""

import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import RandomBatchGeoSampler

from thalweg import params, sources
from thalweg.dataset.chips import ChipReader, Chips, stack
from thalweg.dataset.sampler import EpochSampler
from thalweg.grid import Window
from thalweg.manifest.chips import read_chips
from thalweg.manifest.products import write_products
from thalweg.params.classes import Classes
from thalweg.params.fetch import Fetch
from thalweg.params.grids import GridParams
from thalweg.params.masks import Masks
from thalweg.params.split import Split
from thalweg.preprocess import build_scenes
from thalweg.split.build import build_split

HOME = Path(".cache/bench/chips")
GRID = "s2_20m"
CHIP_PX, BATCH, LIMIT = 128, 8, 1000.0
JP2_BATCHES, OUR_BATCHES = 3, 500
RECIPE: dict[str, Any] = {
    "fetch": {
        "source": "sample",
        "input": "src/thalweg/sample",
        "elevation": None,
        "options": {
            "seed": 3,
            "size_60m_px": 1830,
            "cloud_cover": 0.05,
            "products": [{"tile": "T20KNA", "date": "2025-10-03", "baseline": "05.11"}],
        },
    },
    "classes": {"legend": [{"name": "background", "color": "#e6e0d4"}, {"name": "palaeochannel", "color": "#1f6fb4"}]},
    "masks": {
        "input": "raw/masks",
        "patterns": ["T*.tif"],
        "match": "ground",
        "band": None,
        "crs": None,
        "vector": None,
        "zero": "background",
        "values": {"255": "palaeochannel"},
        "other": "error",
        "threshold": None,
        "encoder": None,
        "area": None,
        "outside": "unlabelled",
        "prior": None,
    },
    "grid": {
        "products": "*",
        "resampling": "bilinear",
        "further": [],
        "dtype": "int16",
        "series": None,
        "pack": 1,
        "resolution_m": 20,
        "bands": ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12"],
        "channels": [],
        "valid": {"scl": [0, 1, 3, 8, 9, 10], "product_masks": False, "cloud_probability": None, "cloud_buffer_m": 0},
    },
    "split": {
        "seed": 3,
        "input": "masks/none.yaml",
        "unit": "blocks",
        "cells": None,
        "stratify": "classes",
        "official": None,
        "block_m": 3600,
        "buffer_m": 240,
        "rules": [],
        "yields": "train",
        "leak": "fail",
        "fractions": {"train": 0.6, "val": 0.2, "test": 0.2},
        "chip_px": {GRID: CHIP_PX},
    },
}


class Jp2Bands(RasterDataset):
    """The product's 20 m bands, as a torchgeo user would read them."""

    filename_glob = "T*_B02_20m.jp2"
    filename_regex = r"^T\w{5}_(?P<date>\d{8}T\d{6})_(?P<band>B\w{2})_20m\.jp2$"
    date_format = "%Y%m%dT%H%M%S"
    separate_files = True
    all_bands = tuple(RECIPE["grid"]["bands"])


def prepare() -> None:
    """Makes the product, its scene and its split, once."""
    if (HOME / "split").is_dir():
        return
    shutil.rmtree(HOME, ignore_errors=True)
    raw = HOME / "raw"
    raw.mkdir(parents=True)
    products = sources.fetch_products(_section(Fetch, "fetch"), raw, HOME / "products")
    write_products(products, raw)
    classes = _section(Classes, "classes")
    build_scenes(raw, raw / "masks", GRID, _section(GridParams, "grid"), _section(Masks, "masks"), classes,
                 HOME / "scenes" / GRID, HOME / "store")  # fmt: skip
    build_split(HOME / "scenes", (GRID,), _section(Split, "split"), classes, HOME / "partial")
    (HOME / "partial").rename(HOME / "split")


def _section(model: type[params.SectionT], key: str) -> params.SectionT:
    return params.parse(model, RECIPE[key], key, Path(__file__))


def measure(batches: Iterable[Any], count: int) -> float:
    """Chips per second over `count` batches, after one batch to warm up."""
    running = iter(batches)
    first = next(running)
    _check(first)
    start = time.perf_counter()
    for _ in range(count):
        next(running)
    return count * BATCH / (time.perf_counter() - start)


def _check(batch: Any) -> None:
    """Every way must deliver whole chips of measurements.

    Raises:
        SystemExit: It does not, so that its speed would mean nothing.
    """
    pixels = np.asarray(batch["image"] if isinstance(batch, dict) else batch[0] if isinstance(batch, tuple) else batch)
    if sorted(pixels.shape) != sorted((BATCH, len(Jp2Bands.all_bands), CHIP_PX, CHIP_PX)) or not pixels.any():
        sys.exit(f"a batch of shape {pixels.shape} holds no whole chips")


def jp2_batches() -> Iterable[Any]:
    """Batches of torchgeo over the JP2 files."""
    dataset = Jp2Bands(sorted(str(path) for path in (HOME / "raw").rglob("R20m")))
    sampler = RandomBatchGeoSampler(dataset, CHIP_PX, BATCH, length=(JP2_BATCHES + 2) * BATCH,
                                    generator=torch.Generator().manual_seed(0))  # fmt: skip
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=stack_samples)


def our_batches(reader: ChipReader) -> Iterable[Any]:
    """Thalweg's loader over the memory-mapped scene, as training uses it: pixels and labels."""
    chips = read_chips(HOME / "split", GRID)
    shapes = {name: scene.grid.shape_yx for name, scene in reader.scenes.items()}
    sampler = EpochSampler(chips[chips["part"] == "train"], (OUR_BATCHES + 1) * BATCH, CHIP_PX, shapes, seed=0)
    return DataLoader(Chips(reader, "train"), sampler=sampler, batch_size=BATCH, collate_fn=stack)  # type: ignore[arg-type]


def bare_batches(reader: ChipReader) -> Iterable[np.ndarray]:
    """The same windows' pixels without labels or loader: what the memory map itself gives."""
    random = np.random.default_rng(0)
    scene, size = next((name, scene.grid.shape_yx) for name, scene in reader.scenes.items())
    while True:
        places = random.integers(0, np.array(size) - CHIP_PX, (BATCH, 2)).tolist()
        yield np.stack([reader.pixels(scene, Window(row, col, CHIP_PX, CHIP_PX)) for row, col in places])


def main() -> None:
    """Measures and judges."""
    prepare()
    reader = ChipReader(HOME / "scenes" / GRID, HOME / "split", GRID)
    for scene in reader.scenes.values():
        scene.image.max()  # into the page cache, where a training of more than one epoch finds it
    base = measure(jp2_batches(), JP2_BATCHES)
    rows = {
        "torchgeo RasterDataset, JP2": base,
        "thalweg, pixels alone": measure(bare_batches(reader), OUR_BATCHES),
        "thalweg, training loader": measure(our_batches(reader), OUR_BATCHES),
    }
    print(f"{'chips of 128 px x 10 bands':<30}{'chips/s':>10}{'ratio':>10}")
    for name, rate in rows.items():
        print(f"{name:<30}{rate:>10.1f}{rate / base:>10.0f}")
    ratio = rows["thalweg, training loader"] / base
    print(f"ratio {ratio:.0f}, limit {LIMIT:.0f}")
    sys.exit(ratio < LIMIT)


if __name__ == "__main__":
    main()
