"""What windows show while a model learns: never test ground nor its buffer, wherever a window is drawn."""

import numpy as np
import pytest
from scene_builder import make_scene
from scipy.spatial.distance import cdist
from split_builder import ground, params, rule, run

from thalweg.classes import IGNORE
from thalweg.dataset.chips import ChipReader
from thalweg.dataset.sampler import EpochSampler, lattice
from thalweg.errors import LeakError
from thalweg.grid import cut
from thalweg.manifest.chips import HIDDEN, PARTS, WITHHELD, read_chips, read_parts, read_stats
from thalweg.manifest.scene import NODATA
from thalweg.split.leak import LEARNT, SHOWN, Placed, nearest_leak
from thalweg.split.position import ecef


def half_labelled(root):
    """A scene whose right half has no labels, and blocks of all parts in the left one."""
    mask = np.full((64, 64), IGNORE, np.uint8)
    mask[:, :40] = np.indices((64, 40)).sum(0) % 2
    return make_scene(root / "g60", "a", mask=mask)


def test_windows_as_drawn_show_no_pixel_within_the_buffer_of_test_ground(tmp_path):
    scene = half_labelled(tmp_path)
    out = run(tmp_path, params())
    parts, chips = np.asarray(read_parts(out, "g60", "a")), read_chips(out, "g60")
    reader = ChipReader(tmp_path / "g60", out, "g60")
    test = ground(scene, parts, "test")
    for part, places in (
        ("train", EpochSampler(chips[chips["part"] == "train"], 40, 24, {"a": (64, 64)}, seed=1)),
        ("val", lattice(chips[chips["part"] == "val"])),
    ):
        crossing = 0
        for place in places:
            pixels, target = reader.read("a", place.window, part)
            rows, cols = np.nonzero((pixels != NODATA).all(-1))
            seen = ecef(*scene.grid.lonlat(rows + place.window.row + 0.5, cols + place.window.col + 0.5))
            assert cdist(seen, test).min() >= 120
            inside = cut(parts, place.window, PARTS["unused"])
            assert np.array_equal((pixels == NODATA).all(-1), np.isin(inside, HIDDEN))
            assert (target[np.isin(inside, HIDDEN)] == IGNORE).all()
            crossing += bool(np.isin(inside, HIDDEN).any())
        assert crossing  # the windows do reach test ground


def test_scoring_reads_test_windows_whole(tmp_path):
    half_labelled(tmp_path)
    out = run(tmp_path, params())
    reader, chips = ChipReader(tmp_path / "g60", out, "g60"), read_chips(out, "g60")
    for place in lattice(chips[chips["part"] == "test"]):
        assert np.array_equal(reader.read("a", place.window, "test")[0], reader.pixels("a", place.window))


def test_unlabelled_ground_is_withheld_around_test_ground_alone(tmp_path):
    scene = half_labelled(tmp_path)
    out = run(tmp_path, params())
    parts = np.asarray(read_parts(out, "g60", "a"))
    assert (parts == WITHHELD).any()
    gap_m = cdist(ground(scene, parts, "withheld"), ground(scene, parts, "test")).min(1)
    assert gap_m.max() <= 120 + 43 + 1  # half a pixel's diagonal
    assert cdist(ground(scene, parts, "unused"), ground(scene, parts, "test")).min() > 120
    stats = read_stats(out, "g60")
    assert stats.shown_m == pytest.approx(
        cdist(ground(scene, parts, "unused", "train", "val"), ground(scene, parts, "test")).min(), abs=1e-2
    )
    assert stats.leak_m >= stats.shown_m > 120


def test_the_share_that_is_hidden_is_stated(tmp_path):
    half_labelled(tmp_path)
    out = run(tmp_path, params())
    parts, chips = np.asarray(read_parts(out, "g60", "a")), read_chips(out, "g60")
    for chip in chips.itertuples():
        box = parts[chip.row : chip.row + 16, chip.col : chip.col + 16]
        assert chip.hidden_fraction == pytest.approx(np.isin(box, HIDDEN).mean())
    train = chips[chips["part"] == "train"]
    assert read_stats(out, "g60").hidden_fraction == pytest.approx(train["hidden_fraction"].mean())
    assert train["hidden_fraction"].max() > 0


def test_apart_from_each_other_nothing_is_hidden(tmp_path):
    """An official test scene far away costs training nothing."""
    make_scene(tmp_path / "g60", "a")
    make_scene(tmp_path / "g60", "t", origin=(700_000, 7_000_000))
    split = params(rules=[rule("test", "t")], fractions={"train": 0.8, "val": 0.2, "test": 0})
    out = run(tmp_path, split)
    assert not (read_parts(out, "g60", "a") == WITHHELD).any()
    assert read_stats(out, "g60").hidden_fraction == 0


def test_the_check_finds_shown_ground_by_itself(tmp_path):
    """A raster in which someone forgot to withhold: the labels keep their distance, the unlabelled ground does not."""
    scene = make_scene(tmp_path / "g60", "a", shape=(20, 20))
    parts = np.zeros((20, 20), np.uint8)
    parts[:, :5], parts[:, 15:] = PARTS["train"], PARTS["test"]
    placed = [Placed("a", scene.grid, parts)]
    assert nearest_leak(placed, 5000, LEARNT).distance_m == pytest.approx(11 * 60, rel=0.01)
    assert nearest_leak(placed, 5000, SHOWN).distance_m == pytest.approx(60, rel=0.01)
    parts[:, 10:15] = WITHHELD
    assert nearest_leak([Placed("a", scene.grid, parts)], 5000, SHOWN).distance_m == pytest.approx(360, rel=0.01)


def test_shown_ground_fails_the_run_too(tmp_path, monkeypatch):
    half_labelled(tmp_path)
    monkeypatch.setattr("thalweg.split.ground.WITHHELD", PARTS["unused"])
    with pytest.raises(LeakError, match=r"lies \d+ m from training or validation ground of a"):
        run(tmp_path, params(buffer_m=300))
