"""Laws of blending: what goes in comes out, at every pixel, however windows sweep a scene."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from predict_builder import Mirror, card_for
from scene_builder import make_scene
from shapely import Polygon
from torch import nn

from thalweg.errors import ParamsError
from thalweg.grid import cut
from thalweg.infer import Predictor, iter_rows
from thalweg.infer.lattice import BLENDS, How, Lattice
from thalweg.infer.scene import predict_scene
from thalweg.manifest.scene import NODATA
from thalweg.maps import PROB_NODATA, PROB_SCALE

SWEEPS = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.75, 0.9]), min_size=1, max_size=3)


@st.composite
def hows(draw) -> How:
    return How(tuple(draw(SWEEPS)), draw(st.sampled_from(BLENDS)))


@settings(max_examples=150, deadline=None)
@given(height=st.integers(1, 150), width=st.integers(1, 150), window=st.integers(4, 64), how=hows())
def test_weights_sum_to_one_at_every_pixel(height, width, window, how) -> None:
    lattice = Lattice.over((height, width), window, how)
    total = np.zeros((height, width))
    for top in lattice.tops:
        for each in lattice.windows(top):
            inside = each.clip((height, width))
            weights = lattice.weights(each)
            assert weights.shape == (inside.height, inside.width)
            assert (weights >= 0).all()
            total[inside.rows, inside.cols] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_tapers_are_what_is_stated() -> None:
    """One row of three windows of 8 pixels that overlap by 4: the middle one's weights before they are divided."""
    place = (np.arange(8) + 0.5) / 8
    stated = {"hann": np.sin(np.pi * place) ** 2, "cosine": np.sin(np.pi * place), "linear": 1 - abs(2 * place - 1),
              "crop": np.array([0, 0, 1, 1, 1, 1, 0, 0]), "none": np.ones(8)}  # fmt: skip
    for blend, taper in stated.items():
        rows, _ = Lattice.over((16, 16), 8, How((0.5,), blend)).sweeps[0]
        assert sorted(rows) == [0, 4, 8]
        first = np.ones(8) if blend in ("crop", "none") else taper
        if blend == "crop":
            first = np.array([1, 1, 1, 1, 1, 1, 0, 0])
        met = taper + np.r_[first[4:], first[::-1][:4]]
        np.testing.assert_allclose(rows[4], taper / met, atol=1e-6, err_msg=blend)


def test_crop_takes_each_pixel_from_one_window_and_none_takes_the_plain_mean() -> None:
    rows, _ = Lattice.over((16, 16), 8, How((0.5,), "crop")).sweeps[0]
    assert [list(map(float, rows[top])) for top in (0, 4, 8)] == [
        [1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1]]  # fmt: skip
    rows, _ = Lattice.over((16, 16), 8, How((0.5,), "none")).sweeps[0]
    assert list(rows[0]) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]


def test_sweeps_are_averaged_and_windows_that_they_share_are_one() -> None:
    shape = (64, 64)
    both = Lattice.over(shape, 32, How((0.0, 0.5), "hann"))
    apart = [Lattice.over(shape, 32, How((overlap,), "hann")) for overlap in (0.0, 0.5)]
    assert both.tops == (0, 16, 32)
    windows = [w for top in both.tops for w in both.windows(top)]
    assert len(windows) == len(set(windows)) == 9
    alone = {(0, 0), (0, 32), (32, 0), (32, 32)}
    for window in windows:
        mean = apart[1].weights(window) / 2
        if (window.row, window.col) in alone:
            mean = mean + apart[0].weights(window) / 2
        np.testing.assert_allclose(both.weights(window), mean, atol=1e-6)


@pytest.mark.parametrize(("overlaps", "blend", "said"), [
    ((), "hann", "give one or more, each from 0 to below 1"),
    ((1.0,), "hann", "overlaps of windows are (1.0,)"),
    ((0.5,), "spline", "cannot be blended by 'spline'; choose one of hann, cosine, linear, crop, none"),
])  # fmt: skip
def test_what_no_sweep_can_be(overlaps, blend, said) -> None:
    with pytest.raises(ParamsError) as caught:
        How(overlaps, blend)
    assert said in str(caught.value)


