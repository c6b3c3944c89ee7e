import math
from pathlib import Path

import pytest
import torch

from thalweg import losses
from thalweg.errors import ParamsError


def _names():
    return sorted(path.stem for path in Path(losses.__file__).parent.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", _names())
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1.5, 1.0])])
def test_contract(name, weights):
    loss = losses.build({name: 1.0}, weights)
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    target = torch.randint(0, 3, (2, 4, 4)).to(torch.uint8)
    target[0, :2] = 255
    value = loss(logits, target)
    value.backward()
    assert value.ndim == 0
    assert value > 0
    assert (logits.grad[0, :, :2] == 0).all()  # ignored pixels pull at nothing
    assert logits.grad[1].abs().sum() > 0
    right = torch.nn.functional.one_hot(torch.where(target == 255, 0, target).long(), 3).movedim(-1, 1) * 40.0
    assert loss(right, target) < 1e-4


@pytest.mark.parametrize("name", _names())
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1.5])])
def test_nothing_labelled_is_zero_with_its_gradient(name, weights):
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    value = losses.build({name: 1.0}, weights)(logits, torch.full((1, 3, 3), 255, dtype=torch.uint8))
    value.backward()
    assert value.item() == 0
    assert (logits.grad == 0).all()


def test_cross_entropy_by_hand():
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)  # probabilities 1/4, 3/4
    target = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
    plain = losses.build({"cross_entropy": 1.0}, None)(logits, target)
    assert plain.item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)
    weighted = losses.build({"cross_entropy": 1.0}, torch.tensor([3.0, 1.0]))(logits, target)
    assert weighted.item() == pytest.approx((3 * math.log(4) + math.log(4 / 3)) / 4)


def test_dice_by_hand():
    logits = torch.zeros(1, 2, 1, 4)  # every probability 1/2
    target = torch.tensor([[[1, 1, 1, 255]]], dtype=torch.uint8)
    # Only class 1 is in the truth: 1 − (2·1.5 + 1) / (1.5 + 3 + 1)
    assert losses.build({"dice": 1.0}, None)(logits, target).item() == pytest.approx(1 - 4 / 5.5)


def test_weighted_sum():
    logits, target = torch.randn(1, 2, 4, 4), torch.randint(0, 2, (1, 4, 4))
    one, other = (losses.build({name: 1.0}, None)(logits, target) for name in ("cross_entropy", "dice"))
    both = losses.build({"cross_entropy": 2.0, "dice": 0.5}, None)(logits, target)
    torch.testing.assert_close(both, 2 * one + 0.5 * other)


def test_unknown_loss():
    with pytest.raises(
        ParamsError, match=r"loss 'focall' has no file src/thalweg/losses/focall.py; there are cross_entropy, dice"
    ):
        losses.build({"focall": 1.0}, None)
