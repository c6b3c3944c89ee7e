"""Official splits end to end: rules, lists, COCO files and tiles on tiny scenes, with the seeds' own corrections."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scene_builder import make_scene
from split_builder import params, rule, run

from thalweg.classes import IGNORE
from thalweg.errors import DegradedDataWarning, LeakError, SplitError
from thalweg.manifest.chips import PARTS, WITHHELD, read_chips, read_parts, read_stats


def official(root: Path, **changes):
    section = {"rules": None, "lists": {}, "tile_px": None, "swap": False, "keep": {}, "drop_duplicates": [],
               "missing": "error"}  # fmt: skip
    (root / "lists").mkdir(exist_ok=True)
    return {"official": section | changes, "input": str(root / "lists")}


def write_lists(root: Path, **names: list[str]) -> dict[str, str]:
    (root / "lists").mkdir(exist_ok=True)
    for part, of in names.items():
        (root / "lists" / f"{part}.txt").write_text("\n".join(of) + "\n")
    return {part: f"{part}.txt" for part in names}


def patches(root: Path, count: int = 9, year: int = 2019, **changes) -> list[str]:
    """Patches of 3660 m in a row, as Sen4AgriNet names them, with a gap of 500 m."""
    names = [f"{year}_31TCJ_patch_{number:02}_00" for number in range(count)]
    for number, name in enumerate(names):
        make_scene(root / "g60", name, crs="EPSG:32631", origin=(300_000 + 4160 * number, 4_800_000), shape=(61, 61),
                   seed=number, **changes)  # fmt: skip
    return names


def parts_of(out: Path, names: list[str]) -> dict[str, set[int]]:
    return {name: set(np.unique(read_parts(out, "g60", name)).tolist()) for name in names}


def test_rules_assign_whole_scenes_and_the_rest_is_unused(tmp_path):
    names = patches(tmp_path)
    split = params(**official(tmp_path, rules="rules.yaml"))
    (tmp_path / "lists" / "rules.yaml").write_text(
        "rules: [{patch_x: {max: 3}, target: train}, {patch_x: [4, 5], target: val}, {patch_x: 7, target: test}]"
    )
    found = parts_of(run(tmp_path, split), names)
    expected = [1, 1, 1, 1, 2, 2, 0, 3, 0]
    assert [found[name] for name in names] == [{value} for value in expected]


def test_rules_stratify_on_the_elevation_channel(tmp_path):
    heights = [100, 110, 120, 900, 910, 920, 105, 905, 115]
    rng = np.random.default_rng(0)
    for number, height in enumerate(heights):
        image = rng.integers(100, 3000, (61, 61, 2)).astype(np.int16)
        image[:, :, 1] = height * 10  # stored × 1e-4: units do not matter here
        make_scene(tmp_path / "g60", f"2019_31TCJ_patch_{number:02}_00", channels=("B04", "elevation"), image=image,
                   crs="EPSG:32631", origin=(300_000 + 4160 * number, 4_800_000), shape=(61, 61), seed=number)  # fmt: skip
    split = params(**official(tmp_path, rules="r.yaml"))
    (tmp_path / "lists" / "r.yaml").write_text(
        "rules: [{target: [{target: train, split: 0.34}, {target: val, split: 0.33}, {target: test, split: 0.33}], "
        "stratify_on: [{column: elevation_mean, bins: 6}]}]"
    )
    found = parts_of(run(tmp_path, split), [f"2019_31TCJ_patch_{number:02}_00" for number in range(9)])
    for part in (1, 2, 3):
        high = [height > 500 for height, value in zip(heights, found.values(), strict=True) if value == {part}]
        assert (sum(high), len(high)) in ((1, 3), (2, 3))


def test_rules_stratify_on_the_elevation_that_another_grid_knows(tmp_path):
    """The grid of the models has no heights; a coarse one of the same scenes has."""
    heights = [100, 110, 120, 900, 910, 920, 105, 905, 115]
    for number, height in enumerate(heights):
        where = {"crs": "EPSG:32631", "origin": (300_000 + 4160 * number, 4_800_000), "seed": number}
        name, spots = f"2019_31TCJ_patch_{number:02}_00", np.random.default_rng(number)
        make_scene(tmp_path / "g20", name, shape=(96, 96), pixel=20.0, channels=("B04",), **where)
        image = np.stack([spots.integers(100, 3000, (32, 32)), np.full((32, 32), height * 10)], 2).astype(np.int16)
        make_scene(
            tmp_path / "g60", name, shape=(32, 32), pixel=60.0, channels=("B04", "elevation"), image=image, **where
        )
    section = official(tmp_path, rules="r.yaml")
    (tmp_path / "lists" / "r.yaml").write_text(
        "rules: [{target: [{target: train, split: 0.34}, {target: val, split: 0.33}, {target: test, split: 0.33}], "
        "stratify_on: [{column: elevation_mean, bins: 6}]}]"
    )
    out = run(tmp_path, params(**section), grids=("g20", "g60"))
    found = parts_of(out, [f"2019_31TCJ_patch_{number:02}_00" for number in range(9)])
    for part in (1, 2, 3):
        high = [height > 500 for height, value in zip(heights, found.values(), strict=True) if value == {part}]
        assert (sum(high), len(high)) in ((1, 3), (2, 3))


def test_targets_that_are_no_parts_are_unused_with_a_warning(tmp_path):
    names = patches(tmp_path, 4)
    split = params(**official(tmp_path, rules="r.yaml"))
    (tmp_path / "lists" / "r.yaml").write_text(
        "rules: [{patch_x: 0, target: holdout}, {patch_x: 1, target: val}, {patch_x: 2, target: test}, {target: train}]"
    )
    with pytest.warns(DegradedDataWarning, match=r"name the targets holdout, which are no parts: their 1 scene\(s\)"):
        out = run(tmp_path, split)
    assert parts_of(out, names)[names[0]] == {0}


def test_text_lists_and_coco_files_name_scenes_by_path_or_stem(tmp_path):
    names = patches(tmp_path, 4)
    lists = write_lists(tmp_path, train=[f"2019/31TCJ/{names[0]}.nc", names[1]], val=[f"{names[2]}.nc"])
    coco = {"images": [{"id": 1, "file_name": f"netcdf/{names[3]}.nc"}], "annotations": []}
    (tmp_path / "lists" / "exp1_test.json").write_text(json.dumps(coco))
    out = run(tmp_path, params(**official(tmp_path, lists={**lists, "test": "exp1_test.json"})))
    assert [parts_of(out, names)[name] for name in names] == [{1}, {1}, {2}, {3}]


def test_swap_exchanges_train_and_val(tmp_path):
    names = patches(tmp_path, 4)
    lists = write_lists(tmp_path, train=names[:2], val=names[2:3], test=names[3:])
    out = run(tmp_path, params(**official(tmp_path, lists=lists, swap=True)))
    assert [parts_of(out, names)[name] for name in names] == [{2}, {2}, {1}, {3}]


def test_keep_is_a_seeded_share_and_the_rest_is_unused(tmp_path):
    names = patches(tmp_path, 9)
    lists = write_lists(tmp_path, train=names[:6], val=names[6:8], test=names[8:])
    section = official(tmp_path, lists=lists, keep={"train": 0.5})
    kept = [{1}, {2}, {3}, {0}]
    found = parts_of(run(tmp_path, params(**section)), names)
    assert [list(found.values()).count(each) for each in kept] == [3, 2, 1, 3]
    assert found == parts_of(run(tmp_path, params(**section), name="again"), names)
    others = [parts_of(run(tmp_path, params(**section, seed=seed), name=f"seed{seed}"), names) for seed in range(4, 7)]
    assert any(other != found for other in others)


def test_a_name_in_two_lists_is_an_error_unless_a_part_loses_it(tmp_path):
    names = patches(tmp_path, 4)
    lists = write_lists(tmp_path, train=names[:3], val=names[2:3], test=names[2:])
    with pytest.raises(
        SplitError, match=rf"1 name\(s\), such as {names[2]}, are in the official lists of both test and"
    ):
        run(tmp_path, params(**official(tmp_path, lists=lists)))
    section = official(tmp_path, lists=lists, drop_duplicates=["test", "train"])
    found = parts_of(run(tmp_path, params(**section), name="dropped"), names)
    assert [found[name] for name in names] == [{1}, {1}, {2}, {3}]


def test_names_without_a_scene_are_counted(tmp_path):
    names = patches(tmp_path, 3)
    lists = write_lists(tmp_path, train=[names[0], "2019_31TCJ_patch_29_29"], val=names[1:2], test=names[2:])
    message = r"1 of 4 names in the official split have no scene, such as 2019_31TCJ_patch_29_29"
    with pytest.raises(SplitError, match=message):
        run(tmp_path, params(**official(tmp_path, lists=lists)))
    with pytest.warns(DegradedDataWarning, match=message):
        run(tmp_path, params(**official(tmp_path, lists=lists, missing="report")), name="reported")


def test_two_dates_of_one_patch_in_two_parts_leak(tmp_path):
    names = patches(tmp_path, 2) + patches(tmp_path, 1, year=2020)
    lists = write_lists(tmp_path, train=names[:1], val=names[1:2], test=names[2:])
    section = official(tmp_path, lists=lists)
    with pytest.raises(LeakError, match=f"{names[2]} lies 0 m from .* {names[0]}"):
        run(tmp_path, params(**section, yields="none"))
    with pytest.warns(DegradedDataWarning, match="lies 0 m from"):
        out = run(tmp_path, params(**section, yields="none", leak="report"), name="reported")
    assert (read_stats(out, "g60").leak_m, read_stats(out, "g60").shown_m) == (0, 0)


# tiles of orthophotos


def tiled(root: Path, **changes):
    """An orthophoto of 40 × 50 px whose tiles of 16 px are named in a checkerboard; 0.25 m a pixel."""
    make_scene(root / "g60", "M-33-20", crs="EPSG:2180", origin=(300_000, 600_000), pixel=0.25, shape=(40, 50))
    lists = write_lists(
        root, train=["M-33-20_0", "M-33-20_2", "M-33-20_5"], val=["M-33-20_4"], test=["M-33-20_1", "M-33-20_6"]
    )
    return params(**official(root, lists=lists, tile_px=16), block_m=10, buffer_m=2, **changes)


def test_tiles_become_rectangles_and_incomplete_ones_are_unused(tmp_path):
    with pytest.warns(DegradedDataWarning, match="M-33-20 lies 0.25 m from training or validation ground of M-33-20"):
        out = run(tmp_path, tiled(tmp_path, yields="none", leak="report"))
    parts = np.asarray(read_parts(out, "g60", "M-33-20"))
    expected = np.zeros((40, 50), np.uint8)  # rows of four tiles, of which the last is 2 px wide
    for number, part in ((0, 1), (2, 1), (5, 1), (4, 2), (1, 3), (6, 3)):
        row, col = divmod(number, 4)
        expected[16 * row : 16 * row + 16, 16 * col : 16 * col + 16] = part
    assert np.array_equal(np.where(parts == WITHHELD, 0, parts), expected)
    assert read_stats(out, "g60").leak_m == pytest.approx(0.25, rel=0.01)
    assert set(read_chips(out, "g60")["block"]) == {f"M-33-20_{number}" for number in (0, 1, 2, 4, 5, 6)}
    features = json.loads((out / "blocks.geojson").read_text())["features"]
    assert {f["properties"]["name"]: f["properties"]["part"] for f in features if f["properties"]["part"] != "unused"} == {
        "M-33-20_0": "train", "M-33-20_2": "train", "M-33-20_5": "train", "M-33-20_4": "val", "M-33-20_1": "test",
        "M-33-20_6": "test",
    }  # fmt: skip


def test_tiles_that_yield_keep_the_buffer(tmp_path):
    out = run(tmp_path, tiled(tmp_path))
    parts, stats = np.asarray(read_parts(out, "g60", "M-33-20")), read_stats(out, "g60")
    assert stats.leak_m >= 2
    assert stats.shown_m >= 2
    assert (parts[:16, 16:32] == PARTS["test"]).all()


def test_a_tile_that_is_incomplete_has_no_place(tmp_path):
    split = tiled(tmp_path)
    (tmp_path / "lists" / "val.txt").write_text("M-33-20_3\nM-33-20_99\nM-33-20_x\n")
    with pytest.raises(
        SplitError, match=r"3 of 8 names in the official split have no complete tile, such as M-33-20_3, M"
    ):
        run(tmp_path, split)


# what is refused


def test_an_input_that_is_no_folder(tmp_path):
    patches(tmp_path, 1)
    with pytest.raises(SplitError, match=r"split.input is masks/none.yaml, which is no folder"):
        run(tmp_path, params(official=official(tmp_path, rules="r.yaml")["official"]))


def test_a_list_that_is_missing_and_a_file_that_is_no_coco(tmp_path):
    patches(tmp_path, 1)
    with pytest.raises(SplitError, match=r"nowhere.txt is missing; correct split.official.lists"):
        run(tmp_path, params(**official(tmp_path, lists={"train": "nowhere.txt"})))
    (tmp_path / "lists" / "bad.json").write_text('{"pictures": []}')
    with pytest.raises(SplitError, match=r"bad.json is no COCO file: it should hold 'images' with a 'file_name' each"):
        run(tmp_path, params(**official(tmp_path, lists={"train": "bad.json"})))


def test_a_column_that_no_scene_has(tmp_path):
    patches(tmp_path, 3)
    target = "[{target: train, split: 0.5}, {target: val, split: 0.5}]"
    for column, message in (
        ("elevation_mean", "of which 3 of 3 scenes have no value, such as 2019_31TCJ_patch_00_00; add the channel"),
        ("height", "which is no column; known are year, patch_x, .*elevation_median and share_ground, share_channel"),
    ):
        split = params(**official(tmp_path, rules="r.yaml"))
        (tmp_path / "lists" / "r.yaml").write_text(
            f"rules: [{{target: {target}, stratify_on: [{{column: {column}}}]}}]"
        )
        with pytest.raises(SplitError, match=message):
            run(tmp_path, split, name=column)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rules": "r.yaml", "lists": {"train": "a"}}, "give either 'rules' or 'lists'"),
        ({}, "give either 'rules' or 'lists'"),
        ({"rules": "r.yaml", "tile_px": 3}, "'tile_px' belongs to 'lists'"),
    ],
)
def test_official_params_that_contradict_themselves(tmp_path, changes, message):
    with pytest.raises(ValidationError, match=message):
        params(**official(tmp_path, **changes))


def test_split_params_that_contradict_themselves(tmp_path):
    with pytest.raises(ValidationError, match="set 'rules' to"):
        params(**official(tmp_path, lists={"train": "a"}), rules=[rule("test", "*")])
    with pytest.raises(ValidationError, match="'cells' is a number where 'unit' is cells"):
        params(unit="cells")


def test_an_official_part_without_labels(tmp_path):
    names = patches(tmp_path, 2)
    make_scene(tmp_path / "g60", "bare", origin=(900_000, 4_800_000), mask=np.full((64, 64), IGNORE, np.uint8))
    lists = write_lists(tmp_path, train=names[:1], val=names[1:], test=["bare"])
    with pytest.raises(SplitError, match="part 'test' has no labelled, valid pixel in 3"):
        run(tmp_path, params(**official(tmp_path, lists=lists)))


def test_lists_as_windows_writes_them_and_in_another_encoding(tmp_path):
    names = patches(tmp_path)
    lists = write_lists(tmp_path, train=names[:5], val=names[5:7], test=names[7:])
    (tmp_path / "lists" / "train.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(names[:5]).encode())
    found = parts_of(run(tmp_path, params(**official(tmp_path, lists=lists))), names)
    assert found[names[0]] == {PARTS["train"]}
    (tmp_path / "lists" / "val.txt").write_bytes("Gemüse\n".encode("latin-1"))
    with pytest.raises(SplitError, match=r"val\.txt is no UTF-8 text"):
        run(tmp_path, params(**official(tmp_path, lists=lists)), name="again")
