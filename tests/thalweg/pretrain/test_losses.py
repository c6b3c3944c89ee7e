"""Losses, pooling and matching by hand, and what keeps nodata out of them."""

import math

import pytest
import torch
from encoder_builder import CROPS, OPTIONS, params

from thalweg.errors import ParamsError
from thalweg.pretrain.encoder import build_encoder, pooled
from thalweg.pretrain.method import Plan
from thalweg.pretrain.methods import build, mae, vicreg
from thalweg.pretrain.queue import Queue, info_nce
from thalweg.pretrain.run import build_method
from thalweg.pretrain.views import View, look, matched

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


def at(*x_m: float) -> torch.Tensor:
    """Places in a row."""
    return torch.tensor([[6_378_137.0, each, 0.0] for each in x_m], dtype=torch.float64)


def test_the_queue_forgets_the_oldest_and_knows_places():
    queue = Queue(3, 2, chip_m=100.0)
    assert not queue.strangers(at(0)).any()  # empty places are nobody
    queue.add(torch.tensor([E1, E2]), at(0, 1000))
    queue.add(torch.tensor([E2, [-1.0, 0.0]]), at(2000, 3000))
    assert queue.keys.tolist() == [[-1.0, 0.0], E2, E2]
    assert queue.places_m.tolist() == at(3000, 1000, 2000).tolist()
    assert queue.strangers(at(1000, 3000)).tolist() == [[True, False, True], [False, True, True]]
    # squares of 100 m, however they are turned, may share ground up to 141.4 m apart
    assert queue.strangers(at(1141, 2142)).tolist() == [[True, False, True], [True, True, True]]


def test_of_more_keys_than_it_holds_the_queue_keeps_the_last():
    queue = Queue(2, 2, chip_m=1.0)
    queue.add(torch.tensor([E1, E2, [-1.0, 0.0]]), at(1, 2, 3))
    assert queue.keys.tolist() == [E2, [-1.0, 0.0]]
    queue.add(torch.tensor([E1]), at(4))
    assert queue.keys.tolist() == [E1, [-1.0, 0.0]]


def test_the_cells_that_enter_a_loss_are_of_all_chips():
    """Of 6000 the first 4096 would be those of the first two thirds of the chips."""
    chosen = vicreg.some(torch.arange(6000)[:, None])[:, 0]
    assert len(chosen) == len(set(chosen.tolist())) == 4096
    assert (int(chosen[0]), int(chosen[2048]), int(chosen[-1])) == (0, 3000, 5998)
    assert len(vicreg.some(torch.zeros(4096, 1))) == 4096


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


def test_either_view_is_predicted_from_the_other():
    """Both ways, against a target that is no longer the online network."""
    torch.manual_seed(0)
    made = build("byol", build_encoder("resnet18", 3, 3), OPTIONS["byol"] | {"heads": False}, None)
    with torch.no_grad():
        for value in made.target.parameters():
            value.add_(0.1 * torch.randn_like(value))
    one, two = (_view(torch.randn(4, 3, 16, 16)) for _ in range(2))
    said = [made.target(view)[0] for view in (one, two)]
    asked = [made.online(view)[0] for view in (one, two)]
    cosines = [torch.cosine_similarity(asked[k], said[1 - k]).mean() for k in (0, 1)]
    wanted = 2 - float(cosines[0].detach()) - float(cosines[1].detach())
    assert wanted > 0.01
    assert float(made.step(_views(one, two), 0).loss.detach()) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("method", ["byol", "moco_v2", "dino", "seasonal"])
def test_no_gradient_reaches_the_network_that_follows(method):
    made = build_method(params(method), 3, build_encoder)
    if method in ("moco_v2", "seasonal"):
        for queue in [made.queue] if method == "moco_v2" else made.queues:
            queue.add(torch.randn(8, 16), at(*range(10**6, 10**6 + 8)))
    views = [_view(torch.randn(4, 3, 16, 16)) for _ in range(4 if method == "seasonal" else 2)]
    small = [_view(torch.randn(4, 3, 8, 8))] if method == "dino" else []
    made.step(_views(*views)._replace(small=small), 1).loss.backward()
    second = {"byol": "target", "dino": "teacher"}.get(method, "answering")
    assert all(value.grad is None for value in getattr(made, second).parameters())
    assert all(value.grad is not None for name, value in made.encoder.named_parameters() if "layer2" in name)


