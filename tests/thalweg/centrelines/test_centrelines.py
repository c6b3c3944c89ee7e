"""Centrelines of drawn things, and the same lines whatever the windows."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from geopandas.testing import assert_geodataframe_equal
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_map import NAMES, make_map
from scipy.ndimage import distance_transform_edt, gaussian_filter
from typer.testing import CliRunner

from thalweg import cli
from thalweg.centrelines import LineRules, build_lines, write_lines
from thalweg.centrelines.smooth import smooth
from thalweg.errors import DegradedDataWarning, MapError
from thalweg.grid import Grid

WEST, NORTH = 600_000, 7_000_000


def rules(**changes) -> LineRules:
    return LineRules(
        **{"name": "channel", "max_width_m": 200.0, "spur_widths": 2.0, "min_length_m": 0.0, "tolerance_m": 10.0}
        | changes
    )


def in_pixels(table: geopandas.GeoDataFrame) -> list:
    return [
        ((shapely.get_coordinates(line) - (WEST, NORTH)) * (0.1, -0.1)).round(3).tolist() for line in table.geometry
    ]


def veins(seed: int, shape: tuple[int, int], grain: float, share: float) -> np.ndarray:
    """A net of thin things: where a smooth random field is near zero."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), grain, mode="wrap")
    return (np.abs(field) < np.quantile(np.abs(field), share)).astype(np.uint8)


def max_width_m(labels: np.ndarray) -> float:
    return float(2 * distance_transform_edt(np.pad(labels == 1, 1)).max() * 10.1)


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("maps")


def test_a_bar_by_hand(tmp_path: Path):
    labels = np.zeros((21, 60), np.uint8)
    labels[9:12, 10:50] = 1
    probs = np.zeros((2, 21, 60), np.float32)
    probs[1, 9:12] = 0.75
    table = build_lines(make_map(tmp_path / "map", labels, NAMES[:2], probs=probs), rules(tolerance_m=0.0))
    assert list(table.columns) == ["id", "class", "length_m", "width_m", "mean_prob", "geometry"]
    (row,) = table.itertuples()
    points = np.array(in_pixels(table)[0])
    assert (points[2:-2, 1] == 10.5).all(), "the middle row"
    assert points[:, 0].min() <= 12.5
    assert points[:, 0].max() >= 47.5
    # UTM metres, 0.9996 … 1.0001 of the ground's.
    steps = np.hypot(*np.diff(points, axis=0).T)
    assert row.length_m == pytest.approx(10 * steps.sum(), rel=1e-3)
    assert row.width_m == pytest.approx(30, abs=1)
    assert row.mean_prob == pytest.approx(0.75, abs=1e-4)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 8])
def test_widths_of_bars(tmp_path: Path, width: int):
    labels = np.zeros((30, 80), np.uint8)
    labels[10 : 10 + width] = 1
    table = build_lines(make_map(tmp_path / "map", labels), rules())
    assert table["width_m"].iloc[table["length_m"].argmax()] == pytest.approx(width * 10, abs=1.5)


def test_a_diagonal_is_as_long_and_wide_as_it_is(tmp_path: Path):
    rows, cols = np.mgrid[:120, :120]
    labels = (np.abs(rows - cols) < 4).astype(np.uint8)
    (row,) = build_lines(make_map(tmp_path / "map", labels), rules(spur_widths=3.0)).itertuples()
    assert row.length_m == pytest.approx(119 * 10 * 2**0.5, rel=0.03)
    # 7 pixels across a row: 7 / √2 across the bar.
    assert row.width_m == pytest.approx(70 / 2**0.5, abs=4)


def test_a_twig_goes_and_a_branch_stays(tmp_path: Path):
    labels = np.zeros((60, 100), np.uint8)
    labels[29:32, 5:95] = 1
    labels[24:29, 50] = 1  # a twig of five pixels on a bar of three
    files = make_map(tmp_path / "map", labels)
    assert len(build_lines(files, rules(spur_widths=0.0))) == 3
    (alone,) = build_lines(files, rules(spur_widths=3.0)).itertuples()
    assert alone.length_m > 800
    labels[5:29, 50] = 1
    table = build_lines(make_map(tmp_path / "map", labels), rules(spur_widths=3.0, tolerance_m=0.0))
    assert len(table) == 3
    ends = [point for line in in_pixels(table) for point in (tuple(line[0]), tuple(line[-1]))]
    (shared,) = {point for point in ends if ends.count(point) == 3}
    assert shared[0] == 50.5


