"""Every fault that peers were seen to have in predicting, writing and scoring maps, as a test that Thalweg passes.

Each test says the peer's fault and where in ../shared/reference it is told: P = peers.md, R = landcover-and-raster-vision.md
(section A6, the Swin seed; section C12, Raster Vision, by number), T = torchbearer.md. Scenes say their own probabilities
(telling_builder), so that what a map should hold is known before it is made.
"""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from map_builder import make_member
from mask_builder import CLASSES, rules
from product_builder import build, grid_params, index, make_raster
from rasterio.features import rasterize
from scene_builder import make_scene
from telling_builder import ATOL, GRID, Ground, any_probs, legend, make_telling_member, make_telling_scene, telling
from typer.testing import CliRunner

from thalweg import calibrate, cli, contract, metrics, raster, reducers
from thalweg.classes import IGNORE
from thalweg.errors import ContractError, RasterError
from thalweg.grid import Window, cut, iter_windows
from thalweg.infer import Predictor, iter_rows
from thalweg.infer.scene import How, predict_scene
from thalweg.manifest.card import read_card
from thalweg.manifest.scene import NODATA, Scene
from thalweg.mapfiles import read_map
from thalweg.maps import PROB_NODATA, PROB_SCALE
from thalweg.polygons import Rules, build_polygons
from thalweg.preprocess.masks import meaning

BLENDS = ("hann", "cosine", "linear", "crop", "none")
HANN = How((0.25,), "hann")
SRC = Path(__file__).parents[1]


def stitched(
    predict, image: np.ndarray, window_px: int, overlap: float, blend: str = "hann", batch: int = 4
) -> np.ndarray:
    """(K, H, W) of a function of windows."""
    classes = predict(np.zeros((1, window_px, window_px, image.shape[2]), np.int16)).shape[1]
    read = lambda window: cut(image, window, NODATA)  # noqa: E731
    runs = iter_rows(predict, read, image.shape[:2], classes, window_px, overlap, batch, blend)
    return np.concatenate([run for _, run in runs], 1)


def always(value: float):
    """A network that says one thing."""
    return lambda batch: np.full((len(batch), 1, *batch.shape[1:3]), value, np.float32)


def sawtooth(batch: np.ndarray) -> np.ndarray:
    """A network that errs by where in the window a pixel lies: 0 at its left edge, 1 at its right."""
    ramp = np.linspace(0, 1, batch.shape[2], dtype=np.float32)
    return np.broadcast_to(ramp, (len(batch), 1, *batch.shape[1:3])).copy()


def held(root: Path, scene: Scene, how: How = HANN, **options) -> np.ndarray:
    """Probabilities of a scene by a telling member, NaN where there is none."""
    if not (root / "models/one").exists():
        make_telling_member(root / "models/one", scene)
    group = {"one": Predictor.load(root / "models/one", "cpu")}
    names = tuple(info.name for info in group["one"].card.classes)
    target = root / "held" / "one.tif"
    predict_scene(group, scene, how, names, {"one": target}, memory_gib=1, **options)
    planes = np.stack([raster.read_band(target, k + 1) for k in range(len(names))]).astype(float)
    return np.where(planes == PROB_NODATA, np.nan, planes / PROB_SCALE)


# geoai


@pytest.mark.parametrize("blend", BLENDS)
def test_geoai_pixels_at_the_edge_have_no_weight_and_become_nodata(tmp_path, blend):
    """P, geoai, Inference: with linear and cosine blending 4,092 edge pixels of 1024² are written as nodata."""
    probs = any_probs((70, 90))
    scene = make_telling_scene(tmp_path, "a", probs)
    np.testing.assert_allclose(held(tmp_path, scene, How((0.25,), blend)), probs, atol=ATOL)


def test_geoai_pixels_at_the_edge_are_on_the_map(tmp_path):
    """The same of the finished map: no pixel of it is nodata."""
    ground = Ground(tmp_path, a=any_probs((70, 90)))
    ground.build()
    assert (ground.read("classes.tif") != IGNORE).all()


