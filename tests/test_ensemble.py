"""A whole map from tiny scenes and tiny networks with fresh weights: its files, its numbers, its errors."""

import hashlib
import json
import shutil
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from ensemble_builder import make_ensemble
from map_builder import CLASSES, LEGEND, THIRD, Room, make_chips, make_member, make_parts, quarters
from scene_builder import make_scene

from thalweg.classes import IGNORE
from thalweg.distribution import Distribution
from thalweg.ensemble import build_map
from thalweg.errors import ContractError, DegradedDataWarning, EnsembleError
from thalweg.grid import cut
from thalweg.infer import Predictor, iter_rows
from thalweg.manifest.card import read_card, write_card
from thalweg.manifest.chips import PARTS
from thalweg.manifest.ensembles import read_ensemble_card
from thalweg.manifest.scene import NODATA, Scene, write_scene_record
from thalweg.maps import PROB_NODATA, PROB_SCALE
from thalweg.params.classes import Classes


@pytest.fixture
def room(tmp_path) -> Room:
    return Room(tmp_path)


def iou(truth: np.ndarray, found: np.ndarray) -> float:
    return float((truth & found).sum() / (truth | found).sum())


def test_a_map_of_two_members_and_two_scenes(room) -> None:
    scores = room.build(make_ensemble(members=("one", "two")))
    probs, classes, uncertainty = (room.read(f"{name}.tif") for name in ("probs", "classes", "uncertainty"))
    assert probs.shape == (2, 94, 144)
    assert {path.name for path in (room.root / "map").iterdir()} == {
        "probs.tif", "classes.tif", "uncertainty.tif", "classes.qml", "probs.qml", "uncertainty.qml",
        "classes.tif.aux.xml", "main.json"}  # fmt: skip
    nowhere = np.ones((94, 144), bool)
    nowhere[:70, :90] = False
    nowhere[30:, 80:] = False
    nowhere[20:40, 10:30] = True
    for layer, nodata in ((probs, PROB_NODATA), (classes, IGNORE), (uncertainty, 255)):
        assert ((layer == nodata) == nowhere).all()
    seen = probs[:, ~nowhere].astype(int)
    assert (np.abs(seen.sum(0) - PROB_SCALE) <= 2).all()
    threshold = scores["test"]["threshold"]
    assert (classes[0][~nowhere] == (seen[1] / PROB_SCALE >= threshold)).all()
    assert (uncertainty[1][~nowhere] > 0).any()


def test_scores_are_those_of_the_map_that_was_written(room) -> None:
    scores = room.build(make_ensemble(members=("one", "two")))
    classes = room.read("classes.tif")[0]
    for part in ("val", "test"):
        truth, found = [], []
        for scene, (row, col) in zip(room.scenes, ((0, 0), (30, 80)), strict=True):
            height, width = scene.grid.shape_yx
            counted = (quarters((height, width)) == PARTS[part]) & (scene.valid != 0)
            truth.append(scene.mask[counted])
            found.append(classes[row : row + height, col : col + width][counted])
        truth, found = np.concatenate(truth), np.concatenate(found)
        assert scores[part]["pixels"] == len(truth) == scores["members"]["two"][part]["pixels"]
        assert scores[part]["iou_channel"] == pytest.approx(iou(truth == 1, found == 1), abs=1e-9)
        assert scores[part]["accuracy"] == pytest.approx((truth == found).mean(), abs=1e-9)


def test_no_other_threshold_is_better_on_validation(room) -> None:
    scores = room.build(make_ensemble(scenes=("a",)))
    probs, scene = room.read("probs.tif")[1], room.scenes[0]
    counted = (quarters((70, 90)) == PARTS["val"]) & (scene.valid != 0)
    truth, p = scene.mask[counted] == 1, probs[counted]
    best = max(iou(truth, p >= cut) for cut in np.unique(p))
    b = (quarters((64, 64)) == PARTS["val"]).sum()
    assert scores["val"]["pixels"] == counted.sum() + b, "a scene that is not mapped has its say all the same"
    alone = room.build(make_ensemble(scenes=("a",), threshold="argmax"))
    assert scores["val"]["iou_channel"] >= alone["val"]["iou_channel"]
    assert "threshold" not in alone["val"]
    assert 0 < best <= 1


