import math

import pytest
import torch

from thalweg import models
from thalweg.backbones.series import bands_of, dates_of, measured
from thalweg.models.ltae import LTAE


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
        shares = LTAE.attention(torch.zeros(1, 3, 2, 1, 1), there)
        assert shares[0, :, 0, 0, 0].tolist() == [0.5, 0.0, 0.5]
        nowhere = LTAE.attention(torch.zeros(1, 3, 2, 1, 1), there & False)
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


def test_dynamic_unet_starts_without_checkerboard():
    from thalweg.models.dynamic_unet import _Attention, _Shuffle

    grown = _Shuffle(3, 2)(torch.randn(1, 3, 4, 4))
    squares = grown.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)  # the four pixels that were one
    assert grown.shape == (1, 2, 8, 8)
    torch.testing.assert_close(squares.amax(-1), squares.amin(-1))
    features = torch.randn(1, 8, 3, 3)
    assert torch.equal(_Attention(8)(features), features)  # no effect at first