@pytest.mark.parametrize("blend", BLENDS)
def test_geoai_probabilities_are_off_near_borders(blend):
    """P, geoai, Inference: with the default spline 4,572 px of a constant 1.0 are wrong by > 1 %, a corner says 1.3e-5.

    The very set-up: 1024², window 256, overlap 64.
    """
    probs = stitched(always(1.0), np.ones((1024, 1024, 1), np.int16), 256, 0.25, blend)
    assert np.abs(probs - 1).max() < 1e-6


def test_geoai_input_nodata_is_not_masked(tmp_path):
    """P, geoai, Inference: "Input nodata pixels are not masked"; R C12.4, Raster Vision: nodata gets an ordinary class."""
    probs = any_probs((64, 64))
    probs[:, 10:30, 40:64] = np.nan
    ground = Ground(tmp_path, a=probs)
    ground.build()
    np.testing.assert_array_equal(np.isnan(ground.probs()), np.isnan(probs))
    np.testing.assert_array_equal(ground.read("classes.tif")[0] == IGNORE, np.isnan(probs[0]))
    np.testing.assert_allclose(ground.probs(), probs, atol=ATOL)


@pytest.mark.parametrize(
    ("dtype", "nodata"), [(np.uint16, 65535), (np.float32, -9999.0), (np.int16, -32768), (np.uint8, 0)]
)
def test_geoai_a_nodata_value_that_uint8_cannot_hold_is_an_error(tmp_path, dtype, nodata):
    """P, geoai, Inference: source nodata 65535 or −9999 is copied to a uint8 output: ValueError."""
    planes = np.full((2, 40, 40), 100, dtype)
    planes[:, :, :9] = nodata
    path = make_raster(tmp_path / "raw/a.tif", planes, nodata=nodata)
    index(tmp_path / "raw", path, form="raster", bands={"B04": 1, "B03": 2}, nodata=None)
    (scene,) = build(tmp_path, grid_params(resolution_m=None, bands=("B04", "B03"))).values()
    assert (scene.image[:, :9] == NODATA).all()
    np.testing.assert_array_equal(np.isnan(held(tmp_path, scene)[0]), scene.valid == 0)


def test_geoai_class_0_reads_as_nodata(tmp_path):
    """P, geoai, Inference: with source nodata 0 the map's class 0 reads as nodata."""
    probs = np.zeros((2, 64, 64))
    probs[0, :, :50], probs[1, :, :50] = 0.8, 0.2
    probs[:, :, 50:] = np.nan
    ground = Ground(tmp_path, a=probs)
    ground.build()
    with rasterio.open(tmp_path / "map/classes.tif") as dataset:
        assert dataset.nodata == IGNORE
        assert (dataset.read(1)[:, :50] == 0).all()
        assert (dataset.read_masks(1)[:, :50] == 255).all()
        assert (dataset.read_masks(1)[:, 50:] == 0).all()


def test_geoai_probabilities_of_a_tiled_map_are_averaged_as_class_ids():
    """P, geoai, ONNX: the tiled path averages class ids, so that classes 0 and 2 make class 1."""
    members = np.array([[0.9, 0.0, 0.1], [0.05, 0.0, 0.95]], np.float32)[:, :, None, None]
    found = reducers.load("mean")(members, np.ones((2, 1, 1), bool))[:, 0, 0]
    assert found.tolist() == pytest.approx([0.475, 0.0, 0.525])
    assert found.argmax() == 2


