"""What a kill leaves, and what the next call makes of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from predict_builder import Mirror, card_for
from scene_builder import make_scene

import thalweg
from thalweg.infer import state as states
from thalweg.infer.scene import How, forget, predict_scene, window_count
from thalweg.infer.state import State

HERE = Path(__file__).parent
HOW = How((0.5,), "hann")


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    return make_scene(tmp_path_factory.mktemp("tall") / "g", "s", shape=(900, 130), seed=3)


def predict(tall, out: Path, state: Path | None, *, batches: int = 0) -> "subprocess.CompletedProcess[str]":
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[2] / "src"), str(HERE.parents[1])])}
    command = [sys.executable, str(HERE / "kill_runner.py"), str(tall.folder), str(out), str(state), str(batches)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_after_a_kill_the_next_call_goes_on_to_the_same_bytes(tall, tmp_path, monkeypatch) -> None:
    torch_threads = torch.get_num_threads()
    whole = predict(tall, tmp_path / "whole", tmp_path / "unused")
    assert whole.returncode == 0, whole.stderr
    killed = predict(tall, tmp_path / "out", tmp_path / "state", batches=20)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out/one.tif").exists()
    left = sorted(path.name for path in (tmp_path / "state").glob("one-*/*.npy"))
    assert left == ["00000000.npy", "00000256.npy"]

    monkeypatch.syspath_prepend(HERE)
    import kill_runner

    torch.set_num_threads(1)
    group = kill_runner.members(tall)
    seen = []
    for member in group.values():
        known = member.predict
        member.predict = lambda batch, known=known: seen.append(len(batch)) or known(batch)
    targets = {name: tmp_path / f"out/{name}.tif" for name in group}
    predict_scene(group, tall, How((0.5, 0.25), "hann"), ("a", "b"), targets, memory_gib=1, state=tmp_path / "state")
    torch.set_num_threads(torch_threads)
    for name in group:
        assert (tmp_path / f"out/{name}.tif").read_bytes() == (tmp_path / f"whole/{name}.tif").read_bytes(), name
    how = How((0.5, 0.25), "hann")
    assert 0 < sum(seen) < 0.7 * sum(window_count(member, tall, how) for member in group.values())


def test_what_is_finished_is_not_predicted_again(tall, tmp_path) -> None:
    first, second = Mirror(card_for(tall)), Mirror(card_for(tall))
    for member, out in ((first, "a.tif"), (second, "b.tif")):
        predict_scene(
            {"m": member}, tall, HOW, ("a", "b"), {"m": tmp_path / out}, memory_gib=1, state=tmp_path / "state"
        )
    assert second.windows <= 1 < first.windows  # one to measure its memory
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    assert not list((tmp_path / "state").glob("*/*.npy"))
    forget(tmp_path / "state")
    forget(tmp_path / "state")
    assert not (tmp_path / "state").exists()
    assert (tmp_path / "a.tif").exists()


@pytest.mark.parametrize("change", ["card", "how", "area", "scene"])
def test_what_was_predicted_otherwise_is_not_taken(tmp_path, change) -> None:
    scene = make_scene(tmp_path / "g", "s", shape=(60, 60))
    predict_scene({"m": Mirror(card_for(scene))}, scene, HOW, ("a", "b"), {"m": tmp_path / "a.tif"}, memory_gib=1,
                  state=tmp_path / "state")  # fmt: skip
    card, how, area = card_for(scene), HOW, None
    if change == "card":
        card = card.model_copy(update={"temperature": 2.0})
    elif change == "how":
        how = How((0.5,), "linear")
    elif change == "area":
        area = np.ones((60, 60), bool)
    else:
        os.utime(scene.folder / "image.tif", ns=(1, 1))
    member = Mirror(card)
    predict_scene({"m": member}, scene, how, ("a", "b"), {"m": tmp_path / "b.tif"}, area=area, memory_gib=1,
                  state=tmp_path / "state")  # fmt: skip
    assert member.windows > 1
    assert len(list((tmp_path / "state").iterdir())) == 2


def test_a_band_is_there_whole_or_not_at_all(tmp_path) -> None:
    state = State(tmp_path / "one")
    assert state.rows(256) == 0
    held = np.arange(12, dtype=np.uint16).reshape(2, 2, 3)
    state.keep(0, held)
    (tmp_path / "one/.band.part").write_bytes(b"half")
    state.keep(512, held)
    assert state.rows(256) == 256
    [(top, found)] = state.bands(256, 256)
    assert top == 0
    assert np.array_equal(found, held)


def test_a_folder_on_another_disk_is_copied_from(tmp_path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "p.tif").write_bytes(b"raster")
    state = State(tmp_path / "one")
    state.finish(tmp_path / "p.tif")
    state.give(tmp_path / "q.tif")
    assert (tmp_path / "q.tif").read_bytes() == b"raster"


def test_all_the_code_that_a_fingerprint_covers_is_there() -> None:
    home = Path(thalweg.__file__).parent
    assert not [pattern for pattern in states._CODE if not list(home.glob(pattern))]
