"""Weights to start from: names, checksums, prefixes, bands mapped, and the weights' own normalisation. No network."""

import hashlib
import urllib.error

import pytest
import torch
import torchvision
from architecture_builder import OPTIONS
from safetensors.torch import save_file

from thalweg import models, weights
from thalweg.bands import SENTINEL2
from thalweg.errors import ParamsError, WeightsError
from thalweg.manifest.card import Normalisation
from thalweg.manifest.scene import Channel
from thalweg.weights import catalogue
from thalweg.weights.catalogue import Start, canonical, pretraining

S2 = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
MOCO = "torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO"


def _channels(names, unit="reflectance"):
    return tuple(Channel(name=name, wavelength_nm=_centre(name), scale=1e-4, offset=0.0, unit=unit) for name in names)


def _centre(name):
    band = SENTINEL2.get(name.rpartition("/")[2])
    return band.wavelength_nm if band else None


def _normal(count):
    return Normalisation(mean=tuple(0.1 + 0.01 * k for k in range(count)), std=(0.05,) * count)


def _resnet18(bands, seed=1):
    torch.manual_seed(seed)
    net = torchvision.models.resnet18(weights=None)
    net.conv1 = torch.nn.Conv2d(bands, 64, 7, stride=2, padding=3, bias=False)
    return net.state_dict()


def _start(text, channels, name="dynamic_unet"):
    architecture = models.build(name, channels, 2, OPTIONS[name] | {"weights": text})
    assert architecture.start is not None
    return architecture


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch's folder of downloads, empty, and no way out."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def refuse(*_args, **_kwargs):
        raise urllib.error.URLError("no network here")

    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


def _lay(hub, text, model, state, monkeypatch, prefix=None):
    """Writes a state where torchgeo's file would lie, and lets its name promise this very content."""
    entry = catalogue.entry(Start(text, model, "", ""))
    partial = hub / "partial.pth"
    torch.save(state, partial)
    digest = hashlib.sha256(partial.read_bytes()).hexdigest()[:8]
    path = hub / entry.url.rpartition("/")[2]
    monkeypatch.setattr("thalweg.weights.files.promised", lambda name: prefix or digest)
    partial.rename(path)
    return path


def test_bands_are_mapped_by_name_and_normalised_as_the_weights_were(hub, monkeypatch):
    state = _resnet18(13)
    _lay(hub, MOCO, "resnet18", state, monkeypatch)
    names = ("B12", "B04", "ndvi")
    architecture = _start(MOCO, 3)
    started = weights.initialise(architecture, _channels(names), _normal(3))
    kernels = state["conv1.weight"]
    scale = 13 / 3
    stem = architecture.trunk.conv1.weight
    torch.testing.assert_close(stem[:, 0], kernels[:, S2.index("B12")] * scale)
    torch.testing.assert_close(stem[:, 1], kernels[:, S2.index("B04")] * scale)
    torch.testing.assert_close(stem[:, 2], kernels.mean(1) * scale)
    torch.testing.assert_close(architecture.trunk.layer3[1].conv2.weight, state["layer3.1.conv2.weight"])
    assert started.mapped == {"B12": "B12", "B04": "B04"}
    assert started.unknown == ("ndvi",)
    assert started.missing == tuple(band for band in S2 if band not in names)
    # The weights took DN / 10 000, which is reflectance: z·0.05 + 0.10 and + 0.11; the unknown channel as their mean
    assert architecture.adapter.gain.flatten().tolist() == pytest.approx([0.05, 0.05, 0.05])
    assert architecture.adapter.bias.flatten().tolist() == pytest.approx([0.10, 0.11, 0.105])


