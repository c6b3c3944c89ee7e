"""Values of losses against torchmetrics, smp, and arrays worked by hand."""

import math

import numpy as np
import pytest
import torch
from segmentation_models_pytorch import losses as smp
from segmentation_models_pytorch.losses._functional import softmax_focal_loss_with_logits
from torchmetrics.functional.segmentation import generalized_dice_score

from thalweg import losses
from thalweg.losses.boundary import distance
from thalweg.losses.cldice import skeleton
from thalweg.losses.parcel import pixel_weights

HALF = torch.zeros(1, 2, 1, 4)
"""Every probability 1/2."""


def _build(name, class_weights=None, **options):
    return losses.build({name: {"weight": 1.0, **options}}, class_weights)


def _batch(classes, ignored=True):
    random = torch.Generator().manual_seed(5)
    logits = 2 * torch.randn(2, classes, 12, 11, generator=random)
    target = torch.randint(0, classes, (2, 12, 11), generator=random)
    if ignored:
        target[0, :5, 3:] = 255
    return logits, target


def test_cross_entropy_by_hand():
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)  # probabilities 1/4, 3/4
    target = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
    plain = losses.build({"cross_entropy": 1.0}, None)(logits, target)
    assert plain.item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)
    weighted = losses.build({"cross_entropy": 1.0}, torch.tensor([3.0, 1.0]))(logits, target)
    assert weighted.item() == pytest.approx((3 * math.log(4) + math.log(4 / 3)) / 4)
    # Smoothed by 0.2: nine tenths of the truth's −log, one tenth of the other's
    smooth = _build("cross_entropy", smoothing=0.2)(logits, target)
    assert smooth.item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)
    one = _build("cross_entropy", smoothing=0.2)(logits[..., :1], target[..., :1])
    assert one.item() == pytest.approx(0.9 * math.log(4) + 0.1 * math.log(4 / 3))


def test_smoothing_equals_smp():
    logits, target = _batch(4)
    known = target != 255
    reference = smp.SoftCrossEntropyLoss(reduction="sum", smooth_factor=0.1, ignore_index=255)(logits, target)
    assert _build("cross_entropy", smoothing=0.1)(logits, target).item() == pytest.approx(
        reference.item() / known.sum().item(), rel=1e-5
    )


def test_dice_by_hand():
    target = torch.tensor([[[1, 1, 1, 255]]], dtype=torch.uint8)
    # Only class 1 is in the truth: 1 − (2·1.5 + 1) / (1.5 + 3 + 1)
    assert losses.build({"dice": 1.0}, None)(HALF, target).item() == pytest.approx(1 - 4 / 5.5)


