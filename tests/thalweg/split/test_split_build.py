"""The whole split on tiny scenes: parts, buffers and leaks on the ground, chips, statistics, and what is refused."""

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from engine_builder import Twice, digests
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_builder import make_scene
from scipy.spatial.distance import cdist
from split_builder import CLASSES, VALUES, ground, params, rule, run, zone_21_origin

from thalweg.classes import IGNORE
from thalweg.errors import DegradedDataWarning, LeakError, SplitError
from thalweg.manifest.chips import COLUMNS, PARTS, WITHHELD, read_chips, read_parts, read_stats
from thalweg.manifest.scene import NODATA, read_scenes
from thalweg.split import count
from thalweg.split.build import build_split, read_grids
from thalweg.split.plan import make_plan

# parts


def test_parts_cover_the_blocks_and_keep_the_buffer(tmp_path):
    scene = make_scene(tmp_path / "g60", "a")
    parts = np.asarray(read_parts(run(tmp_path, params()), "g60", "a"))
    assert set(np.unique(parts)) == {*PARTS.values(), WITHHELD}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        gap_m = cdist(ground(scene, parts, one), ground(scene, parts, other)).min()
        assert 120 <= gap_m < 300


def test_the_buffer_holds_across_the_bands_in_which_a_scene_is_worked(tmp_path):
    far_north = {"crs": "EPSG:32633", "origin": (300_000, 8_500_000), "pixel": 500}  # here interpolation is worst
    make_scene(tmp_path / "g60", "a", shape=(600, 120), **far_north)
    stats = read_stats(run(tmp_path, params(block_m=20_000, buffer_m=1500)), "g60")
    assert stats.leak_m > 1500 + 500 / 2**0.5


