"""A member is trained and examined on scenes of several dates as on any other: their channels stand behind each other."""

import json
import warnings

import numpy as np
import pytest
from member_builder import GRID, classes, member, places, train_params, write_split
from scene_builder import make_scene

from thalweg import raster
from thalweg.dataset.chips import ChipReader
from thalweg.grid import Window, cut
from thalweg.infer import Predictor
from thalweg.infer.scene import How, predict_scene
from thalweg.manifest.card import read_card
from thalweg.manifest.chips import PARTS
from thalweg.manifest.scene import NODATA, Scene
from thalweg.split.statistics import Statistics
from thalweg.train import train_member

DATES = ("2020-01-01", "2020-02-01", "2020-03-01")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("series")
    scenes = [make_scene(root / "scenes" / GRID, name, shape=(48, 64), seed=seed, channels=("B04", "B03", "B02"),
                         origin=(600_000.0, 7_000_000.0 + 9_000 * seed), dates=DATES)
              for seed, name in enumerate(("one", "two"))]  # fmt: skip
    write_split(root / "split", scenes)
    train_member("tiny", member(), train_params(), classes(), places(root))
    return root


def test_a_chip_is_the_planes_of_all_dates_one_behind_the_other(world):
    import rasterio

    reader = ChipReader(world / "scenes" / GRID, world / "split", GRID)
    planes = []
    for date in DATES:
        with rasterio.open(world / "scenes" / GRID / "one" / f"image_{date}.tif") as dataset:
            planes.append(np.moveaxis(dataset.read(), 0, -1))
    inside = reader.pixels("one", Window(16, 32, 16, 16))
    assert np.array_equal(inside, np.concatenate(planes, axis=2)[16:32, 32:48])
    assert inside.shape == (16, 16, 9)
    assert inside.flags.c_contiguous
    beyond = reader.pixels("one", Window(40, 60, 16, 16))
    assert np.array_equal(beyond[:8, :4], np.concatenate(planes, axis=2)[40:, 60:])
    assert (beyond[8:] == NODATA).all()
    assert (beyond[:, 4:] == NODATA).all()


def test_a_member_learns_from_a_series(world):
    scores = json.loads((world / "outs/metrics.json").read_text())
    assert scores["test"]["iou_channel"] > 0.6
    card = read_card(world / "outs/model")
    assert [channel.name for channel in card.channels] == [
        f"t{t:02}/{band}" for t in range(3) for band in ("B04", "B03", "B02")
    ]
    with np.load(world / "outs/heldout/panels.npz") as panels:
        assert panels["rgb"].max() > 0


def test_a_network_of_three_dimensional_convolutions_learns(world):
    """Its weights have five axes, which torch's channels-last refuses."""
    options = {"steps": 3, "widths": [4, 8], "dropout": 0.0}
    given = member(model="unet3d", options=options, max_epochs=1, loss={"cross_entropy": 1.0})
    train_member("deep", given, train_params(), classes(), places(world, "deep"))
    assert json.loads((world / "deep/metrics.json").read_text())["test"]["pixels"] > 0


def test_a_series_is_mapped(world, tmp_path):
    scene = Scene(world / "scenes" / GRID / "one")
    member = Predictor.load(world / "outs/model", device="cpu")
    names = ("background", "channel")
    predict_scene({"m": member}, scene, How((0.5,), "hann"), names, {"m": tmp_path / "p.tif"}, memory_gib=1)
    held = raster.read_band(tmp_path / "p.tif", 2)
    assert held.shape == (48, 64)
    assert np.corrcoef(held.ravel(), scene.mask.ravel())[0, 1] > 0.6


def test_releasing_a_series_loses_nothing(world):
    image = Scene(world / "scenes" / GRID / "two").image
    before = np.asarray(image)
    raster.release(image)
    assert np.array_equal(cut(image, Window(0, 0, 48, 64), NODATA), before)


def test_a_flag_that_is_nowhere_set_is_no_loss(tmp_path):
    """Nor is the month of a date; a band with one value is."""
    scene = make_scene(tmp_path / "g", "s", shape=(8, 8), channels=("B04", "filled", "month_sin"), dates=DATES[:1])
    for number in (1, 2):
        pixels = raster.map_pixels(scene.folder / f"image_{DATES[0]}.tif", "r+")
        pixels[:, :, number] = 0
        pixels.flush()
    statistics = Statistics()
    statistics.feed(scene, np.full((8, 8), PARTS["train"], np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(statistics.stats({}, {}, None).mean) == 3
