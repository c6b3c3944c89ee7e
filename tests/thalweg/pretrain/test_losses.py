"""Losses, pooling and matching by hand, and what keeps nodata out of them."""

import math

import pytest
import torch
from encoder_builder import OPTIONS, params

from thalweg.errors import ParamsError
from thalweg.pretrain.encoder import build_encoder, pooled
from thalweg.pretrain.methods import build, mae
from thalweg.pretrain.queue import Queue, info_nce
from thalweg.pretrain.run import build_method
from thalweg.pretrain.views import View, matched

E1, E2 = [1.0, 0.0], [0.0, 1.0]


def test_info_nce_by_hand():
    query, keys = torch.tensor([E1]), torch.tensor([[E1]])
    negatives = torch.tensor([E2, [-1.0, 0.0]])
    both = torch.ones(1, 2, dtype=torch.bool)
    # e / (e + 1 + 1/e)
    assert float(info_nce(query, keys, negatives, both, 1.0)) == pytest.approx(math.log(1 + 1 / math.e + math.e**-2))
    one = torch.tensor([[True, False]])
    assert float(info_nce(query, keys, negatives, one, 1.0)) == pytest.approx(math.log(1 + 1 / math.e))
    assert float(info_nce(query, keys, negatives, ~both, 1.0)) == 0  # no stranger, nothing to be told from
    # halved temperature: e² / (e² + 1); two positives, of which the second is orthogonal: 1 / (1 + 1)
    near = torch.tensor([[E1, E2]])
    wanted = (math.log(1 + math.e**-2) + math.log(2)) / 2
    assert float(info_nce(query, near, negatives, one, 0.5)) == pytest.approx(wanted)


def test_the_queue_forgets_the_oldest_and_knows_places():
    queue = Queue(3, 2)
    assert not queue.strangers(torch.tensor([0])).any()  # empty places are nobody
    queue.add(torch.tensor([E1, E2]), torch.tensor([0, 1]))
    queue.add(torch.tensor([E2, [-1.0, 0.0]]), torch.tensor([2, 3]))
    assert queue.keys.tolist() == [[-1.0, 0.0], E2, E2]
    assert queue.sites.tolist() == [3, 1, 2]
    assert queue.strangers(torch.tensor([1, 3])).tolist() == [[True, False, True], [False, True, True]]


def test_vicreg_by_hand():
    made = build_method(params("vicreg"), 3, build_encoder)
    # variances 2 and 0: hinges 0 and 1 − √1e-4 = 0.99, mean 0.495, both views: 25 · 0.495; nothing covaries
    flat = torch.tensor([E1, [-1.0, 0.0]])
    assert float(made.criterion(flat, flat)) == pytest.approx(25 * 0.495)
    # variances 2, 2; covariances 2 off the diagonal: (4 + 4) / 2 per view
    twin = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    assert float(made.criterion(twin, twin)) == pytest.approx(8)
    # every value 0.5 apart: 25 · 0.25 more, while moments stay
    assert float(made.criterion(twin, twin + 0.5)) == pytest.approx(8 + 25 * 0.25)


def test_dino_by_hand():
    options = OPTIONS["dino"] | {"prototypes": 2, "teacher_temperature": 1.0, "warmup_temperature": 1.0,
                                 "student_temperature": 0.5}  # fmt: skip
    made = build_method(params("dino", options=options), 3, build_encoder)
    said = [torch.tensor([[0.0, math.log(3)]]), torch.tensor([[0.0, 0.0]])]  # (1/4, 3/4) and (1/2, 1/2)
    heard = [torch.tensor([[0.0, 0.0]])] * 2 + [torch.tensor([[0.5 * math.log(3), 0.0]])]  # last: (3/4, 1/4)
    # teacher 1 with students 2 and 3, teacher 2 with students 1 and 3
    pairs = [math.log(2), -0.25 * math.log(0.75) - 0.75 * math.log(0.25), math.log(2),
             -0.5 * math.log(0.75) - 0.5 * math.log(0.25)]  # fmt: skip
    assert float(made.criterion(said, heard, epoch=5)) == pytest.approx(sum(pairs) / 4)
    assert made.criterion.center.flatten().tolist() == pytest.approx([0, 0.1 * math.log(3) / 2])


def test_byol_by_hand():
    made = build("byol", build_encoder("resnet18", 3, 3), OPTIONS["byol"] | {"heads": False}, None)
    view = _view(torch.randn(4, 3, 16, 16))
    outcome = made.step(_views(view, view), 0)
    assert float(outcome.loss.detach()) == pytest.approx(0, abs=1e-5)  # what is the same is predicted
    # 2 − 2 cos 45° for predictions at 45° of what was said, both ways
    half = math.sqrt(0.5)
    assert float(made.criterion(torch.tensor([E1]), torch.tensor([[half, half]]))) == pytest.approx(-half)


