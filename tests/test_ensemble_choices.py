"""What an ensemble chooses and fits, on a whole tiny map: on validation alone, recorded, and applied again."""

import hashlib
import json
import shutil

import geopandas
import numpy as np
import pytest
from ensemble_builder import make_ensemble
from map_builder import CLASSES, LEGEND, Room, make_chips, make_member, make_parts, quarters
from scene_builder import make_scene
from shapely.geometry import box

from thalweg import raster
from thalweg.distribution import Distribution
from thalweg.ensemble import apply_ensemble, build_map
from thalweg.errors import CardError, DegradedDataWarning, EnsembleError
from thalweg.manifest.card import read_card, write_card
from thalweg.manifest.chips import PARTS
from thalweg.manifest.ensembles import read_ensemble_card
from thalweg.maps import PROB_NODATA, PROB_SCALE
from thalweg.places import find_places

BOTH = ["one", "two"]
OUTPUTS = {"probs": "uint16", "members": False, "masks": False, "polygons": None, "lines": None}
EVERYTHING = {
    "members": BOTH, "select": "greedy", "calibrate": "vector", "threshold": {"rule": "f1", "value": None},
    "conformal": {"kind": "sets", "error": 0.3}, "uncertainty": ["margin", "mutual_information", "entropy", "disagreement"],
}  # fmt: skip


@pytest.fixture
def room(tmp_path) -> Room:
    return Room(tmp_path)


def digests(folder) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}  # fmt: skip


def chosen(room: Room) -> list:
    card = read_ensemble_card(room.root / "card")
    return [card.combination, card.calibration, card.thresholds, card.promise,
            [entry.thresholds for entry in card.members.values()]]  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [EVERYTHING, {"members": BOTH, "reducer": "weighted_mean", "calibrate": "temperature",
                  "conformal": {"kind": "abstain", "error": 0.3}}, {"members": BOTH, "reducer": "stack"}],
)  # fmt: skip
def test_no_choice_sees_the_test_part(room, changes) -> None:
    before = room.build(make_ensemble(**changes))
    found = chosen(room)
    shutil.rmtree(room.root / "map")
    for scene in room.scenes:
        labels = raster.map_pixels(scene.folder / "mask.tif", "r+")
        test = quarters(scene.grid.shape_yx) == PARTS["test"]
        labels[test, 0] = np.random.default_rng(9).integers(0, 2, test.sum())
        labels.flush()
    after = room.build(make_ensemble(**changes))
    assert chosen(room) == found
    assert after["val"] == before["val"]
    assert after["test"] != before["test"], "the labels did change"


@pytest.mark.parametrize("reducer", ["mean", "mean_logits", "weighted_mean", "median", "max", "vote", "stack"])
def test_a_map_made_again_from_its_card_has_the_same_bytes(room, reducer) -> None:
    room.build(make_ensemble(**EVERYTHING | {"reducer": reducer, "outputs": OUTPUTS | {"masks": True}}))
    shifts = apply_ensemble(room.root / "card", room.root / "models", room.scenes, room.root / "again", device="cpu")
    assert set(shifts) == set(BOTH)
    assert digests(room.root / "again") == digests(room.root / "map")


def test_a_card_is_applied_with_its_own_members_on_its_own_grid_only(room) -> None:
    room.build(make_ensemble(members=BOTH))
    other = make_scene(room.root / "elsewhere" / "g10", "c")
    with pytest.raises(EnsembleError, match=r"'main' maps scenes of grid g60, but those given are of g10; prepare"):
        apply_ensemble(room.root / "card", room.root / "models", [other], room.root / "again", device="cpu")
    make_member(room.root / "models" / "two", room.scenes[0], seed=5, window_px=48)
    with pytest.raises(EnsembleError, match=r"models/two is not the model that ensemble 'main' was fitted with"):
        apply_ensemble(room.root / "card", room.root / "models", room.scenes, room.root / "again", device="cpu")