def test_all_bands_in_another_order_give_what_the_weights_gave(hub, monkeypatch):
    """The stem sees reflectance whatever the training statistics are, and the same features as in pre-training."""
    state = _resnet18(13)
    _lay(hub, MOCO, "resnet18", state, monkeypatch)
    names = S2[::-1]
    architecture = _start(MOCO, 13).eval()
    channels = _channels(names)
    weights.initialise(architecture, channels, _normal(13))
    network = models.Network(architecture, channels, _normal(13)).eval()
    stored = torch.randint(500, 2500, (1, 32, 32, 13)).to(torch.int16)
    seen = architecture.trunk.conv1(architecture.adapter(network.normalise(stored)))
    digits = stored.flip(-1).permute(0, 3, 1, 2) / 10000
    reference = torch.nn.functional.conv2d(digits, state["conv1.weight"], stride=2, padding=3)
    inner = (..., slice(2, -2), slice(2, -2))
    kept = (stored.permute(0, 3, 1, 2) * 1e-4 - network_mean(13)).abs().amax() < 0.25  # nothing was clipped at 5 std
    assert kept
    torch.testing.assert_close(seen[inner], reference[inner], rtol=1e-3, atol=1e-3)


def network_mean(count):
    return torch.tensor(_normal(count).mean)[:, None, None]


def test_dates_of_a_series_share_their_bands_kernel(hub, monkeypatch):
    state = _resnet18(13)
    _lay(hub, MOCO, "resnet18", state, monkeypatch)
    names = ("t00/B02", "t00/B03", "t01/B02", "t01/B03")
    architecture = _start(MOCO, 4)
    weights.initialise(architecture, _channels(names), _normal(4))
    stem = architecture.trunk.conv1.weight
    assert torch.equal(stem[:, 0], stem[:, 2])
    torch.testing.assert_close(stem[:, 3], state["conv1.weight"][:, 2] * 13 / 4)


def test_a_started_network_comes_back_from_its_own_file_alone(hub, monkeypatch, tmp_path):
    _lay(hub, MOCO, "resnet18", _resnet18(13), monkeypatch)
    architecture = _start(MOCO, 2).eval()
    weights.initialise(architecture, _channels(("B02", "B08")), _normal(2))
    models.save_weights(architecture.state_dict(), tmp_path)
    for path in hub.iterdir():
        path.unlink()
    again = models.Network(_start(MOCO, 2).eval(), _channels(("B02", "B08")), _normal(2))
    models.load_weights(again, tmp_path)
    inputs = torch.randn(1, 2, 40, 40)
    torch.testing.assert_close(again.architecture(inputs), architecture(inputs))  # memory orders differ


@pytest.mark.parametrize(
    ("text", "model", "band", "unit", "mean", "std"),
    [
        (MOCO, "resnet18", "B04", "reflectance", 0.0, 1.0),
        ("torchgeo:ResNet50_Weights.SENTINEL2_ALL_SOFTCON", "resnet50", "B02", "reflectance", 0.13976, 0.08543),
        # True colour is 255 at 0.3558, and was divided by 255; the other bands by 8160
        ("torchgeo:Swin_V2_B_Weights.SENTINEL2_SI_MS_SATLAS", "swin_v2_b", "B04", "reflectance", 0.0, 0.3558),
        ("torchgeo:Swin_V2_B_Weights.SENTINEL2_SI_MS_SATLAS", "swin_v2_b", "B11", "reflectance", 0.0, 0.816),
        ("torchgeo:Swin_V2_B_Weights.SENTINEL2_SI_RGB_SATLAS", "swin_v2_b", "B02", "reflectance", 0.0, 0.3558),
        ("torchgeo:Swin_V2_B_Weights.NAIP_RGB_SI_SATLAS", "swin_v2_b", "B04", "DN", 0.0, 255.0),
        # 255·0.485 and 255·0.229
        ("torchgeo:ResNet50_Weights.FMOW_RGB_GASSL", "resnet50", "B04", "DN", 123.675, 58.395),
        ("torchgeo:ResNet18_Weights.LANDSAT_OLI_SR_MOCO", "resnet18", "B04", "DN", 0.0, 255.0),
        ("torchgeo:ResNet50_Weights.SENTINEL1_ALL_MOCO", "resnet50", "vh", "dB", -20.26, 5.91),
    ],
)
def test_own_normalisation(text, model, band, unit, mean, std):
    seen = pretraining(Start(text, model, "", ""))
    place = seen.bands.index(band)
    assert seen.unit == unit
    assert (seen.mean[place], seen.std[place]) == (pytest.approx(mean), pytest.approx(std))