def test_same_input_same_bytes_and_the_order_of_scenes_plays_no_part(tmp_path):
    def build(home: Path, names: str) -> dict[str, bytes]:
        for index, name in enumerate(names):
            make_scene(home / "g60", name, origin=(600_000 + 2000 * index, 7_000_000), seed=index)
        out = run(home, params())
        return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}

    first = build(tmp_path / "1", "abc")
    assert first == build(tmp_path / "2", "abc")
    renamed = build(tmp_path / "3", "zyx")
    assert renamed["blocks.geojson"] == first["blocks.geojson"]
    for old, new in zip("abc", "zyx", strict=True):
        assert renamed[f"g60/parts/{new}.tif"] == first[f"g60/parts/{old}.tif"]


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_chips_and_statistics_are_counted_elsewhere_to_the_same_bytes(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(count, "UNIT_PX", 64 * 64 + 1)
    for number, name in enumerate("abcde"):
        image = np.random.default_rng(number).integers(1, 9000, (64, 64, 2)).astype(dtype)
        make_scene(tmp_path / "g60", name, origin=(600_000 + 2000 * number, 7_000_000), seed=number, image=image)
    executor = Twice()
    for name, engine in (("here", None), ("there", executor)):
        build_split(tmp_path, ("g60",), params(), CLASSES, tmp_path / name, executor=engine)
    assert digests(tmp_path / "there") == digests(tmp_path / "here")
    assert executor.units == 3, "two, two and one"


@pytest.mark.parametrize("unit", ["blocks", "cells"])
def test_a_large_scene_is_counted_in_runs_of_rows_to_the_same_chips(tmp_path, monkeypatch, unit):
    """300 rows of 64 px and chips of 16: units of 2 048 px are 32 rows; the last, of 12, goes with the next scene's."""
    for number, name in enumerate("ab"):
        make_scene(tmp_path / "g60", name, origin=(600_000 + 9000 * number, 7_000_000), shape=(300, 64), seed=number)
    asked = params(unit=unit, cells=3 if unit == "cells" else None, chip_px={"g60": 16})
    build_split(tmp_path, ("g60",), asked, CLASSES, tmp_path / "whole")
    monkeypatch.setattr(count, "UNIT_PX", 2048)
    executor = Twice()
    build_split(tmp_path, ("g60",), asked, CLASSES, tmp_path / "runs", executor=executor)
    assert executor.units == 19, "nine, one of 12 + 32 rows, eight and one of 12"
    assert digests(tmp_path / "runs") == digests(tmp_path / "whole"), "int16 is counted exactly"


def test_units_carry_the_blocks_of_their_own_scenes_alone(tmp_path):
    """A plan of many scenes, cut into cells, is not pickled once per unit: half the scenes, the same bytes per unit."""

    def most(home: Path, scenes: int) -> int:
        for number in range(scenes):
            make_scene(home / "g60", f"s{number:03}", origin=(600_000 + 9000 * number, 7_000_000), seed=number)
        found = read_grids(home, ("g60",))
        plan = make_plan(found, params(unit="cells", cells=4), CLASSES)
        units = count.iter_units(found["g60"].values(), 16, plan.table, plan.footprints["g60"])
        [unit] = units
        return max(len(pickle.dumps(run)) for run in unit)

    assert most(tmp_path / "many", 16) < 1.2 * most(tmp_path / "few", 4)


def test_two_grids_share_the_blocks(tmp_path):
    coarse = make_scene(tmp_path / "g60", "a")
    mask = np.kron(coarse.mask, np.ones((3, 3), np.uint8))
    make_scene(tmp_path / "g20", "a", pixel=20, shape=(192, 192), mask=mask)
    out = run(tmp_path, params(buffer_m=0), ("g60", "g20"))
    fine = np.asarray(read_parts(out, "g20", "a"))
    assert np.array_equal(fine[1::3, 1::3], read_parts(out, "g60", "a"))
    alone = run(tmp_path, params(buffer_m=0), ("g60",), "alone")
    assert np.array_equal(read_parts(alone, "g60", "a"), read_parts(out, "g60", "a"))


def test_the_same_ground_is_the_same_part_in_two_zones(tmp_path):
    west = make_scene(tmp_path / "g60", "west", origin=(820_000, 7_000_000))
    east = make_scene(tmp_path / "g60", "east", crs="EPSG:32721", origin=zone_21_origin(820_600, 6_999_500))
    out = run(tmp_path, params(buffer_m=0))
    parts = {name: np.asarray(read_parts(out, "g60", name)) for name in ("west", "east")}
    pairs = cdist(ground(west, parts["west"], *VALUES), ground(east, parts["east"], *VALUES))
    same = np.argwhere(pairs < 15)
    assert len(same) > 100
    agree = parts["west"].ravel()[same[:, 0]] == parts["east"].ravel()[same[:, 1]]
    idle = np.isin(parts["west"].ravel()[same[:, 0]], (PARTS["unused"], WITHHELD))
    assert (agree | idle).mean() > 0.97  # a block's border may pass between the two centres


def test_ground_without_labels_is_unused(tmp_path):
    mask = np.full((64, 64), IGNORE, np.uint8)
    mask[:, :32] = np.indices((64, 32)).sum(0) % 2
    make_scene(tmp_path / "g60", "a", mask=mask)
    parts = read_parts(run(tmp_path, params()), "g60", "a")
    assert (parts[:, 50:] == PARTS["unused"]).all()


# rules and yields


@pytest.mark.parametrize(("yields", "cut"), [("train", "official_train"), ("test", "official_test")])
def test_the_part_that_yields_gives_up_ground_across_zones(tmp_path, yields, cut):
    scenes = {
        "official_train": make_scene(tmp_path / "g60", "official_train", origin=(820_000, 7_000_000)),
        "official_test": make_scene(
            tmp_path / "g60", "official_test", crs="EPSG:32721", origin=zone_21_origin(822_500, 7_000_000)
        ),
        "free": make_scene(tmp_path / "g60", "free", origin=(760_000, 7_000_000)),
    }
    split = params(rules=[rule("train", "*_train"), rule("test", "*_test"), rule("val", "free")], yields=yields)
    out = run(tmp_path, split)
    parts = {name: np.asarray(read_parts(out, "g60", name)) for name in scenes}
    for name, part in (("official_train", "train"), ("official_test", "test")):
        kept = (parts[name] == PARTS[part]).mean()
        assert (kept < 0.8) if name == cut else (kept == 1)
    gap_m = cdist(
        ground(scenes["official_train"], parts["official_train"], "train"),
        ground(scenes["official_test"], parts["official_test"], "test"),
    ).min()
    assert 120 <= gap_m < 250
    assert read_stats(out, "g60").leak_m == pytest.approx(gap_m, abs=1e-3)


def test_buffers_are_true_metres_where_projected_metres_are_not(tmp_path):
    scene = make_scene(tmp_path / "g60", "a", crs="EPSG:3857", origin=(1_500_000, 8_400_000), pixel=120)
    parts = np.asarray(read_parts(run(tmp_path, params(buffer_m=200)), "g60", "a"))
    gap_m = cdist(ground(scene, parts, "train"), ground(scene, parts, "test", "val")).min()
    assert scene.grid.pixel_m_yx[0] == pytest.approx(60, rel=0.1)
    assert 200 <= gap_m < 300


def test_the_first_rule_counts_and_masks_are_matched_by_path(tmp_path):
    make_scene(tmp_path / "g60", "a", masks=("test/a.tif",))
    make_scene(tmp_path / "g60", "b", origin=(700_000, 7_000_000), masks=("train/b.tif",))
    split = params(
        fractions={"train": 0.7, "val": 0.3, "test": 0}, rules=[rule("test", mask="test/*"), rule("val", "a")]
    )
    out = run(tmp_path, split)
    assert (read_parts(out, "g60", "a") == PARTS["test"]).all()
    assert set(np.unique(read_parts(out, "g60", "b"))) == {PARTS["unused"], PARTS["train"], PARTS["val"]}


def test_scenes_set_aside_by_a_rule_are_no_ground(tmp_path):
    make_scene(tmp_path / "g60", "a")
    make_scene(tmp_path / "g60", "b")
    out = run(tmp_path, params(rules=[rule("unused", "b")]))
    assert not read_parts(out, "g60", "b").any()
    assert set(read_chips(out, "g60")["scene"]) == {"a"}


# leaks


@settings(max_examples=12, deadline=None)
@given(dx=st.integers(-300, 300), dy=st.integers(-300, 300), pixel=st.sampled_from([60, 50]), seed=st.integers(0, 99))
def test_whatever_the_overlap_of_two_zones_no_pixel_is_within_the_buffer(tmp_path_factory, dx, dy, pixel, seed):
    root = tmp_path_factory.mktemp("zones")
    make_scene(root / "g60", "west", origin=(820_000, 7_000_000))
    east, north = zone_21_origin(820_000 + 10 * dx, 7_000_000 + 10 * dy)
    make_scene(root / "g60", "east", crs="EPSG:32721", origin=(east, north), pixel=pixel, seed=seed)
    leak_m = read_stats(run(root, params(seed=seed, block_m=700)), "g60").leak_m
    assert leak_m is not None
    assert leak_m >= 120


def planted(root: Path) -> list[dict[str, str | None]]:
    """Train and test scenes that show the same ground in two zones, and a validation scene far away."""
    make_scene(root / "g60", "here_train", origin=(820_000, 7_000_000))
    make_scene(root / "g60", "there_test", crs="EPSG:32721", origin=zone_21_origin(822_000, 6_998_000))
    make_scene(root / "g60", "val", origin=(760_000, 7_000_000))
    return [rule("train", "*_train"), rule("test", "*_test"), rule("val", "val")]


@pytest.mark.parametrize("buffer_m", [0, 120])
def test_a_planted_leak_across_zones_fails_the_run(tmp_path, buffer_m):
    split = params(rules=planted(tmp_path), yields="none", buffer_m=buffer_m)
    with pytest.raises(LeakError, match=r"there_test lies 0 m from .* here_train at -27\.\d+, -59\.\d+.*yields"):
        run(tmp_path, split)


def test_a_leak_that_is_accepted_is_measured_and_warned_of(tmp_path):
    split = params(rules=planted(tmp_path), yields="none", leak="report")
    with pytest.warns(DegradedDataWarning, match="lies 0 m from"):
        out = run(tmp_path, split)
    assert read_stats(out, "g60").leak_m == 0


def test_a_gap_smaller_than_the_buffer_is_a_leak_too(tmp_path):
    make_scene(tmp_path / "g60", "train", origin=(600_000, 7_000_000))
    make_scene(tmp_path / "g60", "test", origin=(604_140, 7_000_000))  # a gap of 300 m between edges, 360 of centres
    make_scene(tmp_path / "g60", "val", origin=(700_000, 7_000_000))
    rules = [rule(name, name) for name in ("train", "val", "test")]
    with pytest.raises(LeakError, match="lies 360 m from"):
        run(tmp_path, params(rules=rules, yields="none", buffer_m=600))
    assert read_stats(run(tmp_path, params(rules=rules, yields="none", buffer_m=300), name="b"), "g60").leak_m > 350


def test_blocks_without_yields_leak(tmp_path):
    make_scene(tmp_path / "g60", "a")
    with pytest.raises(LeakError, match="lies 60 m from"):
        run(tmp_path, params(yields="none"))
    assert run(tmp_path, params(yields="none", buffer_m=0), name="touching").is_dir()


# tables


def test_chips_are_lattice_windows_with_counts(tmp_path):
    valid = np.ones((40, 50), np.uint8)
    valid[:7] = 0
    mask = np.random.default_rng(0).choice(np.array([0, 1, IGNORE], np.uint8), (40, 50))
    scene = make_scene(tmp_path / "g60", "a", shape=(40, 50), valid=valid, mask=mask)
    out = run(tmp_path, params(buffer_m=0, block_m=600))
    chips, parts = read_chips(out, "g60"), np.asarray(read_parts(out, "g60", "a"))
    assert list(chips.columns) == [*COLUMNS, "px_ground", "px_channel"]
    names = {value: name for name, value in PARTS.items()}
    expected = {}
    for row in range(0, 40, 16):
        for col in range(0, 50, 16):
            box = (slice(row, row + 16), slice(col, col + 16))
            for value in (1, 2, 3):
                mine = (parts[box] == value) & (valid[box] > 0)
                counts = tuple(int((mine & (mask[box] == label)).sum()) for label in (0, 1))
                if sum(counts):
                    expected[row, col, names[value]] = (*counts, float(valid[box].mean()))
    got = {(c.row, c.col, c.part): (c.px_ground, c.px_channel, c.valid_fraction) for c in chips.itertuples()}
    assert got.keys() == expected.keys()
    assert all(got[key] == pytest.approx(expected[key]) for key in expected)
    assert (chips["labelled_px"] == chips["px_ground"] + chips["px_channel"]).all()
    assert (chips["size"] == 16).all()
    blocks = json.loads((out / "blocks.geojson").read_text())["features"]
    part_of = {f"{b['properties']['row']}_{b['properties']['col']}": b["properties"]["part"] for b in blocks}
    assert all(part_of[c.block] == c.part for c in chips.itertuples())
    hectares = sum(b["properties"]["ha_channel"] for b in blocks)
    assert hectares == pytest.approx(((mask == 1) & (valid > 0)).sum() * np.prod(scene.grid.pixel_m_yx) / 1e4, rel=1e-4)


def test_statistics_are_those_of_valid_training_pixels_in_physical_units(tmp_path):
    valid = (np.random.default_rng(1).random((64, 64)) > 0.2).astype(np.uint8)
    for index, name in enumerate("ab"):
        make_scene(tmp_path / "g60", name, origin=(600_000 + 3000 * index, 7_000_000), valid=valid, seed=index)
    out = run(tmp_path, params())
    stats, pixels = read_stats(out, "g60"), []
    for name, scene in read_scenes(tmp_path / "g60").items():
        pixels.append(scene.image[(read_parts(out, "g60", name) == PARTS["train"]) & (scene.valid > 0)])
    values = np.concatenate(pixels).astype(np.float64) * 1e-4
    assert stats.pixels == len(values)
    np.testing.assert_allclose(stats.mean, values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(stats.std, values.std(0), rtol=1e-9)
    for name, share in (("p02", 2), ("p50", 50), ("p98", 98)):
        np.testing.assert_allclose(getattr(stats, name), np.percentile(values, share, axis=0, method="inverted_cdf"))
    chips = read_chips(out, "g60")
    train = chips[chips["part"] == "train"]
    assert stats.class_px == {"ground": train["px_ground"].sum(), "channel": train["px_channel"].sum()}
    assert stats.class_px == stats.parts_px["train"]


def test_a_nodata_value_inside_a_valid_pixel_does_not_count(tmp_path):
    image = np.full((64, 64, 2), 2000, np.int16)
    image[:, :, 1] += np.arange(64, dtype=np.int16)
    image[:, :32, 0] = NODATA
    make_scene(tmp_path / "g60", "a", image=image)
    with pytest.warns(DegradedDataWarning, match=r"channel\(s\) B04 have one value each in all \d+ valid training"):
        stats = read_stats(run(tmp_path, params()), "g60")
    assert stats.mean[0] == pytest.approx(0.2)
    assert stats.std[0] == pytest.approx(0, abs=1e-9)


# what is refused


def test_no_labels_at_all(tmp_path):
    make_scene(tmp_path / "g60", "a", mask=None)
    with pytest.raises(SplitError, match=r"'test' has no labelled, valid pixel in 1 scene\(s\)"):
        run(tmp_path, params())


def test_all_nodata(tmp_path):
    make_scene(tmp_path / "g60", "a", valid=np.zeros((64, 64)))
    with pytest.raises(SplitError, match="no labelled, valid pixel"):
        run(tmp_path, params())


def test_a_class_without_training_pixels(tmp_path):
    make_scene(tmp_path / "g60", "a", mask=np.zeros((64, 64), np.uint8))
    with pytest.raises(SplitError, match=r"class\(es\) channel have no valid training pixel; lower split.block_m"):
        run(tmp_path, params())


def test_a_class_id_out_of_range(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[3, 4] = 7
    make_scene(tmp_path / "g60", "a", mask=mask)
    with pytest.raises(SplitError, match=r"mask.tif holds the class id 7, but 'classes' ends at 1"):
        run(tmp_path, params())


def test_too_few_blocks(tmp_path):
    make_scene(tmp_path / "g60", "a", shape=(16, 16))
    with pytest.raises(SplitError, match=r"block\(s\) with labels .* lower split.block_m"):
        run(tmp_path, params(block_m=50_000))


def test_a_rule_that_fits_no_scene(tmp_path):
    make_scene(tmp_path / "g60", "a")
    with pytest.raises(SplitError, match=r"split.rules.0 \(T99\*\) fits none of 1 scenes, such as a"):
        run(tmp_path, params(rules=[rule("test", "T99*")]))


def test_a_grid_without_a_chip_size(tmp_path):
    make_scene(tmp_path / "g60", "a")
    with pytest.raises(SplitError, match="chip_px has no size for the grid 'g60'"):
        run(tmp_path, params(chip_px={"g20": 8}))


def test_scenes_of_one_grid_with_different_channels(tmp_path):
    make_scene(tmp_path / "g60", "a")
    make_scene(tmp_path / "g60", "b", channels=("B8A", "B04"))
    with pytest.raises(SplitError, match="has the channels B8A B04, other scenes of its grid have B04 B8A"):
        run(tmp_path, params())


def test_a_channel_that_is_nodata_everywhere(tmp_path):
    image = np.full((64, 64, 2), 2000, np.int16)
    image[:, :, 1] = NODATA
    make_scene(tmp_path / "g60", "a", image=image)
    with pytest.raises(SplitError, match=r"channel 'B8A' is nodata in all \d+ valid training pixels"):
        run(tmp_path, params())


def test_channels_that_say_nothing(tmp_path):
    make_scene(tmp_path / "g60", "a", image=np.zeros((64, 64, 2), np.int16))
    with pytest.raises(SplitError, match=r"channel\(s\) B04, B8A have one value each .*correct scale and offset"):
        run(tmp_path, params())


def test_a_buffer_that_leaves_no_ground(tmp_path):
    make_scene(tmp_path / "g60", "a")
    with warnings.catch_warnings(), pytest.raises(SplitError, match=r"'train' has no labelled.*lower split.buffer_m"):
        warnings.simplefilter("ignore", DegradedDataWarning)
        run(tmp_path, params(buffer_m=5000))