def test_geoai_errors_of_tiles_are_swallowed(tmp_path):
    """P, geoai, ONNX: "tile errors swallowed": a map with holes that looks finished."""
    ground = Ground(tmp_path, a=any_probs((64, 64)))
    image = tmp_path / "scenes" / GRID / "a" / "image.tif"
    os.truncate(image, image.stat().st_size // 2)
    with pytest.raises(RasterError, match=r"image\.tif is not one run"):
        ground.build()
    assert not (tmp_path / "map/classes.tif").exists()
    assert not (tmp_path / "metrics.json").exists()


def test_geoai_more_windows_than_are_needed():
    """P, Performance: geoai predicts (steps + 1)² = 1849 windows of 10 980² at 512 px and stride 256; 1764 do."""
    assert sum(1 for _ in iter_windows((10_980, 10_980), 512, 256)) == 1764


def test_geoai_full_scene_sums_in_memory():
    """P, geoai, Inference: float64 sums of the full scene; C12.1 the same of Raster Vision; here, rows leave at once."""
    tallest, waiting = 0, 0
    image = np.zeros((2000, 40, 1), np.int16)
    lowest = 0

    def read(window: Window) -> np.ndarray:
        nonlocal lowest
        lowest = max(lowest, window.row + window.height)
        return cut(image, window, NODATA)

    for top, run in iter_rows(always(0.5), read, (2000, 40), 1, 32, 0.5, 4):
        tallest, waiting = max(tallest, run.shape[1]), max(waiting, lowest - top)
    assert tallest <= 64
    assert waiting <= 128


# TerraTorch


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    overlap=st.sampled_from((0.0, 0.25, 0.5)),
    blend=st.sampled_from(BLENDS),
)
def test_terratorch_an_image_smaller_than_the_crop_is_an_error(height, width, overlap, blend):
    """P, terratorch, Tiled inference: "an image smaller than the crop raises RuntimeError"."""
    image = np.random.default_rng(3).integers(0, 10_000, (height, width, 1), np.int16)
    told = lambda batch: np.moveaxis(batch, -1, 1).astype(np.float32)  # noqa: E731
    np.testing.assert_allclose(stitched(told, image, 64, overlap, blend)[0], image[..., 0], rtol=1e-5)


@pytest.mark.parametrize("blend", BLENDS)
def test_terratorch_no_overlap_gives_an_empty_result(tmp_path, blend):
    """P, terratorch, Tiled inference: stride == crop, or delta 0, returns an empty (1, 1, 0, 0) without an error."""
    probs = any_probs((96, 70))
    scene = make_telling_scene(tmp_path, "a", probs)
    np.testing.assert_allclose(held(tmp_path, scene, How((0.0,), blend)), probs, atol=ATOL)


def test_terratorch_saved_probabilities_are_truncated_to_0(tmp_path):
    """P, terratorch, save_prediction: the default int16 truncates probabilities to 0."""
    ground = Ground(tmp_path, a=np.stack([np.full((40, 40), 0.3), np.full((40, 40), 0.7)]))
    ground.build()
    np.testing.assert_allclose(ground.probs()[1], 0.7, atol=ATOL)


def test_terratorch_the_whole_scene_goes_to_the_device():
    """P, terratorch, Tiled inference: "the CLI loads the full tile on the GPU first"; here a batch of windows is all."""
    shown = []
    image = np.zeros((300, 300, 1), np.int16)

    def predict(batch: np.ndarray) -> np.ndarray:
        shown.append(batch.size)
        return always(0.5)(batch)

    for _ in iter_rows(predict, lambda window: cut(image, window, NODATA), (300, 300), 1, 32, 0.25, 4):
        pass
    assert max(shown) <= 4 * 32 * 32


def test_terratorch_an_invalid_file_passes_with_exit_0(tmp_path, monkeypatch):
    """P, terratorch, Validation: validate_config "prints and exits 0 on an invalid file"."""
    monkeypatch.chdir(tmp_path)
    recipe = (SRC / "recipes/sample.yaml").read_text()
    (tmp_path / "params.yaml").write_text(recipe.replace("blend: hann", "blend: feathered", 1))
    done = CliRunner().invoke(cli.app, ["check"])
    assert done.exit_code == 1
    assert "ensembles.main" in done.stderr
    assert "blend" in done.stderr


# Raster Vision, by the numbers of C12


def test_raster_vision_2_more_than_255_windows_wrap_a_counter():
    """R C12.2: uint8 hit counters wrap: 300 hits count 44, a "probability" becomes 4.87. Here 20 × 20 = 400 windows."""
    probs = stitched(always(0.7), np.ones((60, 60, 1), np.int16), 20, 0.95, "none", batch=64)
    np.testing.assert_allclose(probs, 0.7, atol=1e-5)