def test_dinos_teacher_sees_wide_views_alone_and_its_prototypes_wait():
    made = build_method(params("dino", options=OPTIONS["dino"] | {"freeze_epochs": 1}), 3, build_encoder)
    seen = {"student": [], "teacher": []}
    for name, sizes in seen.items():
        getattr(made, name).register_forward_pre_hook(lambda _, given, to=sizes: to.append(given[0].inputs.shape[-1]))
    views = _views(*(_view(torch.randn(4, 3, 16, 16)) for _ in range(2)))
    views = views._replace(small=[_view(torch.randn(4, 3, 8, 8))])
    for epoch, learns in ((0, False), (1, True)):
        made.zero_grad()
        made.step(views, epoch).loss.backward()
        assert (made.head.prototypes.grad is not None) == learns
    assert seen == {"student": [16, 16, 8] * 2, "teacher": [16, 16] * 2}


def test_each_space_of_seasonal_contrast_takes_its_own_keys():
    made = build(
        "seasonal", build_encoder("resnet18", 3, 3), OPTIONS["seasonal"] | {"projection": 2, "temperature": 1.0},
        Plan(3, params().crops, 1))  # fmt: skip
    asked, keys = torch.tensor([E1]), torch.tensor([[E1, E2, [-1.0, 0.0]]])
    sites = at(0)
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


@pytest.mark.parametrize(
    ("method", "changes", "said"),
    [
        (
            "seasonal",
            {"positives": "augmented"},
            "method 'seasonal' is about dates, but positives is 'augmented'; set it to dates",
        ),
        ("mae", {"positives": "dates"}, "method 'mae' looks at one date alone; set positives to augmented"),
        (
            "byol",
            {"crops": CROPS | {"small_m": (480.0, 960.0), "small": 2}},
            "method 'byol' looks at no small views, but crops.small is 2; set it to 0 and small_m to null",
        ),
    ],
)
def test_views_that_a_method_does_not_look_at(method, changes, said):
    with pytest.raises(ParamsError, match=said):
        build_method(params(method, **changes), 3, build_encoder)


def test_cells_of_the_same_ground_are_matched_over_pixels_of_unlike_size():
    """The other date's pixels are twice as large, and so is the ground of its raster: its middle half is the chip."""
    ramp = torch.tensor([[[[-0.75, -0.25, 0.25, 0.75]] * 2]])  # of the first date's half chip
    whole = torch.eye(2, 3)[None]
    middle = torch.tensor([[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]])
    seen = [look(ramp, ramp != 0, place, 4, torch.tensor([half_m])).place
            for place, half_m in ((whole, 480.0), (middle, 960.0))]  # fmt: skip
    one, two = matched(_view(ramp, seen[0]), _view(ramp, seen[1]), [ramp, ramp])
    assert one.flatten().tolist() == [-0.75, -0.25, 0.25, 0.75] * 2
    assert two.flatten().tolist() == pytest.approx(one.flatten().tolist())


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
        ("vicreg", {"variance": math.inf}, r"options of method 'vicreg' cannot be used: 'variance' .*finite number"),
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


def test_attention_heads_divide_the_decoders_width():
    with pytest.raises(ParamsError, match=r"method 'mae' cannot be used: width 30 is no multiple of heads 4; correct"):
        build_method(params("mae", options=OPTIONS["mae"] | {"width": 30, "heads": 4}), 3, build_encoder)


def test_views_divide_by_the_stride():
    with pytest.raises(ParamsError, match=r"crops\.wide_px is 16, but the encoder's stride is 32; give a multiple"):
        build_method(params("byol", depth=5), 3, build_encoder)


def _view(inputs: torch.Tensor, place: torch.Tensor | None = None) -> View:
    valid = torch.ones(len(inputs), 1, *inputs.shape[-2:])
    return View(inputs, valid, torch.eye(2, 3).expand(len(inputs), 2, 3) if place is None else place, inputs != 0)


def _views(*wide: View):
    from thalweg.pretrain.method import Views

    return Views(wide, (), at(*range(len(wide[0].inputs))))
