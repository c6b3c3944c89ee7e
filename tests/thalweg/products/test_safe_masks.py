"""A SAFE product's own cloud masks: both forms, by hand and on real products."""

import re
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from product_builder import index
from safe_builder import (
    add_classes,
    add_polygons,
    add_probability,
    make_l1c,
    polygons_xml,
    quality,
    ring,
    seal,
    write_jp2,
)

from thalweg.errors import ProductError, RasterError
from thalweg.grid import Grid, Window
from thalweg.products import Wanted
from thalweg.products.container import Container
from thalweg.products.safe import open_safe
from thalweg.products.safe_masks import cloud_mask, parse_polygons, probability_layer

DATA = Path(__file__).parents[4] / "shared/data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
SIZE = 20


def nothing(_paths):
    """No manifest."""


def grid_at(metres: float) -> Grid:
    edge = int(SIZE * 60 / metres)
    return Grid("EPSG:32720", Affine(metres, 0, 499_980, 0, -metres, 7_600_000), (edge, edge))


def clouds_of(safe: Path, grid: Grid) -> np.ndarray:
    mask = cloud_mask(Container(safe), "P", nothing)
    assert mask is not None
    return mask(grid)


def corner_of(rows: slice, cols: slice) -> np.ndarray:
    plane = np.zeros((SIZE, SIZE), bool)
    plane[rows, cols] = True
    return plane


def test_opaque_clouds_and_cirrus_are_clouds_and_snow_is_not(tmp_path):
    safe = make_l1c(tmp_path)
    opaque, cirrus = corner_of(slice(0, 4), slice(0, 5)), corner_of(slice(3, 6), slice(4, 9))
    add_classes(safe, opaque, cirrus, corner_of(slice(10, 20), slice(0, 20)))
    found = clouds_of(safe, grid_at(60))
    assert found.dtype == bool
    assert (found == (opaque | cirrus)).all()
    assert (clouds_of(safe, grid_at(20)) == np.kron(opaque | cirrus, np.ones((3, 3)))).all()
    assert (clouds_of(safe, grid_at(10)) == np.kron(opaque | cirrus, np.ones((6, 6)))).all()
    crop = grid_at(10).crop(Window(11, 7, 30, 40))
    assert (clouds_of(safe, crop) == clouds_of(safe, grid_at(10))[11:41, 7:47]).all()


def test_beyond_a_mask_there_is_no_cloud(tmp_path):
    safe = make_l1c(tmp_path)
    everywhere = np.ones((SIZE, SIZE), bool)
    add_classes(safe, everywhere, everywhere, everywhere)
    found = clouds_of(safe, grid_at(60).crop(Window(-2, -3, 10, 10)))
    assert not found[:2].any()
    assert not found[:, :3].any()
    assert found[2:, 3:].all()


def test_polygons_cover_pixels_by_their_centre(tmp_path):
    safe = make_l1c(tmp_path, "02.06")
    add_polygons(safe, [("OPAQUE", ring(0, 0, 300, 240), (ring(60, 60, 120, 180),)),
                        ("CIRRUS", ring(600, 600, 648, 622), ())])  # fmt: skip
    found = clouds_of(safe, grid_at(60))
    expected = corner_of(slice(0, 4), slice(0, 5))
    expected[1:3, 1] = False
    expected[10, 10] = False  # its centre, (630, 630), lies below the cloud
    assert (found == expected).all()
    fine = clouds_of(safe, grid_at(10))
    assert fine[60:62, 60:65].all()  # centres at 605 to 645 across, 605 and 615 down
    assert fine.sum() == 30 * 24 - 6 * 12 + 10


def test_a_mask_without_a_polygon_means_a_clear_sky(tmp_path):
    safe = make_l1c(tmp_path, "02.06")
    add_polygons(safe, [])
    assert not clouds_of(safe, grid_at(60)).any()