def test_a_ring_is_one_closed_line(tmp_path: Path):
    rows, cols = np.mgrid[:80, :80]
    radius = np.hypot(rows - 40, cols - 40)
    labels = (np.abs(radius - 25) < 2.5).astype(np.uint8)
    (row,) = build_lines(make_map(tmp_path / "map", labels), rules()).itertuples()
    assert row.geometry.is_ring
    assert row.length_m == pytest.approx(2 * np.pi * 250, rel=0.02)


def test_what_is_short_together_goes(tmp_path: Path):
    labels = np.zeros((40, 100), np.uint8)
    labels[10, 5:90] = 1
    labels[30, 5:15] = 1
    table = build_lines(make_map(tmp_path / "map", labels), rules(min_length_m=300.0))
    assert len(table) == 1
    assert not len(build_lines(make_map(tmp_path / "none", np.zeros((9, 9))), rules()))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.tuples(st.integers(20, 110), st.integers(20, 110)), st.sampled_from([1.0, 2.0, 4.0]),
       st.sampled_from([0.15, 0.35, 0.6]), st.integers(9, 60))  # fmt: skip
def test_windows_do_not_show(room, seed, shape, grain, share, block):
    labels = veins(seed, shape, grain, share)
    files = make_map(room / "map", labels)
    asked = rules(max_width_m=max_width_m(labels), tolerance_m=8.0)
    whole = build_lines(files, asked, block_px=1000)
    assert_geodataframe_equal(whole, build_lines(files, asked, block_px=block))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 2.0, 4.0]), st.sampled_from([5.0, 20.0, 80.0]))
def test_smooth_lines_meet_where_they_met(room, seed, grain, tolerance):
    labels = veins(seed, (70, 70), grain, 0.3)
    files = make_map(room / "map", labels)
    raw, table = (
        build_lines(files, rules(max_width_m=9999, spur_widths=1.0, tolerance_m=each)) for each in (0.0, tolerance)
    )
    assert len(raw) == len(table)
    for one, other in zip(raw.geometry, table.geometry, strict=True):
        assert (shapely.get_point(one, 0), shapely.get_point(one, -1)) == (
            shapely.get_point(other, 0),
            shapely.get_point(other, -1),
        )
    assert table.geometry.is_simple.all()
    ends = [set(map(tuple, shapely.get_coordinates(line)[[0, -1]])) for line in table.geometry]
    tree = shapely.STRtree(table.geometry)
    for one, other in zip(*tree.query(table.geometry, predicate="intersects"), strict=True):
        if one < other:
            meets = shapely.intersection(table.geometry[one], table.geometry[other])
            points = set(map(tuple, shapely.get_coordinates(meets).round(4)))
            assert meets.length < 1e-6
            assert points <= {tuple(np.round(point, 4)) for point in ends[one] & ends[other]}
    assert table["length_m"].sum() <= raw["length_m"].sum() + 1e-6


def test_a_line_that_would_cross_stays_as_it_was():
    bulge = shapely.LineString([(0, 0), (4, 0), (5, 3), (6, 0), (10, 0)])
    inside = shapely.LineString([(5, 2), (5, -5)])
    wall = shapely.LineString([(5, 1), (5, 2)])
    alone = smooth(np.array([bulge]), 5.0)
    assert alone[0].intersects(wall) is False
    together = smooth(np.array([bulge, wall]), 5.0)
    assert not together[0].crosses(together[1])
    crossed = smooth(
        np.array([shapely.LineString([(0, 0), (5, 3), (10, 0)]), shapely.LineString([(5, 1), (5, -5)])]), 5.0
    )
    assert shapely.get_coordinates(crossed[0]).tolist() == [[0, 0], [5, 3], [10, 0]]
    assert inside.length > 0


def test_lengths_are_geodesic(tmp_path: Path):
    grid = Grid("EPSG:3857", Affine(10, 0, 0, 0, -10, 8_399_737.0), (40, 140))  # 60° north: metres there are halves
    labels = np.zeros((40, 140), np.uint8)
    labels[20, 20:121] = 1
    table = build_lines(make_map(tmp_path / "map", labels, grid=grid), rules(max_width_m=50.0))
    assert table["length_m"].iloc[0] == pytest.approx(1000 * 0.5, rel=5e-3)
    assert table["width_m"].iloc[0] == pytest.approx(5, abs=0.1)


