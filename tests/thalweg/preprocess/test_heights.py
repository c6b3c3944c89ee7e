"""The channels elevation and slope of a scene, from delivered tiles."""

import numpy as np
import pytest
from affine import Affine
from product_builder import build, grid_params, index, make_raster

from thalweg.errors import ProductError
from thalweg.grid import Grid
from thalweg.manifest.products import Product, write_products
from thalweg.preprocess.further import share_ground
from thalweg.sources import describe_files

GRID = {"bands": ("B03",), "resolution_m": None, "channels": ("elevation", "slope"), "dtype": "float32"}


def deliver(folder, rise: float | None):
    """A scene of 40 × 40 pixels at 10 m, and a tile of 30 m that rises to the east, by metres a metre."""
    raw = folder / "raw"
    path = make_raster(raw / "a.tif", np.full((1, 40, 40), 400, np.uint16))
    products = list(index(raw, path, form="raster", bands={"B03": 1}))
    if rise is not None:
        heights = 100 + rise * 30 * np.arange(50, dtype=np.float32) * np.ones((50, 1), np.float32)
        tile = make_raster(raw / "dem/t.tif", heights[None], origin=(599_900.0, 7_000_100.0), pixel=30)
        products.append(
            Product(name="t", form="raster", path="dem/t.tif", files=describe_files(tile, raw), bands={"DEM": 1},
                    scale=1.0, offset=0.0, nodata=None, date=None, role="elevation", unit="m")
        )  # fmt: skip
    write_products(products, raw)


@pytest.mark.parametrize(("rise", "degrees"), [(0.1, 5.711), (1.0, 45.0)])
def test_tiles_become_channels_and_make_no_scene(tmp_path, rise, degrees):
    deliver(tmp_path, rise)
    [(name, scene)] = build(tmp_path, grid_params(**GRID)).items()
    assert name == "a"
    assert [(channel.name, channel.unit) for channel in scene.record.channels[1:]] == [
        ("elevation", "m"),
        ("slope", "degree"),
    ]
    # pixel centres from 600 005 m on, posts from 599 915 m on
    expected = 100 + rise * (90 + 10 * np.arange(40))
    assert scene.image[:, :, 1] == pytest.approx(np.tile(expected, (40, 1)), abs=0.01)
    assert scene.image[:, :, 2] == pytest.approx(np.full((40, 40), degrees), abs=0.02)


def test_another_tile_makes_the_scene_anew(tmp_path):
    deliver(tmp_path, 0.1)
    [before] = build(tmp_path, grid_params(**GRID)).values()
    deliver(tmp_path, 1.0)
    [after] = build(tmp_path, grid_params(**GRID), out="after").values()
    assert after.image[0, 39, 1] > before.image[0, 39, 1] + 100


def test_no_tile_for_a_wanted_channel(tmp_path):
    deliver(tmp_path, None)
    with pytest.raises(ProductError, match=r"the channel elevation needs a height model, .* set fetch\.elevation"):
        build(tmp_path, grid_params(**GRID))


@pytest.mark.parametrize(("west", "shared"), [(-63, True), (297, True), (-60, False), (300, False), (0, False)])
def test_a_tile_may_count_longitudes_to_360(west, shared):
    scene = Grid("EPSG:32720", Affine(10, 0, 600_000, 0, -10, 7_000_000), (40, 40))  # 62° west, 27.1° south
    tile = Grid("EPSG:4326", Affine(0.01, 0, west, 0, -0.01, -27), (200, 200))
    assert share_ground(tile, scene) is shared
