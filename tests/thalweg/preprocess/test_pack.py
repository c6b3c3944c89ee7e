"""Packs: small scenes that share rasters are read as scenes of their own, and cost only their pack."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from product_builder import CLASSES, build, grid_params, index, make_raster, mask_params
from series_builder import make_patch
from split_builder import params as split_params
from split_builder import rule

from thalweg import pictures
from thalweg.dataset.chips import ChipReader
from thalweg.errors import MaskError
from thalweg.grid import Window
from thalweg.manifest.chips import read_chips, read_stats
from thalweg.manifest.scene import Scene, read_scenes, scene_files
from thalweg.params.grids import SeriesParams
from thalweg.preprocess.pack import Member, dealt
from thalweg.split.build import build_split

NAMES = [f"chip_{number}" for number in range(7)]


def member(name: str, width: int = 61) -> Member:
    return Member(name, (61, width), "key", lambda folder: None)


def make_chips(folder: Path, names: list[str] = NAMES) -> None:
    """Chips of 3 × (4 to 6) pixels whose value is their number, side by side; odd ones are labelled."""
    paths = []
    for name in names:
        number = int(name.split("_")[1])
        origin = (600_000.0 + 1000 * number, 7_000_000.0)
        planes = np.full((2, 3, 5 + number % 3), number + 1, np.uint8)
        planes[1, 0, 0] = 0
        paths.append(make_raster(folder / f"raw/{name}.tif", planes, origin=origin))
        if number % 2:
            make_raster(
                folder / f"masks/{name}.tif", np.full((1, 3, 5), 255 * (number % 4 == 1), np.uint8), origin=origin
            )
    index(folder / "raw", *paths, form="raster", bands={"red": 1, "green": 2}, scale=0.01, nodata=0.0)


def grid(pack: int):
    return grid_params(resolution_m=None, bands=("green", "red"), pack=pack)


@pytest.mark.filterwarnings("ignore:.*zero everywhere")
def test_packed_scenes_are_those_of_their_own_folders(tmp_path):
    make_chips(tmp_path)
    masks = mask_params(patterns=("*.tif",))
    build(tmp_path, grid(1), masks, "alone")
    build(tmp_path, grid(3), masks, "packed")
    alone, packed = read_scenes(tmp_path / "alone"), read_scenes(tmp_path / "packed")
    assert list(packed) == list(alone) == NAMES
    assert len(scene_files(tmp_path / "packed")) < len(NAMES)
    assert all(path.name == "pack.json" for path in scene_files(tmp_path / "packed"))
    for name in NAMES:
        one, other = alone[name], packed[name]
        assert other.record == one.record
        assert other.grid == one.grid
        assert np.array_equal(other.image, one.image)
        assert np.array_equal(other.valid, one.valid)
        assert (other.mask is None) == (one.mask is None) == (not int(name[-1]) % 2)
        assert one.mask is None or np.array_equal(other.mask, one.mask)
        for scene in (one, other):
            parcel = pickle.dumps(scene)
            assert len(parcel) < 20_000, "pixels stay where they are"
            again = pickle.loads(parcel)
            assert (again.name, again.window) == (scene.name, scene.window)
            assert np.array_equal(again.image, scene.image)
    assert packed["chip_4"].image[1, 1].tolist() == [500, 500]
    assert packed["chip_4"].image[0, 0].tolist() == [-32768, 500]


@pytest.mark.filterwarnings("ignore:.*zero everywhere")
def test_each_raster_of_a_pack_is_mapped_once_and_read_only(tmp_path):
    make_chips(tmp_path)
    build(tmp_path, grid(100), mask_params(patterns=("*.tif",)))
    scenes = read_scenes(tmp_path / "scenes")
    packs = {scene.pack for scene in scenes.values()}
    assert sorted(path.name for path in (tmp_path / "scenes").iterdir()) == ["pack_8px_all"]
    assert len(packs) == 1
    bases = {id(scene.image.base) for scene in scenes.values()}
    assert len(bases) == 1
    with pytest.raises(ValueError, match="read-only"):
        scenes["chip_0"].image[0, 0, 0] = 1
    assert scenes["chip_2"].window == Window(6, 0, 3, 7)


@pytest.mark.filterwarnings("ignore:.*zero everywhere")
def test_what_lies_beside_a_narrow_member_is_nothing(tmp_path):
    make_chips(tmp_path)
    build(tmp_path, grid(100), mask_params(patterns=("*.tif",)))
    scene = read_scenes(tmp_path / "scenes")["chip_3"]
    pack = scene.pack
    beside = Window(scene.window.row, 5, 3, 2)
    assert (pack.pixels(pack.folder / "image.tif", beside) == -32768).all()
    assert (pack.pixels(pack.folder / "valid.tif", beside) == 0).all()
    assert (pack.pixels(pack.folder / "mask.tif", Window(0, 0, 3, 7)) == 255).all(), "chip_0 has no mask"
    assert (pack.pixels(pack.folder / "mask.tif", beside) == 255).all()


@pytest.mark.filterwarnings("ignore:.*zero everywhere")
def test_the_report_shows_packed_scenes_as_it_shows_others(tmp_path):
    make_chips(tmp_path)
    build(tmp_path, grid(1), out="alone")
    build(tmp_path, grid(100), out="packed")
    shown = []
    for out in ("alone", "packed"):
        scene = read_scenes(tmp_path / out)["chip_4"]
        shown.append(pictures.draw_image([scene], scene.grid, np.ones(scene.grid.shape_yx, bool)))
    assert shown[0] is not None
    assert shown[0] == shown[1]


@pytest.mark.filterwarnings("ignore:.*zero everywhere")
def test_packed_scenes_are_split_and_read_as_others_are(tmp_path):
    make_chips(tmp_path)
    rules = [rule("train", "chip_1"), rule("train", "chip_3"), rule("val", "chip_5")]
    split = split_params(fractions={"train": 1, "val": 0, "test": 0}, rules=rules, buffer_m=0, chip_px={"g": 8})
    read = []
    for root, pack in (("alone", 1), ("packed", 100)):
        build(tmp_path, grid(pack), mask_params(patterns=("*.tif",)), f"{root}/g")
        target = tmp_path / f"{root}_split"
        build_split(tmp_path / root, ("g",), split, CLASSES, target)
        reader = ChipReader(tmp_path / root / "g", target, "g")
        window = Window(-1, 3, 5, 6)
        chips = [reader.read(name, window, part) for name in NAMES for part in ("train", "val")]
        read.append((read_chips(target, "g"), read_stats(target, "g"), chips))
    (table, stats, chips), (packed_table, packed_stats, packed_chips) = read
    assert table.equals(packed_table)
    assert stats == packed_stats
    assert stats.parts_px["train"] == {"background": 14, "channel": 14}, "3 × 5, less one without measurement"
    for (pixels, target), (other_pixels, other_target) in zip(chips, packed_chips, strict=True):
        assert np.array_equal(pixels, other_pixels)
        assert np.array_equal(target, other_target)
    assert len(list((tmp_path / "packed_split/g/parts").iterdir())) == 1


def test_series_are_packed_bin_by_bin(tmp_path):
    paths = []
    for number, year in ((1, 2019), (2, 2020)):
        dates = {"B02": [f"{year}-01-01", f"{year}-02-01"], "B05": [f"{year}-02-03"]}
        paths.append(make_patch(tmp_path / f"raw/{year}_31TCJ_patch_{number}_0.nc", dates, code(number), edge_px=12))
    index(tmp_path / "raw", *paths, form="netcdf", bands={"B02": "B02", "B05": "B05", "labels": "labels"})
    series = SeriesParams(by="product", start="01-01", bins=2, frequency="1MS", composite="median", max_gap=0)
    options = {"resolution_m": 10, "bands": ("B02", "B05"), "series": series}
    alone = build(tmp_path, grid_params(**options), out="alone")
    packed = build(tmp_path, grid_params(**options, pack=10), out="packed")
    assert {path.name for path in (tmp_path / "packed/pack_16px_all").iterdir()} == {
        "image_t00.tif", "image_t01.tif", "valid.tif", "pack.json"}  # fmt: skip
    for name, scene in packed.items():
        assert scene.record == alone[name].record
        assert scene.record.dates[0] == f"{name[:4]}-01-01"
        assert np.array_equal(scene.image[2:9, 1:], alone[name].image[2:9, 1:])
        assert np.array_equal(scene.valid, alone[name].valid)
    pixels = packed["2020_31TCJ_patch_2_0"].image[3:4, 4:5].ravel()
    assert pixels.tolist() == [2010, -32768, 2020, 2020], "B05 has no date in January"


def code(number: int):
    """Thousands of the patch, tens of the month."""
    return lambda band, time, shape: np.full(shape, 1000 * number + 10 * int(str(time)[5:7]))


def test_a_new_product_costs_its_own_pack(tmp_path):
    make_chips(tmp_path)
    build(tmp_path, grid(3), out="before")
    made = {path.name for path in (tmp_path / "store").iterdir()}
    make_chips(tmp_path, [*NAMES, "chip_7"])
    build(tmp_path, grid(3), out="after")
    fresh = {path.name for path in (tmp_path / "store").iterdir()} - made
    assert 1 <= len(fresh) <= 2
    assert list(read_scenes(tmp_path / "after")) == [*NAMES, "chip_7"]
    kept = {path.name for path in (tmp_path / "before").iterdir()} & {
        path.name for path in (tmp_path / "after").iterdir()
    }
    assert kept, "some packs stay as they were"


def test_a_scene_that_fails_leaves_no_pack(tmp_path):
    make_chips(tmp_path, ["chip_1", "chip_2"])
    make_raster(tmp_path / "masks/chip_1.tif", np.full((1, 3, 5), 7, np.uint8), origin=(601_000.0, 7_000_000.0))
    with pytest.raises(MaskError, match="value 7"):
        build(tmp_path, grid(10), mask_params(patterns=("*.tif",)))
    assert list((tmp_path / "store").iterdir()) == []
    shutil.rmtree(tmp_path / "scenes")


@given(st.lists(st.integers(0, 10_000), unique=True, max_size=60), st.integers(1, 9), st.integers(0, 10_000))
def test_dealing_is_whole_bounded_and_stable(numbers, size, added):
    names = [str(number) for number in numbers]
    packs = dealt([member(name) for name in names], size)
    assert sorted(one.name for pack in packs.values() for one in pack) == sorted(names)
    assert all(1 <= len(pack) <= size for pack in packs.values())
    more = dealt([member(name) for name in {*names, str(added)}], size)
    keys = {frozenset(one.name for one in pack) for pack in packs.values()}
    lost = [pack for pack in keys if pack not in {frozenset(one.name for one in pack) for pack in more.values()}]
    assert len(lost) <= 1, "one more name changes at most one pack"


def test_order_plays_no_part_and_wide_scenes_have_packs_of_their_own():
    members = [member(f"c{number}", 61 if number % 2 else 512) for number in range(20)]
    packs = dealt(members, 8)
    assert {name: [one.name for one in pack] for name, pack in packs.items()} == {
        name: [one.name for one in pack] for name, pack in dealt(members[::-1], 8).items()
    }
    for name, pack in packs.items():
        assert {one.shape_yx[1] for one in pack} == {512 if "512px" in name else 61}


def test_a_scene_of_its_own_is_no_member(tmp_path):
    make_chips(tmp_path, ["chip_2"])
    (scene,) = build(tmp_path, grid(1)).values()
    assert (scene.pack, scene.window, scene.image_files) == (None, Window(0, 0, 3, 7), ("image.tif",))
    assert Scene(tmp_path / "scenes/chip_2").name == "chip_2"
