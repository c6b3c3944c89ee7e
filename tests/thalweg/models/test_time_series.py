import math

import pytest
import torch
from architecture_builder import OPTIONS, card

from thalweg import models
from thalweg.backbones.series import bands_of, dates_of, measured
from thalweg.errors import ParamsError
from thalweg.models import ltae
from thalweg.models.unet3d import mean_of_dates


def test_dates_are_read_date_by_date():
    flat = torch.tensor([10.0, 11.0, 20.0, 21.0, 30.0, 31.0]).reshape(1, 6, 1, 1)  # t00/a, t00/b, t01/a, …
    series = dates_of(flat, 3)
    assert series[0, :, 0, 0, 0].tolist() == [10, 20, 30]
    assert series[0, :, 1, 0, 0].tolist() == [11, 21, 31]
    assert bands_of(6, 3) == 2


def test_a_date_that_measured_nothing():
    series = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]).reshape(1, 2, 2, 1, 1)
    assert measured(series).flatten().tolist() == [False, True]


def test_convstar_by_hand():
    """One pixel, one band, one hidden number; kernels that see their own pixel alone."""
    network = models.build("convstar", 2, 1, {"steps": 2, "hidden": 1, "layers": 1})
    cell = network.cells[0]
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        cell.gate.weight[0, :, 1, 1] = torch.tensor([0.5, 2.0])  # of input and state
        cell.update.weight[0, 0, 1, 1] = 3.0
        network.head.weight.fill_(1.0)
        found = network(torch.tensor([0.2, 0.4]).reshape(1, 2, 1, 1)).item()

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    first = (1 - sigmoid(0.5 * 0.2)) * math.tanh(3 * 0.2)
    gate = sigmoid(0.5 * 0.4 + 2 * first)
    assert found == pytest.approx(gate * first + (1 - gate) * math.tanh(3 * 0.4), rel=1e-5)


@pytest.mark.parametrize("name", ["convstar", "ltae"])
def test_a_missing_date_does_not_count(name):
    """The same dates, with one that measured nothing put between, give the same state (ConvSTAR) or weigh nothing."""
    torch.manual_seed(1)
    if name == "convstar":
        short = models.build(name, 4, 2, {"steps": 2, "hidden": 3, "layers": 2})
        long = models.build(name, 6, 2, {"steps": 3, "hidden": 3, "layers": 2})
        long.load_state_dict(short.state_dict())
        inputs = torch.randn(1, 4, 5, 5)
        gap = torch.cat([inputs[:, :2], torch.zeros(1, 2, 5, 5), inputs[:, 2:]], 1)
        torch.testing.assert_close(long(gap), short(inputs))
    else:
        there = torch.tensor([True, False, True]).reshape(1, 3, 1, 1, 1)
        shares = ltae.LTAE.attention(torch.zeros(1, 3, 2, 1, 1), there)
        assert shares[0, :, 0, 0, 0].tolist() == [0.5, 0.0, 0.5]
        nowhere = ltae.LTAE.attention(torch.zeros(1, 3, 2, 1, 1), there & False)
        torch.testing.assert_close(nowhere[0, :, 0, 0, 0], torch.full((3,), 1 / 3))


def test_the_order_of_dates_matters_to_all_but_means():
    torch.manual_seed(1)
    inputs = torch.randn(1, 6, 8, 8)
    turned = torch.cat([inputs[:, 4:], inputs[:, 2:4], inputs[:, :2]], 1)
    options = {
        "convstar": {"steps": 3, "hidden": 4, "layers": 1},
        "ltae": {"steps": 3, "width": 8, "heads": 2, "key_dim": 4, "dropout": 0.0},
        "unet3d": {"steps": 3, "widths": [4, 8], "dropout": 0.0},
    }
    for name, given in options.items():
        network = models.build(name, 6, 2, given).eval()
        assert not torch.allclose(network(inputs), network(turned)), name


