"""Masks: what values mean, union, reprojection; the three absences stay apart."""

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from product_builder import mask_params
from pyproj import Transformer

from thalweg import raster
from thalweg.errors import MaskError, ParamsError
from thalweg.grid import Grid
from thalweg.params.classes import Classes
from thalweg.params.masks import Masks
from thalweg.preprocess import masks as room

CLASSES = Classes.model_validate_json(
    '{"legend": [{"name": "other", "color": "#000000"}, {"name": "damage", "color": "#ff0000"}]}'
)
GRID = Grid("EPSG:32720", Affine(60, 0, 600_000, 0, -60, 7_000_000), (16, 16))


def masks(**changes) -> Masks:
    return mask_params(**({"input": ".", "patterns": ("*.tif",), "values": {"255": "damage"}} | changes))


def test_three_absences_stay_apart():
    values = np.array([[0, 255, np.nan]], np.float32)
    assert room.to_class_ids(values, masks(), CLASSES, "m.tif").tolist() == [[0, 1, 255]]
    assert room.to_class_ids(values, masks(zero="unlabelled"), CLASSES, "m.tif").tolist() == [[255, 1, 255]]


def test_values_may_be_declared_unlabelled():
    ids = room.to_class_ids(
        np.array([[2, 7]], np.uint8), masks(values={"2": "damage", "7": "unlabelled"}), CLASSES, "m"
    )
    assert ids.tolist() == [[1, 255]]


def test_a_value_that_no_class_has_names_file_value_and_remedy():
    values = np.array([[0, 3, 3, 255]], np.uint8)
    with pytest.raises(
        MaskError, match=r"T1\.tif holds the value 3 in 2 pixels, .*known are 0, 255; add '3' to masks\.values"
    ):
        room.to_class_ids(values, masks(), CLASSES, "T1.tif")


@pytest.mark.parametrize(("value", "message"), [("0", r"said by masks\.zero")])
def test_values_that_params_refuse(value, message):
    with pytest.raises(ValueError, match=message):
        masks(values={value: "damage"})


def test_first_label_wins_and_outside_is_kept_apart():
    first = np.array([0, 1, 255, 254, 255, 254], np.uint8)
    second = np.array([1, 0, 1, 0, 254, 254], np.uint8)
    assert room.merge(first, second).tolist() == [0, 1, 1, 0, 255, 254]


def test_same_grid_is_passed_on():
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert room.onto_grid(codes, GRID, GRID, 254) is codes


def test_one_pixel_less_and_a_sub_pixel_offset_move_no_label():
    codes = np.arange(15 * 15, dtype=np.uint8).reshape(15, 15)
    source = Grid(GRID.crs_wkt, GRID.transform @ Affine.translation(0.2, -0.2), (15, 15))
    result = room.onto_grid(codes, source, GRID, 254)
    assert (result[:15, :15] == codes).all()
    assert (result[15] == 254).all()
    assert (result[:, 15] == 254).all()


def test_mask_in_another_crs_lands_on_the_same_ground(tmp_path):
    lonlat = Transformer.from_crs(32720, 4326, always_xy=True)
    west, south, east, north = lonlat.transform_bounds(*GRID.bounds)
    step = (east - west) / 200
    rows, cols = int((north - south) / step) + 20, 220
    place = Grid("EPSG:4326", Affine(step, 0, west - 10 * step, 0, -step, north + 10 * step), (rows, cols))
    row, col = np.mgrid[:rows, :cols]
    xs, _ = Transformer.from_crs(4326, 32720, always_xy=True).transform(*(place.transform @ (col + 0.5, row + 0.5)))
    raster.write(tmp_path / "m.tif", np.where(xs >= 600_000 + 60 * 8, 255, 0).astype(np.float32), place, nodata=0)
    (file,) = room.read_mask_files(masks(), tmp_path)
    assert room.overlapping((file,), GRID) == (file,)
    values, part = room.read_file(file, GRID)
    ids = room.onto_grid(room.to_class_ids(values, masks(), CLASSES, "m"), part, GRID, 254)
    assert (ids[:, 8:] == 1).all()
    assert (ids[:, :8] == 0).all()  # tagged nodata 0 is background


def test_only_the_part_of_a_large_mask_on_the_scene_is_read(tmp_path):
    place = Grid(GRID.crs_wkt, Affine(60, 0, 600_000 - 60 * 100, 0, -60, 7_000_000 + 60 * 100), (400, 400))
    codes = np.zeros((400, 400), np.uint8)
    codes[100:116, 100:116] = 255
    raster.write(tmp_path / "m.tif", codes, place)
    (file,) = room.read_mask_files(masks(), tmp_path)
    values, part = room.read_file(file, GRID)
    assert values.shape == (20, 20)
    assert (room.onto_grid(values, part, GRID, 254) == 255).all()


