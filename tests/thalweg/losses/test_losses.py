"""The contract of every loss, walked by the files that there are."""

from pathlib import Path

import pytest
import torch

from thalweg import losses
from thalweg.errors import ParamsError

OPTIONS = {
    "bce": {},
    "boundary": {"reach_px": 5.0},
    "cldice": {"classes": [1], "iterations": 2},
    "cross_entropy": {"smoothing": 0.0},
    "dice": {},
    "focal": {"gamma": 2.0},
    "lovasz": {},
    "nnpu": {"prior": 0.2, "beta": 0.0, "gamma": 1.0},
    "parcel": {"min_px": 2},
    "tversky": {"alpha": 0.3, "beta": 0.7},
}
TWO_CLASSES = {"nnpu"}
CASES = [(name, classes) for name in sorted(OPTIONS) for classes in (2, 5) if classes == 2 or name not in TWO_CLASSES]


def _names():
    return sorted(path.stem for path in Path(losses.__file__).parent.glob("*.py") if path.stem != "__init__")


def _loss(name, class_weights=None):
    return losses.build({name: {"weight": 1.0, **OPTIONS[name]}}, class_weights)


def _batch(classes, seed=1):
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 13, 9, generator=random, requires_grad=True)
    target = torch.randint(0, classes, (2, 13, 9), generator=random).to(torch.uint8)
    target[0, :6] = 255
    return logits, target


def test_every_loss_is_tested():
    assert _names() == sorted(OPTIONS)