@pytest.mark.parametrize("version", [1, 2])
def test_older_cards_are_read_and_applied(room, version) -> None:
    room.build(make_ensemble(members=BOTH))
    path = room.root / "card" / "card.json"
    old, card = json.loads(path.read_text()), read_ensemble_card(room.root / "card")
    for key in ("params", "combination", "calibration", "promise", "kept", "raw_reliability"):
        old.pop(key)
    threshold = old.pop("thresholds")["channel"]
    old |= {"schema_version": version, "reducer": "mean", "tta": False, "overlap": 0.5, "temperature": 1.0,
            "threshold": threshold}  # fmt: skip
    for entry in old["members"].values():
        entry |= {"threshold": entry.pop("thresholds")["channel"]}
        entry.pop("pooled_shift")
        if version == 1:
            entry.pop("shift")
    path.write_text(json.dumps(old))
    found = read_ensemble_card(room.root / "card")
    assert found.params == card.params.model_copy(update={"scenes": ("a", "b")})
    assert found.thresholds == card.thresholds
    assert found.combination.bag == tuple(BOTH)
    apply_ensemble(room.root / "card", room.root / "models", room.scenes, room.root / "again", device="cpu")
    for name in ("probs", "classes", "uncertainty"):
        with raster.opened(room.root / "again" / f"{name}.tif") as again, raster.opened(room.root / "map" / f"{name}.tif") as made:  # fmt: skip
            np.testing.assert_array_equal(again.read(), made.read())
    path.write_text(json.dumps(old | {"schema_version": 4}))
    with pytest.raises(CardError, match=r"card.json has schema 4, this Thalweg reads up to 3; update"):
        read_ensemble_card(room.root / "card")


def test_greedy_selection_is_recorded_and_all_members_are_scored(room) -> None:
    make_member(room.root / "models" / "three", room.scenes[0], seed=3)
    scores = room.build(make_ensemble(members=[*BOTH, "three"], select="greedy"))
    card = read_ensemble_card(room.root / "card")
    assert sum(card.combination.weights.values()) == pytest.approx(1)
    assert {entry.weight for entry in card.members.values()} == set(card.combination.weights.values())
    assert sorted(pick.member for pick in card.combination.picks) == sorted(card.combination.bag)
    assert {part for entry in scores["members"].values() for part in entry} == {"val", "test"}
    assert scores["members"]["three"]["test"]["pixels"] == scores["test"]["pixels"]


def test_calibration_is_told_with_what_it_changed(room) -> None:
    scores = room.build(make_ensemble(members=BOTH, calibrate="temperature"))
    card = read_ensemble_card(room.root / "card")
    assert card.calibration is not None
    assert card.calibration.grouped_by == "scene"
    for part in ("val", "test"):
        assert {"ece", "nll", "brier", "ece_uncalibrated", "nll_uncalibrated", "brier_uncalibrated"} <= set(
            scores[part]
        )
    plain_scores = room.build(make_ensemble(members=BOTH))
    assert scores["val"]["nll_uncalibrated"] == pytest.approx(plain_scores["val"]["nll"], abs=2e-3)
    if card.calibration.kept:
        assert scores["val"]["nll"] < scores["val"]["nll_uncalibrated"]
        assert set(card.raw_reliability) == {"val", "test"}
    else:
        assert scores["val"]["nll"] == scores["val"]["nll_uncalibrated"]
    assert "nll_uncalibrated" not in plain_scores["val"]


def test_an_ensemble_that_is_wrong_of_itself_is_calibrated(room) -> None:
    """Weights drawn by chance are far too unsure or sure, so that vector scaling serves every other scene."""
    scores = room.build(make_ensemble(members=BOTH, calibrate="vector"))
    card = read_ensemble_card(room.root / "card")
    assert card.calibration.kept, card.calibration.reason
    assert scores["test"]["nll"] < scores["test"]["nll_uncalibrated"]
    assert scores["test"]["ece"] < scores["test"]["ece_uncalibrated"]


