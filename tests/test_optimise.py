"""Optimisers, schedules, averages and the range test against numbers worked out apart."""

import math

import pytest
import torch
from member_builder import member
from torch import nn

from thalweg import optimise, trainer


def rates(schedule, steps=40, warmup=0.0, epochs=4):
    chosen = member(schedule=schedule, warmup_epochs=warmup, max_epochs=epochs)
    share = optimise.factor(chosen, steps)
    return [share(step) for step in range(steps)]


def test_cosine_falls_from_one_to_nothing():
    found = rates("cosine")
    assert found[0] == 1
    assert found[20] == pytest.approx(0.5)
    assert found[39] == pytest.approx(0.5 * (1 + math.cos(math.pi * 39 / 40)))
    assert found == sorted(found, reverse=True)


def test_warm_up_rises_in_equal_steps_before_the_schedule():
    found = rates("constant", warmup=1.0)
    assert found[:10] == pytest.approx([(k + 1) / 11 for k in range(10)])
    assert set(found[10:]) == {1.0}


def test_steps_fall_by_their_factor():
    found = rates({"name": "step", "factor": 0.1, "epochs": 2})
    assert found[:20] == [1.0] * 20
    assert found[20:] == pytest.approx([0.1] * 20)


def test_one_cycle_and_warm_up_are_not_both_taken():
    with pytest.raises(ValueError, match="one_cycle rises by itself: set warmup_epochs to 0"):
        member(warmup_epochs=1.0)


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_optimisers_by_name(name, kind):
    made = optimise.optimizer(member(optimizer=name, weight_decay=0.01), nn.Linear(2, 1).parameters(), 0.5)
    assert type(made) is kind
    assert (made.param_groups[0]["lr"], made.param_groups[0]["weight_decay"]) == (0.5, 0.01)


def test_the_average_follows_its_formula():
    net = nn.BatchNorm1d(1)
    average = optimise.Average(net, decay=0.5)
    by_hand = 1.0
    for step, value in enumerate((3.0, 5.0, 9.0), start=1):
        with torch.no_grad():
            net.weight.fill_(value)
        net.num_batches_tracked.fill_(step)
        average.update(net)
        decay = min(0.5, (1 + step) / (10 + step))
        by_hand = decay * by_hand + (1 - decay) * value
    assert float(average.weights()["weight"]) == pytest.approx(by_hand)
    assert int(average.weights()["num_batches_tracked"]) == 3
    twin = optimise.Average(net, decay=0.5)
    twin.load_state_dict(average.state_dict())
    assert float(twin.weights()["weight"]) == pytest.approx(by_hand)


def test_the_steepest_fall_of_a_range_test():
    grid = optimise.range_rates(100)
    assert grid[0] == pytest.approx(1e-6)
    assert grid[-1] == pytest.approx(1.0)
    losses = [1.0 / (1 + math.exp(3 * (math.log(rate) - math.log(1e-3)))) for rate in grid]
    losses[80:] = [50.0] * 20
    found = optimise.steepest(grid, losses)
    assert found is not None
    assert 5e-4 < found < 1e-2  # smoothing moves the steepest place to the right
    assert optimise.steepest(grid, [1.0 + k / 100 for k in range(100)]) is None


def test_auto_precision_without_a_gpu():
    assert trainer.auto_precision("cpu") == "32-true"


@pytest.mark.parametrize(
    ("bf16", "capability", "expected"),
    [(True, (9, 0), "bf16-mixed"), (False, (7, 5), "16-mixed"), (False, (6, 1), "32-true")],
)
def test_auto_precision_suits_the_card(monkeypatch, bf16, capability, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert trainer.auto_precision("auto") == expected