@pytest.mark.parametrize(
    ("name", "band"),
    [("B8a", "B8A"), ("t03/B02", "B02"), ("SR_B2", "B02"), ("B12", "B12"), ("red", "B04"), ("G", "B03"), ("ndvi", "ndvi"),
     ("B6_VCID_1", "B06_VCID_1"), ("VV", "vv"), ("slope", "slope")],
)  # fmt: skip
def test_band_names(name, band):
    assert canonical(name) == band


def test_the_same_name_on_another_sensor_is_another_band(monkeypatch, hub):
    """Landsat's B05 is near infrared, Sentinel-2's a red edge."""
    text = "torchgeo:ResNet18_Weights.LANDSAT_OLI_SR_MOCO"
    _lay(hub, text, "resnet18", _resnet18(7), monkeypatch)
    started = weights.initialise(_start(text, 2), _channels(("B04", "B05"), unit="DN"), _normal(2))
    assert started.mapped == {"B04": "B04"}
    assert started.unknown == ("B05",)


def test_units_that_do_not_fit(hub, monkeypatch):
    text = "torchgeo:ResNet18_Weights.LANDSAT_OLI_SR_MOCO"
    _lay(hub, text, "resnet18", _resnet18(7), monkeypatch)
    with pytest.raises(WeightsError, match="take B04 in DN, channel B04 is in reflectance; choose other weights"):
        weights.initialise(_start(text, 1), _channels(("B04",)), _normal(1))


def test_no_band_in_common(hub, monkeypatch):
    _lay(hub, MOCO, "resnet18", _resnet18(13), monkeypatch)
    with pytest.raises(WeightsError, match="none of the channels ndvi, slope is one of the weights' bands B01, B02"):
        weights.initialise(_start(MOCO, 2), _channels(("ndvi", "slope")), _normal(2))


def test_offline_says_where_to_bring_the_file(hub):
    with pytest.raises(
        WeightsError, match=r"SENTINEL2_ALL_MOCO is not in .*checkpoints and cannot be fetched .*no network here.*; bring "
        r"https://hf.co/torchgeo/.*resnet18_sentinel2_all_moco-59bfdff9.pth there from a machine with a network"
    ):  # fmt: skip
        weights.initialise(_start(MOCO, 2), _channels(("B02", "B03")), _normal(2))
    assert not list(hub.iterdir())


def test_a_damaged_download_is_not_used(hub, monkeypatch):
    _lay(hub, MOCO, "resnet18", _resnet18(13), monkeypatch, prefix="59bfdff9")
    architecture = _start(MOCO, 2)
    before = architecture.trunk.conv1.weight.clone()
    with pytest.raises(WeightsError, match=r"has SHA-256 \w{12}…, not 59bfdff9… as torchgeo:.* promises; delete it"):
        weights.initialise(architecture, _channels(("B02", "B03")), _normal(2))
    assert torch.equal(architecture.trunk.conv1.weight, before)


@pytest.mark.parametrize("prefix", ["", "backbone.backbone.", "module.encoder."])
@pytest.mark.parametrize("wrap", [None, "state_dict"])
@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_local_files_of_any_prefix(tmp_path, prefix, wrap, kind):
    if wrap and kind == "safetensors":
        return
    state = {f"{prefix}{name}": value for name, value in _resnet18(2).items()} | {"head.loss": torch.ones(3)}
    path = tmp_path / f"own.{kind}"
    if kind == "pth":
        torch.save({wrap: state, "epoch": 3} if wrap else state, path)
    else:
        save_file(state, path)
    architecture = _start(f"file:{path}", 2)
    started = weights.initialise(architecture, _channels(("B02", "ndvi")), _normal(2))
    assert torch.equal(architecture.trunk.conv1.weight, state[f"{prefix}conv1.weight"])
    assert torch.equal(architecture.trunk.layer4[0].conv1.weight, state[f"{prefix}layer4.0.conv1.weight"])
    assert architecture.adapter.gain.flatten().tolist() == [1, 1]
    assert started.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_local_file_of_unknown_bands_lends_their_mean(tmp_path):
    state = _resnet18(3)
    torch.save(state, tmp_path / "imagenet.pth")
    architecture = _start(f"file:{tmp_path}/imagenet.pth", 5)
    weights.initialise(architecture, _channels(("B02", "B03", "B04", "B08", "ndvi")), _normal(5))
    torch.testing.assert_close(architecture.trunk.conv1.weight[:, 4], state["conv1.weight"].mean(1) * 3 / 5)