def test_raster_vision_3_pixels_without_a_prediction_count_as_errors(tmp_path):
    """R C12.3: pixels without a prediction count as errors (recall 0.5 when half is missing)."""
    probs = np.stack([np.full((64, 64), 0.2), np.full((64, 64), 0.8)])
    truth = np.ones((64, 64), np.uint8)
    told = probs.copy()
    told[:, :, 48:] = np.nan
    ground = Ground(tmp_path, other=probs)
    ground.add("a", told, 64, mask=truth)
    scores = ground.build(scenes=["a"])
    assert scores["test"]["recall_class1"] == 1
    assert scores["test"]["pixels"] == 32 * 16, (
        "the right half is held out, half of it is measured, its lower half is test"
    )


def test_raster_vision_3_an_area_is_predicted_only_where_whole_windows_fit(tmp_path):
    """R C12.3: an AOI keeps only windows fully inside: 27.7 % of its pixels are predicted. Here a narrow triangle."""
    probs = any_probs((120, 150))
    scene = make_telling_scene(tmp_path, "a", probs)
    west, _, _, north = scene.grid.bounds
    area = shapely.Polygon([(west, north), (west + 150 * 60, north - 50 * 60), (west + 300, north - 110 * 60)])
    found = held(tmp_path, scene, area=area)
    inside = rasterize([area], scene.grid.shape_yx, transform=scene.grid.transform).astype(bool)
    assert 0.2 < inside.mean() < 0.5
    np.testing.assert_array_equal(~np.isnan(found[0]), inside)
    np.testing.assert_allclose(found[:, inside], probs[:, inside], atol=ATOL)


def test_raster_vision_5_a_second_run_averages_with_the_first(tmp_path):
    """R C12.5: predict into the same folder averages new scores with old ones; labels are of the new model only."""
    first, second = any_probs((64, 64), seed=1), any_probs((64, 64), seed=2)
    ground = Ground(tmp_path, a=first)
    ground.build()
    scene = ground.scenes["a"]
    pixels = np.memmap(
        scene.folder / "image.tif", np.int16, "r+", offset=_offset(scene.folder / "image.tif"), shape=(64, 64, 3)
    )
    pixels[:] = telling(second)
    pixels.flush()
    ground.build()
    np.testing.assert_allclose(ground.probs(), second, atol=ATOL)
    np.testing.assert_array_equal(ground.read("classes.tif")[0], ground.probs().argmax(0))


def _offset(path: Path) -> int:
    return path.stat().st_size - 64 * 64 * 3 * 2


@pytest.mark.parametrize("name", ["probs.tif", "classes.tif", "uncertainty.tif"])
def test_raster_vision_6_maps_are_strips_without_compression_or_nodata(tmp_path, name):
    """R C12.6; P, geoai and rslearn: GeoTIFFs without tiles, compression, nodata, overviews or tags."""
    Ground(tmp_path, a=any_probs((600, 700))).build()
    with rasterio.open(tmp_path / "map" / name) as dataset:
        assert dataset.profile["tiled"]
        assert dataset.compression is not None
        assert dataset.nodata is not None
        assert dataset.overviews(1)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert {"GIT_COMMIT", "PARAMS_SHA256", "PRODUCTS"} <= set(dataset.tags())


def test_raster_vision_7_a_pixel_lies_in_two_polygons(tmp_path):
    """R C12.7: masks at 1/C put a pixel of .40/.38/.22 into two classes; polygons overlap and disagree with the labels."""
    probs = np.broadcast_to(np.array([0.40, 0.38, 0.22])[:, None, None], (3, 64, 64)).copy()
    probs[:, 20:40, 10:50] = np.array([0.38, 0.40, 0.22])[:, None, None]
    Ground(tmp_path, a=probs).build()
    files = read_map(tmp_path / "map")
    table = build_polygons(files, Rules(files.names, 0, 0, 0))
    assert sorted(table["class"]) == ["class0", "class1"]
    assert shapely.union_all(table.geometry).area == pytest.approx(table.geometry.area.sum()) == 64 * 64 * 3600
    assert (
        table.set_index("class").geometry["class1"].area
        == 20 * 40 * 3600
        == (files.read_labels(Window(0, 0, 64, 64)) == 1).sum() * 3600
    )


