"""Pseudo-labels: what is sure, what is barred, how they reach training, and what a leak looks like."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_builder import delivery, rules, write_raster
from round_builder import FirstRound, make_truth, run_split
from scene_builder import make_scene
from scipy.spatial import cKDTree
from split_builder import CLASSES, ground, params, rule
from typer.testing import CliRunner

from thalweg import cli
from thalweg.errors import LeakError, MapError, MaskError, RoundError, SplitError
from thalweg.folds import build_fold
from thalweg.grid import Grid
from thalweg.guard import Guard, scenes_of
from thalweg.manifest.chips import PARTS, scene_parts
from thalweg.manifest.rounds import RoundFolder, read_round
from thalweg.manifest.scene import Scene
from thalweg.params import read_yaml
from thalweg.preprocess.masks import find_masks, mask_identity, write_mask
from thalweg.pseudo.sure import Rules, least_probabilities
from thalweg.pseudo.write import write_pseudo_labels
from thalweg.split.position import ecef

SURE = Rules(0.9, None, None, {})
HELD = (PARTS["val"], PARTS["test"])


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> FirstRound:
    return FirstRound(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def second(first) -> RoundFolder:
    """The folder for round 2."""
    out = first.root / "round2"
    write_pseudo_labels({"main": first.root / "maps/main"}, SURE, first.project(), out)
    return RoundFolder(out)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def labels_of(second: RoundFolder | None, scene: Scene, folder: Path) -> tuple[np.ndarray, tuple]:
    """What preprocess makes of the drawn mask and the round's."""
    masks = rules(patterns=("drawn.tif",), values={"1": "channel"})
    found = find_masks(masks, CLASSES, folder, {"a": scene.grid}, second)["a"]
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    names, warnings = write_mask("a", delivery(scene.grid), found, out)
    assert not warnings
    return read(out / "mask.tif"), names


def test_labels_are_the_maps_outside_drawn_and_held_out_ground(first, second):
    labels = read(second.folder / "main.tif")
    parts = np.asarray(scene_parts(first.folder, first.scene))
    assert (labels[first.drawn != 255] == 255).all(), "drawn masks win"
    assert (labels[np.isin(parts, HELD)] == 255).all()
    said = labels != 255
    assert said.sum() > 2000
    assert (labels[said] == first.truth[said]).all()
    record = second.record
    assert record.class_px == {"ground": int((labels == 0).sum()), "channel": int((labels == 1).sum())}
    assert (record.number, record.rules["confidence"]) == (2, "0.9")
    assert record.nearest_m is None or record.nearest_m >= 120
    with rasterio.open(second.folder / "main.tif") as dataset:
        tags = dataset.tags()
        assert (dataset.nodata, tags["CLASS_1"], tags["ROUND"]) == (255, "channel", "2")
        assert tags["MAP_SHA256"] == record.maps["main.tif"]["sha256"]
    assert second.blocks.read_bytes() == (first.folder / "blocks.geojson").read_bytes()


def test_the_guard_keeps_the_buffer_in_true_metres(first):
    # Every pixel of the map against every held-out pixel of both grids, one by one, in earth-centred coordinates.
    guard = Guard(scenes_of(first.root / "scenes", first.folder), first.folder, 120.0)
    grid = first.map.grid
    barred = guard.near(grid, grid.full)
    held = np.concatenate([
        ground(scene, np.asarray(scene_parts(first.folder, scene)), "val", "test") for scene in (first.scene, first.fine)
    ])  # fmt: skip
    rows, cols = np.indices(grid.shape_yx)
    centres = ecef(*grid.lonlat(rows + 0.5, cols + 0.5)).reshape(-1, 3)
    distance = cKDTree(held).query(centres)[0].reshape(grid.shape_yx)
    assert barred[distance < 120].all()
    # Blocks that touch a pixel count whole, and half diagonals are added: 120 + 42.4 + 42.4 and a pixel's diagonal.
    assert not barred[distance > 120 + 2 * 42.5 + 2 * 85].any()
    assert 0.05 < barred.mean() < 0.6


@settings(deadline=None, max_examples=10)
@given(st.integers(10, 90), st.sampled_from([("EPSG:32720", 0.0), ("EPSG:32720", 17.0), ("EPSG:32721", 0.0)]),
       st.integers(0, 400))  # fmt: skip