def test_a_map_of_one_member_is_that_members_probabilities(room) -> None:
    room.build(make_ensemble(scenes=("b",), threshold="argmax"))
    predictor = Predictor.load(room.root / "models" / "one", "cpu")
    scene = room.scenes[1]
    runs = iter_rows(predictor.predict, lambda window: cut(scene.image, window, NODATA), (64, 64), 2, 32, 0.5, 3)
    probs = np.concatenate([run for _, run in runs], 1)
    np.testing.assert_allclose(room.read("probs.tif") / PROB_SCALE, probs, atol=1e-5)
    assert (room.read("uncertainty.tif")[1] == 0).all()
    assert (room.read("classes.tif")[0] == probs.argmax(0)).mean() > 0.999


def test_rasters_say_what_they_hold_and_where_they_come_from(room) -> None:
    ensemble = make_ensemble(members=("one", "two"))
    room.build(ensemble)
    card = read_ensemble_card(room.root / "card")
    sha = {m: hashlib.sha256((room.root / "models" / m / "card.json").read_bytes()).hexdigest() for m in ("one", "two")}
    assert {member: entry.card_sha256 for member, entry in card.members.items()} == sha
    assert sum(entry.weight for entry in card.members.values()) == 1
    for name in ("probs", "classes", "uncertainty"):
        with rasterio.open(room.root / "map" / f"{name}.tif") as dataset:
            tags = dataset.tags()
            assert tags["MEMBERS"] == f"one:{sha['one']} two:{sha['two']}"
            assert tags["PRODUCTS"] == "a b"
            assert len(tags["PARAMS_SHA256"]) == 64
            assert {"THALWEG_VERSION", "GIT_COMMIT"} <= set(tags)
            assert dataset.crs.to_epsg() == 32720
            assert dataset.transform[:6] == (60, 0, 600_000, 0, -60, 7_000_000)
            if name == "probs":
                assert dataset.descriptions == ("background", "channel")
                assert dataset.scales == pytest.approx((1 / 65534, 1 / 65534))
                assert dataset.nodata == 65535
            if name == "classes":
                assert dataset.colormap(1)[1] == (0x1F, 0x6F, 0xB4, 255)
                assert (dataset.nodata, tags["CLASS_1"]) == (255, "channel")
    style = ET.parse(room.root / "map" / "classes.qml").getroot()
    assert [(e.get("value"), e.get("label"), e.get("color")) for e in style.iter("paletteEntry")] == [
        ("0", "background", "#e6e0d4"), ("1", "channel", "#1f6fb4")]  # fmt: skip
    names = ET.parse(room.root / "map" / "classes.tif.aux.xml").getroot()
    assert [e.text for e in names.iter("Category")] == ["background", "channel"]


def test_the_card_holds_what_the_report_draws(room) -> None:
    scores = room.build(make_ensemble(members=("one", "two")))
    card = read_ensemble_card(room.root / "card")
    assert card.scenes == ("a", "b")
    assert card.scores["test"] == scores["test"]
    assert card.members["two"].scores == scores["members"]["two"]
    part = card.parts["test"]
    assert np.sum(part.confusion) == scores["test"]["pixels"] == sum(part.positives) + sum(part.negatives)
    assert np.sum([part.scenes["a"], part.scenes["b"]]) == np.sum(part.confusion)
    assert np.sum(part.reliability[0]) == np.sum(part.confusion)


def test_the_same_input_gives_the_same_bytes(room, tmp_path) -> None:
    digests = []
    for _ in range(2):
        room.build(make_ensemble(members=("one", "two")))
        files = sorted([*(room.root / "map").iterdir(), room.root / "card" / "card.json", room.root / "metrics.json"])
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
        shutil.rmtree(room.root / "map")
    assert digests[0] == digests[1]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "no scratch is left"