@pytest.mark.parametrize(("rule", "value"), [("f1", None), ("recall", 0.8), ("fixed", 0.4)])
def test_labels_follow_thresholds_per_class(room, rule, value) -> None:
    scores = room.build(make_ensemble(threshold={"rule": rule, "value": value}, outputs=OUTPUTS | {"masks": True}))
    card = read_ensemble_card(room.root / "card")
    least = np.array([card.thresholds[info.name] for info in LEGEND])
    probs, classes = room.read("probs.tif"), room.read("classes.tif")[0]
    there = probs[0] != PROB_NODATA
    ratio = probs[:, there] / PROB_SCALE / least[:, None]
    clear = np.abs(ratio[1] - ratio[0]) > 1e-4
    np.testing.assert_array_equal(classes[there][clear], (ratio[1] > ratio[0])[clear])
    mask = room.read("masks/channel.tif")[0]
    np.testing.assert_array_equal(mask[there], probs[1][there] >= round(least[1] * PROB_SCALE))
    if rule == "recall":
        truth, said = [], []
        for scene, (row, col) in zip(room.scenes, ((0, 0), (30, 80)), strict=True):
            height, width = scene.grid.shape_yx
            counted = (quarters((height, width)) == PARTS["val"]) & (scene.valid != 0)
            truth.append(scene.mask[counted] == 1)
            said.append(mask[row : row + height, col : col + width][counted] == 1)
        assert np.concatenate(said)[np.concatenate(truth)].mean() >= 0.8
    if rule == "fixed":
        assert set(card.thresholds.values()) == {0.4}
        assert scores["test"]["threshold_channel"] == 0.4


def test_bands_of_uncertainty_are_those_asked_for_in_order(room) -> None:
    room.build(make_ensemble(members=BOTH, uncertainty=["margin", "mutual_information", "disagreement", "entropy"]))
    bands = room.read("uncertainty.tif").astype(float)
    with raster.opened(room.root / "map" / "uncertainty.tif") as dataset:
        assert dataset.descriptions == ("lack of margin", "mutual information of members", "disagreement of members",
                                        "normalised entropy")  # fmt: skip
    probs = room.read("probs.tif")
    there = probs[0] != PROB_NODATA
    p = probs[1][there] / PROB_SCALE
    np.testing.assert_allclose(bands[0][there] / 254, 1 - np.abs(2 * p - 1), atol=3e-3)
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    np.testing.assert_allclose(bands[3][there] / 254, entropy, atol=3e-3)
    assert (bands[1][there] <= bands[3][there] + 1).all()


def test_sets_keep_their_promise_on_validation_and_are_checked_on_test(room) -> None:
    scores = room.build(make_ensemble(members=BOTH, conformal={"kind": "sets", "error": 0.2}))
    card = read_ensemble_card(room.root / "card")
    assert scores["val"]["sets_error"] <= 0.2
    size = np.rint(room.read("uncertainty.tif")[2] / 254 * 2)
    probs = room.read("probs.tif")
    there = probs[0] != PROB_NODATA
    shown = probs.astype(np.float32) / np.float32(PROB_SCALE)
    inside = np.maximum((shown[:, there] >= np.float32(card.promise.least)).sum(0), 1)
    np.testing.assert_array_equal(size[there], inside)
    truth = [(scene, at) for scene, at in zip(room.scenes, ((0, 0), (30, 80)), strict=True)]
    missed = total = 0
    for scene, (row, col) in truth:
        height, width = scene.grid.shape_yx
        counted = (quarters((height, width)) == PARTS["test"]) & (scene.valid != 0)
        held = shown[:, row : row + height, col : col + width][:, counted]
        labels = scene.mask[counted]
        given = held[labels, np.arange(len(labels))]
        missed += ((given < np.float32(card.promise.least)) & (held.argmax(0) != labels)).sum()
        total += len(labels)
    assert card.kept["test"].pixels == total
    assert scores["test"]["sets_error"] == pytest.approx(missed / total, abs=2 / total)


def test_what_is_abstained_from_is_shown_and_the_rest_keeps_the_rate(room) -> None:
    scores = room.build(make_ensemble(members=BOTH, calibrate="vector", conformal={"kind": "abstain", "error": 0.3}))
    card = read_ensemble_card(room.root / "card")
    band, classes = room.read("uncertainty.tif")[2], room.read("classes.tif")[0]
    there = classes != 255
    assert set(np.unique(band[there])) <= {0, 254}
    held = np.take_along_axis(room.read("probs.tif"), np.where(there, classes, 0)[None].astype(int), 0)[0]
    np.testing.assert_array_equal(
        band[there] == 254, (held[there].astype(np.float32) / np.float32(PROB_SCALE)) < np.float32(card.promise.least)
    )
    if scores["val"]["abstain_labelled"]:
        assert scores["val"]["abstain_error"] <= 0.3
    assert 0 <= scores["test"]["abstain_error"] <= 1


