"""What goes wrong in a night: steps that diverge at the wrong moment, broken states, signals, windows left over."""

import csv
import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from member_builder import classes, make_places, member, places, train_params
from task_builder import CHIPS, loader, task, weight
from torch import nn

from thalweg import stage
from thalweg.dataset import augment
from thalweg.errors import DegradedDataWarning, TrainingError
from thalweg.fit import fit
from thalweg.resume import Keeper
from thalweg.task import SegmentationTask
from thalweg.train import train_member

PLATEAU = {"name": "plateau", "factor": 0.5, "patience": 0, "threshold": 0.0, "min_lr": 0.0}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    make_places(root)
    train_member("m", member(), train_params(), classes(), places(root, "through"))
    return root


@pytest.fixture(autouse=True)
def nothing_to_go_on_from(world):
    yield
    shutil.rmtree(world / "resume", ignore_errors=True)


def _train(root, outs, **changes):
    train_member("m", member(**changes), train_params(), classes(), places(root, outs))


def _same(root, one, other):
    a, b = (places(root, outs) for outs in (one, other))
    assert (a.model / "weights.safetensors").read_bytes() == (b.model / "weights.safetensors").read_bytes()
    assert a.history.read_bytes() == b.history.read_bytes()
    assert a.metrics.read_bytes() == b.metrics.read_bytes()


def _steps(tmp_path, batch_size, accumulate):
    """Weights after each optimiser step of one epoch."""
    seen: list[np.ndarray] = []

    class After(Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            if trainer.global_step > len(seen):
                seen.append(weight(pl_module).copy())

    made = task(max_epochs=1, accumulate=accumulate)
    fit(made, train_params(), loader(batch_size), None, tmp_path / "runs", tmp_path / "state.ckpt", [After()])
    return seen


def test_an_epochs_last_window_is_averaged_over_the_batches_it_has(tmp_path):
    """Eight chips by two, three batches a step: six chips, then two, which count as two and not as six."""
    seen = _steps(tmp_path, 2, 3)
    assert len(seen) == 2
    expected = task()
    (pixels, target), last = next(iter(loader(CHIPS))), None
    optimiser = torch.optim.SGD(expected.network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for at in (slice(0, 6), slice(6, 8)):
        optimiser.zero_grad()
        expected.loss(expected.network(pixels[at]), target[at]).backward()
        optimiser.step()
        last = weight(expected)
    np.testing.assert_allclose(seen[-1], last, atol=1e-6)


def test_a_plateau_does_not_judge_epochs_of_the_warm_up(tmp_path, monkeypatch):
    """Two epochs of warm-up, and a score that never gets better: the rate falls from the fourth epoch on."""
    make_places(tmp_path)
    monkeypatch.setattr("thalweg.metrics.confusion", lambda *_: np.array([[1, 1], [1, 1]]))
    _train(tmp_path, "outs", schedule=PLATEAU, warmup_epochs=2.0, max_epochs=5, patience=9)
    lines = places(tmp_path, "outs").history.read_text().splitlines()
    rates = [float(row["lr"]) for row in csv.DictReader(lines)]
    # four steps an epoch: the last of the first is step 4 of 9, of the second 8 of 9; the third sets the mark
    assert rates == pytest.approx([0.01 * 4 / 9, 0.01 * 8 / 9, 0.01, 0.01, 0.005], rel=1e-4)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_weights_lost_in_the_very_last_step_are_no_model(world, monkeypatch, keep):
    step = SegmentationTask.optimizer_step

    def lost(self, *args, **named):
        step(self, *args, **named)
        if self.trainer.global_step == 11:  # the twelfth of three epochs of four
            with torch.no_grad():
                next(self.network.parameters()).fill_(float("nan"))

    monkeypatch.setattr(SegmentationTask, "optimizer_step", lost)
    with pytest.raises(
        TrainingError, match=r"models.m: the validation loss is nan in epoch 2; lower its lr \(now 0.01"
    ):
        _train(world, f"lost{keep}", keep=keep)
    assert not places(world, f"lost{keep}").model.exists()


def test_lost_weights_are_seen_without_a_validation_part_too(tmp_path, monkeypatch):
    step = SegmentationTask.optimizer_step

    def lost(self, *args, **named):
        step(self, *args, **named)
        with torch.no_grad():
            next(self.network.parameters()).fill_(float("inf"))

    monkeypatch.setattr(SegmentationTask, "optimizer_step", lost)
    made = task(max_epochs=1)
    with pytest.raises(TrainingError, match=r"models.m: weights are not finite after epoch 0; lower its lr"):
        fit(made, train_params(), loader(CHIPS), None, tmp_path / "runs", tmp_path / "state.ckpt")
    assert not (tmp_path / "state.ckpt").exists()


@pytest.mark.parametrize("left", [0, 5000, -1])
def test_a_state_that_a_power_failure_broke_is_not_in_the_way(world, monkeypatch, left):
    saved = Keeper.on_train_epoch_end

    def killed(self, trainer, module):
        saved(self, trainer, module)
        raise KeyboardInterrupt

    outs = f"broken{left}"
    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "on_train_epoch_end", killed)
        with pytest.raises(SystemExit):
            _train(world, outs)
    (state,) = (world / "resume" / "m").rglob("last.ckpt")
    data = bytearray(state.read_bytes())
    if left < 0:
        data[len(data) // 2] ^= 255  # one byte that the disk lost
    state.write_bytes(data if left < 0 else data[:left])
    with pytest.warns(DegradedDataWarning, match=r"last\.ckpt, .* is broken; it starts again from epoch 0"):
        _train(world, outs)
    _same(world, outs, "through")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_a_signal_during_validation_ends_it_and_costs_that_epoch_alone(world, monkeypatch, number, code):
    step = SegmentationTask.validation_step

    def killed(self, batch, batch_idx):
        step(self, batch, batch_idx)
        if self.current_epoch == 1:
            os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGTERM, stage._terminate)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(SegmentationTask, "validation_step", killed)
            with pytest.raises(SystemExit) as ended:
                _train(world, f"signal{code}")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == code
    assert not places(world, f"signal{code}").model.exists()
    _train(world, f"signal{code}")
    newest = max((world / "runs/m").iterdir(), key=lambda path: path.name)
    assert json.loads((newest / "run.json").read_text())["resumed_from_epoch"] == 1
    _same(world, f"signal{code}", "through")


def test_a_found_rate_is_kept_for_the_training_that_goes_on(world, monkeypatch):
    saved = Keeper.on_train_epoch_end

    def killed(self, trainer, module):
        saved(self, trainer, module)
        raise KeyboardInterrupt

    rates = iter([0.02, 0.5])
    monkeypatch.setattr("thalweg.fit.find_lr", lambda *_: next(rates))
    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "on_train_epoch_end", killed)
        with pytest.raises(SystemExit):
            _train(world, "found", lr="auto", schedule=PLATEAU, warmup_epochs=1.5)
    _train(world, "found", lr="auto", schedule=PLATEAU, warmup_epochs=1.5)
    newest = max((world / "runs/m").iterdir(), key=lambda path: path.name)
    assert json.loads((newest / "run.json").read_text())["lr"] == 0.02