def test_raster_vision_8_no_views_and_no_weighted_blend(tmp_path):
    """R C12.8: no TTA, no weighted blending: a network that looks to one side is as lopsided in the map."""
    scene = make_scene(tmp_path / "scenes" / GRID, "a", shape=(32, 32))
    make_member(tmp_path / "models/one", scene, seed=5)
    batch = np.array(scene.image)[None]
    eight = Predictor.load(tmp_path / "models/one", "cpu", 8).predict(batch)
    turned = Predictor.load(tmp_path / "models/one", "cpu", 8).predict(np.rot90(batch, 1, (1, 2)).copy())
    np.testing.assert_allclose(np.rot90(eight, 1, (2, 3)), turned, atol=1e-5)


def test_raster_vision_8_a_kill_in_a_scene_costs_all_of_it(tmp_path):
    """R C12.8: no resume within a scene; P, geoai, pipeline.py: SIGKILL loses the checkpoint. The bytes are the same."""
    scene = make_telling_scene(tmp_path, "a", any_probs((900, 40)))
    whole = held(tmp_path, scene)
    digest = sha256((tmp_path / "held/one.tif").read_bytes()).hexdigest()
    script = (
        "import os, sys; from pathlib import Path; from thalweg.infer import Predictor; "
        "from thalweg.infer.scene import How, predict_scene; from thalweg.manifest.scene import Scene\n"
        "root, rows = Path(sys.argv[1]), []\n"
        "one = Predictor.load(root / 'models/one', 'cpu'); predict = one.predict\n"
        "def counted(batch):\n"
        "    rows.append(len(batch))\n"
        "    if sum(rows) > 40 and list((root / 'state').rglob('*.npy')): os.kill(os.getpid(), 9)\n"
        "    return predict(batch)\n"
        "one.predict = counted\n"
        "predict_scene({'one': one}, Scene(Path(sys.argv[2])), How((0.25,), 'hann'), ('class0', 'class1', 'class2'),\n"
        "              {'one': root / 'held/two.tif'}, memory_gib=1, state=root / 'state')\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(scene.folder)]
    killed = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(SRC / "src")}, check=False)
    assert killed.returncode == -9
    assert not (tmp_path / "held/two.tif").exists()
    shown = []
    member = Predictor.load(tmp_path / "models/one", "cpu")
    predict = member.predict
    member.predict = lambda batch: (shown.append(len(batch)), predict(batch))[1]
    predict_scene({"one": member}, scene, HANN, ("class0", "class1", "class2"),
                  {"one": tmp_path / "held/one.tif"}, memory_gib=1, state=tmp_path / "state")  # fmt: skip
    assert sum(shown) < len(list(iter_windows((900, 40), 32, 24)))
    assert sha256((tmp_path / "held/one.tif").read_bytes()).hexdigest() == digest
    np.testing.assert_array_equal(held(tmp_path, scene), whole)


def test_raster_vision_11_adding_two_maps_loses_what_was_seen(tmp_path):
    """R C12.11: adding two results loses the mask of hits: all becomes null. Here two dates, each with its own cloud."""
    one, two = any_probs((64, 64), seed=1), any_probs((64, 64), seed=2)
    one[:, :30, :], two[:, 50:, :] = np.nan, np.nan
    ground = Ground(tmp_path, a=one)
    ground.add("b", two)
    ground.build()
    np.testing.assert_allclose(ground.probs(), np.nanmean([one, two], 0), atol=ATOL)


@pytest.mark.parametrize("shape", [(50, 90), (90, 50), (33, 200)])
def test_raster_vision_12_cropped_edges_of_windows_are_swapped(shape):
    """R C12.12: the slices of the discarded edge are swapped between rows and columns."""
    image = np.random.default_rng(3).integers(0, 10_000, (*shape, 1), np.int16)
    told = lambda batch: np.moveaxis(batch, -1, 1).astype(np.float32)  # noqa: E731
    np.testing.assert_array_equal(stitched(told, image, 32, 0.5, "crop")[0], image[..., 0])