def test_polygons_in_another_zone_are_brought_over(tmp_path):
    safe = make_l1c(tmp_path, "02.06")
    add_polygons(safe, [("OPAQUE", ring(120, 120, 420, 420), ())])
    from pyproj import Transformer

    x, y = Transformer.from_crs(32720, 32719, always_xy=True).transform(499_980 + 120, 7_600_000 - 120)
    elsewhere = Grid("EPSG:32719", Affine(20, 0, x - 500, 0, -20, y + 500), (60, 60))
    assert clouds_of(safe, elsewhere).sum() * 400 == pytest.approx(300**2, rel=0.1)


def test_the_newer_form_goes_before_the_older_and_neither_is_none(tmp_path):
    safe = make_l1c(tmp_path)
    assert cloud_mask(Container(safe), "P", nothing) is None
    assert probability_layer(Container(safe), 20, nothing) is None
    add_polygons(safe, [("OPAQUE", ring(0, 0, 300, 240), ())])
    clear = np.zeros((SIZE, SIZE), bool)
    add_classes(safe, clear, clear, clear)
    assert not clouds_of(safe, grid_at(60)).any()


@pytest.mark.parametrize(("text", "message"), [
    (polygons_xml([("SNOW", ring(0, 0, 1, 1), ())]), r"holds a mask of type 'SNOW', but clouds are OPAQUE or CIRRUS"),
    (polygons_xml([("OPAQUE", "1 2 3", ())]), r"the polygon OPAQUE\.0_Polygon cannot be read"),
    (polygons_xml([("OPAQUE", "1 2 3 4", ())]), r"the polygon OPAQUE\.0_Polygon cannot be read"),
    (polygons_xml([("OPAQUE", "1 1 2 2 nan 3 1 1", ())]), r"_Polygon cannot be read \(a position of it is no number\)"),
    (polygons_xml([("OPAQUE", "one two three four five six", ())]), r"the polygon OPAQUE\.0_Polygon cannot be read"),
    ("<eop:Mask", r"P: m\.gml is not well-formed XML"),
])  # fmt: skip
def test_polygons_that_are_none(text, message):
    with pytest.raises(ProductError, match=message):
        parse_polygons(text.encode(), "P: m.gml")


def test_a_polygon_without_a_corner_covers_nothing():
    _, clouds = parse_polygons(polygons_xml([("OPAQUE", "", ())]).encode(), "P: m.gml")
    assert clouds == ()


def test_a_class_mask_of_another_form(tmp_path):
    safe = make_l1c(tmp_path)
    write_jp2(quality(safe) / "MSK_CLASSI_B00.jp2", np.zeros((1, SIZE, SIZE), np.uint8), 60)
    with pytest.raises(
        ProductError, match=r"MSK_CLASSI_B00\.jp2 has 1 bands, but opaque clouds, cirrus and snow are three"
    ):
        clouds_of(safe, grid_at(60))


def test_the_probability_of_the_nearest_resolution(tmp_path):
    safe = make_l1c(tmp_path)
    add_probability(safe, np.full((60, 60), 20), 20)
    add_probability(safe, np.full((20, 20), 60), 60)
    for metres, percent in ((10, 20), (20, 20), (60, 60)):
        layer = probability_layer(Container(safe), metres, nothing)
        assert layer is not None
        assert layer.unit == "%"
        assert layer.read is not None
        assert (layer.read(Window(0, 0, 5, 5)) == percent).all()


def opened(tmp_path, safe: Path):
    [product] = index(tmp_path, safe)
    return open_safe(product, tmp_path, Wanted(("B02",), (), 10))


