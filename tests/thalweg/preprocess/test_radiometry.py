"""Digital numbers to stored values, by hand."""

import numpy as np
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from thalweg.grid import Grid
from thalweg.preprocess import radiometry
from thalweg.products import Layer

GRID = Grid("EPSG:32720", Affine(10, 0, 0, 0, -10, 0), (4, 4))
NEW = Layer("b.jp2", 1, GRID, 1e-4, -1000.0, 0.0, 65535.0)
OLD = Layer("b.jp2", 1, GRID, 1e-4, 0.0, 0.0, 65535.0)


def stored(digital: list[int], layer: Layer) -> tuple[list[int], int]:
    numbers = np.array(digital, np.uint16)
    values, clipped = radiometry.to_stored(
        radiometry.to_reflectance(numbers, layer), radiometry.measured(numbers, layer), 1e-4
    )
    return values.tolist(), clipped


def test_offset_makes_negatives_below_1000_and_zero_stays_nodata():
    assert stored([0, 1, 500, 999, 1000, 1001, 11000], NEW) == ([-32768, -999, -500, -1, 0, 1, 10000], 0)


def test_no_offset():
    assert stored([0, 1, 500, 10000], OLD) == ([-32768, 1, 500, 10000], 0)


def test_values_beyond_int16_are_clipped_and_counted():
    assert stored([33767, 33768, 65535], NEW) == ([32767, 32767, 32767], 2)


def test_saturated_is_measured_but_told_apart():
    numbers = np.array([0, 1, 65534, 65535], np.uint16)
    assert radiometry.saturated(numbers, NEW).tolist() == [False, False, False, True]
    assert radiometry.measured(numbers, NEW).tolist() == [False, True, True, True]


def test_nan_is_no_measurement_whatever_the_tag():
    floats = np.array([np.nan, 0.0, 0.5, np.inf], np.float32)
    layer = Layer("f.tif", 1, GRID, 1.0, 0.0, None, None)
    assert radiometry.measured(floats, layer).tolist() == [False, True, True, False]
    values, _ = radiometry.to_stored(radiometry.to_reflectance(floats, layer), radiometry.measured(floats, layer), 1e-4)
    assert values.tolist() == [-32768, 0, 5000, -32768]


def test_a_plain_raster_without_nodata_measures_everywhere():
    layer = Layer("f.tif", 1, GRID, 1e-4, 0.0, None, None)
    assert radiometry.measured(np.array([0, 7], np.uint16), layer).all()


@given(st.integers(1, 32000))
def test_same_surface_before_and_after_the_offset(reflectance):
    assert stored([reflectance], OLD)[0] == stored([reflectance + 1000], NEW)[0]