def test_choices_need_validation_pixels(room) -> None:
    shutil.rmtree(room.root / "split" / "g60" / "parts")
    for scene in room.scenes:
        make_parts(room.root / "split", scene, np.full(scene.grid.shape_yx, PARTS["test"]))
    for changes in ({"select": "greedy"}, {"calibrate": "temperature"}, {"conformal": {"kind": "sets", "error": 0.1}}):
        with pytest.raises(EnsembleError, match=r"chosen on validation pixels, and the scenes have none; give 'val'"):
            room.build(make_ensemble(members=BOTH, threshold="argmax", **changes))


def test_an_area_is_mapped_complete_to_its_edge_and_all_is_scored(room) -> None:
    whole = room.build(make_ensemble(members=BOTH))
    probs, scores = room.read("probs.tif"), whole["test"]
    shutil.rmtree(room.root / "map")
    # Columns 10 to 59 and rows 5 to 44 of scene a: the edge lies between pixel centres.
    west, north = 600_000 + 10 * 60, 7_000_000 - 5 * 60
    area = geopandas.GeoDataFrame(geometry=[box(west, north - 40 * 60, west + 50 * 60, north)], crs=32720)
    area.to_crs(4326).to_file(room.root / "here.gpkg")
    found = room.build(make_ensemble(members=BOTH, area=str(room.root / "here.gpkg")))
    shown = room.read("probs.tif")
    inside = np.zeros(probs.shape[1:], bool)
    inside[5:45, 10:60] = True
    np.testing.assert_array_equal(shown[:, inside], probs[:, inside])
    assert (shown[:, ~inside] == PROB_NODATA).all()
    assert found["test"]["pixels"] == scores["pixels"]
    for name, content, message in (
        ("gone.gpkg", None, r"gone.gpkg, the area of interest, is missing; give a file of polygons"),
        ("broken.gpkg", "no", r"broken.gpkg, the area of interest, cannot be read"),
        ("points.geojson", '{"type": "FeatureCollection", "features": []}', r"points.geojson, .* has no polygon"),
    ):
        if content:
            (room.root / name).write_text(content)
        with pytest.raises(EnsembleError, match=message):
            room.build(make_ensemble(members=BOTH, area=str(room.root / name)))


def test_members_are_shown_on_the_maps_grid(room) -> None:
    room.build(make_ensemble(members=BOTH, threshold="argmax", outputs=OUTPUTS | {"members": True, "probs": "uint8"}))
    one, two, both = (room.read(name).astype(float) for name in ("members/one.tif", "members/two.tif", "probs.tif"))
    there = both[0] != 255
    np.testing.assert_allclose(((one + two) / 2 / PROB_SCALE)[:, there] if one.max() > 255 else ((one + two) / 508)[:, there],
                               both[:, there] / 254, atol=5e-3)  # fmt: skip


def test_polygons_and_lines_lie_beside_the_map(room) -> None:
    polygons = {"min_area_m2": 0, "fill_m2": 0, "simplify_m": 0, "formats": ["gpkg", "geojson"]}
    lines = {"class": "channel", "max_width_m": 5000, "spur_widths": 2, "min_length_m": 0, "tolerance_m": None,
             "formats": ["gpkg"]}  # fmt: skip
    room.build(make_ensemble(members=BOTH, outputs=OUTPUTS | {"polygons": polygons, "lines": lines}))
    there = {path.name for path in (room.root / "map").iterdir()}
    assert {"polygons.gpkg", "polygons.geojson", "lines.gpkg"} <= there
    drawn = geopandas.read_file(room.root / "map" / "polygons.gpkg")
    pixels = (room.read("classes.tif")[0] != 255).sum()
    assert drawn["area_m2"].sum() == pytest.approx(pixels * 3600, rel=1e-2)
    item = json.loads((room.root / "map" / "main.json").read_text())
    assert {"polygons.gpkg", "lines.gpkg", "weights/one", "probs.tif"} <= set(item["assets"])
    assert item["assets"]["weights/one"]["href"] == "../models/one/weights.safetensors"


def test_a_map_on_a_chosen_grid(room) -> None:
    plain = room.build(make_ensemble(members=BOTH))
    shutil.rmtree(room.root / "map")
    found = room.build(make_ensemble(members=BOTH, onto={"crs": "EPSG:32720", "resolution_m": 120}))
    with raster.opened(room.root / "map" / "probs.tif") as dataset:
        assert (dataset.res, dataset.crs.to_epsg()) == ((120, 120), 32720)
    assert found["test"]["pixels"] == plain["test"]["pixels"], "scored as the scenes are"