def test_frozen_stages_thaw_on_time_whenever_it_was_killed(tmp_path, monkeypatch):
    make_places(tmp_path)
    changes = {"freeze": ("1", "2"), "thaw_epochs": 1, "ema": 0.9, "accumulate": 3, "clip_norm": 1.0,
               "max_epochs": 4, "patience": 9}  # fmt: skip
    _train(tmp_path, "through", **changes)
    saved = Keeper.on_train_epoch_end
    for after in (1, 2, 3):

        def killed(self, trainer, module, after=after):
            saved(self, trainer, module)
            if len(self.history) == after:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(Keeper, "on_train_epoch_end", killed)
            with pytest.raises(SystemExit):
                _train(tmp_path, f"killed{after}", **changes)
        _train(tmp_path, f"killed{after}", **changes)
        _same(tmp_path, f"killed{after}", "through")


def test_half_precision_moves_pixels_to_the_same_place():
    """Kornia's matrices in bfloat16 would move a pixel by as much as a chip's 256th, and cut edges."""
    made = task(augment={"rotate": 20.0, "resized_crop": 0.5})
    made.trainer = None
    batch = next(iter(loader(CHIPS)))
    whole = made.augmented(batch, 0)
    with torch.autocast("cpu", torch.bfloat16):
        half = made.augmented(batch, 0)
    assert torch.equal(whole.inputs, half.inputs)
    assert torch.equal(whole.target, half.target)


def test_strength_zero_leaves_an_augmentation_out():
    inputs, target = torch.rand(4, 2, 9, 9) + 1, torch.zeros(4, 9, 9, dtype=torch.uint8)
    names = ("d4", "rotate", "resized_crop", "jitter", "gain", "noise", "band_dropout", "cutmix", "mixup")
    light = augment.Radiometry(torch.zeros(2), torch.tensor([True, True]))
    same = augment.augment(inputs, target, dict.fromkeys(names, 0.0), light, augment.generator(1, 0, 0))
    assert same.inputs is inputs
    assert same.target is target


@pytest.mark.parametrize("name", ["d4", "resized_crop", "jitter", "band_dropout", "cutmix"])
def test_shares_above_one_are_refused(name):
    with pytest.raises(ValueError, match=rf"augment.{name} is a share: give at most 1, not 3"):
        member(augment={name: 3.0})


@pytest.mark.slow
def test_a_machine_that_cannot_compile_says_so(tmp_path, monkeypatch):
    """No C++ compiler, as on many a cluster."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/nonexistent/g++"))
    made = task()
    made.network.architecture = nn.Sequential(nn.Conv2d(2, 2, 1), nn.GELU())  # a convolution alone is compiled already
    with pytest.raises(
        TrainingError, match=r"models.m: train.compile is true, but .*/nonexistent/g\+\+.*compile: false"
    ):
        fit(made, train_params(compile=True), loader(CHIPS), None, tmp_path / "runs", tmp_path / "state.ckpt")