def test_no_label_of_any_grid_comes_near_held_out_ground(first, pixel_m, placed, buffer_m):
    from pyproj import Transformer

    crs, shift = placed
    corner = Transformer.from_crs(32720, crs, always_xy=True).transform(600_000, 7_000_000)
    grid = Grid(crs, Affine(pixel_m, 0, corner[0] + shift, 0, -pixel_m, corner[1] - shift), (60, 60))
    guard = Guard(scenes_of(first.root / "scenes", first.folder), first.folder, float(buffer_m))
    free = ~guard.near(grid, grid.full)
    held = np.concatenate([
        ground(scene, np.asarray(scene_parts(first.folder, scene)), "val", "test") for scene in (first.scene, first.fine)
    ])  # fmt: skip
    rows, cols = np.nonzero(free)
    if rows.size:
        assert cKDTree(held).query(ecef(*grid.lonlat(rows + 0.5, cols + 0.5)))[0].min() > buffer_m


def test_windows_of_the_guard_say_what_the_whole_says(first):
    guard = Guard(scenes_of(first.root / "scenes", first.folder), first.folder, 300.0)
    grid = first.map.grid
    whole = guard.near(grid, grid.full)
    parts = [guard.near(grid, window) for window in first.map.iter_stripes(17)]
    assert (np.concatenate(parts) == whole).all()


@pytest.mark.parametrize("name", ["scene", "fine"])
def test_they_arrive_as_training_labels_and_nothing_drawn_or_held_out_differs(first, second, name, tmp_path):
    scene = getattr(first, name)
    write_raster(tmp_path / "drawn.tif", first.truth[:, :60], first.map.grid)
    before, names = labels_of(None, scene, tmp_path)
    assert names == ("drawn.tif",)
    after, names = labels_of(second, scene, tmp_path)
    assert names == ("drawn.tif", "round:main.tif")
    parts = np.asarray(scene_parts(first.folder, scene))
    assert (after[np.isin(parts, HELD)] == before[np.isin(parts, HELD)]).all(), "not one pixel"
    assert (after[before != 255] == before[before != 255]).all(), "drawn masks win"
    times = scene.grid.shape_yx[0] // 96
    new = (before == 255) & (after != 255)
    assert (new == (read(second.folder / "main.tif") != 255).repeat(times, 0).repeat(times, 1)).all()
    assert (after[new] == first.truth.repeat(times, 0).repeat(times, 1)[new]).all()


def test_a_drawn_mask_of_later_wins_over_an_older_label(first, second, tmp_path):
    wrong = 1 - first.truth
    write_raster(tmp_path / "drawn.tif", wrong, first.map.grid)
    after, names = labels_of(second, first.scene, tmp_path)
    assert (after == wrong).all()
    assert names == ("drawn.tif",)


def test_a_pattern_that_reaches_into_the_rounds_folder_finds_no_drawn_mask_there(first, second, tmp_path):
    shutil.copytree(second.folder, tmp_path / "round2")
    write_raster(tmp_path / "drawn.tif", first.truth[:, :60], first.map.grid)
    found = find_masks(
        rules(patterns=("**/*.tif",), values={"1": "channel"}), CLASSES, tmp_path, {"a": first.scene.grid}
    )["a"]
    assert [file.name for file in found.files] == ["drawn.tif"]


def test_a_round_without_masks_keeps_the_split_alone(first, second, tmp_path):
    shutil.copytree(second.folder, tmp_path / "kept")
    (tmp_path / "kept/main.tif").unlink()
    make_second(first, second, tmp_path / "scenes")  # as if the new ground were drawn
    run_split(tmp_path / "scenes", first.split, tmp_path / "split", RoundFolder(tmp_path / "kept"))
    parts = np.asarray(scene_parts(tmp_path / "split", Scene(tmp_path / "scenes/g60/a")))
    assert (np.isin(parts, HELD) == np.isin(np.asarray(scene_parts(first.folder, first.scene)), HELD)).all()


def test_what_masks_call_outside_stays_what_it_is(first, second, tmp_path):
    write_raster(tmp_path / "drawn.tif", first.truth[:, :60], first.map.grid)
    masks = rules(patterns=("drawn.tif",), values={"1": "channel"}, outside="background")
    found = find_masks(masks, CLASSES, tmp_path, {"a": first.scene.grid}, second)["a"]
    (tmp_path / "out").mkdir()
    names, _ = write_mask("a", delivery(first.scene.grid), found, tmp_path / "out")
    assert names == ("drawn.tif",)
    assert (read(tmp_path / "out/mask.tif")[:, 60:] == 0).all()


def test_a_store_key_changes_with_the_round_alone(first, second, tmp_path):
    write_raster(tmp_path / "drawn.tif", first.truth, first.map.grid)
    scenes = {"a": first.scene.grid}
    masks = rules(patterns=("drawn.tif",), values={"1": "channel"})
    keys = [mask_identity(find_masks(masks, CLASSES, tmp_path, scenes, each)["a"]) for each in (None, second)]
    assert keys[1][:-1] == keys[0]


