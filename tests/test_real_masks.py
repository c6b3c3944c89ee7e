"""Masks that people drew and maps that agencies made, as they are delivered."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from mask_builder import CLASSES, draw, rules
from pyproj import Transformer

from thalweg import raster
from thalweg.grid import Grid
from thalweg.preprocess.masks import find_masks

DATA = Path(__file__).parents[2] / "shared/data"
CHACO = DATA / "chaco_masks"
COVER = DATA / "dem_and_landcover/esa_worldcover"
WORLD = {"10": "damage", "20": "water", "30": "water", "40": "damage", "50": "damage", "60": "damage", "80": "water",
         "90": "water", "95": "damage"}  # fmt: skip


def here(folder: Path) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not folder.is_dir(), reason=f"{folder} is not here: real data")


def link(folder: Path, *paths: Path) -> Path:
    for path in paths:
        (folder / path.name).symlink_to(path)
    return folder


@here(CHACO)
@pytest.mark.parametrize("tile", ["T20KNA", "T20KNB", "T20KPC", "T20KQV", "T20KRA", "T21KXP"])
def test_torchbearers_masks_say_background_by_what_they_tag_nodata(tile, tmp_path):
    """On their own grid of 60 m and on the tile's of 20 m, where each pixel is nine."""
    path = CHACO / f"{tile}.tif"
    with rasterio.open(path) as file:
        assert file.nodata == 0
        values = file.read(1)
    coarse = raster.read_grid(path)
    a, b, c, d, e, f = coarse.transform[:6]
    rows, cols = 3 * 300, 3 * 300
    fine = Grid(coarse.crs_wkt, type(coarse.transform)(a / 3, b, c, d, e / 3, f), (rows, cols))
    folder = link(tmp_path, path)
    labels, names, warnings = draw(folder, rules(), coarse)
    assert (labels == np.where(values == 255, 1, 0)).all()
    assert names == (path.name,)
    zero = f"s: the mask {tile}.tif is zero everywhere on it (background)"
    assert warnings == ((zero,) if tile == "T21KXP" else ())
    assert (values != 0).any() == (tile != "T21KXP")
    finer, _, _ = draw(folder, rules(), fine)
    assert (finer == np.kron(labels[:300, :300], np.ones((3, 3), np.uint8))).all()


@here(CHACO)
def test_each_of_them_finds_its_tile_among_all(tmp_path):
    folder = link(tmp_path, *CHACO.glob("*.tif"))
    grids = {path.stem: raster.read_grid(path) for path in CHACO.glob("*.tif")}
    found = find_masks(rules(), CLASSES, folder, grids)
    assert all(f"{name}.tif" in [file.name for file in masks.files] for name, masks in found.items())


def scene(size: int) -> Grid:
    """Of 10 m, on São Tomé."""
    x, y = Transformer.from_crs(4326, 32632, always_xy=True).transform(6.65, 0.40)
    return Grid("EPSG:32632", raster.transform_from([10, 0, round(x), 0, -10, round(y)]), (size, size))


@here(COVER)
def test_worldcover_is_what_proj_and_rasterio_read_at_each_place(tmp_path):
    """1 000 random pixels of the scene, looked up one by one; those within 1/100 pixel of an edge may go either way."""
    (path,) = COVER.glob("*.tif")
    grid = scene(700)
    labels, names, _ = draw(link(tmp_path, path), rules(values=WORLD, zero="unlabelled"), grid)
    assert names == (path.name,)
    random = np.random.default_rng(3)
    row, col = random.integers(0, 700, (2, 1000))
    xs, ys = grid.transform @ (col + 0.5, row + 0.5)
    lons, lats = Transformer.from_crs(32632, 4326, always_xy=True).transform(xs, ys)
    ids = {"damage": 1, "water": 2}
    seen = set()
    with rasterio.open(path) as file:
        for r, c, lon, lat, (value,) in zip(
            row, col, lons, lats, file.sample(zip(lons, lats, strict=True)), strict=True
        ):
            at = ~file.transform @ (lon, lat)
            if min(abs(axis - round(axis)) for axis in at) > 0.01:
                assert labels[r, c] == (255 if value == 0 else ids[WORLD[str(value)]])
                seen.add(int(value))
    assert len(seen) >= 4


@here(COVER)
def test_of_1_3_gigapixels_only_what_lies_under_the_scene_is_read(tmp_path, monkeypatch):
    (path,) = COVER.glob("*.tif")
    read, windows = raster.read_window, []
    monkeypatch.setattr(
        raster, "read_window", lambda path, window, bands: (windows.append(window), read(path, window, bands))[1]
    )
    draw(link(tmp_path, path), rules(values=WORLD, zero="unlabelled"), scene(300))
    assert sum(window.height * window.width for window in windows) < 1.7 * 300**2  # 1/12 000° is 9.2 m


PEAK = """
import sys; sys.path.insert(0, {tests!r})
import resource
from pathlib import Path
from test_real_masks import WORLD, scene
from mask_builder import draw, rules
draw(Path({folder!r}), rules(values=WORLD, zero="unlabelled"), scene(300))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
labels, _, _ = draw(Path({folder!r}), rules(values=WORLD, zero="unlabelled"), scene({size}))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@here(COVER)
def test_a_large_scene_takes_little_more_memory_than_its_own_labels(tmp_path):
    (path,) = COVER.glob("*.tif")
    link(tmp_path, path)
    size = 2745
    script = PEAK.format(tests=str(Path(__file__).parent), folder=str(tmp_path), size=size)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    extra_mb = int(done.stdout) / 1024
    assert extra_mb < 2 * size**2 / 2**20 + 150  # the labels that `draw` returns, pages of mask.tif, and a stripe
