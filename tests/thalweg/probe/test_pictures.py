"""Labelled pictures in the forms in which they are handed round, written here as their makers lay them out."""

import gzip
import struct

import numpy as np
import pytest
import rasterio
from PIL import Image

from thalweg.errors import FeatureError
from thalweg.probe.draw import draw_fraction, draw_parts
from thalweg.probe.idx import read_idx
from thalweg.probe.images import Inputs, statistics
from thalweg.probe.pictures import Pictures, open_pictures


def jpg(path, color, size=16):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), color).save(path, quality=100, subsampling=0)


def tif(path, planes, nodata=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": len(planes), "height": planes.shape[1], "width": planes.shape[2],
               "dtype": planes.dtype, "nodata": nodata}  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(planes)


def idx(path, values, kind):
    head = struct.pack(f">BBBB{values.ndim}i", 0, 0, kind, values.ndim, *values.shape)
    data = head + values.astype(">u1").tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def ucmerced(tmp_path):
    """As UC Merced and AID lie: a folder per class, pictures of almost one size."""
    for number in range(10):
        jpg(tmp_path / "beach" / f"beach{number:02}.jpg", (250, 0, 0))
        jpg(tmp_path / "river" / f"river{number:02}.jpg", (0, 0, 250), size=12 if number == 3 else 16)
    jpg(tmp_path / "unknown" / "u.jpg", (9, 9, 9))
    return tmp_path


def test_folders_by_class(ucmerced):
    found = open_pictures(str(ucmerced), None, ["unknown"], None)
    assert found.names == ("beach", "river")
    assert found.labels.tolist() == [0] * 10 + [1] * 10 + [255]
    assert (found.bands, found.size_px, found.parts) == (("B04", "B03", "B02"), 16, None)
    batch = found.batch([0, 13])
    assert batch.shape == (2, 3, 16, 16), "the odd size is brought to the others'"
    np.testing.assert_allclose(batch[:, :, 8, 8], [[250 / 255, 0, 0], [0, 0, 250 / 255]], atol=0.01)


def test_folders_of_parts(tmp_path):
    for part in ("train", "test"):
        for name in ("a", "b"):
            for number in range(10):
                jpg(tmp_path / part / name / f"{number}.png", (1, 2, 3))
    found = open_pictures(str(tmp_path), None, [], None)
    drawn = draw_parts(found.labels, found.parts, seed=0)
    assert {part: int((drawn == part).sum()) for part in ("train", "val", "test")} == {
        "train": 18,
        "val": 2,
        "test": 20,
    }
    assert (drawn == "test").tolist() == (found.parts == "test").tolist()


def test_eurosats_thirteen_bands(tmp_path):
    values = np.arange(1000, 14000, 1000, dtype=np.uint16)[:, None, None] + np.zeros((13, 8, 8), np.uint16)
    for name in ("Forest", "River"):
        tif(tmp_path / name / f"{name}_1.tif", values)
    found = open_pictures(str(tmp_path), None, [], None)
    assert found.bands[8:] == ("B09", "B10", "B11", "B12", "B8A"), "phelber/EuroSAT#7"
    inputs = Inputs(found, ("B8A", "B02"), statistics(found, [0]), fill=False)
    np.testing.assert_allclose(found.read(0)[:, 0, 0], np.arange(1, 14) * 0.1, rtol=1e-6)
    assert inputs.batch([0]).shape == (1, 2, 8, 8)


def test_the_encoders_bands_in_its_order(tmp_path):
    from thalweg.manifest.card import Normalisation

    planes = np.array([100, 200, 50], np.uint8)[:, None, None] + np.zeros((3, 8, 8), np.uint8)
    for name in ("a", "b"):
        tif(tmp_path / name / "1.tif", planes)
    found = open_pictures(str(tmp_path), None, [], None)
    plain = Normalisation(mean=(0.0,) * 3, std=(1.0,) * 3)
    batch = Inputs(found, ("B02", "B04"), plain, fill=False).batch([0])
    np.testing.assert_allclose(batch[0, :, 0, 0], [50 / 255, 100 / 255], rtol=1e-6)
    filled = Inputs(found, ("B02", "B11"), plain, fill=True).batch([0])
    np.testing.assert_allclose(filled[0, :, 0, 0], [50 / 255, 0], rtol=1e-6)
    with pytest.raises(FeatureError, match=r"reads B02, B11, but the pictures have B04, B03, B02: B11 lack; name the"):
        Inputs(found, ("B02", "B11"), plain, fill=False)
    with pytest.raises(FeatureError, match=r"B11, B12 lack"):
        Inputs(found, ("B11", "B12"), plain, fill=True)


def test_statistics_leave_out_what_is_not_measured(tmp_path):
    planes = np.zeros((1, 8, 8), np.float32)
    planes[0, :4], planes[0, 4:6] = 3.0, 5.0  # mean (4·3 + 2·5)/6 = 11/3 over three quarters
    for name in ("a", "b"):
        tif(tmp_path / name / "1.tif", planes, nodata=0)
    found = open_pictures(str(tmp_path), ["x"], [], None)
    stats = statistics(found, [0])
    assert stats.mean == pytest.approx([11 / 3])
    assert stats.std == pytest.approx([(8 / 9) ** 0.5])  # ((2·(2/3)² + (4/3)²)/3)
    inputs = Inputs(found, ("x",), stats, fill=False).batch([0])
    assert (inputs[0, 0, 6:] == 0).all()
    assert inputs[0, 0, 0, 0].item() == pytest.approx(-1 / 2**0.5)