def test_raster_vision_21_an_absent_class_makes_averages_nan():
    """R C12.21: no IoU; NaN for absent classes; averages weighted by truth alone; two definitions of average F1.

    By hand: class 0 has tp 6, fp 1, fn 1; class 1 tp 2, fp 1, fn 1; class 2 is nowhere.
    """
    matrix = np.array([[6, 1, 0], [1, 2, 0], [0, 0, 0]])
    found = metrics.scores(matrix, ("a", "b", "c"))
    assert found["miou"] == pytest.approx((6 / 8 + 2 / 4) / 2)
    assert found["macro_f1"] == pytest.approx((12 / 14 + 4 / 6) / 2)
    assert found["weighted_iou"] == pytest.approx((7 * 6 / 8 + 3 * 2 / 4) / 10)
    assert found["accuracy"] == pytest.approx(0.8)
    assert "iou_c" not in found
    assert np.isfinite(list(found.values())).all()


def test_raster_vision_22_scores_are_those_of_chips(tmp_path):
    """R C12.22; A5, A2, the Swin seed: means of batches of shrunk chips. Here of the map's own pixels, all counted once."""
    probs = any_probs((70, 90), 2)
    truth = (np.random.default_rng(4).random((70, 90)) < 0.4).astype(np.uint8)
    truth[40:45] = IGNORE
    ground = Ground(tmp_path, other=probs)
    ground.add("a", probs, 90, mask=truth)
    scores = ground.build(scenes=["a"])
    said = ground.read("classes.tif")[0]
    held_out = np.zeros((70, 90), bool)
    held_out[35:, 45:] = True
    held_out &= truth != IGNORE
    assert scores["test"]["pixels"] == held_out.sum() == (35 - 5) * 45
    hit = ((said == 1) & (truth == 1) & held_out).sum()
    assert scores["test"]["iou_class1"] == pytest.approx(hit / (((said == 1) | (truth == 1)) & held_out).sum())
    assert scores["test"]["accuracy"] == pytest.approx((said == truth)[held_out].mean())


# rslearn


def test_rslearn_half_of_the_overlap_is_cut_off_and_windows_show():
    """P, rslearn, Inference: RasterMerger trims half the overlap, no weighting: windows meet at a step.

    A network that errs by the place in its window, from 0 to 1, windows of 64 px that overlap by 32: where they are cut,
    the map steps by about one half; blended, by less than a tenth of that.
    """
    image = np.zeros((64, 320, 1), np.int16)
    steps = {blend: np.abs(np.diff(stitched(sawtooth, image, 64, 0.5, blend)[0, 32])).max() for blend in BLENDS}
    assert steps["crop"] > 0.45
    assert max(steps[blend] for blend in ("hann", "cosine", "linear")) < 0.05


def test_rslearn_a_layer_that_exists_is_kept_whatever_changed(tmp_path):
    """P, rslearn, Materialise and Inference: skipping is by existence; a change of the configuration changes nothing."""
    ground = Ground(tmp_path, a=any_probs((64, 64)))
    ground.build()
    before = ground.probs()
    make_telling_member(tmp_path / "models/one", ground.scenes["a"], logit_gain=2.0)
    ground.build()
    sharper = before**2 / (before**2).sum(0)
    np.testing.assert_allclose(ground.probs(), sharper, atol=ATOL)


def test_rslearn_what_a_kill_left_is_used_by_another_model(tmp_path):
    """P, rslearn, Inference: what exists is skipped. State of a member is not that of the next one of the same name."""
    probs = any_probs((300, 40))
    scene = make_telling_scene(tmp_path, "a", probs)
    np.testing.assert_allclose(held(tmp_path, scene, state=tmp_path / "state"), probs, atol=ATOL)
    make_telling_member(tmp_path / "models/one", scene, logit_gain=2.0)
    sharper = probs**2 / (probs**2).sum(0)
    np.testing.assert_allclose(held(tmp_path, scene, state=tmp_path / "state"), sharper, atol=ATOL)