def test_a_local_file_with_the_name_of_torchgeos_is_known(tmp_path):
    """As the seed's Satlas file, whose keys begin with backbone.backbone."""
    trunk = torchvision.models.swin_v2_t(weights=None)
    state = {f"backbone.backbone.{name}": value for name, value in trunk.state_dict().items()}
    path = tmp_path / "sentinel2_swint_si_rgb.pth"
    torch.save(state, path)
    architecture = _start(f"file:{path}", 3, "swin_fpn")
    started = weights.initialise(architecture, _channels(("B02", "B03", "B04")), _normal(3))
    kernels = state["backbone.backbone.features.0.0.weight"]
    torch.testing.assert_close(architecture.trunk.features[0][0].weight, kernels.flip(1))
    assert started.mapped == {"B02": "B02", "B03": "B03", "B04": "B04"}
    assert architecture.adapter.gain.flatten().tolist() == pytest.approx([0.05 / 0.3558] * 3)


def test_a_pinned_checksum(tmp_path):
    torch.save(_resnet18(2), tmp_path / "own.pth")
    digest = hashlib.sha256((tmp_path / "own.pth").read_bytes()).hexdigest()
    weights.initialise(
        _start(f"file:{tmp_path}/own.pth#sha256={digest.upper()}", 2), _channels(("B02", "B03")), _normal(2)
    )
    with pytest.raises(WeightsError, match=r"not 00000000… as file:"):
        weights.initialise(_start(f"file:{tmp_path}/own.pth#sha256=00000000", 2), _channels(("B02", "B03")), _normal(2))


@pytest.mark.parametrize("pin", ["", "00", "sha512:00000000", "0" * 65])
def test_a_pin_that_pins_nothing(pin):
    with pytest.raises(ParamsError, match=r"should end with 8 to 64 hexadecimal digits of the file's SHA-256"):
        _start(f"file:own.pth#sha256={pin}", 2)


def test_files_that_cannot_be_used(tmp_path):
    channels, normal = _channels(("B02", "B03")), _normal(2)
    for content in (torch.ones(3), [torch.ones(3)], 3):
        torch.save(content, tmp_path / "bare.pth")
        with pytest.raises(WeightsError, match=rf"bare.pth holds a {type(content).__name__}, not tensors by name; get"):
            weights.initialise(_start(f"file:{tmp_path}/bare.pth", 2), channels, normal)
    save_file({"conv1.weight": torch.ones(64, 2, 7, 7)}, tmp_path / "short.safetensors")
    whole = (tmp_path / "short.safetensors").read_bytes()
    (tmp_path / "short.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        WeightsError, match=r"short.safetensors holds no tensors that can be read safely .*; get it again"
    ):
        weights.initialise(_start(f"file:{tmp_path}/short.safetensors", 2), channels, normal)
    with pytest.raises(WeightsError, match=r"none.pth is missing, which `weights: file:.*none.pth` names"):
        weights.initialise(_start(f"file:{tmp_path}/none.pth", 2), channels, normal)
    (tmp_path / "text.pth").write_text("no tensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name in ("text.pth", "text.safetensors"):
        with pytest.raises(WeightsError, match=rf"{name} holds no tensors that can be read safely"):
            weights.initialise(_start(f"file:{tmp_path}/{name}", 2), channels, normal)
    torch.save({"alien": torch.ones(2)}, tmp_path / "alien.pth")
    with pytest.raises(WeightsError, match=r"holds none of the encoder's tensors: .* is wanted, alien is there"):
        weights.initialise(_start(f"file:{tmp_path}/alien.pth", 2), channels, normal)
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), tmp_path / "resnet34.pth")
    architecture = _start(f"file:{tmp_path}/resnet34.pth", 2)
    weights.initialise(architecture, channels, normal)  # a deeper one holds all that is wanted
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), tmp_path / "resnet50.pth")
    before = {name: value.clone() for name, value in architecture.state_dict().items()}
    with pytest.raises(WeightsError, match=r"do not fit resnet18: .* should be .*, is .*; choose weights of resnet18"):
        weights.initialise(_start(f"file:{tmp_path}/resnet50.pth", 2), channels, normal)
    assert all(torch.equal(value, before[name]) for name, value in architecture.state_dict().items())


