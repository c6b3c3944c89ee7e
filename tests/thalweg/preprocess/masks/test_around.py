"""Features and rasters that reach far beyond a scene, or count longitudes on another turn of the circle."""

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_builder import CLASSES, GRID, delivery, draw, features, rules, square, vector, write_raster, write_vectors
from pyproj import Transformer

from thalweg.grid import Grid
from thalweg.preprocess.masks import find_masks, write_mask
from thalweg.preprocess.masks.around import boxes_around, cut

FIJI = Grid("EPSG:32701", Affine(60, 0, 300_000, 0, -60, 8_000_000), (16, 16))
"""At 178.9° west."""
ACROSS = Grid("EPSG:32760", Affine(600, 0, 810_000, 0, -600, 7_786_000), (20, 20))
"""179.96° east to 179.93° west."""
POLAR = Grid("EPSG:3413", Affine(1000, 0, -8000, 0, -1000, 8000), (16, 16))
DEGREES = Grid("EPSG:4326", Affine(0.01, 0, -62, 0, -0.01, -27), (16, 16))


def lonlat(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Of all pixel centres, by pyproj alone."""
    row, col = np.mgrid[: grid.shape_yx[0], : grid.shape_yx[1]] + 0.5
    a, _, c, _, e, f = grid.transform[:6]
    return Transformer.from_crs(grid.crs_wkt, 4326, always_xy=True).transform(a * col + c, e * row + f)


@pytest.mark.parametrize("scene", [GRID, FIJI, ACROSS, POLAR, DEGREES])
@pytest.mark.parametrize("buffer_m", [0.0, 50.0])
def test_the_whole_earth_covers_every_scene(scene, buffer_m, tmp_path):
    write_vectors(tmp_path / "m.gpkg", [shapely.box(-180, -90, 180, 90)], crs="EPSG:4326")
    labels, names, warnings = draw(tmp_path, features(vector=vector(buffer_m=buffer_m)), scene)
    assert (labels == 1).all()
    assert (names, warnings) == (("m.gpkg",), ())


def test_an_area_as_wide_as_the_earth_bounds_nothing(tmp_path):
    write_vectors(tmp_path / "area.gpkg", [shapely.box(-180, -90, 180, 90)], crs="EPSG:4326")
    write_raster(tmp_path / "m.tif", np.full((16, 16), 255, np.uint8))
    labels, _, warnings = draw(tmp_path, rules(area="area.gpkg"))
    assert (labels == 1).all()
    assert warnings == ()


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_a_border_through_the_scene_of_a_polygon_that_ends_far_away(crs, tmp_path):
    lon, _ = lonlat(GRID)
    middle = float(lon.mean())
    east, north = Transformer.from_crs(4326, crs, always_xy=True).transform([-180, middle], [-80, 80])
    write_vectors(tmp_path / "m.gpkg", [shapely.box(east[0], north[0], east[1], north[1])], crs=crs)
    labels, _, _ = draw(tmp_path, features())
    assert (labels == (lon < middle)).all()
    assert 100 < labels.sum() < 156


@pytest.mark.parametrize(
    ("scene", "bounds"),
    [
        (FIJI, (175, -30, 185, -10)),
        (FIJI, (-185, -30, -175, -10)),
        (GRID, (290, -30, 300, -20)),
        (DEGREES, (290, -30, 300, -20)),
        (ACROSS, (175, -30, 185, -10)),
        (ACROSS, (-185, -30, -175, -10)),
    ],
)
def test_longitudes_on_another_turn_of_the_circle(scene, bounds, tmp_path):
    write_vectors(tmp_path / "m.gpkg", [shapely.box(*bounds)], crs="EPSG:4326")
    assert (draw(tmp_path, features(), scene)[0] == 1).all()
    west, _, east, north = bounds
    place = Grid("EPSG:4326", Affine(0.1, 0, west, 0, -0.1, north), (200, round((east - west) / 0.1)))
    write_raster(tmp_path / "m.tif", np.full(place.shape_yx, 255, np.uint8), place)
    assert (draw(tmp_path, rules(), scene)[0] == 1).all()


@pytest.mark.parametrize("scene", [GRID, FIJI, ACROSS, POLAR, DEGREES])
@pytest.mark.parametrize("west", [-180, 0])
def test_a_raster_of_the_whole_earth(scene, west, tmp_path):
    """Its value tells the longitude: 1 west of Greenwich, else 2."""
    lon = (west + np.arange(360) + 0.5 + 180) % 360 - 180
    values = np.tile(np.where(lon < 0, 1, 2).astype(np.uint8), (180, 1))
    write_raster(tmp_path / "m.tif", values, Grid("EPSG:4326", Affine(1, 0, west, 0, -1, 90), (180, 360)))
    labels, _, _ = draw(tmp_path, rules(values={"1": "damage", "2": "water"}), scene)
    assert (labels == np.where(lonlat(scene)[0] < 0, 1, 2)).all()


def test_a_feature_whose_box_alone_meets_the_scene_is_not_said_to_be_lost(tmp_path):
    frame = square(-20, -20, 56, 56) - square(-10, -10, 36, 36)
    write_vectors(tmp_path / "m.gpkg", [frame, square(0, 0, 4, 4)], crs=GRID.crs_wkt)
    labels, _, warnings = draw(tmp_path, features())
    assert labels.sum() == 16
    assert warnings == ()


def test_two_scenes_of_one_polygon_across_zones(tmp_path):
    west = Grid("EPSG:32720", Affine(60, 0, 790_000, 0, -60, 7_000_000), (16, 16))
    east = Grid("EPSG:32721", Affine(60, 0, 210_000, 0, -60, 7_000_000), (16, 16))
    write_vectors(tmp_path / "m.gpkg", [shapely.box(-70, -40, -50, -10)], crs="EPSG:4326")
    found = find_masks(features(), CLASSES, tmp_path, {"w": west, "e": east})
    for name, scene in (("w", west), ("e", east)):
        (tmp_path / name).mkdir()
        assert write_mask(name, delivery(scene), found[name], tmp_path / name)[0] == ("m.gpkg",)


@given(st.lists(st.tuples(*[st.floats(-200, 200)] * 2, *[st.floats(0.01, 300)] * 2), min_size=1, max_size=6))
@settings(deadline=None, max_examples=50)
def test_cutting_keeps_all_that_lies_near(boxes):
    shapes = np.array([square(*box) for box in boxes])
    near = boxes_around(GRID, 0, GRID.crs_wkt, tuple(shapely.total_bounds(shapes)))
    pieces, number = cut(shapes, near)
    assert (np.diff(number) >= 0).all()
    scene = square(0, 0, 16, 16)
    for index, shape in enumerate(shapes):
        kept = shapely.union_all(pieces[number == index])
        assert (kept & scene).area == pytest.approx((shape & scene).area, abs=1e-3)
