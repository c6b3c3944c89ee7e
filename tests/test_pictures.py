"""Pictures of rasters: nodata is see-through, colours are the legend's, scale bars are round."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from PIL import Image
from report_builder import LEGEND, make_map
from scene_builder import make_scene

from thalweg import pictures
from thalweg.errors import RasterError
from thalweg.grid import Grid, Window

GRID = Grid("EPSG:32720", Affine(60, 0, 600_000, 0, -60, 7_000_000), (40, 60))
ALL = np.ones(GRID.shape_yx, bool)


def _pixels(picture: pictures.Picture) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))) as image:
        return np.array(image.convert("RGBA"))


def test_classes_have_their_colours_and_nodata_none(tmp_path: Path):
    labels, grid = pictures.read_small(make_map(tmp_path) / "classes.tif", GRID.full)
    picture = pictures.draw_classes(labels, LEGEND, "Classes")
    pixels = _pixels(picture)
    assert (picture.width, picture.height) == (60, 40)
    assert grid == GRID
    assert pixels[0, 0, 3] == 0
    assert pixels[30, 30].tolist() == [0xE6, 0xE0, 0xD4, 255]
    assert pixels[17, 30].tolist() == [0x1F, 0x6F, 0xB4, 255]


def test_large_rasters_are_read_small(tmp_path: Path):
    labels, grid = pictures.read_small(make_map(tmp_path, shape=(1000, 1900)) / "classes.tif", Window(0, 0, 1000, 1900))
    assert labels.shape == grid.shape_yx == (474, 900)
    assert np.allclose(grid.bounds, Grid("EPSG:32720", GRID.transform, (1000, 1900)).bounds)
    assert labels.mask[:3, :3].all()
    assert not labels.mask[10:].any()


def test_a_measure_runs_along_its_ramp():
    values = np.ma.masked_array([[0.0, 0.5, 1.0, 7.0]], mask=[[False, False, False, True]])
    pixels = _pixels(pictures.draw_measure(values, 0, 1, "viridis", "p"))
    assert pixels[0, :, 3].tolist() == [255, 255, 255, 0]
    assert pixels[0, 0, :3].tolist() == [68, 1, 84]
    assert pixels[0, 2, :3].tolist() == [253, 231, 37]


def test_the_image_is_seen_where_the_first_scene_has_it(tmp_path: Path):
    image = np.full((40, 30, 3), 500, np.int16)
    image[:, :, 1] = np.arange(30) * 10
    image[:5] = -32768
    west = make_scene(tmp_path, "west", shape=(40, 30), channels=("B02", "B03", "B04"), image=image)
    picture = pictures.draw_image([west], GRID, ALL)
    assert picture is not None
    assert picture.caption == "The image, true colour (B04 B03 B02)"
    alpha = _pixels(picture)[..., 3]
    assert (alpha[:5] == 0).all()
    assert (alpha[5:, :30] == 255).all()
    assert (alpha[:, 30:] == 0).all()


def test_clouds_do_not_darken_the_ground(tmp_path: Path):
    image = np.tile(np.arange(300, 360, dtype=np.int16)[None, :, None], (40, 1, 3))
    image[:20] = 9000
    scene = make_scene(tmp_path, "cloudy", shape=(40, 60), channels=("B02", "B03", "B04"), image=image)
    used = ALL.copy()
    used[:20] = False
    picture = pictures.draw_image([scene], GRID, used)
    assert picture is not None
    ground = _pixels(picture)[21:, :, :3]
    assert ground.min() < 20
    assert ground.max() > 235


def test_no_image_where_no_scene_lies(tmp_path: Path):
    far = make_scene(tmp_path, "far", origin=(300_000.0, 7_000_000.0), channels=("B04", "B8A"))
    assert pictures.draw_image([far], GRID, ALL) is None


@pytest.mark.parametrize(("channels", "numbers", "kind"), [
    (["B02", "B03", "B04", "B08"], [3, 2, 1], "true colour"),
    (["B03", "B04", "B8A"], [3, 2, 1], "false colour"),
    (["vv", "vh", "ratio"], [1, 2, 3], "false colour"),
    (["vv"], [1, 1, 1], "one channel"),
])  # fmt: skip
def test_channels_that_are_shown(channels: list[str], numbers: list[int], kind: str):
    assert pictures.choices(channels)[0] == (numbers, kind)


@pytest.mark.parametrize(
    ("pixel_m", "label", "length_m"), [(60, "500 m", 500), (600, "5 km", 5000), (10, "100 m", 100)]
)
def test_scale_bars_are_round_and_true(pixel_m: float, label: str, length_m: float):
    grid = Grid("EPSG:32720", Affine(pixel_m, 0, 500_000, 0, -pixel_m, 7_000_000), (40, 60))
    said, percent = pictures.scale_bar(grid)
    assert said == label
    assert percent == pytest.approx(100 * length_m / (60 * pixel_m), rel=2e-3)


def test_a_map_without_crs_is_an_error(tmp_path: Path):
    import rasterio

    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(
            tmp_path / "plain.tif", "w", driver="GTiff", width=4, height=4, count=1, dtype="uint8"
        ) as dataset,
    ):
        dataset.write(np.zeros((1, 4, 4), np.uint8))
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        pytest.raises(RasterError, match="has no CRS, so it is no map"),
    ):
        pictures.read_small(tmp_path / "plain.tif", Window(0, 0, 4, 4))


def test_a_missing_plot_is_no_picture(tmp_path: Path):
    assert pictures.embed(tmp_path / "learning_curves.png", "curves") is None


def test_ground_beside_clouds_is_lifted_and_other_ground_is_not():
    assert pictures.spread(np.arange(101.0)) == (2, 98, 1)
    cloudy = np.repeat([0.0, 0.02, 1.0], [5, 35, 60])
    low, high, exponent = pictures.spread(cloudy)
    assert (low, high) == (0, 1)
    assert pictures.stretched(np.array([0.0, 0.02, 1.0, np.nan]), low, high, exponent).tolist() == [
        0,
        38,
        255,
        0,
    ]  # 0.15
    assert pictures.spread(np.repeat([0.0, 1e-4, 1.0], [5, 35, 60])) == (0, 1, pictures.MOST_LIFTED)
    assert pictures.spread(np.ones(9)) == (1, 1, 1)