def make_second(first: FirstRound, second: RoundFolder, root: Path) -> dict[str, Scene]:
    """The scenes of round 2, as preprocess would label them."""
    filled = first.drawn.copy()
    mask = read(second.folder / "main.tif")
    filled[filled == 255] = mask[filled == 255]
    masks = ("drawn.tif", "round:main.tif")
    fine = filled.repeat(3, 0).repeat(3, 1)
    return {"g60": make_scene(root / "g60", "a", shape=(96, 96), mask=filled, masks=masks),
            "g20": make_scene(root / "g20", "a", pixel=20.0, shape=(288, 288), mask=fine, masks=masks)}  # fmt: skip


def test_the_second_split_keeps_every_part_and_trains_on_new_ground(first, second, tmp_path):
    scenes = make_second(first, second, tmp_path / "scenes")
    run_split(tmp_path / "scenes", first.split, tmp_path / "split", second)
    for old, new in ((first.scene, scenes["g60"]), (first.fine, scenes["g20"])):
        before, after = (np.asarray(scene_parts(split, each)) for split, each in
                         ((first.folder, old), (tmp_path / "split", new)))  # fmt: skip
        assert (np.isin(before, HELD) == np.isin(after, HELD)).all()
        assert ((before == PARTS["train"]) <= (after == PARTS["train"])).all()
        gained = (after == PARTS["train"]) & (before != PARTS["train"])
        assert gained.sum() > 500
        assert (np.asarray(new.mask)[np.isin(after, HELD)] == np.asarray(old.mask)[np.isin(before, HELD)]).all()
    # Without the kept split the new labels move blocks between parts: that is what is guarded against.
    run_split(tmp_path / "scenes", first.split, tmp_path / "anew")
    anew = np.asarray(scene_parts(tmp_path / "anew", scenes["g60"]))
    assert (np.isin(anew, HELD) & (np.asarray(scene_parts(first.folder, first.scene)) == PARTS["train"])).any()


