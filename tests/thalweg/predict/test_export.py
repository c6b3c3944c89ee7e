"""What is exported says what the network says, sizes are free where they can be, and `predict` runs the ONNX file."""

import json
import sys

import numpy as np
import onnx
import pytest
import rasterio
import torch
from architecture_builder import OPTIONS, channels_of, names
from image_builder import World, call

from thalweg import export, models
from thalweg.bands import wavelength_nm
from thalweg.errors import ExportError, ParamsError
from thalweg.export import Deployed, read_chips, trace, write_onnx, write_torch
from thalweg.manifest.card import read_card
from thalweg.manifest.scene import NODATA, Channel
from thalweg.onnx_runner import CARD_KEY, OnnxPredictor, read_onnx_card

FREE = {
    "boosted_trees": ("height", "width"), "deeplabv3plus": ("batch", "height", "width"),
    "fcn": ("batch", "height", "width"), "unet": ("batch", "height", "width"),
}  # fmt: skip
"""What must be free of an architecture; boosted trees take images one by one. Small enough for the quick suite are
QUICK."""
QUICK = {"boosted_trees", "fcn", "unet"}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def file(world):
    """An ONNX file of its model."""
    path = world.root / "one.onnx"
    said = call("export", world.model, "--onnx", path, "--chips", world.root / "scenes")
    assert f"wrote {path}: batch free, height free, width free" in said
    assert "of a probability from torch's on 2 windows of 64 pixels of" in said
    return path


def test_predict_runs_the_onnx_file_through_the_same_pipeline(world, file, tmp_path):
    call("predict", file, world.safe, "--out", tmp_path / "onnx")
    call("predict", world.model, world.safe, "--out", tmp_path / "torch", "--device", "cpu")
    with rasterio.open(tmp_path / "onnx" / "probs.tif") as one, rasterio.open(tmp_path / "torch" / "probs.tif") as two:
        assert (np.abs(one.read().astype(int) - two.read().astype(int)) <= 1).all()
        assert one.transform == two.transform
    assert read_onnx_card(file) == read_card(world.model)
    assert "1 windows of 32" in call("predict", file, world.safe, "--dry-run")


def test_views_and_scales_are_those_of_torch(world, file):
    from thalweg.infer.predictor import Predictor

    pixels = np.random.default_rng(0).integers(500, 3000, (3, 32, 32, 4)).astype(np.int16)
    pixels[0, :4] = NODATA
    for views, scales in ((8, (1.0,)), (1, (0.5, 1.0))):
        mine = OnnxPredictor.load(file, "cpu", views, scales)
        other = Predictor.load(world.model, "cpu", views, scales)
        np.testing.assert_allclose(mine.predict(pixels), other.predict(pixels), atol=1e-5)
    with pytest.raises(ParamsError, match="views are 1 or 8"):
        OnnxPredictor.load(file, "cpu", 3)
    assert mine.identity() != OnnxPredictor.load(file, "cpu").identity()


def test_a_program_of_torch_says_the_same_anywhere(world, tmp_path):
    path = tmp_path / "one.pt2"
    call("export", world.model, "--torch-export", path, "--chips", world.scene.folder)
    extra = {"card.json": ""}
    program = torch.export.load(path, extra_files=extra).module()
    assert json.loads(extra["card.json"])["member"] == "one"
    pixels = np.random.default_rng(1).integers(500, 3000, (1, 96, 64, 4)).astype(np.float32)
    deployed, _ = export.load(world.model)
    with torch.inference_mode():
        found, wanted = program(torch.from_numpy(pixels)), deployed(torch.from_numpy(pixels))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 96, 64))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in names()]
)
def test_every_architecture_is_exported_or_says_why_not(name, tmp_path):
    """On the CPU all eighteen take some ten minutes; the three quick ones stand for them."""
    bands = [f"B{number:02}" for number in (2, 3, 4, 8)]
    count = channels_of(name, len(bands)) // len(bands)
    listed = [f"t{step:02}/{band}" if count > 1 else band for step in range(count) for band in bands]
    channels = tuple(
        Channel(name=each, wavelength_nm=wavelength_nm(each.rpartition("/")[2]), scale=1e-4, offset=0.0, unit="reflectance")
        for each in listed
    )  # fmt: skip
    from architecture_builder import card as make_card

    card = make_card(name, OPTIONS[name], channels=channels).model_copy(update={"schema_version": 3})
    torch.manual_seed(0)
    deployed = Deployed(models.network(card), card).eval()
    chips = np.random.default_rng(0).integers(200, 4000, (2, 64, 64, len(channels))).astype(np.float32)
    traced = trace(deployed, card, chips)
    assert traced.free == FREE.get(name, traced.free)
    assert write_torch(deployed, traced, card, chips, tmp_path / "x.pt2") <= 1e-4
    try:
        assert write_onnx(deployed, traced, card, chips, tmp_path / "x.onnx") <= 1e-4
    except ExportError as error:
        assert name not in FREE
        assert "cannot be written as ONNX, which lacks a step of it" in str(error)  # noqa: PT017


