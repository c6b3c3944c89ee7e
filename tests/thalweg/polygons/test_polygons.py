"""Polygons give the classes back, exclude each other, and do not know of stripes."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from geopandas.testing import assert_geodataframe_equal
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_map import NAMES, make_grid, make_map
from typer.testing import CliRunner

from thalweg import cli
from thalweg.classes import IGNORE
from thalweg.errors import MapError
from thalweg.grid import Grid
from thalweg.mapfiles import MapFiles
from thalweg.polygons import Rules, build_polygons, write_polygons
from thalweg.polygons.rings import Rings
from thalweg.polygons.simplify import _State

ALL = Rules(NAMES, 0, 0, 0)


def drawn_back(table: geopandas.GeoDataFrame, files: MapFiles) -> np.ndarray:
    shapes = list(zip(table.geometry, table["class_id"], strict=True))
    if not shapes:
        return np.full(files.grid.shape_yx, IGNORE, np.uint8)
    return rasterio.features.rasterize(
        shapes, files.grid.shape_yx, IGNORE, transform=files.grid.transform, dtype=np.uint8
    )


def blobs(seed: int, shape: tuple[int, int], classes: int = 4, grain: int = 1) -> np.ndarray:
    """Random labels in lumps of `grain` pixels, a few without a map."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, classes + 1, [side // grain + 1 for side in shape]).astype(np.uint8)
    coarse[coarse == classes] = IGNORE
    fine = coarse.repeat(grain, 0).repeat(grain, 1)[: shape[0], : shape[1]]
    noise = random.random(shape) < 0.1
    return np.where(noise, random.integers(0, classes, shape), fine).astype(np.uint8)


worlds = st.tuples(
    st.integers(0, 2**32 - 1), st.tuples(st.integers(1, 24), st.integers(1, 24)), st.integers(1, 4), st.integers(1, 5)
)


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("maps")


@settings(max_examples=30, deadline=None)
@given(worlds, st.integers(1, 30))
def test_drawn_back_they_are_the_map_and_stripes_do_not_show(room, world, rows):
    seed, shape, classes, grain = world
    labels = blobs(seed, shape, classes, grain)
    files = make_map(room / "map", labels)
    whole = build_polygons(files, ALL, rows=1000)
    np.testing.assert_array_equal(drawn_back(whole, files), labels)
    assert whole.geometry.is_valid.all()
    assert (whole.geom_type == "Polygon").all()
    assert shapely.coverage_is_valid(whole.geometry.to_numpy()) if len(whole) else True
    for size in {rows, 1}:
        striped = build_polygons(files, ALL, rows=size)
        assert_geodataframe_equal(whole, striped)


@settings(max_examples=30, deadline=None)
@given(worlds, st.integers(1, 30), st.sampled_from([150.0, 450.0, 1250.0]), st.sampled_from([0.0, 250.0]))
def test_small_patches_go_to_neighbours_and_nothing_is_lost(room, world, rows, least, hole):
    seed, shape, classes, grain = world
    labels = blobs(seed, shape, classes, grain)
    files = make_map(room / "map", labels)
    rules = Rules(NAMES, least, hole, 0)
    table = build_polygons(files, rules, rows=1000)
    found = drawn_back(table, files)
    assert_geodataframe_equal(table, build_polygons(files, rules, rows=rows))
    assert len(table) <= 1 or (table["area_m2"] >= least).all() or (found == IGNORE).any()
    if (labels != IGNORE).all():
        assert (found != IGNORE).all(), "a full map stays full"
        assert table["area_m2"].sum() == pytest.approx(files.row_m2.sum() * shape[1])
    if hole == 0:
        assert (found[labels == IGNORE] == IGNORE).all()
    # What hangs together is one polygon.
    touching = table.sjoin(table, predicate="overlaps") if len(table) else table
    assert not len(touching)