@pytest.mark.parametrize("part", ["test", "val"])
def test_a_planted_leak_fails(first, second, part, tmp_path):
    """Somebody edits a mask of the round so that it labels ground that is held out."""
    planted = tmp_path / "planted"
    shutil.copytree(second.folder, planted)
    parts = np.asarray(scene_parts(first.folder, first.scene))
    rows, cols = np.nonzero(parts == PARTS[part])
    with rasterio.open(planted / "main.tif", "r+") as dataset:
        mask = dataset.read(1)
        mask[rows[len(rows) // 2], cols[len(rows) // 2]] = 1
        dataset.write(mask, 1)
    make_second(first, second, tmp_path / "scenes")
    with pytest.raises(
        LeakError, match=r"the mask main\.tif of an earlier round labels ground 0 m from validation or test"
    ):
        run_split(tmp_path / "scenes", first.split, tmp_path / "split", RoundFolder(planted))


def test_a_guard_that_fails_is_found_by_measuring(first, tmp_path, monkeypatch):
    monkeypatch.setattr(Guard, "near", lambda self, grid, window: np.zeros((window.height, window.width), bool))
    monkeypatch.setattr(
        "thalweg.guard.Drawn.on", lambda self, grid, window: np.zeros((window.height, window.width), bool)
    )
    with pytest.raises(LeakError, match=r"labels ground 0 m from validation or test ground of a \(g[26]0\)"):
        write_pseudo_labels({"main": first.root / "maps/main"}, SURE, first.project(), tmp_path / "round2")
    assert not list(tmp_path.iterdir()), "nothing is left of it"


def test_rules_of_the_second_split_are_those_of_the_first(first, second, tmp_path):
    make_second(first, second, tmp_path / "scenes")
    for changed, said in (({"block_m": 1200}, r"split\.block_m is 1200\.0, but .* was made under 900\.0"),
                          ({"rules": [rule("test", "a")]}, r"split\.rules is .*'part': 'test'"),
                          ({"buffer_m": 500}, r"split\.buffer_m is 500, but the labels of .* keep 120 m")):  # fmt: skip
        with pytest.raises(RoundError, match=said):
            run_split(tmp_path / "scenes", params(**changed), tmp_path / "split", second)


def test_folds_would_test_on_what_models_said(first, second, tmp_path):
    make_second(first, second, tmp_path / "scenes")
    with pytest.raises(RoundError, match=r"a has labels of an earlier round, .* cross-validate with round\.input"):
        build_fold(tmp_path / "scenes", ("g60",), first.split, CLASSES, 3, 0, tmp_path / "fold")


def test_rules_on_masks_mean_drawn_ones(first, second, tmp_path):
    scenes = make_second(first, second, tmp_path / "scenes")
    ruled = params(rules=[rule("test", mask="round:*")])
    with pytest.raises(SplitError, match=r"split\.rules\.0 \(round:\*\) fits none of 2 scenes"):
        run_split(tmp_path / "scenes", ruled, tmp_path / "split")
    assert scenes["g60"].record.masks[1] == "round:main.tif"


def test_confidence_entropy_disagreement(first, tmp_path):
    probs = np.full((96, 96), 0.95)
    probs[:32], probs[32:64] = 0.85, 0.9
    first.make_map("mixed", first.truth, probs)
    free = read_free(first, tmp_path)

    def said(rules_: Rules) -> np.ndarray:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        write_pseudo_labels({"m": first.root / "maps/mixed"}, rules_, first.project(), out)
        return read(out / "m.tif") != 255

    assert (said(SURE) == free & (probs >= 0.9)).all()
    # Normalised entropy of (0.9, 0.1) is 0.4690 and of (0.95, 0.05) 0.2864 bits.
    assert (said(Rules(0.5, 0.4, None, {})) == free & (probs == 0.95)).all()
    assert (said(Rules(0.5, 0.47, None, {})) == free & (probs >= 0.9)).all()
    with pytest.raises(MapError, match=r"has the bands None, but none of disagreement"):
        said(Rules(0.5, None, 0.2, {}))
    with pytest.raises(RoundError, match=r"no pixel of .*mixed is labelled: none is sure by \{'confidence': '0.99'"):
        said(Rules(0.99, None, None, {}))


def read_free(first: FirstRound, folder: Path) -> np.ndarray:
    """Where labels may be: those of a map that is sure of everything."""
    first.make_map("all", first.truth, 1.0)
    write_pseudo_labels({"all": first.root / "maps/all"}, SURE, first.project(), folder / "all")
    return read(folder / "all/all.tif") != 255


def test_at_most_a_share_of_a_class_the_surest_first(first, tmp_path):
    random = np.random.default_rng(0)
    probs = random.uniform(0.9, 1, (96, 96))
    first.make_map("ranked", first.truth, probs)
    free = read_free(first, tmp_path)
    write_pseudo_labels({"m": first.root / "maps/ranked"}, Rules(0.9, None, None, {"ground": 0.25}), first.project(),
                        tmp_path / "out")  # fmt: skip
    labels = read(tmp_path / "out/m.tif")
    of_ground = free & (first.truth == 0)
    kept = labels == 0
    assert kept.sum() == pytest.approx(of_ground.sum() / 4, rel=0.02)
    assert kept.sum() <= of_ground.sum() / 4
    assert probs[kept].min() >= probs[of_ground & ~kept].max() - 1e-4
    assert ((labels == 1) == (free & (first.truth == 1))).all(), "the other class is not limited"


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1))
def test_a_share_is_never_exceeded(seed, share):
    random = np.random.default_rng(seed)
    eligible = random.integers(0, 3, (20, 20)).astype(np.uint8)
    given_ = np.round(random.random((20, 20)), 1).astype(np.float32)  # many ties
    sure = np.where(given_ >= 0.5, eligible, 255).astype(np.uint8)
    least = least_probabilities(iter([(eligible, sure, given_)]), Rules(0.5, None, None, {"b": share}), ("a", "b", "c"))
    kept = (sure == 1) & (given_ >= least[1] - 1e-6)
    assert kept.sum() <= share * (eligible == 1).sum()
    more = np.unique(given_[(sure == 1) & ~kept])
    if more.size:  # the next value would have been too much
        assert ((sure == 1) & (given_ >= more[-1])).sum() > share * (eligible == 1).sum()
    assert least[0] == 0


def test_a_third_round_gives_labels_anew(first, second, tmp_path):
    """Labels of round 2 are no drawn ones: ground that they labelled may be labelled otherwise, or not at all."""
    scenes = make_second(first, second, tmp_path / "scenes")
    run_split(tmp_path / "scenes", first.split, tmp_path / "split", second)
    from dataclasses import replace

    project = replace(first.project(second), scenes_root=tmp_path / "scenes", split_folder=tmp_path / "split")
    first.make_map("third", 1 - first.truth, 0.99)
    record = write_pseudo_labels({"main": first.root / "maps/third"}, SURE, project, tmp_path / "round3")
    assert record.number == 3
    old, new = read(second.folder / "main.tif"), read(tmp_path / "round3/main.tif")
    assert ((old != 255) == (new != 255)).all()
    assert (new[new != 255] == (1 - first.truth)[new != 255]).all()
    assert scenes["g60"].record.labelled


