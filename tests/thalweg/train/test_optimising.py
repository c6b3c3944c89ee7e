"""Accumulation, clipping, averages, schedules and the range test through the real trainer."""

import json
import weakref

import numpy as np
import pytest
import torch
from member_builder import classes, make_places, member, places, train_params
from task_builder import loader, task, weight

from thalweg.errors import DegradedDataWarning, DeviceMemoryError, TrainingError
from thalweg.fit import find_lr, fit
from thalweg.infer import Predictor
from thalweg.models import Network
from thalweg.task import SegmentationTask
from thalweg.train import _halved, train_member


def trained(tmp_path, batch_size=4, **changes) -> SegmentationTask:
    made = task(**changes)
    fit(made, train_params(), loader(batch_size), None, tmp_path / "runs", tmp_path / "state.ckpt")
    return made


def test_accumulated_batches_step_as_the_large_batch(tmp_path):
    large = trained(tmp_path / "a", batch_size=4)
    small = trained(tmp_path / "b", batch_size=2, accumulate=2)
    np.testing.assert_allclose(weight(small), weight(large), atol=1e-6)
    assert np.abs(weight(large) - weight(task())).max() > 1e-3


def test_gradients_are_clipped(tmp_path):
    free = trained(tmp_path / "a", max_epochs=1, batch_size=8)
    held = trained(tmp_path / "b", max_epochs=1, batch_size=8, clip_norm=1e-4)
    assert np.abs(weight(free) - weight(task())).max() > 1e-3
    assert np.abs(weight(held) - weight(task())).max() <= 1e-4 * 0.1 * 2 + 1e-7  # lr × norm, Nesterov adds a part


def test_the_average_lags_behind_the_weights(tmp_path):
    made = trained(tmp_path, ema=0.9)
    start, last = weight(task()), weight(made)
    average = made.judged_weights()["weight"].numpy()
    assert not np.allclose(average, last)
    assert np.linalg.norm(average - start) < np.linalg.norm(last - start)


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": {"name": "plateau", "factor": 0.5, "patience": 0, "threshold": 0.0, "min_lr": 0.0}, "warmup_epochs": 1.0},
        {"schedule": "cosine", "warmup_epochs": 0.5, "ema": 0.9, "accumulate": 2, "clip_norm": 1.0},
        {"optimizer": "sgd", "lr": "auto", "schedule": {"name": "step", "factor": 0.1, "epochs": 1}},
    ],
)  # fmt: skip
def test_a_killed_training_ends_as_one_that_ran_through(tmp_path, changes):
    """Resumed against uninterrupted, weights bit for bit."""
    from unittest import mock

    from thalweg.resume import Keeper

    make_places(tmp_path)
    chosen = member(**changes)
    through, resumed = places(tmp_path, "a"), places(tmp_path, "b")
    train_member("m", chosen, train_params(), classes(), through)
    saved = Keeper.on_train_epoch_end

    def killed(self, trainer, module):
        saved(self, trainer, module)
        if len(self.history) == 2:
            raise KeyboardInterrupt

    with mock.patch.object(Keeper, "on_train_epoch_end", killed), pytest.raises((KeyboardInterrupt, SystemExit)):
        train_member("m", chosen, train_params(), classes(), resumed)
    train_member("m", chosen, train_params(), classes(), resumed)
    assert (resumed.model / "weights.safetensors").read_bytes() == (through.model / "weights.safetensors").read_bytes()
    assert resumed.history.read_bytes() == through.history.read_bytes()


def test_out_of_memory_is_tried_once_more_with_half_the_batch(tmp_path, monkeypatch):
    make_places(tmp_path)
    forward, seen = Network.forward, []

    def scarce(self, pixels):
        seen.append(len(pixels))
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, pixels)

    monkeypatch.setattr(Network, "forward", scarce)  # validation goes through it
    chosen = member(batch_size=4, max_epochs=1)
    with pytest.warns(
        DegradedDataWarning, match=r"does not hold batch_size 4 .*; trying again with 2 × 2 chips per step"
    ):
        train_member("m", chosen, train_params(), classes(), places(tmp_path))
    first, second = (json.loads(path.read_text()) for path in sorted((tmp_path / "runs").rglob("run.json")))
    assert (first["status"], first["batch_size"]) == ("failed", 4)
    assert (second["status"], second["batch_size"], second["accumulate"]) == ("done", 2, 2)
    assert 4 in seen


