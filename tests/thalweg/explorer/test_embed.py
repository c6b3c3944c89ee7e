"""What a page is told of a map: numbers are the map's own pixels, pictures are in the legend's colours."""

import base64
import io
import zlib

import numpy as np
import pytest
import rasterio
from explorer_builder import explored, make_below, make_explored
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from thalweg.explorer import held
from thalweg.explorer.embed import embed
from thalweg.explorer.ground import Ground
from thalweg.explorer.held import HeldMap
from thalweg.grid import Window


def unpacked(page: dict, title: str) -> np.ndarray:
    [field] = [field for field in page["values"] if field["title"] == title]
    content = zlib.decompress(base64.b64decode(field["data"]))
    return np.frombuffer(content, {"u1": "<u1", "u2": "<u2"}[field["as"]]).reshape(page["small"])


def picture(page: dict, key: str) -> np.ndarray:
    [layer] = [layer for layer in page["layers"] if layer["key"] == key]
    with Image.open(io.BytesIO(base64.b64decode(layer["src"].split(",")[1]))) as image:
        return np.array(image.convert("RGBA"))


def read(path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read()


def test_a_small_map_is_held_whole(tmp_path):
    shown, ground = explored(tmp_path)
    page = embed(shown, ground, shown.files.grid.full)
    assert page["small"] == page["shape"] == [90, 140]
    labels, probs = read(shown.files.classes)[0], read(shown.files.probs)
    assert np.array_equal(unpacked(page, "class"), labels)
    said = np.take_along_axis(probs, np.where(labels == 255, 0, labels)[None].astype(int), 0)[0]
    assert np.array_equal(unpacked(page, "probability of the class said"), said)
    assert np.array_equal(unpacked(page, "doubt 1"), read(shown.files.uncertainty)[0])
    assert np.array_equal(unpacked(page, "mask"), ground.scenes[0].mask)
    member = read(shown.files.classes.with_name("members") / "unet.tif")
    assert np.array_equal(unpacked(page, "unet"), np.where(member[0] == 65535, 255, member.argmax(0)))


def test_layers_and_legend_are_the_maps(tmp_path):
    shown, ground = explored(tmp_path)
    page = embed(shown, ground, shown.files.grid.full)
    assert [layer["title"] for layer in page["layers"]] == [
        "Image, true colour", "Image, false colour", "Mask", "unet: classes", "Probability of the class said", "Doubt 1", "Classes",
    ]  # fmt: skip
    assert page["classes"] == [
        {"name": "background", "color": "#e6e0d4"}, {"name": "old channel", "color": "#1f6fb4"}, {"name": "water", "color": "#00783c"},
    ]  # fmt: skip
    labels, drawn = unpacked(page, "class"), picture(page, "classes")
    assert (drawn[labels == 1] == (31, 111, 180, 255)).all()
    assert (drawn[labels == 255][:, 3] == 0).all()
    assert [layer["key"] for layer in page["layers"] if layer["shown"]] == ["image-0", "classes"]


def test_of_two_classes_the_second_ones_probability_is_told(tmp_path):
    shown, ground = explored(tmp_path, classes=2)
    page = embed(shown, ground, shown.files.grid.full)
    assert np.array_equal(unpacked(page, "probability of old channel"), read(shown.files.probs)[1])
    assert np.array_equal(unpacked(page, "unet"), read(shown.files.classes.with_name("members") / "unet.tif")[1])


def test_a_large_map_is_thinned_to_its_own_pixels(tmp_path):
    """10 pixels of 90 rows: rows 4, 13, …, 85; of 140 columns 16, since the pixels stay square."""
    shown, ground = explored(tmp_path)
    page = embed(shown, ground, shown.files.grid.full, max_px=16)
    assert page["small"] == [10, 16]
    rows, cols = [int((k + 0.5) * 9) for k in range(10)], [int((k + 0.5) * 8.75) for k in range(16)]
    at = np.ix_(rows, cols)
    assert np.array_equal(unpacked(page, "class"), read(shown.files.classes)[0][at])
    assert np.array_equal(unpacked(page, "mask"), ground.scenes[0].mask[at])


def test_a_window_is_its_part_of_the_map(tmp_path):
    shown, ground = explored(tmp_path)
    page = embed(shown, ground, Window(20, 30, 40, 50))
    assert (page["origin"], page["shape"]) == ([20, 30], [40, 50])
    assert np.array_equal(unpacked(page, "class"), read(shown.files.classes)[0][20:60, 30:80])
    assert np.array_equal(unpacked(page, "mask"), ground.scenes[0].mask[20:60, 30:80])
    assert page["transform"][2] == 600_000 + 30 * 10


def test_places_are_those_of_the_ground(tmp_path):
    shown, ground = explored(tmp_path)
    page = embed(shown, ground, shown.files.grid.full)
    lon, lat = shown.files.grid.lonlat(np.array([0, 90]), np.array([0, 140]))
    assert [page["lon"][0], page["lon"][-1]] == pytest.approx(lon.tolist(), abs=1e-6)
    assert [page["lat"][0], page["lat"][-1]] == pytest.approx(lat.tolist(), abs=1e-6)


@given(st.integers(1, 300), st.integers(1, 300))
def test_middle_pixels_rise_and_lie_inside_their_stretches(length, count):
    count = min(count, length)
    at = held.centres(length, count)
    edges = np.arange(count + 1) * length / count
    assert ((at + 1 > edges[:-1]) & (at < edges[1:])).all()
    assert (np.diff(at) > 0).all()


def test_a_scene_of_another_crs_is_read_at_the_places_of_the_maps_pixels(tmp_path):
    """A scene of UTM zone 21 below a map of zone 20: each label is the one whose pixel holds the map pixel's middle."""
    from pyproj import Transformer
    from scene_builder import make_scene

    files = make_explored(tmp_path, (20, 30))
    bring = Transformer.from_crs(32720, 32721, always_xy=True)
    x, y = bring.transform(600_000, 7_000_000)
    mask = np.random.default_rng(0).integers(0, 3, (80, 90)).astype(np.uint8)
    scene = make_scene(
        tmp_path / "g", "far", crs="EPSG:32721", origin=(x - 300, y + 300), pixel=10.0, shape=(80, 90), mask=mask
    )
    found = Ground([scene], files.grid).mask(np.arange(20), np.arange(30))
    for row, col in ((0, 0), (7, 11), (19, 29)):
        east, north = bring.transform(600_000 + (col + 0.5) * 10, 7_000_000 - (row + 0.5) * 10)
        assert found[row, col] == mask[int((y + 300 - north) // 10), int((east - x + 300) // 10)]


def test_where_no_scene_is_nothing_is_known(tmp_path):
    files = make_explored(tmp_path, (20, 30))
    ground = Ground([make_below(tmp_path, files, shift_px=5)], files.grid)
    mask = ground.mask(np.arange(20), np.arange(30))
    assert (mask[:5] == 255).all()
    assert (mask[:, :5] == 255).all()
    assert np.array_equal(mask[5:, 5:], ground.scenes[0].mask[:15, :25])
    _, there = ground.picture(np.arange(20), np.arange(30), 0)
    assert there[5:, 5:].all()
    assert not there[:5].any()


def test_a_map_without_colours_is_grey(tmp_path):
    files = make_explored(tmp_path, (20, 30))
    labels = read(files.classes)[0]
    from thalweg import raster

    raster.write(
        files.classes, labels, files.grid, nodata=255, tags={f"CLASS_{k}": name for k, name in enumerate(files.names)}
    )
    assert [info.color for info in HeldMap("main", files).legend] == ["#000000", "#808080", "#ffffff"]