def test_by_command(first, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    (tmp_path / "build/scenes").symlink_to(first.root / "scenes")
    (tmp_path / "build/split").symlink_to(first.folder)
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/first.yaml").write_text("# none\n")
    sections = {"classes": json.loads(CLASSES.model_dump_json()), "split": json.loads(first.split.model_dump_json()),
                "round": {"input": "masks/first.yaml"}}  # fmt: skip
    (tmp_path / "params.yaml").write_text(json.dumps(sections))
    arguments = ["pseudo-label", str(first.root / "maps/main"), "--out", "masks/round2", "--max-share", "channel=0.5"]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    assert "nearest to validation or test ground" in done.stdout
    assert "wrote masks/round2 for round 2" in done.stdout
    found = read_round(tmp_path / "masks/round2")
    assert found is not None
    assert found.record.rules["max_share"] == "channel 0.5"
    assert read_round(tmp_path / "masks/first.yaml") is None
    for wrong, said in ((arguments, "is there already"), ([*arguments[:3], "r3", "--max-share", "fen=1"], "names 'fen'"),
                        ([*arguments[:3], "r3", "--max-share", "lots"], "should be 0.2 or CLASS=0.2"),
                        ([*arguments[:3], "r3", "--max-share", "0"], "should be above 0"),
                        ([*arguments[:2], arguments[1], "--out", "r3"], "both called main")):  # fmt: skip
        result = CliRunner().invoke(cli.app, wrong)
        assert isinstance(result.exception, RoundError)
        assert said in str(result.exception)


def test_what_is_no_round_says_so(first, second, tmp_path):
    with pytest.raises(RoundError, match=r"is missing; write it by `thalweg pseudo-label`"):
        read_round(tmp_path / "no")
    with pytest.raises(RoundError, match=r"has no round\.json and blocks\.geojson"):
        read_round(tmp_path)
    with pytest.raises(RoundError, match=r"holds ids of the classes ground, channel, but params\.yaml has a, b"):
        second.check_classes(("a", "b"))
    newer = tmp_path / "newer"
    shutil.copytree(second.folder, newer)
    (newer / "round.json").write_text(
        (newer / "round.json").read_text().replace('"schema_version": 1', '"schema_version": 9')
    )
    with pytest.raises(RoundError, match=r"has schema version 9, but this Thalweg reads 1"):
        read_round(newer)
    odd = tmp_path / "odd"
    shutil.copytree(second.folder, odd)
    write_raster(odd / "main.tif", np.full((9, 9), 7, np.uint8), first.map.grid, nodata=255)
    write_raster(tmp_path / "drawn.tif", first.truth, first.map.grid)
    masks = rules(patterns=("drawn.tif",), values={"1": "channel"})
    with pytest.raises(MaskError, match=r"main\.tif holds the class id 7, but there are 2 classes"):
        find_masks(masks, CLASSES, tmp_path, {"a": first.scene.grid}, RoundFolder(odd))
    write_raster(odd / "main.tif", np.zeros((9, 9), np.int16), first.map.grid)
    with pytest.raises(MaskError, match=r"should be one band of uint8 with nodata 255, got int16 with None"):
        find_masks(masks, CLASSES, tmp_path, {"a": first.scene.grid}, RoundFolder(odd))
    with pytest.raises(SplitError, match=r"blocks\.geojson is missing; run `dvc repro split`"):
        scenes_of(first.root / "scenes", tmp_path)
    other = first.make_map("three", make_truth(), 0.95)
    with rasterio.open(other.classes, "r+") as dataset:
        dataset.update_tags(CLASS_1="fen")
    with pytest.raises(RoundError, match=r"has the classes ground, fen, but params\.yaml has ground, channel"):
        write_pseudo_labels({"m": first.root / "maps/three"}, SURE, first.project(), tmp_path / "out")
    bare = first.make_map("bare", make_truth(), 0.95)
    bare.probs.unlink()
    with pytest.raises(MapError, match=r"has no probs\.tif beside it"):
        write_pseudo_labels({"m": first.root / "maps/bare"}, SURE, first.project(), tmp_path / "out")
    assert Path(second.folder).is_dir()


def test_the_recipes_of_both_rounds_differ_in_the_round_alone():
    recipes = Path(__file__).parents[3] / "recipes"
    one, two = (read_yaml(recipes / f"{name}.yaml") for name in ("sparse", "pseudo"))
    assert (one.pop("round"), two.pop("round")) == ({"input": "masks/first.yaml"}, {"input": "masks/round2"})
    assert one == two
