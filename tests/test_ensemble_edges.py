"""Maps at their limits: coarse members under a small area, scenes that no member reads, classes that are not there."""

import json
import shutil

import geopandas
import numpy as np
import pytest
from ensemble_builder import PLAIN, make_ensemble
from map_builder import LEGEND, THIRD, Room, make_chips, make_member, make_parts, quarters
from scene_builder import make_scene
from shapely.geometry import MultiPolygon, Polygon, box

from thalweg.errors import DegradedDataWarning, EnsembleError
from thalweg.manifest.card import read_card, write_card
from thalweg.manifest.chips import PARTS
from thalweg.maps import PROB_NODATA
from thalweg.params.classes import Classes

BOTH = ("one", "two")
WEST, NORTH = 600_000.0, 7_000_000.0


@pytest.fixture
def room(tmp_path) -> Room:
    return Room(tmp_path)


def make_area(room: Room, *shapes) -> str:
    path = room.root / "here.gpkg"
    geopandas.GeoDataFrame(geometry=[*shapes], crs=32720).to_file(path)
    return str(path)


def hold_nothing_out(room: Room) -> None:
    """Held-out ground is predicted wherever it lies; without it an area is what decides."""
    make_chips(room.root / "split", "g60", {scene.name: np.full((1, 1), PARTS["train"]) for scene in room.scenes})


def around(rows: slice, cols: slice, pixel: float = 60.0):
    """The box of some pixels of scene a."""
    return box(
        WEST + cols.start * pixel, NORTH - rows.stop * pixel, WEST + cols.stop * pixel, NORTH - rows.start * pixel
    )


def test_an_area_smaller_than_a_members_pixels_is_complete_and_as_in_the_whole_map(room) -> None:
    """Member `coarse` has pixels of 240 m; the area is a strip of two pixels of 60 m that holds no centre of those."""
    hold_nothing_out(room)
    coarse = make_scene(room.root / "scenes" / "g240", "a", shape=(18, 23), pixel=240.0)
    make_member(room.root / "models" / "coarse", coarse)
    card = read_card(room.root / "models" / "coarse")
    write_card(card.model_copy(update={"pixel_m_range": (240.0, 240.0)}), room.root / "models" / "coarse")
    ensemble = {"members": ("one", "coarse"), "scenes": ["a"], "threshold": "argmax"}
    room.build(make_ensemble(**ensemble))
    whole = room.read("probs.tif")
    room.build(make_ensemble(**ensemble, area=make_area(room, around(slice(8, 10), slice(3, 60)))))
    found = room.read("probs.tif")
    np.testing.assert_array_equal(found[:, 8:10, 3:60], whole[:, 8:10, 3:60])
    assert (found != PROB_NODATA).any(0).sum() == 2 * 57


def test_an_area_on_another_grid_is_as_in_the_whole_map(room) -> None:
    hold_nothing_out(room)
    ensemble = {"members": BOTH, "threshold": "argmax", "onto": {"crs": "EPSG:32720", "resolution_m": 50}}
    room.build(make_ensemble(**ensemble))
    whole = room.read("probs.tif")
    room.build(make_ensemble(**ensemble, area=make_area(room, around(slice(40, 60), slice(40, 60)))))
    found = room.read("probs.tif")
    there = found[0] != PROB_NODATA
    assert there.sum() == 24 * 24
    np.testing.assert_array_equal(found[:, there], whole[:, there])


def test_an_area_of_several_parts_with_a_hole_is_mapped_but_for_the_hole(room) -> None:
    ring = Polygon(around(slice(40, 60), slice(30, 60)).exterior, [around(slice(45, 50), slice(40, 50)).exterior])
    area = make_area(room, MultiPolygon([ring, around(slice(0, 3), slice(0, 4))]), around(slice(60, 64), slice(30, 60)))
    room.build(make_ensemble(members=BOTH, threshold="argmax", area=area))
    wanted = np.zeros(room.read("probs.tif").shape[1:], bool)
    for rows, cols in ((slice(40, 64), slice(30, 60)), (slice(0, 3), slice(0, 4))):
        wanted[rows, cols] = True
    wanted[45:50, 40:50] = False
    np.testing.assert_array_equal(room.read("probs.tif")[0] != PROB_NODATA, wanted)
    np.testing.assert_array_equal(room.read("classes.tif")[0] != 255, wanted)
    np.testing.assert_array_equal(room.read("uncertainty.tif") != 255, np.broadcast_to(wanted, (2, *wanted.shape)))


