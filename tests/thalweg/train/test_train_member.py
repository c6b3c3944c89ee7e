import json
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from member_builder import GRID, classes, make_places, member, places, train_params
from scene_builder import make_scene

from thalweg import raster, resume, stage
from thalweg.errors import (
    ContractError,
    DegradedDataWarning,
    DeviceMemoryError,
    ParamsError,
    SceneError,
    TrainingError,
)
from thalweg.infer import Predictor
from thalweg.manifest.card import read_card
from thalweg.manifest.chips import PARTS, read_chips, read_stats, write_chips, write_stats
from thalweg.manifest.heldout import read_heldout
from thalweg.params.models import ClassWeights
from thalweg.resume import Keeper
from thalweg.train import class_weights, read_data, train_member

OUTS = (
    "model/weights.safetensors",
    "model/card.json",
    "model/costs.json",
    "heldout/scores.json",
    "heldout/panels.npz",
    "history.csv",
    "metrics.json",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    make_places(root)
    train_member("tiny", member(), train_params(), classes(), places(root))
    return root


def _bytes(root, outs="outs"):
    return {name: (root / outs / name).read_bytes() for name in OUTS}


def test_it_learns_what_the_pixels_show(world):
    scores = json.loads((world / "outs/metrics.json").read_text())
    assert set(scores) == {"val", "test", "val_at_threshold", "test_at_threshold"}
    assert scores["test"]["iou_channel"] > 0.6
    assert 0 < scores["val"]["threshold"] <= 1
    assert scores["val_at_threshold"]["iou_channel"] >= scores["val"]["iou_channel"] - 1e-9
    assert scores["val"]["pixels"] == 2 * 48 * 15


def test_outs_agree_with_each_other(world):
    scores = json.loads((world / "outs/metrics.json").read_text())
    heldout = read_heldout(world / "outs/heldout")
    val = heldout.parts["val"]
    assert np.array(val.confusion).sum() == scores["val"]["pixels"] == sum(val.positives) + sum(val.negatives)
    assert sum(val.reliability[0]) == scores["val"]["pixels"]
    assert np.array_equal(sum(np.array(m) for m in val.scenes.values()), np.array(val.confusion))
    assert set(val.scenes) == {"one", "two"}
    card = read_card(world / "outs/model")
    assert card.metrics == {key: scores["val"][key] for key in ("miou", "accuracy")}
    assert card.products == ("one", "two")
    history = pd.read_csv(world / "outs/history.csv")
    assert list(history) == [
        "epoch",
        "train_loss",
        "val_loss",
        "val_miou",
        "val_accuracy",
        "val_iou_background",
        "val_iou_channel",
        "lr",
        "chips_trained",
        "chips_scored",
        "flops_train",
        "flops_score",
        "flops_irreducible",
        "flops_holdout",
    ]
    assert history["epoch"].tolist() == [0, 1, 2]
    assert card.epoch == history["val_miou"].idxmax()


def test_panels_show_what_the_model_says(world):
    panels = np.load(world / "outs/heldout/panels.npz")
    assert panels["rgb"].shape == (6, 16, 16, 3)
    assert panels["rgb"].max() > 0
    known = panels["mask"] != 255
    assert known.any(axis=(1, 2)).all()
    assert (panels["labels"] != 255).all()  # the engine covers whole rows
    assert (panels["labels"] == panels["mask"])[known].mean() > 0.7
    assert panels["prob"][known].min() >= 127
    assert panels["names"][0].split()[1] == "test"


def test_model_directory_alone_predicts(world):
    predictor = Predictor.load(world / "outs/model", "cpu")
    probs = predictor.predict(np.full((1, 20, 30, 3), 1500, np.int16))
    assert probs.shape == (1, 2, 20, 30)


def test_logs_lie_outside_the_outs_and_nothing_stays_behind(world):
    (run,) = (world / "runs/tiny").iterdir()
    assert {path.name.split(".")[0] for path in run.iterdir()} == {
        "events", "hparams", "metrics", "run", "params", "packages", "model", "console", "epochs", "batches"
    }  # fmt: skip
    assert not list((world / "resume").rglob("*.ckpt"))


def test_twice_the_same_bytes_whatever_the_number_of_workers(world):
    train_member("tiny", member(), train_params(workers=1), classes(), places(world, "again"))
    assert _bytes(world, "again") == _bytes(world)


@pytest.mark.parametrize("with_handler", [False, True])
def test_killed_training_goes_on_to_the_same_weights(world, monkeypatch, with_handler):
    ended = Keeper.on_train_epoch_end

    def ended_and_killed(self, trainer, pl_module):
        ended(self, trainer, pl_module)
        if trainer.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stage._terminate if with_handler else signal.SIG_DFL)
    outs = f"killed{with_handler}"
    try:
        with monkeypatch.context() as patched:
            patched.setattr(Keeper, "on_train_epoch_end", ended_and_killed)
            with pytest.raises(SystemExit) as ended_by:
                train_member("tiny", member(), train_params(), classes(), places(world, outs))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended_by.value.code == 143
    assert not (world / outs).exists()
    assert len(list((world / "resume/tiny").rglob("last.ckpt"))) == 1
    train_member("tiny", member(), train_params(), classes(), places(world, outs))
    newest = max((world / "runs/tiny").iterdir(), key=lambda path: path.name)
    assert json.loads((newest / "run.json").read_text())["resumed_from_epoch"] == 2
    assert _bytes(world, outs) == _bytes(world)


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize(("patience", "most"), [(1, 9), (9, 2)])
def test_killed_in_the_examination_after_the_last_epoch(world, monkeypatch, keep, patience, most):
    done = member(patience=patience, max_epochs=most, lr=1e-9, schedule="constant", keep=keep)
    outs = f"{keep}{patience}"
    with monkeypatch.context() as patched:
        patched.setattr("thalweg.train.finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_member("tiny", done, train_params(), classes(), places(world, f"late{outs}"))
    train_member("tiny", done, train_params(), classes(), places(world, f"late{outs}"))
    train_member("tiny", done, train_params(), classes(), places(world, f"whole{outs}"))
    assert _bytes(world, f"late{outs}") == _bytes(world, f"whole{outs}")
    epochs = len(pd.read_csv(world / f"late{outs}/history.csv"))
    assert epochs == most if patience == 9 else epochs < most


def test_changed_params_do_not_pick_up_another_state():
    one, other = (resume.fingerprint([member(seed=seed).model_dump_json()], []) for seed in (1, 2))
    assert one != other


def test_second_training_of_a_member_says_who_holds_it(world):
    with (
        resume.held(world / "resume", "tiny"),
        pytest.raises(TrainingError, match=rf"'tiny' is already being trained by process {os.getpid()} on .* since 20"),
    ):
        train_member("tiny", member(), train_params(), classes(), places(world, "none"))
    lock = FileLock(world / "resume/tiny.lock")
    lock.acquire(timeout=0)  # it was let go
    lock.release()


def test_nan_loss_stops_with_a_remedy(world):
    wild = member(lr=1e30, schedule="constant", augment={})
    with pytest.raises(
        TrainingError, match=r"models.tiny: the loss is nan in epoch 0, step \d+; lower its lr \(now 1e\+30\)"
    ):
        train_member("tiny", wild, train_params(), classes(), places(world, "none"))


def test_device_that_is_not_there(world):
    absent = "cuda" if not torch.cuda.is_available() else "mps"
    with pytest.raises(TrainingError, match=rf"train: this machine cannot run {absent} × 1 .*set accelerator: auto"):
        train_member("tiny", member(), train_params(accelerator=absent), classes(), places(world, "none"))


def test_device_memory_that_does_not_suffice(world, monkeypatch):
    def overflows(*_):
        raise torch.OutOfMemoryError("tried to allocate 9 GiB")

    monkeypatch.setattr("thalweg.task.SegmentationTask.training_step", overflows)
    with (
        pytest.warns(DegradedDataWarning, match="trying again with 2 × 2 chips per step"),
        pytest.raises(DeviceMemoryError, match="memory does not hold batch_size 2 × chip_px 16; lower batch_size"),
    ):
        train_member("tiny", member(), train_params(), classes(), places(world, "none"))


def test_scenes_of_one_grid_with_other_channels(tmp_path):
    where = make_places(tmp_path)
    make_scene(where.scenes, "other", channels=("B04",))
    with pytest.raises(SceneError, match=r"scenes in .*s2_60m differ in their channels; run `dvc repro preprocess`"):
        train_member("tiny", member(), train_params(), classes(), where)


def _without(root, part):
    chips = read_chips(root / "split", GRID)
    write_chips(chips[chips["part"] != part], root / "split", GRID)
    for path in (root / "split" / GRID / "parts").iterdir():
        pixels = raster.map_pixels(path, "r+")
        pixels[pixels == PARTS[part]] = PARTS["unused"]


def test_no_validation_part(tmp_path):
    where = make_places(tmp_path)
    _without(tmp_path, "val")
    with pytest.raises(TrainingError, match=r"no pixel of part val on grid s2_60m .*or set keep: last"):
        train_member("tiny", member(), train_params(), classes(), where)
    train_member("tiny", member(keep="last", max_epochs=1), train_params(), classes(), where)
    assert list(json.loads(where.metrics.read_text())) == ["test"]
    assert list(pd.read_csv(where.history)) == [
        "epoch",
        "train_loss",
        "lr",
        "chips_trained",
        "chips_scored",
        "flops_train",
        "flops_score",
        "flops_irreducible",
        "flops_holdout",
    ]
    _without(tmp_path, "test")
    train_member("tiny", member(keep="last", max_epochs=1), train_params(), classes(), where)
    assert json.loads(where.metrics.read_text()) == {}
    assert len(np.load(where.heldout / "panels.npz")["rgb"]) == 0


def test_nothing_to_train_on(tmp_path):
    where = make_places(tmp_path)
    _without(tmp_path, "train")
    with pytest.raises(
        TrainingError, match=r"models.tiny: no pixel of part train on grid s2_60m is labelled and valid; bring"
    ):
        train_member("tiny", member(), train_params(), classes(), where)


def test_class_that_training_never_sees_is_a_warning_and_has_no_weight(tmp_path):
    where = make_places(tmp_path)
    stats = read_stats(where.split, GRID)
    write_stats(stats.model_copy(update={"class_px": {"background": 100, "channel": 0}}), where.split, GRID)
    weighted = member(class_weights="inverse_sqrt", max_epochs=1, schedule="constant")
    with pytest.warns(DegradedDataWarning, match="part train on grid s2_60m has no pixel of channel"):
        train_member("tiny", weighted, train_params(), classes(), where)


def test_formulas_of_class_weights_see_the_training_part(world):
    def weights(**changes):
        asked = ClassWeights(**{"formula": "balanced", "beta": None, "blend": 1.0, "cap": None, "given": (), **changes})
        chosen = member(class_weights=asked)
        return class_weights("tiny", chosen, read_data("tiny", chosen, places(world).scenes, places(world).split))

    pixels = list(read_stats(world / "split", GRID).class_px.values())
    assert weights().tolist() == pytest.approx([sum(pixels) / (2 * count) for count in pixels])
    chips = read_chips(world / "split", GRID)
    rows = chips[(chips["part"] == "train") & (chips["px_channel"] > 0)]
    frequency = [pixels[0] / sum(pixels), pixels[1] / rows["labelled_px"].sum()]  # every window holds background
    assert weights(formula="median").tolist() == pytest.approx([np.mean(frequency) / each for each in frequency])
    with pytest.raises(ParamsError, match=r"models\.tiny\.class_weights\.given has 3 weights for 2 classes"):
        weights(formula="given", given=(1.0, 2.0, 3.0))


def test_the_card_knows_its_training_pixels(world):
    card, stats = read_card(world / "outs/model"), read_stats(world / "split", GRID)
    assert (card.deciles, card.shares) == (stats.deciles, stats.shares)
    assert card.pixel_m_range == pytest.approx((60.0, 60.0), abs=0.1)


def test_a_held_out_scene_that_the_member_could_not_read_stops_it_before_training(tmp_path):
    where = make_places(tmp_path)
    path = where.scenes / "two" / "scene.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"transform": [30.0, 0, 600_000.0, 0, -30.0, 7_000_000.0]}))
    chips = read_chips(where.split, GRID)
    write_chips(chips[(chips["scene"] == "one") | (chips["part"] != "train")], where.split, GRID)
    with pytest.raises(ContractError, match=r"ground pixels of 60\.\d+ m, but scene .*two has pixels of 30\.\d+ m"):
        train_member("tiny", member(), train_params(), classes(), where)
    assert not where.history.exists()


def test_stage_script_names_the_member_that_is_not_there(tmp_path, monkeypatch):
    from stages import train as script

    (tmp_path / "params.yaml").write_text("models: {unet: {}}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match=r"'models' has no 'unett' \(did you mean 'unet'\?\)"):
        script.main("unett")
    assert Path(script.__file__).read_text().count("\n") <= 60