@pytest.mark.parametrize(("name", "classes"), CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_contract(name, classes, weighted):
    loss = _loss(name, torch.linspace(0.5, 1.5, classes) if weighted else None)
    logits, target = _batch(classes)
    value = loss(logits, target)
    value.backward()
    assert value.ndim == 0
    assert value > 0
    assert logits.grad.isfinite().all()
    assert (logits.grad[0, :, :6] == 0).all()  # ignored pixels pull at nothing
    assert logits.grad[1].abs().sum() > 0
    truth = torch.nn.functional.one_hot(torch.where(target == 255, 0, target).long(), classes).movedim(-1, 1)
    assert 0 <= loss((2 * truth - 1) * 40.0, target) < 1e-4


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_what_stands_on_ignored_pixels_does_not_matter(name, classes):
    logits, target = _batch(classes)
    other = logits.detach().clone()
    other[0, :, :6] = 100 * torch.randn(classes, 6, 9)
    assert torch.equal(_loss(name)(logits, target), _loss(name)(other, target))


@pytest.mark.parametrize(("name", "classes"), CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_nothing_labelled_is_zero_with_its_gradient(name, classes, weighted):
    logits = torch.randn(1, classes, 3, 3, requires_grad=True)
    weights = torch.linspace(0.5, 1.5, classes) if weighted else None
    value = _loss(name, weights)(logits, torch.full((1, 3, 3), 255, dtype=torch.uint8))
    value.backward()
    assert value.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize(("name", "classes"), CASES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_full(name, classes, dtype):
    logits, target = _batch(classes)
    half = logits.detach().to(dtype).requires_grad_()
    value = _loss(name)(half, target)
    value.backward()
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, _loss(name)(half.detach().float(), target))
    assert half.grad.isfinite().all()


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_confident_and_wrong_is_finite(name, classes):
    _, target = _batch(classes)
    truth = torch.nn.functional.one_hot(torch.where(target == 255, 0, target).long(), classes).movedim(-1, 1)
    wrong = ((1 - 2 * truth) * 80.0).requires_grad_()
    value = _loss(name)(wrong, target)
    value.backward()
    assert value.isfinite()
    assert wrong.grad.isfinite().all()


def test_weighted_sum():
    logits, target = torch.randn(1, 2, 4, 4), torch.randint(0, 2, (1, 4, 4))
    one, other = (losses.build({name: 1.0}, None)(logits, target) for name in ("cross_entropy", "dice"))
    both = losses.build({"cross_entropy": 2.0, "dice": {"weight": 0.5}}, None)(logits, target)
    torch.testing.assert_close(both, 2 * one + 0.5 * other)


def test_unknown_loss():
    with pytest.raises(
        ParamsError, match=r"loss 'focall' has no file src/thalweg/losses/focall.py; there are bce, .*tversky"
    ):
        losses.build({"focall": 1.0}, None)


@pytest.mark.parametrize(
    ("loss", "fault"),
    [
        ({"focal": 1.0}, "loss 'focal' lacks gamma; it takes weight, gamma"),
        ({"dice": {"weight": 1.0, "smooth": 1}}, "has unknown smooth; it takes weight"),
        ({"dice": {}}, "weight above 0, not None"),
        ({"dice": -1.0}, "weight above 0, not -1.0"),
        ({"cross_entropy": {"weight": 1.0, "smoothing": 1.0}}, "smoothing should be at least 0 and below 1"),
        ({"focal": {"weight": 1.0, "gamma": -1.0}}, "gamma should be at least 0"),
        ({"tversky": {"weight": 1.0, "alpha": 0.0, "beta": 0.0}}, "not both 0"),
        ({"cldice": {"weight": 1.0, "classes": [], "iterations": 3}}, "ids of the linear classes"),
        ({"cldice": {"weight": 1.0, "classes": [1], "iterations": 0}}, "whole number from 1 on"),
        ({"boundary": {"weight": 1.0, "reach_px": 0}}, "reach_px should be above 0"),
        ({"parcel": {"weight": 1.0, "min_px": 0}}, "min_px should be at least 1"),
        ({"nnpu": {"weight": 1.0, "prior": None, "beta": 0.0, "gamma": 1.0}}, "neither its prior nor masks.prior"),
        ({"nnpu": {"weight": 1.0, "prior": 1.0, "beta": 0.0, "gamma": 1.0}}, "between 0 and 1, not 1.0"),
        ({"nnpu": {"weight": 1.0, "prior": 0.1, "beta": -1.0, "gamma": 1.0}}, "beta should be"),
    ],
)
def test_wrong_options(loss, fault):
    with pytest.raises(ParamsError, match=fault):
        losses.build(loss, None)


def test_losses_that_do_not_suit_the_classes():
    logits, target = torch.randn(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8)
    with pytest.raises(ParamsError, match="'nnpu' takes two classes, unlabelled and positive, not 3"):
        _loss("nnpu")(logits, target)
    with pytest.raises(ParamsError, match="'cldice' names class 5 of 3; ids count from 0"):
        losses.build({"cldice": {"weight": 1.0, "classes": [5], "iterations": 1}}, None)(logits, target)


def test_the_prior_comes_from_the_masks_unless_params_say():
    given = {"nnpu": {"weight": 1.0, "prior": None, "beta": 0.0, "gamma": 1.0}}
    assert losses.build(given, None, prior=0.05).terms["nnpu"].prior == 0.05
    given["nnpu"]["prior"] = 0.3
    assert losses.build(given, None, prior=0.05).terms["nnpu"].prior == 0.3


def test_positives_alone_are_never_pushed_down():
    loss = losses.build({"nnpu": {"weight": 1.0, "prior": 0.3, "beta": 0.0, "gamma": 1.0}}, None)
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    loss(logits, torch.ones(1, 4, 4, dtype=torch.uint8)).backward()
    assert logits.grad is not None
    assert (logits.grad[:, 1] < 0).all()


def test_pixels_of_a_class_that_weighs_nothing_take_no_part_even_smoothed():
    loss = losses.build({"cross_entropy": {"weight": 1.0, "smoothing": 0.1}}, torch.tensor([0.0, 1.0]))
    logits = torch.randn(1, 2, 8, 8, requires_grad=True)
    target = torch.zeros(1, 8, 8, dtype=torch.uint8)
    value = loss(logits, target)
    value.backward()
    assert value.item() == 0
    assert (logits.grad == 0).all()
    target[0, 2, 3] = 1
    alone = torch.full_like(target, 255)
    alone[0, 2, 3] = 1
    torch.testing.assert_close(loss(logits, target), loss(logits, alone))
