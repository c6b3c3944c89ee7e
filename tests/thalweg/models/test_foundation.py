"""Foundation encoders give torchgeo's own features where torchgeo takes the size, and go on where it does not."""

import math

import pytest
import torch
from architecture_builder import OPTIONS
from torch.nn import functional as F
from torchgeo.models import scale_mae as torchgeo_scale_mae
from torchgeo.models.croma import get_2dalibi

from thalweg import models
from thalweg.backbones.tokens import Patches, patches, resized, sines
from thalweg.models import croma, scale_mae

WAVES_NM = (492.4, 559.8, 664.6, 832.8)


def _tokens(name, change=None, edge=224, **given):
    torch.manual_seed(1)
    network = models.build(name, 4, 2, OPTIONS[name] | (change or {}), **given).eval()
    for weight in network.trunk.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    inputs = torch.randn(1, 4, edge, edge)
    stride = network.stride
    with torch.inference_mode():
        return network.trunk, inputs, network.tokens(inputs, (edge // stride, edge // stride))[-1]


def test_dofa_equals_torchgeo():
    trunk, inputs, tokens = _tokens("dofa", wavelengths_nm=WAVES_NM)
    with torch.inference_mode():  # fc_norm is left out of the trunk, so the reference gives the mean of tokens
        reference = trunk.forward_features(inputs, [nm / 1000 for nm in WAVES_NM])
    torch.testing.assert_close(tokens.mean(1), reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("pixel_m", "area_km2"), [(10.0, 0.0256), (0.25, math.nan)])
def test_copernicusfm_equals_torchgeo(pixel_m, area_km2):
    trunk, inputs, tokens = _tokens("copernicusfm", wavelengths_nm=WAVES_NM, pixel_m=pixel_m)
    nan = math.nan
    with torch.inference_mode():
        reference = trunk.forward_features(
            inputs, torch.tensor([[nan, nan, nan, area_km2]]), WAVES_NM, (66.0, 36.0, 31.0, 106.0)
        )
    torch.testing.assert_close(tokens.mean(1), reference, rtol=1e-4, atol=1e-4)


def test_croma_equals_torchgeo():
    trunk, inputs, tokens = _tokens("croma", edge=32)
    with torch.inference_mode():
        reference = trunk(inputs, get_2dalibi(num_heads=16, num_patches=16))
    torch.testing.assert_close(tokens, reference, rtol=1e-4, atol=1e-4)


def test_croma_knows_distances_in_rectangles():
    bias = croma.distances((2, 3), torch.device("cpu"))
    assert bias.shape == (1, 16, 6, 6)
    assert bias[0, 1, 0, 5].item() == pytest.approx(
        -0.5 * math.sqrt(5)
    )  # slope 2^(−8·2/16); one row and two columns off


def test_scale_mae_positions_equal_torchgeo():
    reference = torchgeo_scale_mae.get_2d_sincos_pos_embed_with_resolution(1024, 3, torch.tensor([10.0]))
    torch.testing.assert_close(scale_mae.positions((3, 3), 10.0), reference[0], rtol=1e-4, atol=1e-5)


def test_sines_by_hand():
    # dim 4: rates 1 and 1/100
    expected = torch.tensor([[math.sin(2), math.sin(0.02), math.cos(2), math.cos(0.02)]])
    torch.testing.assert_close(sines([2], 4), expected)


def test_positions_of_other_rectangles():
    square = torch.cat([torch.full((1, 1, 2), 7.0), torch.ones(1, 9, 2)], 1)
    wide = resized(square, (2, 5))
    assert wide.shape == (1, 11, 2)
    assert (wide[:, 0] == 7).all()
    torch.testing.assert_close(wide[:, 1:], torch.ones(1, 10, 2))
    assert resized(square, (3, 3)) is square


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [3, 4, 8, 13])
def test_patches_equal_a_convolution(dtype, channels):
    """In bf16 too, where oneDNN's convolution of edge 16 and 4 or 8 channels is wrong on some CPUs."""
    layer = Patches(channels, 24, 16, 16)
    inputs = torch.randn(2, channels, 32, 48)
    with torch.inference_mode():
        reference = F.conv2d(inputs, layer.weight, layer.bias, stride=16)
        found = layer.to(dtype)(inputs.to(dtype)).float()
    assert (found - reference).abs().mean() <= (1e-6 if dtype == torch.float32 else 0.01) * reference.abs().mean()
    assert patches(inputs.to(dtype), layer.weight, None).shape == (2, 6, 24)


@pytest.mark.parametrize("name", ["dofa", "croma", "scale_mae"])
def test_lora_learns_little_and_keeps_the_rest(name):
    pytest.importorskip("peft", reason="the extra 'lora' is not installed")
    options = OPTIONS[name] | {"tuning": "lora", "lora_rank": 2, "weights": "file:weights.pth"}
    torch.manual_seed(1)
    network = models.build(name, 4, 2, options)
    trunk = dict(network.trunk.named_parameters())
    learning = {key for key, weight in trunk.items() if weight.requires_grad}
    assert learning
    assert all("lora_" in key for key in learning)
    assert sum(trunk[key].numel() for key in learning) < 0.05 * sum(weight.numel() for weight in trunk.values())
    with torch.no_grad():
        for key in learning:  # LoRA's second matrix is 0 at first, which leaves the first without gradient
            trunk[key].normal_(std=0.1)
    network(torch.randn(2, 4, 32, 32)).square().mean().backward()
    assert all(trunk[key].grad is not None and trunk[key].grad.isfinite().all() for key in learning)
    assert all(weight.grad is None for key, weight in trunk.items() if key not in learning)
    with torch.device("meta"):
        assert models.build(name, 4, 2, options)(torch.empty(1, 4, 20, 20)).shape == (1, 2, 20, 20)
