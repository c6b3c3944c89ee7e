"""The contract of every architecture, walked by the files that there are."""

import pytest
import torch
from architecture_builder import OPTIONS, WITHOUT_GRADIENT, channels_of, names
from safetensors.torch import load, save

from thalweg import losses, models
from thalweg.errors import ParamsError

LIGHT = ("boosted_trees", "convstar", "fcn", "ltae", "unet", "unet3d")
LEARNING = sorted(set(OPTIONS) - WITHOUT_GRADIENT)


@pytest.fixture(scope="module")
def built():
    """Architectures for four bands and three classes, each built once."""
    made = {}

    def of(name):
        if name not in made:
            torch.manual_seed(3)
            made[name] = models.build(name, channels_of(name, 4), 3, OPTIONS[name])
        return made[name]

    return of


def test_every_architecture_is_tested():
    assert names() == sorted(OPTIONS)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_bands_classes_and_odd_sizes(name):
    """On the meta device, where shapes cost no arithmetic."""
    cases = ((1, 2, (64, 64)), (3, 5, (65, 47)), (4, 2, (7, 9)), (11, 5, (33, 1)), (13, 2, (128, 100)))
    for bands, classes, shape_yx in cases:
        channels = channels_of(name, bands)
        with torch.device("meta"):
            network = models.build(name, channels, classes, OPTIONS[name]).eval()
            logits = network(torch.empty(2, channels, *shape_yx))
        assert logits.shape == (2, classes, *shape_yx), (bands, classes, shape_yx)
        assert all(parameter.is_meta for parameter in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPTIONS))
@pytest.mark.parametrize("bands", [1, 3, 4, 11, 13])
@pytest.mark.parametrize("classes", [2, 5])
def test_bands_and_classes_in_numbers(name, bands, classes):
    channels = channels_of(name, bands)
    network = models.build(name, channels, classes, OPTIONS[name]).eval()
    for shape_yx in ((64, 64), (65, 47), (7, 9)):
        with torch.inference_mode():
            logits = network(torch.randn(2, channels, *shape_yx))
        assert logits.shape == (2, classes, *shape_yx)
        assert logits.isfinite().all()