def test_dice_of_labels_equals_torchmetrics():
    """Of labels instead of probabilities, and of so many pixels that the smoothing vanishes."""
    random = torch.Generator().manual_seed(2)
    target, labels = (torch.randint(0, 3, (1, 400, 400), generator=random) for _ in range(2))
    logits = 60.0 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1)
    reference = generalized_dice_score(labels, target, num_classes=3, per_class=True, input_format="index").mean()
    assert losses.build({"dice": 1.0}, None)(logits, target).item() == pytest.approx(1 - reference.item(), abs=2e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_bce_of_two_classes_is_the_cross_entropy(weighted):
    logits, target = _batch(2)
    weights = torch.tensor([0.5, 2.0]) if weighted else None
    torch.testing.assert_close(
        _build("bce", weights)(logits, target), losses.build({"cross_entropy": 1.0}, weights)(logits, target)
    )


def test_bce_of_many_classes_equals_smp():
    logits, target = _batch(4)
    known = target != 255
    truth = torch.nn.functional.one_hot(torch.where(known, target, 0), 4).movedim(-1, 1).float()
    planes = torch.where(known[:, None], truth, 255.0)
    reference = smp.SoftBCEWithLogitsLoss(reduction="sum", ignore_index=255)(logits, planes)
    assert _build("bce")(logits, target).item() == pytest.approx(reference.item() / (4 * known.sum().item()), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_equals_smp(gamma):
    logits, target = _batch(4, ignored=False)
    reference = softmax_focal_loss_with_logits(logits, target, gamma=gamma)
    assert _build("focal", gamma=gamma)(logits, target).item() == pytest.approx(reference.item(), rel=1e-4)


def test_focal_by_hand():
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1).expand(1, 2, 1, 2)
    target = torch.tensor([[[0, 1]]], dtype=torch.uint8)
    expected = ((3 / 4) ** 2 * math.log(4) * 3 + (1 / 4) ** 2 * math.log(4 / 3)) / 4
    assert _build("focal", torch.tensor([3.0, 1.0]), gamma=2.0)(logits, target).item() == pytest.approx(expected)
    weights = torch.tensor([3.0, 1.0])
    torch.testing.assert_close(
        _build("focal", weights, gamma=0.0)(logits, target),
        losses.build({"cross_entropy": 1.0}, weights)(logits, target),
    )


def test_tversky_equals_smp_and_dice():
    logits, target = _batch(4)
    reference = smp.TverskyLoss("multiclass", smooth=0.5, ignore_index=255, alpha=0.3, beta=0.7)(logits, target)
    assert _build("tversky", alpha=0.3, beta=0.7)(logits, target).item() == pytest.approx(reference.item(), rel=1e-5)
    torch.testing.assert_close(
        _build("tversky", alpha=0.5, beta=0.5)(logits, target), losses.build({"dice": 1.0}, None)(logits, target)
    )


def test_lovasz_equals_smp():
    for classes in (2, 5):
        logits, target = _batch(classes)
        reference = smp.LovaszLoss("multiclass", ignore_index=255)(logits, target)
        assert losses.build({"lovasz": 1.0}, None)(logits, target).item() == pytest.approx(reference.item(), rel=1e-5)


def test_lovasz_of_labels_is_one_less_iou():
    labels, target = torch.tensor([[[0, 1, 1, 1, 0]]]), torch.tensor([[[0, 1, 1, 0, 255]]])
    logits = 90.0 * torch.nn.functional.one_hot(labels, 2).movedim(-1, 1)
    # IoU of class 0: 1 of 2; of class 1: 2 of 3
    assert losses.build({"lovasz": 1.0}, None)(logits, target).item() == pytest.approx(1 - (1 / 2 + 2 / 3) / 2)


def test_skeleton_of_a_broad_line_is_its_middle():
    plane = torch.zeros(1, 1, 9, 12)
    plane[..., 3:6, 1:11] = 1
    lines = skeleton(plane, 3)[0, 0]
    assert lines[4, 2:10].tolist() == [1.0] * 8
    assert lines[[3, 5], 2:10].sum() == 0
    thin = torch.zeros(1, 1, 5, 5)
    thin[..., 2, :] = 1
    torch.testing.assert_close(skeleton(thin, 2), thin)


def test_cldice_by_hand():
    """A road of 6 pixels, found but for a gap of 2; certain probabilities, so that the lines are the things."""
    target = torch.zeros(1, 3, 6, dtype=torch.uint8)
    target[:, 1] = 1
    found = target.clone()
    found[:, 1, 2:4] = 0
    logits = 90.0 * torch.nn.functional.one_hot(found.long(), 2).movedim(-1, 1)
    # All 4 found lie on the road: (4+1)/(4+1); of the road's 6 pixels 4 are found: (4+1)/(6+1)
    precise, complete = 1.0, 5 / 7
    expected = 1 - 2 * precise * complete / (precise + complete)
    assert _build("cldice", classes=[1], iterations=2)(logits, target).item() == pytest.approx(expected)


def test_distance_by_hand():
    ids = np.array([[0, 0, 0, 1, 1, 255]], np.uint8)
    assert distance(ids, 1, 2.0).tolist() == [[1.0, 1.0, 0.5, -0.5, -1.0, 0.0]]
    assert distance(ids, 0, 4.0).tolist() == [[-0.75, -0.5, -0.25, 0.25, 0.5, 0.0]]
    assert not distance(ids, 2, 2.0).any()
    assert not distance(np.ones((2, 2), np.uint8), 1, 2.0).any()


def test_boundary_by_hand():
    target = torch.tensor([[[0, 1, 1, 1]]], dtype=torch.uint8)
    # Probabilities 1/2, distances from class 1: 1, −1, −2, −3 pixels, of class 0 the opposite: half their sizes, twice
    assert _build("boundary", reach_px=4.0)(HALF, target).item() == pytest.approx((1 + 1 + 2 + 3) / 4 * 0.5 / 4)


@pytest.mark.parametrize("margin", [0.0, 5.0])
def test_nnpu_by_hand(margin):
    # One positive, three unlabelled, all with the same margin; sigmoid losses s = σ(−m) and 1 − s
    logits = torch.stack([torch.zeros(1, 1, 4), torch.full((1, 1, 4), margin)], 1)
    target = torch.tensor([[[1, 0, 0, 0]]], dtype=torch.uint8)
    s = 1 / (1 + math.exp(margin))
    expected = 0.3 * s + max(0, (1 - s) - 0.3 * (1 - s))
    assert _build("nnpu", prior=0.3, beta=0.0, gamma=1.0)(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_nnpu_goes_back_where_negatives_overfit():
    """Unlabelled pixels are all called negative, positives positive: the risk of negatives is −π, which cannot be."""
    margin = torch.tensor([4.0, -4.0, -4.0]).reshape(1, 1, 3).requires_grad_()
    logits = torch.stack([torch.zeros(1, 1, 3), margin], 1)
    target = torch.tensor([[[1, 0, 0]]], dtype=torch.uint8)
    loss = _build("nnpu", prior=0.3, beta=0.0, gamma=0.5)(logits, target)
    loss.backward()
    s, slope = 1 / (1 + math.exp(4)), math.exp(4) / (1 + math.exp(4)) ** 2
    assert loss.item() == pytest.approx(0.3 * s)
    # −γ·d(E₀σ(m) − π·E₊σ(m))/dm: unlabelled are pushed up, the positive down
    assert margin.grad.flatten().tolist() == pytest.approx(
        [0.5 * 0.3 * slope, -0.5 * slope / 2, -0.5 * slope / 2], rel=1e-4
    )


def test_nnpu_finds_positives_that_nobody_marked():
    """Points on a line: positives at +1, half of them marked; cross-entropy calls the unmarked negative, nnPU does not."""
    random = torch.Generator().manual_seed(0)
    truth = torch.rand(1, 1, 4000, generator=random) < 0.4
    feature = torch.where(truth, 1.0, -1.0) + 0.5 * torch.randn(truth.shape, generator=random)
    marked = truth & (torch.rand(truth.shape, generator=random) < 0.3)
    hidden = float((truth & ~marked).sum() / (~marked).sum())

    def recall(loss):
        weight = torch.zeros(2, requires_grad=True)
        optimiser = torch.optim.Adam([weight], lr=0.05)
        for _ in range(200):
            optimiser.zero_grad()
            margin = weight[0] * feature + weight[1]
            loss(torch.stack([torch.zeros_like(margin), margin], 1), marked.to(torch.uint8)).backward()
            optimiser.step()
        called = (weight[0] * feature + weight[1] > 0).detach()
        return float((called & truth).sum() / truth.sum()), float((called == truth).float().mean())

    plain, _ = recall(losses.build({"cross_entropy": 1.0}, None))
    found, accuracy = recall(_build("nnpu", prior=hidden, beta=0.0, gamma=1.0))
    assert plain < 0.5
    assert found > 0.9
    assert accuracy > 0.93


def test_parcels_count_alike():
    ids = np.array([[1, 1, 1, 255], [2, 0, 0, 255], [1, 0, 0, 0]], np.uint8)
    weights = pixel_weights(ids, min_px=1)
    # Parcels: three 1s, one 2, one 1 below, five 0s
    np.testing.assert_allclose(weights, [[1 / 3, 1 / 3, 1 / 3, 0], [1, 1 / 5, 1 / 5, 0], [1, 1 / 5, 1 / 5, 1 / 5]])
    assert pixel_weights(ids, min_px=2)[1, 0] == 0.5


def test_parcel_by_hand():
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1).expand(1, 2, 1, 5)  # probabilities 1/4, 3/4
    target = torch.tensor([[[0, 0, 255, 1, 0]]], dtype=torch.uint8)  # parcels: two 0s, one 1, one 0
    expected = (2 * math.log(4) + math.log(4 / 3)) / 3
    assert _build("parcel", min_px=1)(logits, target).item() == pytest.approx(expected)
