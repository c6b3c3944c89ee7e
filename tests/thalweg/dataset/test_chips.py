import pickle

import numpy as np
import pytest
from scene_builder import make_scene

from thalweg import raster
from thalweg.dataset.chips import ChipReader, Chips, Place, stack
from thalweg.errors import SceneError
from thalweg.grid import Window
from thalweg.manifest.chips import PARTS, part_path
from thalweg.manifest.scene import NODATA


@pytest.fixture
def reader(tmp_path):
    scenes, split = tmp_path / "scenes" / "g", tmp_path / "split"
    mask = np.tile(np.array([0, 1, 255, 1], np.uint8), (4, 1))
    valid = np.ones((4, 4), np.uint8)
    valid[0] = 0
    scene = make_scene(scenes, "one", shape=(4, 4), mask=mask, valid=valid)
    parts = np.full((4, 4), PARTS["train"], np.uint8)
    parts[3] = PARTS["val"]
    path = part_path(split, "g", "one")
    path.parent.mkdir(parents=True)
    raster.create_pixels(path, scene.grid, 1, "uint8", None)[:] = parts[:, :, None]
    make_scene(scenes, "unlabelled", shape=(4, 4), mask=None)
    raster.create_pixels(part_path(split, "g", "unlabelled"), scene.grid, 1, "uint8", None)[:] = 1
    return ChipReader(scenes, split, "g")


def test_target_keeps_the_absences_apart_from_the_background(reader):
    target = reader.target("one", Window(0, 0, 4, 4), "train")
    assert target.tolist() == [[255] * 4, [0, 1, 255, 1], [0, 1, 255, 1], [255] * 4]
    assert reader.target("one", Window(0, 0, 4, 4), "val").tolist() == [[255] * 4] * 3 + [[0, 1, 255, 1]]


def test_window_past_the_edge_is_padded(reader):
    pixels, target = reader.read("one", Window(-1, 2, 3, 4), "train")
    image = np.asarray(reader.scenes["one"].image)
    assert (pixels[0] == NODATA).all()
    assert (pixels[:, 2:] == NODATA).all()
    assert (pixels[1:, :2] == image[:2, 2:]).all()
    assert target.tolist() == [[255] * 4, [255] * 4, [255, 1, 255, 255]]


def test_window_wholly_outside(reader):
    pixels, target = reader.read("one", Window(9, 9, 2, 2), "train")
    assert (pixels == NODATA).all()
    assert (target == 255).all()


def test_chip_is_a_copy(reader):
    pixels = reader.pixels("one", Window(1, 1, 2, 2))
    pixels[:] = 7
    assert not (reader.pixels("one", Window(1, 1, 2, 2)) == 7).any()


def test_scene_without_labels(reader):
    assert (reader.target("unlabelled", Window(0, 0, 2, 2), "train") == 255).all()


def test_scene_that_is_not_there(reader):
    with pytest.raises(SceneError, match=r"scene two is in the chip table but not in .*; run `dvc repro split`"):
        reader.pixels("two", Window(0, 0, 2, 2))


def test_dataset_goes_to_a_loader_process_without_its_pixels(reader):
    chips = Chips(reader, "train")
    place = Place("one", Window(0, 0, 4, 4))
    before = chips[place]
    packed = pickle.dumps(chips)
    assert len(packed) < 1000
    after = pickle.loads(packed)[place]
    assert all((one == other).all() for one, other in zip(before, after, strict=True))
    assert [array.shape for array in stack([before, after])] == [(2, 4, 4, 2), (2, 4, 4)]


def test_labels_count_inside_some_windows_alone(reader):
    place = Place("one", Window(0, 0, 4, 4))
    alone = {"one": np.array([[1, 0, 2], [2, 3, 1]])}  # rows 1 and 2 of columns 0 and 1; row 2 of column 3
    _, target = Chips(reader, "train", alone=alone)[place]
    assert target.tolist() == [[255] * 4, [0, 1, 255, 255], [0, 1, 255, 1], [255] * 4]
    assert (Chips(reader, "train", alone={})[place][1] == 255).all()
    _, target = Chips(reader, "train", {"one": np.array([[2, 0, 1]])}, alone)[place]
    assert target.tolist()[2] == [255, 1, 255, 1]
