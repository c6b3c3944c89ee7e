"""Which pixels can be used: every rule by hand, clouds widened as brute force does it, and L1C end to end."""

import tracemalloc

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from product_builder import build, grid_params, index, make_safe, valid_params
from safe_builder import add_classes, add_polygons, add_probability, make_l1c, ring, seal

from thalweg.errors import DegradedDataWarning, ParamsError, ProductError
from thalweg.grid import Grid, Window
from thalweg.preprocess import validity, widen
from thalweg.preprocess.validity import judge, usable
from thalweg.products import Delivery, Layer
from thalweg.products.codes import Codes

GRID = Grid("EPSG:32720", Affine(10, 0, 600_000, 0, -10, 7_000_000), (12, 12))


def coarser(factor: int, grid: Grid = GRID) -> Grid:
    return Grid(
        grid.crs_wkt, grid.transform @ Affine.scale(factor), (grid.shape_yx[0] // factor, grid.shape_yx[1] // factor)
    )


def layer_of(codes: np.ndarray, grid: Grid = GRID) -> Layer:
    return Layer("", 1, grid, 1.0, 0.0, None, None, "1", lambda window: codes[window.rows, window.cols])


def delivery_of(scl: np.ndarray | None = None, scl_grid: Grid = GRID, **changes) -> Delivery:
    labels = {} if scl is None else {"SCL": layer_of(scl, scl_grid)}
    return Delivery("P", None, None, GRID, {}, labels, (), lambda: None, **changes)


def test_no_rule_says_nothing():
    assert usable(delivery_of(np.full((12, 12), 9, np.uint8)), valid_params(), GRID) is None


def test_listed_scene_classes_are_unusable():
    codes = np.arange(144, dtype=np.uint8).reshape(12, 12) % 12
    found = usable(delivery_of(codes), valid_params(scl=(0, 1, 9)), GRID)
    assert found.dtype == bool
    assert (found == ((codes > 1) & (codes != 9))).all()


def test_coarser_classes_are_never_mixed():
    codes = np.full((4, 4), 4, np.uint8)
    codes[1, 2] = 8
    found = usable(delivery_of(codes, coarser(3)), valid_params(scl=(8,)), GRID)
    expected = np.ones((12, 12), bool)
    expected[3:6, 6:9] = False
    assert (found == expected).all()


@pytest.mark.parametrize(("classes", "outside"), [((0, 9), False), ((9,), True)])
def test_beyond_the_scene_classes_is_no_data(classes, outside):
    part = GRID.crop(Window(0, 0, 6, 12))
    found = usable(delivery_of(np.full((6, 12), 4, np.uint8), part), valid_params(scl=classes), GRID)
    assert found[:6].all()
    assert (found[6:] == outside).all()


def test_codes_that_are_no_class_are_unusable_and_counted():
    codes = np.full((12, 12), 4, np.uint8)
    codes[0, :3], codes[5, 5] = 12, 200
    verdict = judge(delivery_of(codes), valid_params(scl=(8,)), GRID)
    assert (verdict.usable == (codes == 4)).all()
    assert verdict.warnings == (
        "P: SCL holds codes that are no class: 12 (3 pixels), 200 (1 pixels); these pixels count as unusable",
    )
    listed = judge(delivery_of(codes), valid_params(scl=(8, 12, 200)), GRID)
    assert (listed.usable == (codes == 4)).all()
    assert listed.warnings == ()


def test_classes_of_another_type():
    codes = np.full((12, 12), 4, np.int16)
    codes[0, 0], codes[1, 1] = -1, 9
    verdict = judge(delivery_of(codes), valid_params(scl=(9,)), GRID)
    assert (verdict.usable == (codes == 4)).all()
    assert "-1 (1 pixels)" in verdict.warnings[0]


def disc(rows: int, cols: int, at: tuple[int, int], radius_px: float) -> np.ndarray:
    down, across = np.mgrid[:rows, :cols]
    return np.hypot(down - at[0], across - at[1]) <= radius_px


@pytest.mark.parametrize("code", [3, 8, 9, 10])
def test_clouds_and_shadows_are_widened(code):
    codes = np.full((12, 12), 4, np.uint8)
    codes[6, 5] = code
    found = usable(delivery_of(codes), valid_params(scl=(code,), cloud_buffer_m=25.0), GRID)
    assert (found == ~disc(12, 12, (6, 5), 2.5)).all()


@pytest.mark.parametrize("code", [0, 1, 2, 6, 11, 12])
def test_other_classes_are_not(code):
    codes = np.full((12, 12), 4, np.uint8)
    codes[6, 5] = code
    found = usable(delivery_of(codes), valid_params(scl=(code, 8), cloud_buffer_m=25.0), GRID)
    assert (found == (codes == 4)).all()


def test_a_buffer_of_one_pixel_reaches_the_next():
    """UTM's metres are 0.04 % short of the ground's in the middle of a zone, and 0.1 % long at its edge."""
    for west in (500_000, 830_000):
        grid = Grid("EPSG:32720", Affine(20, 0, west, 0, -20, 7_000_000), (12, 12))
        codes = np.full((12, 12), 4, np.uint8)
        codes[6, 5] = 9
        found = usable(delivery_of(codes, grid), valid_params(scl=(9,), cloud_buffer_m=20.0), grid)
        assert (found == ~disc(12, 12, (6, 5), 1)).all()


def test_a_buffer_is_in_metres_of_the_ground():
    """At 60° N a pixel of 10 m of EPSG:3857 is 5 m, and one of equal degrees twice as high as wide."""
    codes = np.full((31, 31), 4, np.uint8)
    codes[15, 15] = 9
    mercator = Grid("EPSG:3857", Affine(10, 0, 1_113_195, 0, -10, 8_399_893), (31, 31))
    found = usable(delivery_of(codes, mercator), valid_params(scl=(9,), cloud_buffer_m=21.0), mercator)
    assert (found == ~disc(31, 31, (15, 15), 4.2)).all()
    degrees = Grid("EPSG:4326", Affine(1e-4, 0, 10, 0, -1e-4, 60), (31, 31))  # 11.14 m high, 5.58 m wide
    found = usable(delivery_of(codes, degrees), valid_params(scl=(9,), cloud_buffer_m=23.0), degrees)
    down, across = np.mgrid[:31, :31] - 15
    assert (found == (np.hypot(11.141 * down, 5.58 * across) > 23)).all()


def clouded(draw_on: np.ndarray):
    """A product's cloud mask that lies on GRID."""
    return lambda grid: Codes(draw_on, GRID, grid, 0).on(grid.full)


def test_the_products_own_clouds_stand_in_for_scene_classes():
    clouds = disc(12, 12, (3, 3), 1.5)
    valid = valid_params(product_masks=True)
    assert (usable(delivery_of(clouds=clouded(clouds)), valid, GRID) == ~clouds).all()
    wide = valid_params(product_masks=True, cloud_buffer_m=10.0)
    assert usable(delivery_of(clouds=clouded(clouds)), wide, GRID).sum() < (~clouds).sum()
    both = delivery_of(np.full((12, 12), 4, np.uint8), clouds=clouded(clouds))
    assert usable(both, valid_params(scl=(9,), product_masks=True), GRID).all()


def test_neither_scene_classes_nor_clouds():
    with pytest.raises(
        ProductError, match=r"P has no cloud mask of its own \(MSK_CLASSI or MSK_CLOUDS .* to stand in for"
    ):
        usable(delivery_of(), valid_params(scl=(9,), product_masks=True), GRID)
    with pytest.raises(
        ProductError, match=r"P has no SCL image; set valid\.product_masks to true .* or valid\.scl to \[\]"
    ):
        usable(delivery_of(), valid_params(scl=(9,)), GRID)


def test_the_cloud_probability_counts_from_its_threshold_on():
    percent = np.array([[0, 39], [40, 100]], np.uint8)
    delivery = delivery_of(cloud_probability=layer_of(percent, coarser(6)))
    found = usable(delivery, valid_params(cloud_probability=40), GRID)
    assert (found[:6]).all()
    assert not found[6:].any()
    wide = usable(delivery, valid_params(cloud_probability=100, cloud_buffer_m=30.0), GRID)
    assert not wide[6:, 6:].any()
    assert not wide[3, 8]
    assert wide[2, 8]
    with pytest.raises(
        ProductError, match=r"P has no cloud probability \(MSK_CLDPRB .* valid\.cloud_probability to null"
    ):
        usable(delivery_of(), valid_params(cloud_probability=40), GRID)


def test_a_delivered_mask_of_usable_pixels_always_counts():
    codes = np.zeros((12, 12), np.uint8)
    codes[:, 4:], codes[:, 8:] = 1, 2
    delivery = delivery_of(udm=(layer_of(codes), (1, 2)))
    found = usable(delivery, valid_params(), GRID)
    assert (found == (codes > 0)).all()
    wide = usable(delivery, valid_params(cloud_buffer_m=20.0), GRID)
    assert (wide == (np.arange(12) > 5)).all()
    part = delivery_of(udm=(layer_of(codes[:6], GRID.crop(Window(0, 0, 6, 12))), (0, 1)))
    assert not usable(part, valid_params(), GRID)[6:].any()


def test_rules_add_up():
    codes = np.full((12, 12), 4, np.uint8)
    codes[0] = 9
    percent = np.zeros((12, 12), np.uint8)
    percent[:, 0] = 90
    udm = np.ones((12, 12), np.uint8)
    udm[11, 11] = 0
    delivery = delivery_of(codes, cloud_probability=layer_of(percent), udm=(layer_of(udm), (1,)))
    found = usable(delivery, valid_params(scl=(9,), cloud_probability=50), GRID)
    assert (found == ((codes == 4) & (percent == 0) & (udm == 1))).all()


def test_a_buffer_around_nothing():
    with pytest.raises(
        ParamsError, match=r"cloud_buffer_m is 50, but no rule of this grid finds clouds: list SCL classes \(3, 8"
    ):
        usable(delivery_of(np.full((12, 12), 4, np.uint8)), valid_params(scl=(0, 11), cloud_buffer_m=50.0), GRID)


def brute(clouds: np.ndarray, pixel_m_yx: tuple[float, float], distance_m: float) -> np.ndarray:
    """Within the distance of any cloud, pair by pair."""
    rows, cols = np.nonzero(clouds)
    down, across = np.mgrid[: clouds.shape[0], : clouds.shape[1]]
    far_m = np.hypot((down[..., None] - rows) * pixel_m_yx[0], (across[..., None] - cols) * pixel_m_yx[1])
    return (far_m <= distance_m * 1.002).any(-1)


@settings(max_examples=60, deadline=None)
@given(
    clouds=arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=24), elements=st.booleans()),
    pixel_m_yx=st.tuples(st.floats(3, 40), st.floats(3, 40)),
    distance_m=st.floats(0, 400),
    stripe=st.integers(1, 9),
)
def test_widening_is_brute_force_in_any_stripes(clouds, pixel_m_yx, distance_m, stripe):
    found = np.ones(clouds.shape, bool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(widen, "_STRIPE_ROWS", stripe)
        widen.widen(found, clouds, pixel_m_yx, distance_m)
    assert (found == ~brute(clouds, pixel_m_yx, distance_m)).all()


@pytest.mark.parametrize("stripe", [1, 5, 512])
def test_stripes_leave_no_trace(stripe, monkeypatch):
    codes = np.where(np.random.default_rng(5).random((4, 4)) < 0.3, 8, 4).astype(np.uint8)
    whole = usable(delivery_of(codes, coarser(3)), valid_params(scl=(8,), cloud_buffer_m=15.0), GRID)
    monkeypatch.setattr(validity, "_STRIPE_ROWS", stripe)
    striped = usable(delivery_of(codes, coarser(3)), valid_params(scl=(8,), cloud_buffer_m=15.0), GRID)
    assert (whole == striped).all()


def test_wide_scenes_are_widened_alike():
    """Beyond 16 000 columns numbers no longer fit into 16 bits."""
    for width in (16_000, 17_000):
        clouds = np.zeros((3, width), bool)
        clouds[1, [0, width - 1]] = True
        found = np.ones((3, width), bool)
        widen.widen(found, clouds, (10, 10), 50)
        assert np.flatnonzero(~found[1]).tolist() == [*range(6), *range(width - 6, width)]


def test_memory_is_some_bytes_a_pixel():
    """At 10 980² pixels the limit is 400 MB, 3.3 bytes a pixel; a tenth of the rows need a tenth and the stripes."""
    grid = Grid("EPSG:32720", Affine(10, 0, 600_000, 0, -10, 7_000_000), (1098, 10_980))
    codes = np.full((549, 5490), 4, np.uint8)
    codes[100:200, 100:300] = 9
    delivery = delivery_of(codes, Grid(grid.crs_wkt, grid.transform @ Affine.scale(2), (549, 5490)))
    tracemalloc.start()
    found = usable(delivery, valid_params(scl=(9,), cloud_buffer_m=100.0), grid)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not found.all()
    assert peak < 400e6 / 10 + 80e6


def test_codes_of_another_crs_take_what_lies_under_the_centre():
    from pyproj import Transformer

    codes = np.random.default_rng(6).integers(0, 12, (40, 40)).astype(np.uint8)
    source = Grid("EPSG:32719", Affine(20, 0, 1_190_000, 0, -20, 6_990_000), (40, 40))
    x, y = Transformer.from_crs(32719, 32720, always_xy=True).transform(1_190_100, 6_989_900)
    target = Grid("EPSG:32720", Affine(10, 0, x, 0, -10, y), (50, 50))
    found = Codes(codes, source, target, 99).on(Window(0, 0, 50, 50))
    down, across = np.mgrid[:50, :50] + 0.5
    east, north = Transformer.from_crs(32720, 32719, always_xy=True).transform(x + 10 * across, y - 10 * down)
    rows, cols = np.floor((6_990_000 - north) / 20).astype(int), np.floor((east - 1_190_000) / 20).astype(int)
    inside = (rows >= 0) & (rows < 40) & (cols >= 0) & (cols < 40)
    assert inside.sum() > 1000
    expected = np.where(inside, codes[rows.clip(0, 39), cols.clip(0, 39)], 99)
    assert (found != expected).mean() < 0.002  # a centre on a pixel's edge
    clouds = Codes(codes > 6, source, target, 0).on(Window(0, 0, 50, 50))
    assert clouds.dtype == bool
    assert (clouds != ((expected > 6) & inside)).mean() < 0.002


def l1c_grid(metres: int, **valid):
    return grid_params(bands=("B02", "B8A", "B01"), resolution_m=metres, valid=valid_params(**valid))


@pytest.mark.parametrize("baseline", ["05.11", "02.06"])
@pytest.mark.parametrize("metres", [10, 20, 60])
def test_l1c_end_to_end(tmp_path, baseline, metres):
    safe = make_l1c(tmp_path / "raw", baseline)
    clouds = np.zeros((20, 20), bool)
    clouds[2:6, 3:8] = True
    if baseline == "05.11":
        add_classes(safe, clouds, np.zeros((20, 20), bool), ~clouds)
    else:
        add_polygons(safe, [("CIRRUS", ring(180, 120, 480, 360), ())])
    index(tmp_path / "raw", seal(safe))
    [scene] = build(tmp_path, l1c_grid(metres, scl=(8, 9, 10), product_masks=True)).values()
    factor = 60 // metres
    assert (scene.valid == ~np.kron(clouds, np.ones((factor, factor), bool))).all()
    if metres == 10:
        return
    [wide] = build(tmp_path, l1c_grid(metres, product_masks=True, cloud_buffer_m=120.0), out="wide").values()
    expected = ~brute(np.kron(clouds, np.ones((factor, factor), bool)), (metres, metres), 120)
    assert (wide.valid == expected).all()


def test_l1c_without_any_mask(tmp_path):
    index(tmp_path / "raw", seal(make_l1c(tmp_path / "raw")))
    with pytest.raises(ProductError, match=r"has no SCL image"):
        build(tmp_path, l1c_grid(20, scl=(9,)))
    with pytest.raises(ProductError, match=r"has no cloud mask of its own"):
        build(tmp_path, l1c_grid(20, scl=(9,), product_masks=True))
    [scene] = build(tmp_path, l1c_grid(20), out="unmasked").values()
    assert scene.valid.all()


def test_l2a_with_cloud_probability_and_strange_codes_end_to_end(tmp_path):
    safe = make_safe(tmp_path / "raw")
    percent = np.zeros((32, 32), np.uint8)
    percent[4:9, 20:30] = 65
    add_probability(safe, percent, 60)
    import rasterio

    [scl] = safe.rglob("*_SCL_60m.jp2")
    with rasterio.open(scl) as dataset:
        codes, profile = dataset.read(1), dataset.profile
    codes[:] = 4
    codes[0, :5] = 12
    with rasterio.open(scl, "w", **{**profile, "QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"}) as dataset:
        dataset.write(codes, 1)
    (safe / "manifest.safe").unlink()
    index(tmp_path / "raw", safe)
    with pytest.warns(DegradedDataWarning, match=r"SCL holds codes that are no class: 12 \(5 pixels\)"):
        [scene] = build(tmp_path, grid_params(valid=valid_params(scl=(8, 9), cloud_probability=65))).values()
    measured = (scene.image != -32768).all(-1)
    assert (scene.valid == (measured & (codes == 4) & (percent == 0))).all()
    assert any("12 (5 pixels)" in text for text in scene.record.warnings)
