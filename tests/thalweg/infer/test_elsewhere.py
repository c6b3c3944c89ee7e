"""Scenes predicted in bands of rows by an executor: the same bytes, and nothing twice that is finished."""

import pytest
from engine_builder import Twice, digests
from ensemble_builder import make_ensemble
from map_builder import CLASSES, Room, make_member
from scene_builder import make_scene
from shapely import box

from thalweg.ensemble import build_map
from thalweg.infer import Predictor, elsewhere
from thalweg.infer.elsewhere import Members, Order, predict_scenes
from thalweg.infer.scene import How, predict_scene
from thalweg.infer.state import State

HOW, NAMES, MEMBERS = How((0.5, 0.25), "hann"), ("a", "b"), ("one", "two")


@pytest.fixture
def tall(tmp_path):
    """A scene of eleven bands, and members of two windows."""
    scene = make_scene(tmp_path / "g60", "tall", shape=(2700, 40), seed=4)
    for seed, (name, window_px) in enumerate(zip(MEMBERS, (32, 64), strict=True)):
        make_member(tmp_path / "models" / name, scene, seed=seed, window_px=window_px)
    return scene


def order(folder, scene, out, area=None) -> Order:
    members = Members(folder / "models", MEMBERS, "cpu", 1, (1.0,))
    return Order.of(members, scene, HOW, NAMES, area, 1, folder / "state", {name: folder / out / name for name in MEMBERS})  # fmt: skip


def predicted(executor, *orders) -> list[str]:
    """Names of the units of rows."""
    shown: list[str] = []
    predict_scenes(orders, executor, lambda names: shown.extend(names) or names)
    return shown


@pytest.mark.parametrize("part", ["all", "area"])
def test_bands_of_rows_make_the_bytes_of_the_whole(tall, tmp_path, monkeypatch, part):
    monkeypatch.chdir(tmp_path)
    area = box(*tall.grid.bounds).buffer(-700) if part == "area" else None
    group = {name: Predictor.load(tmp_path / "models" / name, "cpu") for name in MEMBERS}
    (tmp_path / "here").mkdir()
    predict_scene(
        group, tall, HOW, NAMES, {name: tmp_path / "here" / name for name in MEMBERS}, area=area, memory_gib=1
    )
    assert predicted(Twice(), order(tmp_path, tall, "there", area)) == ["tall 0", "tall 1024", "tall 2048"]
    assert digests(tmp_path / "there") == digests(tmp_path / "here")
    assert not list((tmp_path / "state").rglob("*.npy"))


def test_what_is_finished_is_no_unit_any_more(tall, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = order(tmp_path, tall, "out")
    (plan,) = elsewhere._plan(asked)
    assert plan.todo == ((0, 1024), (1024, 2048), (2048, 2700))
    elsewhere._predict(asked, plan, (1024, 2048))
    (rest,) = elsewhere._plan(asked)
    assert rest.todo == ((0, 1024), (2048, 2700))
    for state in plan.states().values():
        assert [top for top in range(0, 2700, 256) if state.has(top)] == [1024, 1280, 1536, 1792]
    executor = Twice()
    assert predicted(executor, asked) == ["tall 0", "tall 2048"]
    assert predicted(executor, order(tmp_path, tall, "again")) == []
    assert digests(tmp_path / "again") == digests(tmp_path / "out")


def test_a_unit_goes_on_behind_what_another_has_finished(tall, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = order(tmp_path, tall, "out")
    (plan,) = elsewhere._plan(asked)
    elsewhere._predict(asked, plan, (0, 512))
    kept = []
    keep = State.keep
    monkeypatch.setattr(State, "keep", lambda self, top, held: kept.append(top) or keep(self, top, held))
    elsewhere._predict(asked, plan, (0, 1024))
    assert sorted(kept) == [512, 512, 768, 768]


def test_a_map_made_elsewhere_is_the_map_made_here(tmp_path, monkeypatch):
    room = Room(tmp_path)
    monkeypatch.chdir(tmp_path)
    for out, executor in (("here", None), ("there", Twice())):
        home = tmp_path / out
        home.mkdir()
        build_map("main", make_ensemble(members=MEMBERS), CLASSES, models=room.root / "models",
                  scenes_root=room.root / "scenes", split=room.root / "split", map_dir=home / "map",
                  card_dir=home / "card", metrics_path=home / "metrics.json", device="cpu",
                  place=tmp_path / "maps/main", executor=executor)  # fmt: skip
    assert executor.units == 2 + 2 + 2
    assert digests(tmp_path / "there") == digests(tmp_path / "here")
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"map", "card", "metrics.json"}