@settings(max_examples=30, deadline=None)
@given(worlds, st.integers(1, 30), st.sampled_from([5.0, 15.0, 60.0]))
def test_simplified_borders_stay_shared(room, world, rows, tolerance):
    seed, shape, classes, grain = world
    files = make_map(room / "map", blobs(seed, shape, classes, grain))
    exact, table = build_polygons(files, ALL), build_polygons(files, Rules(NAMES, 0, 0, tolerance))
    assert len(table) == len(exact)
    if not len(table):
        return
    assert table.geometry.is_valid.all()
    assert shapely.coverage_is_valid(table.geometry.to_numpy())
    assert shapely.get_num_coordinates(table.geometry).sum() <= shapely.get_num_coordinates(exact.geometry).sum()
    assert_geodataframe_equal(table, build_polygons(files, Rules(NAMES, 0, 0, tolerance), rows=rows))


def simplify_looking_everywhere(rings: Rings, tolerance_px: float) -> Rings:
    state = _State(rings, 2 * tolerance_px**2)
    while len(chosen := state.first()):
        state.step(chosen)
    lengths = np.add.reduceat(state.keep, np.cumsum(rings.lengths) - rings.lengths, dtype=np.int64)
    return Rings(*(each[state.keep] for each in rings[:3]), lengths, rings.patch)