def test_each_space_of_seasonal_contrast_takes_its_own_keys():
    made = build(
        "seasonal", build_encoder("resnet18", 3, 3), OPTIONS["seasonal"] | {"projection": 2, "temperature": 1.0}, None
    )
    asked, keys = torch.tensor([E1]), torch.tensor([[E1, E2, [-1.0, 0.0]]])
    sites = torch.tensor([0])
    # all are positives and there is no negative
    assert float(made._loss(asked, keys, 0, sites)) == 0
    # k1 is orthogonal; k0 and k2 are negatives: −log 1 / (1 + e + 1/e)
    assert float(made._loss(asked, keys, 1, sites)) == pytest.approx(math.log(1 + math.e + 1 / math.e))
    # k2 is opposite: −log (1/e) / (1/e + e + 1)
    assert float(made._loss(asked, keys, 2, sites)) == pytest.approx(1 + math.log(1 + math.e + 1 / math.e))


def test_a_masked_autoencoder_errs_on_measured_values_alone():
    said, truth = torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[0.0, 0.0, 0.0]])
    assert float(mae.masked_error(said, truth, torch.tensor([[1.0, 1.0, 0.0]]))) == 2.5
    assert float(mae.masked_error(said, truth, torch.zeros(1, 3))) == 0


def test_features_are_of_measured_ground_alone():
    level = torch.tensor([[[[1.0, 3.0]]]])  # two cells of 2 × 2 px
    valid = torch.tensor([[[[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]]]])  # all of the first, a quarter of the second
    assert float(pooled(level, valid)) == pytest.approx((1 + 0.25 * 3) / 1.25)
    assert float(pooled(level, torch.zeros(1, 1, 2, 4))) == 0


@pytest.mark.parametrize("method", ["byol", "moco_v2", "vicreg", "dino", "seasonal"])
def test_what_lies_under_nodata_weighs_nothing(method):
    """An encoder sees nodata as 0; where the pool leaves cells out, nothing that it makes of them reaches the loss."""
    made = build_method(params(method), 3, build_encoder).encoder
    inputs, valid = torch.zeros(2, 3, 32, 32), torch.zeros(2, 1, 32, 32)
    inputs[..., :16], valid[..., :16] = torch.randn(2, 3, 32, 16), 1.0
    level = made.eval()(inputs)[-1]
    spoilt = level.clone()
    spoilt[..., level.shape[-1] // 2 :] = 1e6
    assert torch.equal(pooled(level, valid), pooled(spoilt, valid))


def test_cells_of_the_same_ground_are_matched():
    """The second view is the left half of the first, twice as large and flipped."""
    whole = torch.eye(2, 3)[None]
    half = torch.tensor([[[-0.5, 0.0, -0.5], [0.0, 1.0, 0.0]]])  # x: its −1…1 is 0…−1 of the chip
    ramp = torch.tensor([[[[-0.75, -0.25, 0.25, 0.75]] * 2]])  # x of the chip at the middles of four cells
    there = torch.tensor([[[[-0.125, -0.375, -0.625, -0.875]] * 2]])
    one, two = matched(_view(ramp, whole), _view(there, half), [ramp, there])
    assert one.flatten().tolist() == [-0.75, -0.25] * 2  # the right half is not in the second
    assert two.flatten().tolist() == pytest.approx([-0.75, -0.25] * 2)
    hidden = _view(there, half)._replace(valid=torch.zeros(1, 1, 2, 4))
    assert len(matched(_view(ramp, whole), hidden, [ramp, there])[0]) == 0


@pytest.mark.parametrize(
    ("method", "changes", "said"),
    [
        (
            "simclr",
            {},
            r"method 'simclr' has no file src/thalweg/pretrain/methods/simclr\.py; there are byol, dino, mae",
        ),
        (
            "byol",
            {"hidden": 0},
            r"options of method 'byol' cannot be used: 'hidden' .* it takes hidden, projection, heads",
        ),
        ("byol", {"width": 3}, r"options of method 'byol' cannot be used: 'width' extra inputs"),
        ("vicreg", {"level": 4}, r"method 'vicreg' cannot be used: level 4 is beyond the encoder's 3 maps"),
        ("mae", {}, r"method 'mae' cannot be used: only a vision transformer leaves patches out"),
    ],
)
def test_what_a_method_does_not_take(method, changes, said):
    options = OPTIONS.get(method, {}) | changes
    with pytest.raises(ParamsError, match=said):
        build(method, build_encoder("resnet18", 3, 3), options, None)


@pytest.mark.parametrize(
    ("encoder", "depth", "said"),
    [
        ("resnet19", 3, "encoder 'resnet19' at depth 3 cannot be used: .*Wrong encoder name.*; choose another"),
        ("tu-nothing", 3, "encoder 'tu-nothing' at depth 3 cannot be used"),
    ],
)
def test_an_encoder_that_is_not_there(encoder, depth, said):
    with pytest.raises(ParamsError, match=said):
        build_encoder(encoder, 3, depth)


def test_views_divide_by_the_stride():
    with pytest.raises(ParamsError, match=r"crops\.wide_px is 16, but the encoder's stride is 32; give a multiple"):
        build_method(params("byol", depth=5), 3, build_encoder)


def _view(inputs: torch.Tensor, place: torch.Tensor | None = None) -> View:
    valid = torch.ones(len(inputs), 1, *inputs.shape[-2:])
    return View(inputs, valid, torch.eye(2, 3).expand(len(inputs), 2, 3) if place is None else place, inputs != 0)


def _views(*wide: View):
    from thalweg.pretrain.method import Views

    return Views(wide, (), torch.arange(len(wide[0].inputs)))
