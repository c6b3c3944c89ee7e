"""Blocks, cells and whole scenes: what is dealt, by which shares, and that no unit leaks on the ground."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from scene_builder import make_scene
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from split_builder import CLASSES, VALUES, ground, params, rule, run, zone_21_origin

from thalweg.classes import IGNORE
from thalweg.errors import LeakError, SplitError
from thalweg.grid import Window
from thalweg.manifest.chips import COLUMNS, PARTS, read_chips, read_parts, read_stats, scene_parts
from thalweg.manifest.scene import read_scenes
from thalweg.split.assign import strata
from thalweg.split.blocks import Lattice, block_name
from thalweg.split.terrain import Terrain, fifths

TORCHBEARER = {"train": 0.7, "val": 0.2, "test": 0.1}
HALVES = {"train": 0.4, "val": 0.3, "test": 0.3}
TAUGHT = ("unused", "train", "val")


def raster_of(out: Path, name: str, grid: str = "g60") -> np.ndarray:
    return np.asarray(read_parts(out, grid, name))


def test_cells_go_whole_to_one_part_by_torchbearers_shares(tmp_path):
    make_scene(tmp_path / "g60", "a", shape=(60, 60))
    split = params(unit="cells", cells=6, fractions=TORCHBEARER, stratify="none", buffer_m=0)
    out = run(tmp_path, split)
    parts = raster_of(out, "a").reshape(6, 10, 6, 10).swapaxes(1, 2).reshape(36, 100)
    assert (parts == parts[:, :1]).all()
    assert np.bincount(parts[:, 0], minlength=4)[1:].tolist() == [25, 7, 4]
    names = {f["properties"]["name"] for f in json.loads((out / "blocks.geojson").read_text())["features"]}
    assert names == {f"a_{number}" for number in range(36)}
    assert set(read_chips(out, "g60")["block"]) <= names


def test_cells_yield_within_the_buffer_like_blocks(tmp_path):
    scene = make_scene(tmp_path / "g60", "a", shape=(60, 60))
    out = run(tmp_path, params(unit="cells", cells=6, fractions=TORCHBEARER))
    parts = raster_of(out, "a")
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert cdist(ground(scene, parts, one), ground(scene, parts, other)).min() >= 120


def test_dates_of_one_tile_share_their_cells(tmp_path):
    for date, seed in (("20250101", 0), ("20250611", 1)):
        make_scene(tmp_path / "g60", f"a_{date}", seed=seed)
    out = run(tmp_path, params(unit="cells", cells=4))
    assert np.array_equal(raster_of(out, "a_20250101"), raster_of(out, "a_20250611"))


def test_two_grids_share_the_cells(tmp_path):
    coarse = make_scene(tmp_path / "g60", "a")
    mask = np.kron(coarse.mask, np.ones((3, 3), np.uint8))
    make_scene(tmp_path / "g20", "a", pixel=20, shape=(192, 192), mask=mask)
    out = run(tmp_path, params(unit="cells", cells=5, buffer_m=0), ("g60", "g20"))
    assert np.array_equal(raster_of(out, "a", "g20")[1::3, 1::3], raster_of(out, "a"))


def test_whole_scenes_are_dealt_to_parts(tmp_path):
    for number in range(10):
        make_scene(
            tmp_path / "g60", f"s{number}", origin=(500_000 + 9_000 * number, 7_000_000), shape=(32, 32), seed=number
        )
    out = run(tmp_path, params(unit="scenes"))
    values = [np.unique(raster_of(out, f"s{number}")).tolist() for number in range(10)]
    assert all(len(value) == 1 for value in values)
    assert sorted(value for (value,) in values) == [1] * 6 + [2] * 2 + [3] * 2
    assert set(read_chips(out, "g60")["block"]) == {f"s{number}" for number in range(10)}


def test_rules_come_before_units(tmp_path):
    for number in range(5):
        make_scene(
            tmp_path / "g60", f"s{number}", origin=(500_000 + 9_000 * number, 7_000_000), shape=(32, 32), seed=number
        )
    fractions = {"train": 0.75, "val": 0.25, "test": 0}
    out = run(tmp_path, params(unit="scenes", fractions=fractions, rules=[rule("test", "s2")]))
    assert (raster_of(out, "s2") == PARTS["test"]).all()
    assert sorted(int(raster_of(out, f"s{number}")[0, 0]) for number in (0, 1, 3, 4)) == [1, 1, 1, 2]


def test_too_few_scenes(tmp_path):
    make_scene(tmp_path / "g60", "a")
    with pytest.raises(SplitError, match=r"finds 1 block\(s\) with labels for the 3 parts"):
        run(tmp_path, params(unit="scenes"))


# the law: whatever is dealt, no pixel that teaches lies within the buffer of a test pixel


@settings(max_examples=12, deadline=None)
@given(
    unit=st.sampled_from([("blocks", None), ("cells", 3), ("cells", 4), ("scenes", None)]),
    dx=st.integers(-100, 100), dy=st.integers(-100, 100), pixel=st.sampled_from([60, 47]), seed=st.integers(0, 99),
    yields=st.sampled_from(["train", "test"]), buffer_m=st.sampled_from([0, 120, 300]),
)  # fmt: skip
def test_no_unit_leaks_across_scenes_dates_and_zones(tmp_path_factory, unit, dx, dy, pixel, seed, yields, buffer_m):
    root = tmp_path_factory.mktemp("units")
    make_scene(root / "g60", "west", origin=(820_000, 7_000_000), shape=(30, 30))
    make_scene(root / "g60", "later", origin=(820_000, 7_000_000), shape=(30, 30), seed=seed + 1)
    make_scene(root / "g60", "far", origin=(760_000, 7_000_000), shape=(40, 40), seed=seed + 2)
    make_scene(root / "g60", "further", origin=(740_000, 7_000_000), shape=(40, 40), seed=seed + 3)
    origin = zone_21_origin(820_000 + 10 * dx, 7_000_000 + 10 * dy)
    make_scene(root / "g60", "east", crs="EPSG:32721", origin=origin, pixel=pixel, shape=(34, 28), seed=seed)
    split = params(
        unit=unit[0], cells=unit[1], seed=seed, yields=yields, buffer_m=buffer_m, stratify="none", block_m=800
    )
    try:
        out = run(root, split)
    except SplitError as error:  # two scenes of one ground can leave a part empty; a leak never
        if isinstance(error, LeakError) or not re.search("no (labelled, valid|valid training) pixel", str(error)):
            raise
        return
    scenes = read_scenes(root / "g60")
    parts = {name: raster_of(out, name) for name in scenes}
    test = np.concatenate([ground(scenes[name], parts[name], "test") for name in scenes])
    teachers = [name for name in scenes if np.isin(parts[name], [1, 2]).any()]
    shown = np.concatenate([ground(scenes[name], parts[name], *TAUGHT) for name in teachers])
    assert cdist(test, shown).min() >= buffer_m
    stats = read_stats(out, "g60")
    assert (stats.leak_m is None) or stats.leak_m >= stats.shown_m
    assert (stats.shown_m is None) or stats.shown_m == pytest.approx(cdist(test, shown).min(), abs=1e-2)


@settings(max_examples=4, deadline=None)
@given(unit=st.sampled_from([("blocks", None), ("cells", 3), ("scenes", None)]), seed=st.integers(0, 99))
def test_labels_are_counted_once_and_the_order_of_scenes_plays_no_part(tmp_path_factory, unit, seed):
    def build(names: str) -> tuple[Path, Path]:
        root = tmp_path_factory.mktemp("order")
        for index, name in enumerate(names):
            make_scene(
                root / "g60", name, origin=(600_000 + 2500 * index, 7_000_000), shape=(36, 36), seed=seed + index
            )
        return root, run(
            root, params(unit=unit[0], cells=unit[1], seed=seed, stratify="none", buffer_m=60, block_m=600)
        )

    root, out = build("abcd")
    again, reversed_names = build("abcd")[1], build("zyxw")[1]
    for old, new in zip("abcd", "zyxw", strict=True):
        assert np.array_equal(raster_of(out, old), raster_of(again, old))
        assert np.array_equal(raster_of(out, old), raster_of(reversed_names, new))
    chips = read_chips(out, "g60")
    assert list(chips.columns) == [*COLUMNS, "px_ground", "px_channel"]
    for name, scene in read_scenes(root / "g60").items():
        for part in ("train", "val", "test"):
            labelled = (raster_of(out, name) == PARTS[part]) & (scene.valid > 0) & (scene.mask != IGNORE)
            assert chips[(chips["scene"] == name) & (chips["part"] == part)]["labelled_px"].sum() == labelled.sum()


# elevations


def slope(root: Path, **changes):
    """A scene whose elevation rises by 10 m a row, stored in metres × 10 (scale 1e-4 of the builder: 1 m is 1e-3)."""
    image = np.zeros((64, 64, 2), np.int16)
    image[:, :, 0] = np.random.default_rng(0).integers(1, 3000, (64, 64))
    image[:, :, 1] = np.arange(64)[:, None] * 100 + 1000
    return make_scene(root / "g60", "a", channels=("B04", "elevation"), image=image, **changes)


def test_blocks_know_their_elevations(tmp_path):
    scene = slope(tmp_path)
    out = run(tmp_path, params())
    height_m = scene.image[:, :, 1] * 1e-4
    rows, cols = Lattice(900).cells(scene.grid, Window(0, 0, 64, 64))
    for feature in json.loads((out / "blocks.geojson").read_text())["features"]:
        at = feature["properties"]
        inside = height_m[(rows == at["row"]) & (cols == at["col"])]
        assert at["name"] == block_name(at["row"], at["col"])
        expected = (inside.mean(), inside.std(), inside.min(), inside.max())
        got = [at[f"elevation_{name}"] for name in ("mean", "std", "min", "max")]
        np.testing.assert_allclose(got, expected, atol=0.011)  # whole centimetres


def test_parts_get_their_share_of_every_fifth_of_elevations(tmp_path):
    slope(tmp_path)
    out = run(tmp_path, params(stratify="elevation", block_m=500))
    features = [f["properties"] for f in json.loads((out / "blocks.geojson").read_text())["features"]]
    area = np.array([f["ha_ground"] + f["ha_channel"] for f in features])
    mean = np.array([f["elevation_mean"] for f in features])
    order = np.argsort(mean, kind="stable")
    fifth = np.empty(len(area), int)
    fifth[order] = np.minimum((np.cumsum(area[order]) - area[order] / 2) / area.sum() * 5, 4).astype(int)
    for number in range(5):
        inside = np.array([f["part"] for f in features])[fifth == number]
        shares = {part: area[fifth == number][inside == part].sum() / area[fifth == number].sum() for part in PARTS}
        assert shares["train"] == pytest.approx(0.6, abs=0.1)
        assert shares["test"] == pytest.approx(0.2, abs=0.1)


def test_fifths_part_the_ground_and_not_the_blocks():
    mean = np.array([50.0, 10, 20, 30, 40, np.nan])
    flat = np.zeros(6)
    terrain = Terrain(mean, flat, flat, flat)
    assert fifths(terrain, np.array([6.0, 1, 1, 1, 1, 9])).tolist() == [3, 0, 0, 1, 1, 5]


def test_unknown_elevation_is_a_stratum_of_its_own():
    terrain = Terrain(np.array([1.0, np.nan]), *np.zeros((3, 2)))
    area, names = strata(np.array([[2.0, 1], [4, 0]]), terrain, "elevation", CLASSES.names)
    assert area.tolist() == [[0, 0, 3, 0, 0, 0], [0, 0, 0, 0, 0, 4]]
    assert names[0] == "fifth 1 of elevations"
    assert names[5] == "ground of unknown elevation"


def test_stratifying_by_elevation_needs_the_channel(tmp_path):
    make_scene(tmp_path / "g60", "a")
    with pytest.raises(SplitError, match=r"no scene has the channel 'elevation'; add it to the 'channels' of a grid"):
        run(tmp_path, params(stratify="elevation"))


def test_zones_in_this_file_are_where_they_should_be():
    """The corner that other tests rely on: 820 km east in zone 20 is some 230 km east in zone 21."""
    x, _ = Transformer.from_crs(32720, 32721, always_xy=True).transform(820_000, 7_000_000)
    assert 200_000 < x < 260_000
    assert set(VALUES) == {*PARTS, "withheld"}


def two_sensors(root: Path) -> None:
    """Six places, each shown on g60 by one product and on g20 by another, which lies somewhat askew."""
    for number in range(6):
        x, y = 600_000 + 4000 * number, 7_000_000
        make_scene(root / "g60", f"a{number}", origin=(x, y), shape=(32, 32), seed=number)
        make_scene(root / "g20", f"b{number}", origin=(x + 130, y - 70), pixel=20.0, shape=(90, 90), seed=10 + number)


def least_m(root: Path, out: Path, test: str, other: str) -> float:
    """Between test pixels on one grid and those that train or validate on another, measured plainly."""
    found = {}
    for grid, parts in ((test, ("test",)), (other, ("train", "val"))):
        scenes = read_scenes(root / grid).values()
        found[grid] = np.concatenate([ground(scene, scene_parts(out, scene), *parts) for scene in scenes])
    return float(cKDTree(found[other]).query(found[test])[0].min())


@pytest.mark.parametrize("unit", [{"unit": "scenes", "fractions": HALVES}, {"unit": "cells", "cells": 2}, {}])
def test_ground_that_tests_on_one_grid_does_not_train_on_another(tmp_path, unit):
    """An ensemble has members on several grids; other products there show the same ground under other names."""
    two_sensors(tmp_path)
    rules = [rule("train", "a[01]"), rule("val", "a2"), rule("test", "a[3-5]"), rule("train", "b[0-3]"),
             rule("val", "b4"), rule("test", "b5")]  # fmt: skip
    out = run(tmp_path, params(**unit), ("g60", "g20"))
    assert least_m(tmp_path, out, "g60", "g20") >= 120
    assert least_m(tmp_path, out, "g20", "g60") >= 120
    naive = params(**unit, rules=rules, yields="none")
    with pytest.raises(LeakError, match=r"test ground of a3 lies 0 m from training or validation ground of b3 "):
        run(tmp_path, naive, ("g60", "g20"), "naive")
    run(tmp_path, naive.model_copy(update={"rules": naive.rules[:3]}), ("g60",), "alone")
    run(tmp_path, naive.model_copy(update={"rules": naive.rules[3:]}), ("g20",), "other")
