"""The real eo-learn patch as a world for benchmarks/active_compare.py: 1 km² of Slovenia, 68 dates of NDVI.

Ten quarterly medians of what its cloud mask calls usable; labels of Slovenia's land-use map: forest, grassland, and
anything else. Cells of 200 m are dealt to the parts with 20 m between them. They are neighbours, so this says whether
choosing works on real pixels, and nothing of other ground.
"""

import functools
import json
import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pyproj
import xarray as xr

from benchmarks.crop_world import GRID, RECIPE, ROOT, World
from thalweg import params, sources
from thalweg.classes import ClassInfo
from thalweg.manifest.products import Product, write_products
from thalweg.params.classes import Classes
from thalweg.params.grids import GridParams, SeriesParams
from thalweg.params.masks import Masks
from thalweg.params.split import Split
from thalweg.params.train import Train
from thalweg.preprocess import build_scenes
from thalweg.split.build import build_split

HOME = ROOT.parent / "shared/data/eolearn_testeopatch/TestEOPatch"
NAME, CRS, CORNER = "eolearn", 32633, (465_181.052, 5_080_254.633)
PIXEL_M = (9.995, 9.997)
"""Across and down: the patch's bounds over its 100 columns and 101 rows."""
LEGEND = {"forest": "#2e6f40", "grassland": "#a7c957", "other": "#8d8d8d"}
LAND_USE = {"1": "other", "2": "forest", "3": "grassland", "4": "other", "8": "other"}
CHIP_PX = 8


@functools.cache
def prepare(root: Path) -> World:
    """Makes the scene and its split, once, below `root`."""
    home = root / NAME
    classes = Classes(legend=tuple(ClassInfo(name=name, color=color) for name, color in LEGEND.items()))
    train = params.load(Train, path=RECIPE)
    world = World(home, classes, train.model_copy(update={"loggers": (), "watch": (), "accelerator": "cpu"}))
    if world.split.is_dir():
        return world
    shutil.rmtree(home, ignore_errors=True)
    raw = home / "build/raw"
    (raw / "products").mkdir(parents=True)
    path = raw / f"products/{NAME}.nc"
    _cube().to_netcdf(path, engine="h5netcdf")
    product = Product(name=NAME, form="netcdf", path=path.relative_to(raw).as_posix(),
                      files=sources.describe_files(path, raw), bands={"ndvi": "ndvi", "labels": "labels"}, scale=1.0,
                      offset=0.0, nodata=None, date=None, unit="1")  # fmt: skip
    write_products([product], raw)
    grid = params.load(GridParams, GRID, RECIPE)
    series = cast(SeriesParams, grid.series).model_copy(update={"start": "2015-07-01", "bins": 10, "frequency": "QS"})
    grid = grid.model_copy(update={"products": "*", "resolution_m": None, "bands": ("ndvi",), "dtype": "float32",
                                   "series": series})  # fmt: skip
    masks = params.load(Masks, path=RECIPE).model_copy(update={"encoder": None, "values": LAND_USE})
    build_scenes(raw, ROOT / "masks/none.yaml", GRID, grid, masks, classes, world.scenes, root / "store")
    split = params.load(Split, path=RECIPE).model_copy(
        update={"input": str(ROOT / "masks/none.yaml"), "unit": "cells", "cells": 5, "official": None, "buffer_m": 20.0,
                "stratify": "classes", "chip_px": {GRID: CHIP_PX}})  # fmt: skip
    build_split(world.scenes.parent, (GRID,), split, classes, home / "partial")
    (home / "partial").rename(world.split)
    return world


def _cube() -> xr.Dataset:
    ndvi = np.load(HOME / "data/NDVI.npy")[..., 0].astype(np.float32)
    usable = np.load(HOME / "mask/IS_VALID.npy")[..., 0].astype(bool)
    labels = np.load(HOME / "mask_timeless/LULC.npy")[..., 0].astype(np.uint8)
    times = np.array([text[:19] for text in json.loads((HOME / "timestamps.json").read_text())], "datetime64[ns]")
    rows, columns = labels.shape
    ys = CORNER[1] - PIXEL_M[1] * (np.arange(rows) + 0.5)
    xs = CORNER[0] + PIXEL_M[0] * (np.arange(columns) + 0.5)
    shown = np.where(usable & np.isfinite(ndvi), ndvi, np.nan)
    return xr.Dataset({"ndvi": (("t", "y", "x"), shown), "labels": (("y", "x"), labels)},
                      coords={"t": times, "y": ys, "x": xs}).assign(
                          crs=((), 0, {"crs_wkt": pyproj.CRS(CRS).to_wkt()}))  # fmt: skip