@settings(max_examples=30, deadline=None)
@given(worlds, st.sampled_from([10.0, 25.0, 90.0]))
def test_rounds_that_look_only_where_something_changed_miss_nothing(room, world, tolerance):
    seed, shape, classes, grain = world
    files = make_map(room / "map", blobs(seed, shape, classes, grain))
    rules = Rules(NAMES, 0, 0, tolerance)
    quick = build_polygons(files, rules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thalweg.polygons.outlines.simplify", simplify_looking_everywhere)
        if len(quick):
            assert_geodataframe_equal(quick, build_polygons(files, rules))


def test_attributes_by_hand(tmp_path: Path):
    labels = np.zeros((6, 8), np.uint8)
    labels[1:3, 1:4] = 1
    probs = np.zeros((2, 6, 8), np.float32)
    probs[1] = np.where(labels == 1, 0.75, 0.125)
    probs[1, 1, 1:4] = (0.9, np.nan, 0.6)
    probs[0] = 1 - probs[1]
    uncertainty = np.where(labels == 1, 0.5, 0.0)
    files = make_map(tmp_path / "map", labels, NAMES[:2], probs=probs, uncertainty=uncertainty)
    table = build_polygons(files, Rules(("channel",), 0, 0, 0))
    assert list(table.columns) == ["id", "class_id", "class", "area_m2", "mean_prob", "mean_uncertainty", "geometry"]
    (row,) = table.itertuples()
    assert (row.id, row.class_id, row._3) == (1, 1, "channel")
    assert row.area_m2 == pytest.approx(600, rel=1e-3)
    assert row.mean_prob == pytest.approx((0.9 + 0.6 + 3 * 0.75) / 5, abs=1e-4)
    assert row.mean_uncertainty == pytest.approx(0.5, abs=2e-3)
    west, north = 600_000, 7_000_000
    assert row.geometry.equals(shapely.box(west + 10, north - 30, west + 40, north - 10))
    plain = build_polygons(make_map(tmp_path / "plain", labels), Rules(("channel",), 0, 0, 0))
    assert plain["mean_prob"].isna().all()


def test_who_gets_what_by_hand(tmp_path: Path):
    labels = np.zeros((8, 12), np.uint8)
    labels[2:6, 2:6] = 1
    labels[3, 3] = 0  # a hole in the channel
    labels[4, 4] = IGNORE  # a gap in it
    labels[1, 9] = 2  # a speck
    labels[5, 6] = 3  # a speck with three borders on 0 and one on 1
    labels[2:6, 11] = IGNORE  # too large to fill
    files = make_map(tmp_path / "map", labels)
    table = build_polygons(files, Rules(NAMES, 250, 250, 0))
    expected = np.zeros((8, 12), np.uint8)
    expected[2:6, 2:6] = 1
    expected[2:6, 11] = IGNORE
    np.testing.assert_array_equal(drawn_back(table, files), expected)
    assert table["class"].tolist() == ["background", "channel"]
    assert table["area_m2"].tolist() == pytest.approx([(96 - 16 - 4) * 100, 1600], rel=1e-3)


def test_a_lone_speck_vanishes_and_a_bridge_joins(tmp_path: Path):
    labels = np.full((7, 7), IGNORE, np.uint8)
    labels[1, 1] = 1
    files = make_map(tmp_path / "lone", labels)
    assert not len(build_polygons(files, Rules(NAMES, 250, 0, 0)))
    labels = np.zeros((5, 9), np.uint8)
    labels[:, :4] = labels[:, 5:] = 1  # a strip of background of 5 pixels between two of channel
    files = make_map(tmp_path / "bridge", labels)
    (one,) = build_polygons(files, Rules(NAMES, 600, 0, 0)).itertuples()
    assert one.class_id == 1
    assert one.area_m2 == pytest.approx(4500, rel=1e-3)


def test_pixels_that_touch_by_a_corner_are_two_polygons(tmp_path: Path):
    files = make_map(tmp_path / "map", np.eye(4, dtype=np.uint8))
    table = build_polygons(files, Rules(("channel",), 0, 0, 0))
    assert len(table) == 4
    assert table.geometry.is_valid.all()


def test_degrees_and_turned_grids_have_ground_area(tmp_path: Path):
    grid = Grid("EPSG:4326", Affine(0.001, 0, 10, 0, -0.001, 60), (4, 4))
    table = build_polygons(make_map(tmp_path / "map", np.zeros((4, 4)), grid=grid), ALL)
    # 111.4 km a degree of latitude at 60°, 55.8 km of longitude: 16 × 111.4 × 55.8 m².
    assert table["area_m2"].iloc[0] == pytest.approx(16 * 111.4 * 55.8, rel=2e-3)


def test_by_command_in_three_forms(tmp_path: Path):
    make_map(tmp_path / "map", blobs(1, (40, 40), 3, 6))
    counts = set()
    for name in ("a.gpkg", "a.parquet", "a.geojson"):
        result = CliRunner().invoke(cli.app, ["polygons", str(tmp_path / "map"), "--out", str(tmp_path / name), "--class", "channel",
                                              "--min-area-m2", "500", "--tolerance-m", "15"])  # fmt: skip
        assert result.exit_code == 0, result.output
        read = geopandas.read_parquet if name.endswith("parquet") else geopandas.read_file
        counts.add(len(read(tmp_path / name)))
        assert f"wrote {tmp_path / name} with {max(counts)} polygons" in result.stdout
    assert len(counts) == 1
    wrong = CliRunner().invoke(
        cli.app, ["polygons", str(tmp_path / "map"), "--class", "fen", "--out", str(tmp_path / "b.gpkg")]
    )
    assert isinstance(wrong.exception, MapError)
    assert "has no class 'fen', but background, channel, water, road" in str(wrong.exception)
    assert not (tmp_path / "b.gpkg").exists()


def test_what_lies_beside_must_be_of_the_same_grid(tmp_path: Path):
    labels = np.zeros((4, 4), np.uint8)
    make_map(tmp_path / "map", labels)
    make_map(tmp_path / "other", np.zeros((5, 5)), probs=np.ones((1, 5, 5)), grid=make_grid((5, 5)))
    (tmp_path / "other" / "probs.tif").rename(tmp_path / "map" / "probs.tif")
    from thalweg.mapfiles import read_map

    with pytest.raises(MapError, match=r"probs.tif lies on another grid than"):
        read_map(tmp_path / "map")


def test_a_pixel_of_40_38_22_is_in_one_polygon_and_that_of_its_label(tmp_path: Path):
    """Raster Vision, fault 7: masks cut at 1/C put the pixel into two classes, so its polygons overlap and disagree
    with labels.tif. Here they are the labels."""
    random = np.random.default_rng(5)
    probs = random.dirichlet(np.ones(3), (60, 80)).transpose(2, 0, 1)
    probs[:, 20:40, 20:60] = np.array([0.40, 0.38, 0.22])[:, None, None]
    labels = probs.argmax(0)
    files = make_map(tmp_path / "map", labels, NAMES[:3], probs=probs)
    assert ((probs >= 1 / 3).sum(0) > 1).sum() >= 800, "cut at 1/C, these pixels are in two masks"
    table = build_polygons(files, Rules(NAMES[:3], 0, 0, 0))
    np.testing.assert_array_equal(drawn_back(table, files), labels)
    for rules in (Rules(NAMES[:3], 0, 0, 0), Rules(NAMES[:3], 2500, 2500, 30)):
        shapes = build_polygons(files, rules).geometry
        whole = shapely.union_all(shapes.to_numpy()).area
        assert shapes.area.sum() == pytest.approx(whole, rel=1e-12), "no two overlap"
        assert shapely.coverage_is_valid(shapes.to_numpy())
    assert whole <= 60 * 80 * 100
    outline = shapely.union_all(shapes.to_numpy())
    assert not outline.interiors, "nor is there a gap between neighbours"


@pytest.mark.parametrize("tolerance", [10.0, 40.0, 500.0])
def test_no_outline_collapses_however_coarse(tmp_path: Path, tolerance: float):
    labels = np.zeros((40, 40), np.uint8)
    labels[5:7, 5:35] = 1  # a bar between two others that share both its ends
    labels[7:9, 5:35] = 2
    labels[20:22, 20:22] = 3  # an island
    labels[22, 22] = 3  # another, at its corner
    labels[30:36, 10:30] = 1
    labels[32:34, 12:28] = 2  # a hole that is filled
    files = make_map(tmp_path / "map", labels)
    exact = build_polygons(files, ALL)
    table = build_polygons(files, Rules(NAMES, 0, 0, tolerance))
    assert table["class"].tolist() == exact["class"].tolist()
    assert (table.area > 0).all()
    assert table.geometry.is_valid.all()
    assert shapely.coverage_is_valid(table.geometry.to_numpy())


def test_staircases_become_straight_and_corners_stay(tmp_path: Path):
    rows, cols = np.mgrid[:60, :60]
    files = make_map(tmp_path / "map", (cols > rows).astype(np.uint8))
    exact, table = (build_polygons(files, Rules(NAMES, 0, 0, each)) for each in (0, 15.0))
    points = shapely.get_num_coordinates(table.geometry)
    assert min(shapely.get_num_coordinates(exact.geometry)) > 2 * 59, "two corners a step"
    assert max(points) <= 8, "the diagonal is one line, or two or three"
    assert table.area.tolist() == pytest.approx(exact.area.tolist(), rel=0.02)


def test_written_beside_a_map_in_every_form(tmp_path: Path):
    make_map(tmp_path / "map", blobs(1, (40, 40), 3, 6))
    paths = write_polygons(tmp_path / "map", Rules((), 0, 0, 10.0), ("gpkg", "geojson", "geoparquet"))
    assert [path.name for path in paths] == ["polygons.gpkg", "polygons.geojson", "polygons.parquet"]
    tables = [geopandas.read_file(paths[0]), geopandas.read_file(paths[1]), geopandas.read_parquet(paths[2])]
    assert len({len(table) for table in tables}) == 1
    assert [table.crs.to_epsg() for table in tables] == [32720, 4326, 32720]
    degrees = tables[1].total_bounds
    assert -62.1 < degrees[0] < degrees[2] < -61.9
    assert -27.2 < degrees[1] < degrees[3] < -27.0
    assert '"crs"' not in paths[1].read_text()[:500], "RFC 7946 section 4: none but WGS84, so none is named"
    assert set(tables[0]["class"]) <= {"background", "channel", "water"}