def test_neighbour_does_not_overlap(tmp_path):
    beside = Grid(GRID.crs_wkt, GRID.transform @ Affine.translation(16, 0), (16, 16))
    raster.write(tmp_path / "m.tif", np.zeros((16, 16), np.uint8), beside)
    assert room.overlapping(room.read_mask_files(masks(), tmp_path), GRID) == ()


def test_antimeridian_bounds_span_the_circle():
    grid = Grid("EPSG:32701", Affine(60, 0, 99_960, 0, -60, 8_200_000), (1830, 1830))
    west, _, east, _ = room.lonlat_bounds(grid)
    assert (west, east) == (-180.0, 180.0)


def test_pattern_that_finds_nothing():
    with pytest.raises(MaskError, match=r"'\*\.none' finds no file below .*; put the masks there"):
        room.read_mask_files(masks(patterns=("*.none",)), Path("/tmp"))


@pytest.mark.parametrize("pattern", ["/etc/*", "../*.tif"])
def test_pattern_must_stay_below_its_folder(tmp_path, pattern):
    with pytest.raises(ParamsError, match=r"leaves masks\.input"):
        room.read_mask_files(masks(patterns=(pattern,)), tmp_path)


@pytest.mark.parametrize("pattern", ["", ".", "**.tif"])
def test_what_is_no_pattern(tmp_path, pattern):
    with pytest.raises(ParamsError, match=r"is no pattern; give one such as"):
        room.read_mask_files(masks(patterns=(pattern,)), tmp_path)


def test_a_mask_of_several_bands_is_not_read_by_its_first(tmp_path):
    raster.write(tmp_path / "m.tif", np.zeros((3, 16, 16), np.uint8), GRID)
    with pytest.raises(MaskError, match=r"m\.tif has 3 bands, but a mask has one band of class values"):
        room.read_mask_files(masks(), tmp_path)


def test_a_class_that_is_not_in_the_legend():
    with pytest.raises(ParamsError, match=r"gives '255' the class 'dammage', but there are other, damage, unlabelled"):
        room.to_class_ids(np.zeros((2, 2)), masks(values={"255": "dammage"}), CLASSES, "m")


@pytest.mark.parametrize(("value", "dtype"), [(0.3, np.float32), (16_777_217, np.uint32)])
def test_the_remedy_for_a_strange_value_helps(value, dtype):
    codes = np.full((2, 2), value, dtype)
    said = repr(float(codes[0, 0])).removesuffix(".0")
    with pytest.raises(MaskError, match=rf"add '{said}' to masks\.values"):
        room.to_class_ids(codes, masks(), CLASSES, "m")
    assert (room.to_class_ids(codes, masks(values={said: "damage"}), CLASSES, "m") == 1).all()


def test_two_masks_that_differ_where_both_label():
    one = np.array([0, 1, 1, 255, 254], np.uint8)
    other = np.array([0, 0, 1, 1, 1], np.uint8)
    assert room.conflict_px(one, other) == 1


def covered(folder, place: Grid, target: Grid) -> float:
    """Share of a scene that a mask of ones covers."""
    raster.write(folder / "m.tif", np.full(place.shape_yx, 255, np.uint8), place)
    (file,) = room.overlapping(room.read_mask_files(masks(), folder), target)
    values, part = room.read_file(file, target)
    return float((room.onto_grid(values, part, target, 254) == 255).mean())


def test_turned_rasters_meet_wherever_they_share_ground(tmp_path):
    turned = Affine.translation(600_480, 6_999_520) @ Affine.rotation(45) @ Affine.scale(60, -60)
    around = Grid(GRID.crs_wkt, turned @ Affine.translation(-20, -20), (40, 40))
    assert covered(tmp_path, around, GRID) == 1
    scene = Grid(GRID.crs_wkt, turned @ Affine.translation(-8, -8), (16, 16))
    assert covered(tmp_path, Grid(GRID.crs_wkt, GRID.transform @ Affine.translation(-12, -12), (40, 40)), scene) == 1


def test_a_mask_in_degrees_across_the_antimeridian(tmp_path):
    x, y = Transformer.from_crs(4326, 32660, always_xy=True).transform(179.99, 10)
    scene = Grid("EPSG:32660", Affine(10, 0, x, 0, -10, y), (300, 300))
    degrees = Grid("EPSG:4326", Affine(1e-4, 0, 179.985, 0, -1e-4, 10.002), (400, 400))
    assert covered(tmp_path, degrees, scene) == 1