def test_rslearn_temperature_is_set_by_hand():
    """P, rslearn, Loss/metrics: softmax temperature is a number set by hand. Logits three times too sure: 3 is found."""
    random = np.random.default_rng(3)
    logits = random.normal(0, 1.5, (6000, 3))
    truth = np.array([random.choice(3, p=p) for p in np.exp(logits) / np.exp(logits).sum(1, keepdims=True)])
    places = np.arange(6000) % 6
    found = calibrate.fit(logits * 3, truth, places, places)
    assert found.kept
    assert 1 / found.scale[0] == pytest.approx(3, rel=0.1)
    assert found.after.ece < found.before.ece / 4


# torchbearer


def test_torchbearer_logits_are_clipped_to_probabilities(tmp_path):
    """T, Faults: "probabilities never computed (logits clipped)": every logit above 1 becomes the same certainty."""
    scene = make_telling_scene(tmp_path, "a", any_probs((32, 32)))
    make_telling_member(tmp_path / "models/one", scene, logit_gain=2.0)
    predictor = Predictor.load(tmp_path / "models/one", "cpu")
    stored = np.zeros((1, 2, 1, 3), np.int16)
    stored[0, :, 0] = [[10_000, 0, 0], [20_000, 0, 0]]  # logits 2 and 4 against 0
    probs = predictor.predict(stored)[0, :, :, 0]
    assert probs.sum(0) == pytest.approx([1, 1])
    assert probs[0] == pytest.approx([np.e**2 / (np.e**2 + 2), np.e**4 / (np.e**4 + 2)], abs=1e-5)


def test_torchbearer_a_maximum_is_called_an_average():
    """T, Faults: "max-merge called average". Two members of .2 and .8, and windows of .2 and .8 that overlap."""
    members = np.array([[0.8, 0.2], [0.2, 0.8]], np.float32)[:, :, None, None]
    seen = np.ones((2, 1, 1), bool)
    assert reducers.load("mean")(members, seen)[:, 0, 0].tolist() == pytest.approx([0.5, 0.5])
    assert reducers.load("max")(members, seen)[1, 0, 0] == pytest.approx(0.8), "the maximum is there under its own name"
    by_turns = iter((0.2, 0.8))
    probs = np.concatenate([run for _, run in iter_rows(
        lambda batch: np.full((1, 1, *batch.shape[1:3]), next(by_turns), np.float32),
        lambda window: np.zeros((window.height, window.width, 1), np.int16), (32, 48), 1, 32, 0.5, 1, "none")], 1)  # fmt: skip
    assert probs[0, :, :16] == pytest.approx(np.full((32, 16), 0.2))
    assert probs[0, :, 16:32] == pytest.approx(np.full((32, 16), 0.5))
    assert probs[0, :, 32:] == pytest.approx(np.full((32, 16), 0.8))


def test_torchbearer_one_global_cuda_device_is_assumed(tmp_path):
    """T, Faults: "one global CUDA device assumed"; R A6, the Swin seed crashes on a machine without one."""
    scene = make_telling_scene(tmp_path, "a", any_probs((32, 32)))
    make_telling_member(tmp_path / "models/one", scene)
    batch = np.array(scene.image)[None]
    found = [Predictor.load(tmp_path / "models/one", device).predict(batch) for device in ("auto", "cpu")]
    np.testing.assert_allclose(*found, atol=1e-5)


def test_torchbearer_one_threshold_here_and_another_there(tmp_path):
    """T, Faults: "logits thresholded at 0.5 here and 0.0 there": classes, scores and card share one threshold."""
    probs = any_probs((70, 90), 2)
    ground = Ground(tmp_path, other=probs)
    ground.add("a", probs, 90, mask=(probs[1] > 0.62).astype(np.uint8))
    scores = ground.build(scenes=["a"], threshold="iou")
    threshold = scores["val"]["threshold"]
    assert threshold == scores["test"]["threshold"] == pytest.approx(0.62, abs=0.01)
    said = ground.read("classes.tif")[0]
    np.testing.assert_array_equal(said == 1, ground.probs()[1] >= threshold - 1e-9)
    assert scores["test"]["iou_class1"] == pytest.approx(1, abs=0.02)