def test_a_scene_to_map_that_no_member_reads_is_an_error(room) -> None:
    lone = make_scene(room.root / "scenes" / "g60b", "b", origin=(604_800.0, 6_998_200.0), seed=2)
    make_member(room.root / "models" / "lone", lone, seed=3)
    with (
        pytest.warns(DegradedDataWarning, match="member 'lone' has no scene a"),
        pytest.raises(
            EnsembleError, match=r"no member of ensemble 'main' has scene a on its grid \(g60b\), so .*; prep"
        ),
    ):
        room.build(make_ensemble(members=("lone",)))
    with pytest.warns(DegradedDataWarning, match="member 'lone' has no scene a"):
        scores = room.build(make_ensemble(members=("lone",), scenes=["b"], calibrate="temperature"))
    assert scores["test"]["pixels"] == scores["members"]["lone"]["test"]["pixels"]


def test_a_member_without_a_class_on_its_ground_has_no_threshold_and_the_map_has(room) -> None:
    """Only scene a shows the channel; member `lone` has scene b alone."""
    plain = make_scene(room.root / "scenes" / "g60b", "b", origin=(604_800.0, 6_998_200.0), mask=np.zeros((64, 64)))
    make_member(room.root / "models" / "lone", plain, seed=3)
    shutil.rmtree(room.root / "scenes" / "g60" / "b")
    make_scene(room.root / "scenes" / "g60", "b", origin=(604_800.0, 6_998_200.0), mask=np.zeros((64, 64)))
    with pytest.warns(DegradedDataWarning, match="member 'lone' has no scene a"):
        scores = room.build(make_ensemble(members=("one", "lone"), threshold={"rule": "f1", "value": None}))
    assert "threshold_channel" in scores["val"]
    assert "threshold_channel" not in scores["members"]["lone"]["val"]


@pytest.mark.parametrize("changes", [{"calibrate": "vector"}, {"reducer": "stack"}])
def test_a_class_without_validation_pixels_is_not_fitted_off_the_map(tmp_path, changes) -> None:
    scene = make_scene(tmp_path / "scenes" / "g60", "a")
    far = make_scene(tmp_path / "scenes" / "g60", "b", origin=(700_000.0, NORTH), seed=1)
    parts = {each.name: quarters((64, 64)) for each in (scene, far)}
    for each in (scene, far):
        make_parts(tmp_path / "split", each, parts[each.name])
    make_chips(tmp_path / "split", "g60", parts)
    legend = (*LEGEND, THIRD)
    for seed, name in enumerate(BOTH):
        make_member(tmp_path / "models" / name, scene, legend, seed=seed)
    room = Room.__new__(Room)
    room.root = tmp_path
    room.build(make_ensemble(members=BOTH, scenes=["a"], threshold="argmax", **changes), Classes(legend=legend))
    card = json.loads((tmp_path / "card" / "card.json").read_text())
    said = card["calibration"]["reason"] if "calibrate" in changes else card["combination"]["reason"]
    assert "no validation pixel is of class water" in said
    assert card["combination"]["stacking"] is None
    assert card["calibration"] is None or not card["calibration"]["kept"]


def test_a_map_of_one_pixel(tmp_path) -> None:
    scene = make_scene(tmp_path / "scenes" / "g60", "a", shape=(1, 1), mask=np.zeros((1, 1)))
    make_chips(tmp_path / "split", "g60", {"a": np.full((1, 1), PARTS["train"])})
    make_parts(tmp_path / "split", scene, np.full((1, 1), PARTS["train"]))
    make_member(tmp_path / "models" / "one", scene)
    room = Room.__new__(Room)
    room.root = tmp_path
    polygons = {"min_area_m2": 0, "fill_m2": 0, "simplify_m": 10, "formats": ["gpkg"]}
    lines = {"class": "channel", "max_width_m": 500, "spur_widths": 2, "min_length_m": 0, "tolerance_m": None,
             "formats": ["gpkg"]}  # fmt: skip
    outputs = PLAIN["outputs"] | {"masks": True, "members": True, "polygons": polygons, "lines": lines}
    room.build(
        make_ensemble(
            threshold="argmax", outputs=outputs, overlaps=[0, 0.25, 0.5], tta={"views": 8, "scales": [0.7, 1, 1.3]}
        )
    )
    assert (room.read("probs.tif") != PROB_NODATA).all()
    assert room.read("classes.tif").shape == (1, 1, 1)


def test_an_area_elsewhere_is_an_error_before_anything_is_predicted(room) -> None:
    area = make_area(room, around(slice(500, 600), slice(0, 10)))
    told = r"here.gpkg, the area of interest, meets none of the 2 scenes of ensemble 'main' \(a, b\); give another area"
    with pytest.raises(EnsembleError, match=told):
        room.build(make_ensemble(members=BOTH, area=area))
    assert not list((room.root / "map").iterdir())


def test_bytes_of_probabilities_keep_the_label_and_sum_to_one(room) -> None:
    room.build(make_ensemble(members=BOTH, threshold="argmax", outputs=PLAIN["outputs"] | {"probs": "uint8"}))
    probs, labels = room.read("probs.tif").astype(int), room.read("classes.tif")[0]
    there = labels != 255
    assert abs(probs.sum(0)[there] - 254).max() <= 1
    assert ((probs == 255).all(0) == ~there).all()