def drawn(kind: str, shape: tuple[int, int], scene) -> tuple[object, np.ndarray]:
    """An area of interest and the pixels that are in it."""
    if kind == "all":
        return None, np.ones(shape, bool)
    if kind == "raster":
        chosen = np.random.default_rng(7).random(shape) < 0.03
        return chosen, chosen
    rows, cols = np.indices(shape) + 0.5
    corners = [
        (0.0131, 0.1073),
        (0.9871, 0.3037),
        (0.4171, 0.9713),
    ]  # no centre of a pixel on an edge; of width and height, from the upper left
    triangle = Polygon([scene.grid.transform @ (x * shape[1], y * shape[0]) for x, y in corners])
    from shapely import contains_xy

    xs, ys = (
        scene.grid.transform.a * cols + scene.grid.transform.c,
        scene.grid.transform.e * rows + scene.grid.transform.f,
    )
    return triangle, contains_xy(triangle, xs, ys)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 120), st.integers(1, 120)), windows=st.lists(st.sampled_from([16, 32, 64]), min_size=1, max_size=3),
    how=hows(), dtype=st.sampled_from(["int16", "float32"]), hole=st.booleans(), area=st.sampled_from(["all", "raster", "polygon"]),
    seed=st.integers(0, 9), gib=st.sampled_from([0.17, 0.2, 2]),
)  # fmt: skip
def test_a_scene_predicted_by_identity_is_itself(shape, windows, how, dtype, hole, area, seed, gib) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 10_001, (*shape, 2)).astype(dtype)
    if hole:
        image[rng.random(shape) < 0.3] = NODATA
    valid = (rng.random(shape) < 0.9).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        scene = make_scene(root / "g", "s", shape=shape, image=image.copy(), valid=valid, mask=None)
        members = {f"m{i}": Mirror(card_for(scene, window_px=size)) for i, size in enumerate(windows)}
        targets = {name: root / f"{name}.tif" for name in members}
        wanted, inside = drawn(area, shape, scene)
        predict_scene(members, scene, how, ("a", "b"), targets, area=wanted, memory_gib=gib)
        usable = inside & (valid > 0) & (image != NODATA).any(-1)
        for target in targets.values():
            with rasterio.open(target) as dataset:
                held = dataset.read().astype(int)
            assert ((held != PROB_NODATA) == usable).all()
            expected = np.rint(np.moveaxis(image, -1, 0) / 10_000 * PROB_SCALE)
            assert np.abs(held - expected)[:, usable].max(initial=0) <= 1


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 100), width=st.integers(1, 100), window=st.integers(4, 48), overlap=st.floats(0, 0.9),
       blend=st.sampled_from(BLENDS), value=st.floats(0, 1))  # fmt: skip
def test_a_constant_stays_that_constant(height, width, window, overlap, blend, value) -> None:
    def constant(windows: np.ndarray) -> np.ndarray:
        return np.full((len(windows), 1, *windows.shape[1:3]), value, np.float32)

    image = np.ones((height, width, 1), np.int16)
    runs = iter_rows(constant, lambda w: cut(image, w, NODATA), (height, width), 1, window, overlap, 3, blend)
    probs = np.concatenate([run for _, run in runs], axis=1)
    assert probs.shape == (1, height, width)
    np.testing.assert_allclose(probs, value, atol=1e-6)


class Local(nn.Module):
    """Two 3 × 3 convolutions: what a pixel gets depends on the two pixels around it, and on nothing else."""

    reach_px = 2

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 2, 3, padding=1))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.layers(batch.permute(0, 3, 1, 2).float() / 3000)


@pytest.mark.parametrize(("blend", "overlaps"), [("crop", (0.25,)), ("crop", (0.25, 0.5))])
def test_cut_off_windows_are_the_whole_at_every_pixel(tmp_path, blend, overlaps) -> None:
    """Where the cut is at least the network's reach, only the scene's own borders are borders."""
    same, scene, image = tiled(tmp_path, How(overlaps, blend))
    np.testing.assert_allclose(same, whole(scene, image), atol=1e-5)


@pytest.mark.parametrize(("blend", "overlaps"), list(itertools.product(BLENDS, ((0.25,), (0.5, 0.3)))))
def test_tiled_is_the_whole_where_no_window_ends(tmp_path, blend, overlaps) -> None:
    found, scene, image = tiled(tmp_path, How(overlaps, blend))
    lattice = Lattice.over(scene.grid.shape_yx, 64, How(overlaps, blend))
    free = np.ones(scene.grid.shape_yx, bool)
    starts = [(rows, cols) for rows, cols in lattice.sweeps]
    for rows, cols in starts:
        for axis, (edges, length) in enumerate(((rows, free.shape[0]), (cols, free.shape[1]))):
            for start in edges:
                for edge in (start, start + 64):
                    near = slice(max(edge - Local.reach_px, 0), edge + Local.reach_px)
                    if 0 < edge < length:
                        free[(near, slice(None)) if axis == 0 else (slice(None), near)] = False
    assert free.mean() > 0.5
    difference = np.abs(found - whole(scene, image))
    assert difference[:, free].max() < 1e-5
    assert difference.max() > 1e-4 or blend == "crop"


def tiled(root: Path, how: How) -> tuple[np.ndarray, object, np.ndarray]:
    image = np.random.default_rng(5).integers(0, 6000, (150, 170, 2), dtype=np.int16)
    scene = make_scene(root / "g", "s", shape=(150, 170), image=image.copy(), mask=None)
    member = Predictor(Local(), card_for(scene, window_px=64))
    lattice = Lattice.over((150, 170), 64, how)
    from thalweg.infer.canvas import Canvas

    canvas = Canvas(lattice, 2, 32)
    for top in lattice.tops:
        for window in lattice.windows(top):
            canvas.add(window, member.predict(cut(image, window, NODATA)[None])[0])
    return np.concatenate([band for _, band in canvas.finished(150)], axis=1), scene, image


def whole(scene, image: np.ndarray) -> np.ndarray:
    return Predictor(Local(), card_for(scene, window_px=64)).predict(image[None])[0]
