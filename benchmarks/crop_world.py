"""The crop world of recipes/active.yaml, made once: as it is, or with all its crops declared rightly."""

import functools
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from thalweg import params, sources
from thalweg.manifest.products import write_products
from thalweg.manifest.scene import read_scenes
from thalweg.params.classes import Classes
from thalweg.params.fetch import Fetch
from thalweg.params.grids import GridParams
from thalweg.params.masks import Masks
from thalweg.params.models import Member
from thalweg.params.split import Split
from thalweg.params.train import Train
from thalweg.preprocess import build_scenes
from thalweg.split.build import build_split

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes/active.yaml"
GRID = "s2_10m"
WORLDS = ("clean", "noisy")
"""Noisy is the recipe's own."""


class World(NamedTuple):
    """Where one lies, and what its params say."""

    home: Path
    classes: Classes
    train: Train

    @property
    def scenes(self) -> Path:
        """Of its one grid."""
        return self.home / "build/scenes" / GRID

    @property
    def split(self) -> Path:
        """Of all grids."""
        return self.home / "build/split"


@functools.cache  # reading params takes a second
def prepare(name: str, root: Path) -> World:
    """Makes the scenes and the split of a world, once, below `root`."""
    home = root / name
    classes, train = params.load(Classes, path=RECIPE), params.load(Train, path=RECIPE)
    world = World(home, classes, train.model_copy(update={"loggers": (), "watch": (), "accelerator": "cpu"}))
    if world.split.is_dir():
        return world
    shutil.rmtree(home, ignore_errors=True)
    raw = home / "build/raw"
    raw.mkdir(parents=True)
    write_products(sources.fetch_products(_fetch(clean=name == "clean"), raw, root / "products"), raw)
    masks, split = params.load(Masks, path=RECIPE), params.load(Split, path=RECIPE)
    build_scenes(raw, ROOT / masks.input, GRID, params.load(GridParams, GRID, RECIPE), masks, classes, world.scenes,
                 root / "store")  # fmt: skip
    split = split.model_copy(update={"input": str(ROOT / split.input)})
    build_split(world.scenes.parent, (GRID,), split, classes, home / "partial")
    (home / "partial").rename(world.split)
    return world


def member(name: str, **changes: Any) -> Member:
    """A member of the recipe, changed."""
    return _read(name).model_copy(update=changes)


@functools.cache
def _read(name: str) -> Member:
    return params.load(Member, name, RECIPE)


def wrongly_declared(world: World) -> dict[str, np.ndarray]:
    """Scene → (H, W) bool, where another crop was declared than grows."""
    found = {}
    for name, scene in read_scenes(world.scenes).items():
        if world.home.name not in WORLDS:  # real: nobody knows
            found[name] = np.zeros(scene.grid.shape_yx, bool)
            continue
        with h5py.File(world.home / f"build/raw/products/{name}.nc") as file:
            said, grown = file["labels/labels"][:], file["truth/truth"][:]
        found[name] = (said > 0) & (said != grown)
    return found


def _fetch(clean: bool) -> Fetch:
    fetch = params.load(Fetch, path=RECIPE)
    patches = [group | ({"label_noise": 0} if clean else {}) for group in fetch.options["patches"]]
    return fetch.model_copy(update={"options": fetch.options | {"patches": patches}})