def test_statistics_never_see_a_test_picture_of_any_seed():
    """Pictures are flat: what their part is, of three seeds, decides their value."""
    labels = np.repeat(np.arange(2), 50).astype(np.uint8)
    tests = np.any([draw_parts(labels, None, seed) != "train" for seed in range(3)], axis=0)
    planes = np.where(tests, 1000.0, 1.0)[:, None, None, None] * np.ones((1, 1, 4, 4))
    found = Pictures(("a", "b"), labels, None, ("grey",), lambda number: planes[number].astype(np.float32), 4)
    assert 10 < tests.sum() < 70
    assert statistics(found, range(3)).mean == (1.0,)
    assert statistics(found, [0]).mean[0] > 1
    with pytest.raises(FeatureError, match=r"no picture is in part train for all of 60 seeds; lower --seeds"):
        statistics(found, range(60))


@pytest.mark.parametrize("end", ["", ".gz"])
def test_mnists_own_files(tmp_path, end):
    images = np.arange(3 * 4 * 4).reshape(3, 4, 4) % 256
    idx(tmp_path / f"train-images-idx3-ubyte{end}", images, 8)
    idx(tmp_path / f"train-labels-idx1-ubyte{end}", np.array([2, 0, 1]), 8)
    idx(tmp_path / f"t10k-images.idx3-ubyte{end}", images[:1], 8)
    idx(tmp_path / f"t10k-labels.idx1-ubyte{end}", np.array([1]), 8)
    found = open_pictures(str(tmp_path), None, [], None)
    assert found.labels.tolist() == [2, 0, 1, 1]
    assert found.parts.tolist() == ["train"] * 3 + ["test"]
    assert (found.names, found.bands, found.size_px) == (("0", "1", "2"), ("grey",), 4)
    np.testing.assert_allclose(found.read(1)[0], images[1] / 255, rtol=1e-6)


def test_the_bundled_digits():
    found = open_pictures("digits", None, [], 16)
    assert len(found.labels) == 1797
    assert found.batch([0, 1]).shape == (2, 1, 16, 16)
    assert 0 <= found.batch([0]).min() <= found.batch([0]).max() <= 1


def test_files_that_are_none(tmp_path):
    (tmp_path / "a").write_bytes(b"\x01\x02\x03\x04")
    with pytest.raises(FeatureError, match=r"does not begin as IDX files do, got 01020304"):
        read_idx(tmp_path / "a")
    idx(tmp_path / "b", np.zeros((2, 3)), 8)
    (tmp_path / "b").write_bytes((tmp_path / "b").read_bytes()[:-1])
    with pytest.raises(FeatureError, match=r"holds 5 bytes of values, but its head promises \[2, 3\]"):
        read_idx(tmp_path / "b")
    (tmp_path / "c.gz").write_bytes(b"nothing packed")
    with pytest.raises(FeatureError, match=r"is no whole gzip file"):
        read_idx(tmp_path / "c.gz")


def test_folders_that_are_none(tmp_path, ucmerced):
    with pytest.raises(FeatureError, match=r"nowhere is no folder of pictures; give one, or the word 'digits'"):
        open_pictures("nowhere", None, [], None)
    with pytest.raises(FeatureError, match=r"has pictures .* of 1 classes, where 2 to 254 folders"):
        open_pictures(str(ucmerced), None, ["unknown", "river"], None)
    with pytest.raises(FeatureError, match=r"--ignore names cloud, but .* has beach, river, unknown"):
        open_pictures(str(ucmerced), None, ["cloud"], None)
    with pytest.raises(FeatureError, match=r"--bands names 2 bands, but .* has 3"):
        open_pictures(str(ucmerced), ["B02", "B03"], [], None)
    tif(tmp_path / "five" / "a" / "1.tif", np.zeros((5, 8, 8), np.uint8))
    tif(tmp_path / "five" / "b" / "1.tif", np.zeros((5, 8, 8), np.uint8))
    with pytest.raises(FeatureError, match=r"has 5 bands without names; say which they are by --bands"):
        open_pictures(str(tmp_path / "five"), None, [], None)


def test_parts_are_drawn_from_each_class_alike():
    labels = np.array([0] * 50 + [1] * 20 + [255] * 5, np.uint8)
    parts = draw_parts(labels, None, seed=1)
    for label, counts in ((0, (40, 5, 5)), (1, (16, 2, 2))):
        assert tuple(int((parts[labels == label] == part).sum()) for part in ("train", "val", "test")) == counts
    assert set(parts[labels == 255]) == {""}
    assert not np.array_equal(parts, draw_parts(labels, None, seed=2))


def test_a_smaller_fraction_is_part_of_a_larger_one():
    labels = np.array([0] * 50 + [1] * 20, np.uint8)
    tenth, half = (set(draw_fraction(labels, share, seed=3).tolist()) for share in (0.1, 0.5))
    assert (len(tenth), len(half)) == (5 + 2, 25 + 10)
    assert tenth < half
    assert len(draw_fraction(labels, 0.001, seed=3)) == 2, "at least one of each class"