def test_torchbearer_masks_are_scaled_by_each_chips_maximum():
    """T, Masks: "each chip is divided by its own maximum": a chip of noise below 1 becomes all positive."""
    chips = np.array([[0, 3, 12], [0, 60, 255]], np.float32)
    masks = rules(threshold=128, values={"1": "damage"})
    strange = meaning.Strange()
    known = meaning.read_meaning(masks, CLASSES, None)
    assert [meaning.class_ids(chip, known, strange).tolist() for chip in chips] == [[0, 0, 0], [0, 0, 1]]


def test_torchbearer_the_working_directory_is_left_changed(tmp_path, monkeypatch):
    """T, Faults: "working directory left changed", after success and after failure."""
    monkeypatch.chdir(tmp_path)
    ground = Ground(tmp_path, a=any_probs((32, 32)))
    ground.build()
    assert Path.cwd() == tmp_path
    (tmp_path / "models/one/weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(Exception):  # noqa: B017, PT011 - whichever; it is the directory that counts
        ground.build()
    assert Path.cwd() == tmp_path


def test_torchbearer_failures_are_swallowed_with_exit_0(tmp_path):
    """T, Faults: "failures swallowed with exit 0": a map of a member that was not trained."""
    (tmp_path / "params.yaml").write_text((SRC / "recipes/sample.yaml").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "stages.ensemble", "main"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": f"{SRC / 'src'}{os.pathsep}{SRC}"},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert not (tmp_path / "maps").exists()


# The Swin seed


def test_swin_seed_predicts_at_another_scale_than_it_was_trained(tmp_path):
    """R A6: trained at 256 px of shrunk tiles, predicted at 512: twice the scale, unnoticed."""
    scene = make_scene(tmp_path / "scenes" / GRID, "a", pixel=60.0)
    make_member(tmp_path / "models/one", scene)
    card = read_card(tmp_path / "models/one").model_copy(update={"pixel_m": 60.0, "pixel_m_range": (60.0, 60.0)})
    finer = make_scene(tmp_path / "finer" / GRID, "b", pixel=30.0)
    with pytest.raises(ContractError, match="30"):
        contract.check(card, finer)


def test_swin_seed_maps_lie_nowhere(tmp_path):
    """R A1, A6: georeference is lost at the first step, "nothing georeferenced, no large raster", no palette."""
    ground = Ground(tmp_path, a=any_probs((64, 64)))
    ground.build()
    with rasterio.open(tmp_path / "map/classes.tif") as dataset:
        assert dataset.crs.to_epsg() == 32720
        assert dataset.transform[:6] == (60, 0, 600_000, 0, -60, 7_000_000)
        assert dataset.colormap(1)[1] == (*legend(3)[1].rgb, 255)


def test_swin_seed_scores_are_means_of_batches():
    """R A5: an epoch's score is the mean of its batches' scores. By hand: 8 of 10 and 0 of 2 are 8 of 12, not 40 %."""
    batches = np.array([[[0, 0], [2, 8]], [[0, 0], [2, 0]]])
    found = metrics.scores(batches.sum(0), ("a", "b"))
    assert found["accuracy"] == pytest.approx(8 / 12)
    assert found["recall_b"] == pytest.approx(8 / 12)


def test_swin_seed_has_no_test_scores_and_none_by_class(tmp_path):
    """R A5: "No per-class numbers, no confusion matrix, no test run at all"."""
    probs = any_probs((64, 64))
    ground = Ground(tmp_path, other=probs)
    ground.add("a", probs, 64, mask=probs.argmax(0).astype(np.uint8))
    scores = ground.build()
    assert {f"{key}_class{k}" for key in ("iou", "f1", "precision", "recall") for k in range(3)} <= set(scores["test"])
    card = json.loads((tmp_path / "card/card.json").read_text())
    assert np.sum(card["parts"]["test"]["confusion"]) == scores["test"]["pixels"]