def test_a_graph_of_fixed_size_is_filled_up(world, tmp_path):
    deployed, card = export.load(world.model)
    pixels = np.random.default_rng(0).integers(500, 3000, (1, 64, 64, 4)).astype(np.float32)
    fixed = export.Traced(torch.export.export(deployed, (torch.from_numpy(pixels),), strict=False), ())
    assert fixed.words == "batch fixed to 1, height fixed to 64, width fixed to 64"
    path = tmp_path / "fixed.onnx"
    write_onnx(deployed, fixed, card, pixels, path)
    runner = OnnxPredictor.load(path, "cpu")
    many = np.concatenate([pixels, pixels[:, ::-1], pixels])
    with torch.inference_mode():
        wanted = deployed(torch.from_numpy(np.ascontiguousarray(many))).numpy()
    np.testing.assert_allclose(runner.predict(many), wanted, atol=1e-5)
    assert runner.predict(many[:, :32, :32]).shape == (3, 2, 32, 32)
    with pytest.raises(ExportError, match=r"takes windows of 64 × 64 pixels, got 96 × 96; use the model directory"):
        runner.predict(np.zeros((1, 96, 96, 4), np.int16))


class Wrong(Deployed):
    """Says something else once it is traced."""

    def forward(self, pixels):
        probs = super().forward(pixels)
        return probs if torch.compiler.is_exporting() else probs.flip(1)


def test_what_differs_from_the_network_is_not_kept(world, tmp_path):
    deployed, card = export.load(world.model)
    chips, _ = read_chips(card, world.root / "scenes", needed=True)
    traced = trace(deployed, card, chips)
    wrong = Wrong(deployed.network, card).eval()
    for write, name in ((write_torch, "x.pt2"), (write_onnx, "x.onnx")):
        with pytest.raises(ExportError, match=r"member 'one' differs from its network by .* it was not kept"):
            write(wrong, traced, card, chips, tmp_path / name)
    assert not list(tmp_path.iterdir())


class Untraceable(Deployed):
    """Depends on values."""

    def forward(self, pixels):
        return super().forward(pixels) if float(pixels.float().mean()) > 0 else pixels.float()


def test_what_cannot_be_traced_or_translated_is_one_sentence(world, tmp_path):
    deployed, card = export.load(world.model)
    chips, where = read_chips(card, tmp_path, needed=False)
    assert "made-up pixels" in where
    with pytest.raises(ExportError, match=r"member 'one' \(fcn\) cannot be exported: torch.export says '"):
        trace(Untraceable(deployed.network, card).eval(), card, chips)
    with pytest.raises(ExportError, match="holds no scene; give a scene folder"):
        read_chips(card, tmp_path, needed=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say what to write: --onnx FILE.onnx or --torch-export FILE.pt2"),
        (("--onnx", "a.zip"), "a.zip should end in .onnx"),
        (("--onnx", "nowhere/a.onnx"), "nowhere is no folder; make it first"),
    ],
)
def test_faults_of_arguments_show_first(world, words, said):
    with pytest.raises(ExportError, match=said):
        call("export", world.model, *words)


def test_files_that_are_no_export_are_one_sentence(world, file, tmp_path):
    with pytest.raises(ExportError, match="is missing; make it by `thalweg export`"):
        call("predict", tmp_path / "no.onnx", world.safe)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a protobuf")
    with pytest.raises(ExportError, match=r"cannot be run by onnxruntime \(.*make it again"):
        call("predict", broken, world.safe)
    model = onnx.load(file)
    for value, said in (
        (None, "holds no card of a member"),
        ("{}", "is of another Thalweg"),
        ("{", "is of another Thalweg"),
    ):
        del model.metadata_props[:]
        if value is not None:
            model.metadata_props.add(key=CARD_KEY, value=value)
        onnx.save(model, tmp_path / "bare.onnx")
        with pytest.raises(ExportError, match=said):
            read_onnx_card(tmp_path / "bare.onnx")
    with pytest.raises(ExportError, match=r"shall run on cuda, but this onnxruntime has .*CPUExecutionProvider"):
        OnnxPredictor.load(file, "cuda")


def test_without_the_extra_the_remedy_is_told(world, file, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExportError, match=r"onnxruntime, which is not installed; `pip install thalweg\[onnx\]`"):
        call("predict", file, world.safe)
    with pytest.raises(ExportError, match=r"onnxruntime is not installed, which ONNX files need; `pip install thalweg"):
        call("export", world.model, "--onnx", "x.onnx")