@pytest.mark.parametrize("steps", [1, 2, 5, 12])
def test_any_number_of_dates(steps):
    """U-Net takes them as channels, the others by themselves; some dates are missing, one chip lacks all."""
    torch.manual_seed(1)
    inputs = torch.randn(2, 3 * steps, 9, 11)
    inputs[0, :3], inputs[1] = 0, 0
    options = {
        "unet": {"widths": [4, 8], "dropout": 0.0, "upsample": "nearest"},
        "convstar": {"steps": steps, "hidden": 4, "layers": 1},
        "ltae": {"steps": steps, "width": 8, "heads": 2, "key_dim": 4, "dropout": 0.0, "positions": "calendar"},
        "unet3d": {"steps": steps, "widths": [4, 8], "dropout": 0.0},
    }
    days = models.days_of({"start": "01-01", "frequency": "1MS", "bins": steps})
    for name, given in options.items():
        logits = models.build(name, 3 * steps, 5, given, days=days).eval()(inputs)
        assert logits.shape == (2, 5, 9, 11), name
        assert torch.isfinite(logits).all(), name


LTAE = {"steps": 2, "width": 8, "heads": 2, "key_dim": 4, "dropout": 0.0}


def test_ltae_knows_dates_by_the_calendar():
    """Middle of April is day 105, of May 120 + 15.5: the first number of a position is the sine of the day itself."""
    days = models.days_of({"start": "04-01", "frequency": "1MS", "bins": 2})
    assert days == (105.0, 135.5)
    spring = models.build("ltae", 4, 2, LTAE | {"positions": "calendar"}, days=days)
    assert spring.dates[:, 0, 0, 0].tolist() == pytest.approx([math.sin(105.0), math.sin(135.5)], abs=1e-4)
    autumn = models.build("ltae", 4, 2, LTAE | {"positions": "calendar"}, days=(258.0, 288.5)).eval()
    autumn.load_state_dict(spring.eval().state_dict())
    inputs = torch.randn(1, 4, 3, 3)
    assert not torch.allclose(spring(inputs), autumn(inputs))
    before = models.build("ltae", 4, 2, LTAE, days=days)
    assert before.dates[:, 0, 0, 0].tolist() == pytest.approx([0, math.sin(1)], abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "days", "says"),
    [({"positions": "random"}, None, "positions should be calendar or order, not 'random'"),
     ({"positions": "calendar"}, (1.0, 2.0, 3.0), "steps should be 3, as many as the series has bins, not 2")],
)  # fmt: skip
def test_positions_that_cannot_be(changes, days, says):
    with pytest.raises(ParamsError, match=says):
        models.build("ltae", 4, 2, LTAE | changes, days=days)


def test_the_mean_over_dates_leaves_out_those_that_measured_nothing():
    features = torch.tensor([2.0, 100.0, 4.0]).reshape(1, 1, 3, 1, 1)
    there = torch.tensor([True, False, True]).reshape(1, 1, 3, 1, 1)
    assert mean_of_dates(features, there).item() == 3
    assert mean_of_dates(features, there & False).item() == pytest.approx(106 / 3)


@pytest.mark.parametrize("name", ["convstar", "ltae", "unet3d"])
def test_a_series_goes_through_the_network_of_its_card(name):
    """As in training and prediction: stored values in, and of all weights, those of 2-D convolutions channels-last."""
    dated = [channel.model_copy(update={"name": f"t{step:02}/{channel.name}"})
             for step in range(2) for channel in card().channels]  # fmt: skip
    made = card(name, OPTIONS[name], channels=tuple(dated))
    network = models.network(made).eval()
    pixels = torch.randint(0, 3000, (1, 8, 12, 4), dtype=torch.int16)
    assert network(pixels).shape == (1, 2, 8, 12)
    flat = [weight for weight in network.parameters() if weight.dim() == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in flat)


def test_dynamic_unet_starts_without_checkerboard():
    from thalweg.models.dynamic_unet import _Attention, _Shuffle

    grown = _Shuffle(3, 2)(torch.randn(1, 3, 4, 4))
    squares = grown.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)  # the four pixels that were one
    assert grown.shape == (1, 2, 8, 8)
    torch.testing.assert_close(squares.amax(-1), squares.amin(-1))
    features = torch.randn(1, 8, 3, 3)
    assert torch.equal(_Attention(8)(features), features)  # no effect at first