def test_malicious_pickles_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("pwned",))

    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="no tensors that can be read safely"):
        weights.initialise(_start(f"file:{tmp_path}/evil.pth", 2), _channels(("B02", "B03")), _normal(2))


def test_names_that_torchgeo_does_not_have():
    with pytest.raises(ParamsError, match=r"'torchgeo:ResNet50_Weights.SENTINEL2_ALL_MOCO' are not for resnet18; torchgeo has "
                       "torchgeo:ResNet18_Weights.LANDSAT"):  # fmt: skip
        models.build(
            "farseg", 3, 2, {"backbone": "resnet18", "weights": "torchgeo:ResNet50_Weights.SENTINEL2_ALL_MOCO"}
        )
    with pytest.raises(ParamsError, match="are not for resnet34; torchgeo has none; use file:<path>"):
        models.build("farseg", 3, 2, {"backbone": "resnet34", "weights": MOCO})


def test_fresh_members_read_nothing():
    assert (
        weights.initialise(models.build("unet", 2, 2, OPTIONS["unet"]), _channels(("B02", "B03")), _normal(2)) is None
    )


@pytest.mark.parametrize(
    ("name", "change", "model"),
    [
        ("upernet", {"encoder": "tu-resnet18"}, "resnet18"),
        ("deeplabv3plus", {"encoder": "resnet18"}, "resnet18"),
        ("dpt", {"encoder": "tu-vit_small_patch16_224"}, "vit_small_patch16_224"),
    ],
)
def test_encoders_of_smp_start_too(name, change, model, hub, monkeypatch):
    import timm

    text = {"resnet18": MOCO, "vit_small_patch16_224": "torchgeo:ViTSmall16_Weights.SENTINEL2_ALL_DINO"}[model]
    state = timm.create_model(model, in_chans=13).state_dict()
    _lay(hub, text, model, state, monkeypatch)
    architecture = models.build(name, 2, 2, OPTIONS[name] | change | {"weights": text})
    started = weights.initialise(architecture, _channels(("B02", "B08")), _normal(2))
    assert started.mapped == {"B02": "B02", "B08": "B08"}
    stem = "conv1.weight" if model == "resnet18" else "patch_embed.proj.weight"
    own = architecture.get_submodule(architecture.start.trunk).get_parameter(stem)
    torch.testing.assert_close(own[:, 1], state[stem][:, S2.index("B08")] * 13 / 2)


@pytest.mark.parametrize("tuning", ["frozen", "lora"])
def test_foundation_encoders_start_too(tuning, hub, monkeypatch):
    from torchgeo.models import CROMA

    if tuning == "lora":
        pytest.importorskip("peft", reason="the extra 'lora' is not installed")
    text = "torchgeo:CROMABase_Weights.CROMA_VIT"
    whole = CROMA(modalities=["optical"], encoder_depth=2, image_size=16)
    _lay(hub, text, "croma_base", {"s2_encoder": whole.s2_encoder.state_dict(), "s2_GAP_FFN": {}}, monkeypatch)
    options = OPTIONS["croma"] | {"tuning": tuning, "lora_rank": 2 if tuning == "lora" else 0, "weights": text}
    architecture = models.build("croma", 2, 2, options)
    weights.initialise(architecture, _channels(("B03", "B12")), _normal(2))
    cells = whole.s2_encoder.linear_input.weight.reshape(768, 12, 64)
    torch.testing.assert_close(architecture.trunk.linear_input.weight[:, 64:], cells[:, 11] * 6)
    attention = architecture.trunk.transformer.layers[0][0].to_qkv
    found = attention.base_layer.weight if tuning == "lora" else attention.weight
    assert torch.equal(found, whole.s2_encoder.transformer.layers[0][0].to_qkv.weight)
    # mean − 2 std is 0, mean + 2 std is 1
    assert architecture.adapter(torch.tensor([-2.0, 2.0]).reshape(2, 1, 1)).flatten().tolist() == [0, 1]