@pytest.mark.parametrize("name", LEARNING)
def test_gradients_are_finite_and_nothing_learns_from_ignored_pixels(name, built):
    network = built(name).train()
    inputs = torch.randn(2, channels_of(name, 4), 33, 47, requires_grad=True)
    target = torch.randint(0, 3, (2, 33, 47)).to(torch.uint8)
    target[:, 10:] = 255
    logits = network(inputs)
    logits.retain_grad()
    losses.build({"cross_entropy": 1.0, "dice": 1.0}, None)(logits, target).backward()
    assert (logits.grad[:, :, 10:] == 0).all()
    assert logits.grad[:, :, :10].abs().sum() > 0
    assert inputs.grad.isfinite().all()
    assert inputs.grad.abs().sum() > 0
    grads = [weight.grad for weight in network.parameters() if weight.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    assert grads
    network.zero_grad(set_to_none=True)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_bf16_says_nearly_the_same(name, built):
    network = built(name).eval()
    inputs = torch.randn(1, channels_of(name, 4), 33, 47)
    with torch.inference_mode():
        plain = network(inputs)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = network(inputs).float()
    assert mixed.isfinite().all()
    assert (mixed - plain).abs().mean() <= 0.05 * plain.abs().mean() + 1e-6


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_state_comes_back_through_safetensors(name, built):
    network = built(name).eval()
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    again = models.build(name, channels_of(name, 4), 3, OPTIONS[name]).eval()
    again.load_state_dict(load(save(state)), strict=True)
    inputs = torch.randn(1, channels_of(name, 4), 20, 17)
    with torch.inference_mode():
        assert torch.equal(network(inputs), again(inputs))


@pytest.mark.parametrize(
    "name", [name if name in LIGHT else pytest.param(name, marks=pytest.mark.slow) for name in sorted(OPTIONS)]
)
def test_exports(name, built):
    network = built(name).eval()
    inputs = torch.randn(1, channels_of(name, 4), 64, 64)
    program = torch.export.export(network, (inputs,))
    with torch.inference_mode():
        torch.testing.assert_close(program.module()(inputs), network(inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_stages_name_what_there_is(name, built):
    network = built(name)
    for paths in getattr(network, "stages", {}).values():
        for path in paths:
            above, _, last = path.rpartition(".")
            assert hasattr(network.get_submodule(above), last), path


def test_transposed_upsampling():
    network = models.build("unet", 1, 2, OPTIONS["unet"] | {"upsample": "transposed"})
    assert network(torch.zeros(2, 1, 10, 10)).shape == (2, 2, 10, 10)


@pytest.mark.parametrize(
    ("name", "encoder"), [("upernet", "tu-swinv2_tiny_window8_256"), ("segformer", "tu-swin_tiny_patch4_window7_224")]
)
def test_swin_encoders_of_timm_take_any_size(name, encoder):
    with torch.device("meta"):
        network = models.build(name, 11, 2, OPTIONS[name] | {"encoder": encoder})
        assert network(torch.empty(2, 11, 50, 70)).shape == (2, 2, 50, 70)


def test_unknown_architecture_names_the_files_that_exist():
    with pytest.raises(ParamsError, match=r"src/thalweg/models/unett.py; there are .*farseg, fcn.*unet"):
        models.build("unett", 3, 2, {})


def test_wrong_option_names():
    with pytest.raises(ParamsError, match="'fcn' lacks num_filters and has unknown filters; it takes num_filters"):
        models.build("fcn", 3, 2, {"filters": 3})
    with pytest.raises(ParamsError, match="'dofa' has unknown wavelengths_nm"):
        models.build("dofa", 3, 2, OPTIONS["dofa"] | {"wavelengths_nm": [1.0]})


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("unet", {"widths": []}, "widths should be"),
        ("unet", {"widths": 3}, "cannot be used"),
        ("unet", {"dropout": 1.0}, "dropout should be"),
        ("unet", {"upsample": "cubic"}, "nearest or transposed, not 'cubic'"),
        ("fcn", {"num_filters": 0}, "num_filters should be"),
        ("farseg", {"backbone": "vgg"}, "resnet18.*not 'vgg'"),
        ("farseg", {"weights": "imagenet"}, "should be null, torchgeo:<name> or file:<path>, not 'imagenet'"),
        ("farseg", {"weights": "file:"}, "file: needs a path"),
        ("swin_fpn", {"backbone": "swin_t"}, "swin_v2_b, not 'swin_t'"),
        ("swin_fpn", {"width": 7}, "an even whole number, not 7"),
        ("deeplabv3plus", {"depth": 2}, "depth should be 3, 4 or 5"),
        ("deeplabv3plus", {"encoder": "tu-swinv2_tiny_window8_256"}, "cannot be used.*output_stride"),
        ("unetplusplus", {"encoder": "resnet1"}, "'resnet1' at depth 5 cannot be used"),
        ("dynamic_unet", {"backbone": "vgg"}, "resnet152, not 'vgg'"),
        ("dynamic_unet", {"self_attention": 1}, "true or false, not 1"),
        ("convstar", {"steps": 3}, "divides the 8 channels, not 3"),
        ("convstar", {"hidden": 0}, "at least 1"),
        ("ltae", {"heads": 3}, "divide by heads"),
        ("ltae", {"dropout": -1}, "dropout should be"),
        ("unet3d", {"widths": [0]}, "widths should be"),
        ("dofa", {"size": "tiny"}, "small, base, large, not 'tiny'"),
        ("dofa", {"depth": 13}, "1 to 12, not 13"),
        ("dofa", {"tuning": "some"}, "frozen, lora, full, not 'some'"),
        ("dofa", {"tuning": "frozen"}, "keeps the encoder as it is, so it needs weights"),
        ("croma", {"lora_rank": 4}, "0 otherwise, not 4"),
        ("copernicusfm", {"depth": 0}, "1 to 12, not 0"),
        ("scale_mae", {"depth": 25}, "1 to 24, not 25"),
    ],
)
def test_wrong_option_values(name, change, fault):
    with pytest.raises(ParamsError, match=fault), torch.device("meta"):
        models.build(name, 8, 2, OPTIONS[name] | change)


def test_bands_without_a_wavelength_cannot_be_told_apart():
    with pytest.raises(ParamsError, match=r"channel 1 of 2 has no wavelength.* grid of bands alone"):
        models.build("dofa", 2, 2, OPTIONS["dofa"], wavelengths_nm=(492.4, None), pixel_m=10.0)
    with pytest.raises(ParamsError, match="no band of Sentinel-2 lies at 650 nm; give bandwidths_nm"):
        models.build("copernicusfm", 1, 2, OPTIONS["copernicusfm"], wavelengths_nm=(650.0,), pixel_m=10.0)
    with pytest.raises(ParamsError, match="bandwidths_nm has 2 numbers for 1 channels"):
        models.build("copernicusfm", 1, 2, OPTIONS["copernicusfm"] | {"bandwidths_nm": [3.0, 4.0]}, (650.0,), 10.0)