def test_by_command_and_what_it_says(tmp_path: Path):
    labels = np.zeros((90, 90), np.uint8)
    labels[20:60, 20:80] = 1
    make_map(tmp_path / "map", labels)
    out = tmp_path / "lines.gpkg"
    with pytest.warns(DegradedDataWarning, match=r"class channel of .*classes.tif is wider than 100 m at \d+ pixels"):
        result = CliRunner().invoke(
            cli.app, ["lines", str(tmp_path / "map"), "--class", "channel", "--max-width-m", "100", "--out", str(out)]
        )
    assert result.exit_code == 0, result.output
    assert f"wrote {out} with {len(geopandas.read_file(out))} lines of" in result.stdout
    wrong = CliRunner().invoke(
        cli.app, ["lines", str(tmp_path / "map"), "--class", "fen", "--max-width-m", "9", "--out", str(out)]
    )
    assert isinstance(wrong.exception, MapError)


def test_a_meander_by_its_own_formula(tmp_path: Path):
    """A sine of 30 pixels' amplitude and 200 pixels' length, 6 pixels wide across: length by the arc's integral."""
    steps = np.linspace(0, 400, 40_001)
    middle = shapely.LineString(np.stack([steps, 60 + 30 * np.sin(2 * np.pi * steps / 200)], 1))
    rows, cols = np.mgrid[:120, :400] + 0.5
    distance = shapely.distance(shapely.points(cols, rows), middle)
    labels = (distance < 3).astype(np.uint8)
    probs = np.where(labels == 1, 0.9, 0.2)
    files = make_map(tmp_path / "map", labels, NAMES[:2], probs=np.stack([1 - probs, probs]))
    for block in (1000, 64):
        (row,) = build_lines(files, rules(spur_widths=3.0), block_px=block).itertuples()
        slopes = 2 * np.pi / 200 * 30 * np.cos(2 * np.pi * steps / 200)
        integral = np.trapezoid(np.hypot(1, slopes), steps)
        assert row.length_m == pytest.approx(10 * integral, rel=0.03)
        assert row.width_m == pytest.approx(60, abs=8)
        assert row.mean_prob == pytest.approx(0.9, abs=1e-3)
        in_map = shapely.transform(row.geometry, lambda points: (points - (WEST, NORTH)) * (0.1, -0.1))
        assert in_map.hausdorff_distance(middle) < 6, "its ends are less than a width short, its course is the middle"


def test_a_confluence_has_three_lines_that_meet_once(tmp_path: Path):
    rows, cols = np.mgrid[:150, :150] + 0.5
    arms = [shapely.LineString([(75, 75), end]) for end in ((75, 150), (5, 5), (145, 5))]
    labels = np.zeros((150, 150), np.uint8)
    for arm, width in zip(arms, (8, 5, 5), strict=True):
        labels[shapely.distance(shapely.points(cols, rows), arm) < width / 2] = 1
    table = build_lines(make_map(tmp_path / "map", labels), rules(spur_widths=2.0))
    assert len(table) == 3
    ends = [tuple(point) for line in table.geometry for point in shapely.get_coordinates(line)[[0, -1]].round(3)]
    assert sorted(map(ends.count, set(ends))) == [1, 1, 1, 3]
    trunk = table.iloc[int(table["width_m"].argmax())]
    assert trunk["width_m"] == pytest.approx(80, abs=8)
    assert trunk["length_m"] == pytest.approx(750, rel=0.08)
    others = table.drop(index=trunk.name)
    assert others["width_m"].tolist() == pytest.approx([50, 50], abs=8)
    assert others["length_m"].tolist() == pytest.approx([990, 990], rel=0.08)


def test_written_beside_a_map(tmp_path: Path):
    labels = np.zeros((40, 40), np.uint8)
    labels[20:23, 5:35] = 1
    make_map(tmp_path / "map", labels)
    asked = rules(tolerance_m=None)
    paths = write_lines(tmp_path / "map", asked, ("gpkg", "geojson"))
    assert [path.name for path in paths] == ["lines.gpkg", "lines.geojson"]
    (row,) = geopandas.read_file(paths[0]).itertuples()
    assert row.width_m == pytest.approx(30, abs=1)