def test_masks_are_compared_with_the_manifest_before_they_are_read(tmp_path):
    safe = make_l1c(tmp_path)
    clear = np.zeros((SIZE, SIZE), bool)
    path = add_classes(safe, clear, clear, clear)
    percent = add_probability(safe, np.zeros((60, 60)), 20)
    seal(safe)
    delivery = opened(tmp_path, safe)
    assert delivery.clouds is not None
    assert delivery.cloud_probability is not None
    assert not delivery.clouds(grid_at(20)).any()
    shutil.copy(percent, path)
    delivery = opened(tmp_path, safe)
    delivery.verify()  # of bands alone: a mask that nobody wants may be damaged
    with pytest.raises(ProductError, match=r"MSK_CLASSI_B00\.jp2 has \d+ bytes, manifest\.safe says"):
        delivery.clouds(grid_at(20))
    content = percent.read_bytes()
    percent.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ProductError, match=r"MSK_CLDPRB_20m\.jp2 has the MD5 sum"):
        opened(tmp_path, safe).cloud_probability.read(Window(0, 0, 5, 5))


def test_a_truncated_mask_raises(tmp_path):
    safe = make_l1c(tmp_path)
    rng = np.random.default_rng(1)
    path = add_classes(safe, *(rng.random((3, SIZE, SIZE)) < 0.5))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(RasterError, match=r"MSK_CLASSI_B00\.jp2 cannot be read"):
        clouds_of(safe, grid_at(60))


@real
def test_real_polygons_of_baseline_02_11():
    """1 000 places of the tile, in a polygon or not by a test written out here (even-odd rule)."""
    [safe] = (DATA / "s2_l2a_safe_crop_T33SVB_N0211").glob("*.SAFE")
    [gml] = safe.rglob("MSK_CLOUDS_B00.gml")
    rings = [
        np.array(text.split(), float).reshape(-1, 2)
        for text in re.findall(r"<gml:posList[^>]*>([^<]*)<", gml.read_text())
    ]
    assert len(rings) > 20
    grid = Grid("EPSG:32633", Affine(20, 0, 399_960, 0, -20, 4_200_000), (5490, 5490))
    found = clouds_of(safe, grid)
    rng = np.random.default_rng(2)
    rows, cols = rng.integers(0, 5490, 1000), rng.integers(0, 5490, 1000)
    cloudy_rows, cloudy_cols = np.nonzero(found)
    some = rng.integers(0, len(cloudy_rows), 200)
    rows, cols = np.append(rows, cloudy_rows[some]), np.append(cols, cloudy_cols[some])
    x, y = 399_970 + 20 * cols, 4_199_990 - 20 * rows
    inside = np.zeros(len(x), bool)
    for corners in rings:
        for (x0, y0), (x1, y1) in pairwise(corners):
            if y0 != y1:
                inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    assert inside.sum() >= 200
    assert (found[rows, cols] == inside).all()


@real
def test_real_classes_and_probability_of_baseline_05_11():
    [safe] = (DATA / "s2_l2a_safe_T33TVM_N0511").glob("*.SAFE")
    [classes] = safe.rglob("MSK_CLASSI_B00.jp2")
    found = clouds_of(safe, Grid("EPSG:32633", Affine(20, 0, 399_960, 0, -20, 5_200_020), (5490, 5490)))
    rng = np.random.default_rng(3)
    rows, cols = rng.integers(0, 5490, 1000), rng.integers(0, 5490, 1000)
    with rasterio.open(classes) as dataset:
        values = list(dataset.sample([(399_970 + 20 * c, 5_200_010 - 20 * r) for r, c in zip(rows, cols, strict=True)]))
    assert (found[rows, cols] == [value[0] > 0 or value[1] > 0 for value in values]).all()
    assert 100 < found[rows, cols].sum() < 900
    layer = probability_layer(Container(safe), 60, nothing)
    assert layer is not None
    assert layer.path.endswith("MSK_CLDPRB_60m.jp2")
    assert layer.grid.shape_yx == (1830, 1830)


@real
@pytest.mark.parametrize("name", ["S2A_MSIL1C_20180629T000241", "S2A_MSIL1C_20171207T002051"])
def test_real_l1c_with_a_clear_sky(name):
    [path] = (DATA / "s2_l1c_safe_zip").glob(f"{name}*.zip")
    assert not clouds_of(path, grid_at(60)).any()