@pytest.mark.parametrize(
    ("batch", "accumulate", "expected"), [(4, 1, (2, 2)), (3, 1, (1, 3)), (5, 2, (2, 5)), (8, 2, (4, 4))]
)
def test_half_a_batch_keeps_the_chips_of_a_step(batch, accumulate, expected):
    smaller = _halved(member(batch_size=batch, accumulate=accumulate))
    assert smaller is not None
    assert (smaller.batch_size, smaller.accumulate) == expected


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] data. DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DataLoader worker (pid 71) is killed by signal: Killed. "),
        MemoryError("Unable to allocate 9. GiB for an array"),
    ],
)
def test_out_of_memory_has_many_faces(tmp_path, monkeypatch, error):
    def scarce(*_):
        raise error

    monkeypatch.setattr("thalweg.fit.find_lr", scarce)
    with pytest.raises(DeviceMemoryError, match="lower batch_size"):
        trained(tmp_path, lr="auto")


def test_what_is_no_lack_of_memory_stays_what_it_is(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr("thalweg.fit.find_lr", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        trained(tmp_path, lr="auto")


def test_the_second_attempt_finds_the_memory_of_the_first_free(tmp_path, monkeypatch):
    make_places(tmp_path)
    kept, alive = [], []
    init, step = SegmentationTask.__init__, SegmentationTask.training_step

    def noted(self, *given):
        init(self, *given)
        alive.append([one() for one in kept if one() is not None])
        kept.append(weakref.ref(self.network))

    def scarce(self, *given):
        if self.member.batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, *given)

    monkeypatch.setattr(SegmentationTask, "__init__", noted)
    monkeypatch.setattr(SegmentationTask, "training_step", scarce)
    with pytest.warns(DegradedDataWarning, match="trying again"):
        train_member("m", member(batch_size=4, max_epochs=1), train_params(), classes(), places(tmp_path))
    assert alive == [[], []]


def test_held_out_windows_that_do_not_fit_come_in_smaller_batches(tmp_path, monkeypatch):
    make_places(tmp_path)
    predict, seen = Predictor.predict, []

    def scarce(self, batch):
        seen.append(len(batch))
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return predict(self, batch)

    chosen = member(batch_size=4, max_epochs=1)
    train_member("m", chosen, train_params(), classes(), places(tmp_path, "whole"))
    monkeypatch.setattr(Predictor, "predict", scarce)
    train_member("m", chosen, train_params(), classes(), places(tmp_path, "scarce"))
    assert max(seen) > 2 > min(seen)
    whole, again = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "scarce"))
    assert again["test"] == pytest.approx(whole["test"], abs=1e-6)

    def empty(*_):
        raise MemoryError

    monkeypatch.setattr(Predictor, "predict", empty)
    with pytest.raises(TrainingError, match=r"models\.m: .* does not hold one window of \d+ px .*; lower window_px"):
        train_member("m", chosen, train_params(), classes(), places(tmp_path, "none"))


def test_out_of_memory_in_the_range_test_is_ours(tmp_path, monkeypatch):
    def scarce(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("thalweg.fit.find_lr", scarce)
    with pytest.raises(DeviceMemoryError, match="lower batch_size"):
        trained(tmp_path, lr="auto")


def test_the_range_test_leaves_the_weights_alone_and_finds_a_rate():
    made = task(lr="auto")
    before = weight(made).copy()
    found = find_lr(made, loader(4))
    assert 1e-4 < found < 1
    np.testing.assert_array_equal(weight(made), before)