def test_a_member_of_a_finer_grid_is_averaged_onto_the_map(room) -> None:
    fine_grid = room.root / "scenes" / "g20"
    fine = [make_scene(fine_grid, name, origin=(scene.grid.transform.c, scene.grid.transform.f), pixel=20.0, seed=5,
                       shape=(scene.grid.shape_yx[0] * 3, scene.grid.shape_yx[1] * 3), mask=None, channels=("B04",))
            for name, scene in zip("ab", room.scenes, strict=True)]  # fmt: skip
    make_member(room.root / "models" / "fine", fine[0], seed=3)
    scores = room.build(make_ensemble(members=("fine", "one")))
    assert room.read("probs.tif").shape == (2, 94, 144)
    assert scores["members"]["fine"]["test"]["pixels"] == scores["test"]["pixels"]
    room.build(make_ensemble(members=("fine",), scenes=("b",), threshold="argmax"))
    predictor = Predictor.load(room.root / "models" / "fine", "cpu")
    runs = iter_rows(predictor.predict, lambda window: cut(fine[1].image, window, NODATA), (192, 192), 2, 32, 0.5, 8)
    probs = np.concatenate([run for _, run in runs], 1).reshape(2, 64, 3, 64, 3).mean((2, 4))
    np.testing.assert_allclose(room.read("probs.tif") / PROB_SCALE, probs, atol=1e-4)


def test_a_scene_that_a_member_lacks_is_mapped_by_the_others_and_said(room) -> None:
    lone = make_scene(room.root / "scenes" / "g60b", "b", origin=(604_800.0, 6_998_200.0), seed=2)
    make_member(room.root / "models" / "lone", lone, seed=3)
    with pytest.warns(DegradedDataWarning, match="member 'lone' has no scene a on its grid g60b"):
        scores = room.build(make_ensemble(members=("one", "lone")))
    assert scores["members"]["lone"]["test"]["pixels"] < scores["test"]["pixels"]
    assert (room.read("probs.tif")[0][:20, :90] != PROB_NODATA).all()


def test_three_classes_take_the_most_probable(tmp_path) -> None:
    scene = make_scene(tmp_path / "scenes" / "g60", "a")
    make_parts(tmp_path / "split", scene, quarters((64, 64)))
    make_chips(tmp_path / "split", "g60", {"a": quarters((64, 64))})
    make_member(tmp_path / "models" / "one", scene, legend=(*LEGEND, THIRD))
    outs = {"map_dir": tmp_path / "map", "card_dir": tmp_path / "card", "metrics_path": tmp_path / "m.json"}
    ins = {"models": tmp_path / "models", "scenes_root": tmp_path / "scenes", "split": tmp_path / "split"}
    classes = Classes(legend=(*LEGEND, THIRD))
    build_map("main", make_ensemble(threshold="argmax"), classes, **ins, **outs, device="cpu")
    with (
        rasterio.open(tmp_path / "map" / "probs.tif") as probs,
        rasterio.open(tmp_path / "map" / "classes.tif") as labels,
    ):
        assert (labels.read(1) == probs.read().argmax(0)).all()
    with pytest.raises(EnsembleError, match="threshold iou, which is for two classes, but there are 3"):
        build_map("main", make_ensemble(), classes, **ins, **outs, device="cpu")


def test_large_maps_are_valid_cogs_with_overviews(tmp_path) -> None:
    rio_cogeo = pytest.importorskip("rio_cogeo", reason="rio-cogeo is not installed")
    scene = make_scene(tmp_path / "scenes" / "g60", "a", shape=(520, 600))
    make_chips(tmp_path / "split", "g60", {"a": np.full((2, 2), PARTS["train"])})
    make_member(tmp_path / "models" / "one", scene, window_px=128)
    build_map("main", make_ensemble(threshold="argmax", overlaps=[0.1]), CLASSES, models=tmp_path / "models",
              scenes_root=tmp_path / "scenes", split=tmp_path / "split", map_dir=tmp_path / "map",
              card_dir=tmp_path / "card", metrics_path=tmp_path / "m.json", device="cpu")  # fmt: skip
    for name in ("probs", "classes", "uncertainty"):
        valid, errors, warned = rio_cogeo.cog_validate(tmp_path / "map" / f"{name}.tif", strict=True, quiet=True)
        assert (valid, errors, warned) == (True, [], [])
        with rasterio.open(tmp_path / "map" / f"{name}.tif") as dataset:
            assert dataset.overviews(1) == [2, 4]
    assert json.loads((tmp_path / "m.json").read_text()) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"members": ("one", "three")},
            r"models/three holds no trained model, but ensemble 'main' names it; run `dvc repro",
        ),
        (
            {"scenes": ("T99*",)},
            r"maps scenes T99\*, which match none of a, b on grid g60; correct ensembles.main.scenes",
        ),
    ],
)
def test_params_that_cannot_be_mapped(room, changes, message) -> None:
    with pytest.raises(EnsembleError, match=message):
        room.build(make_ensemble(**changes))


