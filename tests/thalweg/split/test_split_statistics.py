"""Statistics of training pixels: numpy's on the whole, scene by scene or merged, and what cannot be learned from."""

import numpy as np
import pytest
from scene_builder import make_scene

from thalweg.errors import DegradedDataWarning, SplitError
from thalweg.manifest.chips import PARTS
from thalweg.manifest.scene import NODATA
from thalweg.split.statistics import Statistics

SHAPE = (300, 20)


def _parts(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(list(PARTS.values()), SHAPE).astype(np.uint8)


def _scene(root, name, dtype="int16", **changes):
    rng = np.random.default_rng(sum(name.encode()))
    image = rng.normal(1500, 400, (*SHAPE, 2)).astype(dtype)
    image[5:9, :, 1] = NODATA
    valid = np.ones(SHAPE, np.uint8)
    valid[:4] = 0
    return make_scene(root / "g60", name, shape=SHAPE, image=changes.pop("image", image), valid=valid, **changes)


def _stats(statistics: Statistics):
    return statistics.stats({"a": 1}, {"train": {"a": 1}}, None)


def _chosen(scene, parts, channel):
    pixels = scene.image[(parts == PARTS["train"]) & (scene.valid > 0)][:, channel].astype(np.float64)
    return pixels[pixels != NODATA] * 1e-4


@pytest.mark.parametrize(("dtype", "within"), [("int16", 1e-12), ("float32", 1 / 4096)])
def test_they_are_numpys_on_the_whole(tmp_path, dtype, within):
    scenes = [_scene(tmp_path, name, dtype) for name in ("one", "two")]
    fed, merged = Statistics(), Statistics()
    for number, scene in enumerate(scenes):
        fed.feed(scene, _parts(number))
    for number in (1, 0):  # the other way round
        part = Statistics()
        part.feed(scenes[number], _parts(number))
        merged.merge(part, "a part")
    whole, again = _stats(fed), _stats(merged)
    for channel in range(2):
        values = np.concatenate([_chosen(scene, _parts(n), channel) for n, scene in enumerate(scenes)])
        assert whole.mean[channel] == pytest.approx(values.mean(), rel=1e-9)
        assert whole.std[channel] == pytest.approx(values.std(), rel=1e-9)
        tenths = np.quantile(values, np.arange(1, 10) / 10, method="inverted_cdf")
        assert whole.deciles[channel] == pytest.approx(tenths, rel=within)
        assert whole.p50[channel] == pytest.approx(np.quantile(values, 0.5, method="inverted_cdf"), rel=within)
        assert whole.shares[channel] == pytest.approx([0.1] * 10, abs=0.01)
        assert again.mean[channel] == pytest.approx(whole.mean[channel], rel=1e-12)
        assert again.std[channel] == pytest.approx(whole.std[channel], rel=1e-12)
    assert again.deciles == whole.deciles
    assert again.shares == whole.shares
    assert again.pixels == whole.pixels == sum(
        int(((_parts(n) == PARTS["train"]) & (scene.valid > 0)).sum()) for n, scene in enumerate(scenes)
    )  # fmt: skip


def test_scenes_of_another_type_or_scale_do_not_mix(tmp_path):
    statistics = Statistics()
    statistics.feed(_scene(tmp_path, "one"), _parts(0))
    with pytest.raises(SplitError, match=r"two has the channels B04 B8A, .* or types \(float32, int16\) differ"):
        statistics.feed(_scene(tmp_path, "two", "float32"), _parts(0))
    other = Statistics()
    other.feed(_scene(tmp_path, "three", channels=("B04", "B03")), _parts(0))
    with pytest.raises(SplitError, match="another has the channels B04 B03"):
        statistics.merge(other, "another")


def test_a_channel_of_one_value_is_a_warning_and_all_of_them_an_error(tmp_path):
    image = np.full((*SHAPE, 2), 1500, np.float32)
    statistics = Statistics()
    statistics.feed(_scene(tmp_path, "flat", image=image), _parts(0))
    with pytest.raises(SplitError, match=r"channel\(s\) B04, B8A have one value each"):
        _stats(statistics)
    image[..., 1] = np.arange(SHAPE[1])
    statistics = Statistics()
    statistics.feed(_scene(tmp_path, "half", image=image), _parts(0))
    with pytest.warns(DegradedDataWarning, match=r"channel\(s\) B04 have one value each"):
        _stats(statistics)