def test_dates_of_one_place_are_no_other_ground(tmp_path) -> None:
    folder = tmp_path / "g60"
    scenes = [make_scene(folder, "day1"), make_scene(folder, "day2", seed=1),
              make_scene(folder, "beside", origin=(600_000.0 + 58 * 60, 7_000_000.0)),
              make_scene(folder, "far", origin=(700_000.0, 7_000_000.0))]  # fmt: skip
    assert find_places(scenes) == {"day1": 0, "day2": 0, "beside": 2, "far": 3}


def test_many_small_unlike_scenes_are_no_warning_if_together_they_are_alike(tmp_path, recwarn) -> None:
    """Chips of one kind of ground each: every one is unlike the whole, and the whole is what was trained on."""
    folder = tmp_path / "scenes" / "g60"
    images = [np.full((32, 32, 2), 1000 + 10 * k, np.int16) for k in range(20)]
    scenes = [make_scene(folder, f"c{k:02}", shape=(32, 32), origin=(600_000.0 + 2_000 * k, 7_000_000.0), image=image)
              for k, image in enumerate(images)]  # fmt: skip
    make_chips(tmp_path / "split", "g60", {scenes[0].name: np.full((2, 2), PARTS["train"])})
    make_member(tmp_path / "models" / "one", scenes[0])
    card = read_card(tmp_path / "models" / "one")
    seen = [Distribution(channel, scenes[0].image.dtype) for channel in card.channels]
    for image in images:
        for number, distribution in enumerate(seen):
            distribution.add(image[..., number])
    deciles = tuple(distribution.quantiles([k / 10 for k in range(1, 10)]) for distribution in seen)
    shares = tuple(distribution.shares(edges) for distribution, edges in zip(seen, deciles, strict=True))
    write_card(card.model_copy(update={"deciles": deciles, "shares": shares}), tmp_path / "models" / "one")
    build_map("main", make_ensemble(threshold="argmax"), CLASSES, models=tmp_path / "models",
              scenes_root=tmp_path / "scenes", split=tmp_path / "split", map_dir=tmp_path / "map",
              card_dir=tmp_path / "card", metrics_path=tmp_path / "m.json", device="cpu")  # fmt: skip
    entry = read_ensemble_card(tmp_path / "card").members["one"]
    assert len(entry.shift) == 20
    assert min(entry.shift["c00"].values()) > 1
    assert max(entry.pooled_shift.values()) < 0.01
    assert not [warning for warning in recwarn if issubclass(warning.category, DegradedDataWarning)]


class Killed(BaseException):
    """As a signal would be."""


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(room) -> None:
    ensemble = make_ensemble(members=BOTH, calibrate="temperature")
    room.build(ensemble)
    wanted = digests(room.root / "map") | digests(room.root / "card")
    shutil.rmtree(room.root / "map")

    def killing(names, /, description):  # noqa: ARG001 - the shape of `Track`
        yield names[0]
        raise Killed

    with pytest.raises(Killed):
        room.build(ensemble, resume=room.root / "resume", track=killing)
    [state] = (room.root / "resume" / "main").iterdir()
    kept = list(state.rglob("probs.tif"))
    assert len(kept) == 2, "both members have finished the first scene"
    shutil.copytree(state, state.with_name("of_other_params"))
    room.build(ensemble, resume=room.root / "resume")
    assert digests(room.root / "map") | digests(room.root / "card") == wanted
    assert not list((room.root / "resume").rglob("*.tif"))


def test_the_sample_is_bounded_spread_and_reproducible(room, monkeypatch) -> None:
    from thalweg.ensemble import validation

    room.build(make_ensemble(members=BOTH, calibrate="temperature"))
    whole = read_ensemble_card(room.root / "card").calibration
    monkeypatch.setattr(validation, "PIXELS", 500)
    found = []
    for _ in range(2):
        room.build(make_ensemble(members=BOTH, calibrate="temperature"))
        found.append(read_ensemble_card(room.root / "card").calibration)
    assert found[0] == found[1] != whole
    assert found[0].groups == whole.groups
    assert found[0].fitted[0] == pytest.approx(whole.fitted[0], rel=0.5)