def test_a_member_of_other_classes_or_channels_is_no_member(room) -> None:
    with pytest.raises(
        EnsembleError, match=r"tells apart background, channel, but params.yaml's classes are background, water"
    ):
        room.build(make_ensemble(), classes=Classes(legend=(LEGEND[0], THIRD)))
    other = make_scene(room.root / "other" / "g60", "a", channels=("B8A", "B04"))
    make_member(room.root / "models" / "one", other)
    with pytest.raises(
        ContractError, match=r"'one' was trained on channels B8A, B04, but scene .*a has channels B04, B8A"
    ):
        room.build(make_ensemble())


def test_a_scene_unlike_the_training_is_a_counted_warning_and_on_the_card(room) -> None:
    card = read_card(room.root / "models" / "one")
    seen = [Distribution(channel, room.scenes[0].image.dtype) for channel in card.channels]
    for number, distribution in enumerate(seen):  # the member learned from scene a, and from half of b's reflectance
        distribution.add(room.scenes[0].image[..., number])
        distribution.add(room.scenes[1].image[..., number] // 2)
    deciles = tuple(distribution.quantiles([k / 10 for k in range(1, 10)]) for distribution in seen)
    shares = tuple(distribution.shares(edges) for distribution, edges in zip(seen, deciles, strict=True))
    write_card(card.model_copy(update={"deciles": deciles, "shares": shares}), room.root / "models" / "one")
    with pytest.warns(
        DegradedDataWarning,
        match=r"input of member 'one' .*, most in B\w+ \(.* the map's 2 scenes together, .* 2 of 2 ",
    ):
        room.build(make_ensemble(members=("one", "two")))
    members = read_ensemble_card(room.root / "card").members
    assert set(members["one"].shift) == {"a", "b"}
    assert set(members["one"].shift["b"]) == {"B04", "B8A"}
    assert min(members["one"].shift["b"].values()) > 0.25
    assert members["two"].shift == {}, "its card does not know its training pixels"
    assert max(members["one"].pooled_shift.values()) > 0.25


def test_a_threshold_needs_validation_pixels(room) -> None:
    shutil.rmtree(room.root / "split" / "g60" / "parts")
    for scene in room.scenes:
        make_parts(room.root / "split", scene, np.full(scene.grid.shape_yx, PARTS["test"]))
    with pytest.raises(EnsembleError, match="needs validation pixels of class 1, and the scenes have none; give 'val'"):
        room.build(make_ensemble())
    assert set(room.build(make_ensemble(threshold="argmax"))) == {"test", "members"}


def test_scenes_without_any_measurement_give_an_empty_map(tmp_path) -> None:
    make_scene(tmp_path / "scenes" / "g60", "a", image=np.full((64, 64, 2), NODATA, np.int16))
    scene = Scene(tmp_path / "scenes" / "g60" / "a")
    make_chips(tmp_path / "split", "g60", {"a": np.full((2, 2), PARTS["train"])})
    make_member(tmp_path / "models" / "one", scene)
    build_map("main", make_ensemble(threshold="argmax"), CLASSES, models=tmp_path / "models",
              scenes_root=tmp_path / "scenes", split=tmp_path / "split", map_dir=tmp_path / "map",
              card_dir=tmp_path / "card", metrics_path=tmp_path / "m.json", device="cpu")  # fmt: skip
    with rasterio.open(tmp_path / "map" / "classes.tif") as labels:
        assert (labels.read() == IGNORE).all()


def test_pictures_without_georeference_share_no_map(room) -> None:
    for scene in room.scenes:
        write_scene_record(scene.record.model_copy(update={"georeferenced": False}), scene.folder)
    with pytest.raises(
        EnsembleError,
        match=r"maps 2 scenes, of which 2 are pictures without georeference \(such as a\), .* name one scene",
    ):
        room.build(make_ensemble())
    assert room.build(make_ensemble(scenes=("a",)))["val"]["pixels"] > 0
