"""Digital numbers to stored values, by hand."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.errors import ProductError
from thalweg.grid import Grid
from thalweg.preprocess import radiometry
from thalweg.products import Layer

GRID = Grid("EPSG:32720", Affine(10, 0, 0, 0, -10, 0), (4, 4))
NEW = Layer("b.jp2", 1, GRID, 1e-4, -1000.0, 0.0, 65535.0)
OLD = Layer("b.jp2", 1, GRID, 1e-4, 0.0, 0.0, 65535.0)


def stored(digital: list[int], layer: Layer) -> tuple[list[int], int]:
    numbers = np.array(digital, np.uint16)
    values, clipped = radiometry.to_stored(radiometry.to_physical(numbers, layer), 1e-4, "int16")
    directly, beyond = radiometry.digital_to_stored(numbers, layer, 1e-4, "int16")
    assert (values.tolist(), clipped) == (directly.tolist(), beyond)
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
    values, _ = radiometry.to_stored(radiometry.to_physical(floats, layer), 1e-4, "int16")
    assert values.tolist() == [-32768, 0, 5000, -32768]


def test_a_plain_raster_without_nodata_measures_everywhere():
    layer = Layer("f.tif", 1, GRID, 1e-4, 0.0, None, None)
    assert radiometry.measured(np.array([0, 7], np.uint16), layer).all()


@given(st.integers(1, 32000))
def test_same_surface_before_and_after_the_offset(reflectance):
    assert stored([reflectance], OLD)[0] == stored([reflectance + 1000], NEW)[0]


@settings(max_examples=20, deadline=None)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16"])
@given(st.integers(-2000, 2000), st.sampled_from([1e-4, 0.01, 0.5]), st.one_of(st.none(), st.integers(-9, 99)))
def test_every_digital_number_by_table_as_by_formula(dtype, offset, scale, nodata):
    """All numbers of a dtype: the table is the formula, and the formula is worked out here in another way."""
    layer = Layer("f.tif", 1, GRID, scale, float(offset), nodata, None)
    numbers = np.arange(np.iinfo(dtype).min, np.iinfo(dtype).max + 1).astype(dtype)
    stored, clipped = radiometry.digital_to_stored(numbers, layer, 0.01, "int16")
    hundredths = (numbers.astype(int) + offset) * round(scale * 1e4)  # of a step
    steps, ties = (hundredths + 50) // 100, hundredths % 100 == 50
    there = numbers.astype(int) != nodata if nodata is not None else np.ones(len(numbers), bool)
    expected = np.where(there, np.clip(steps, -32767, 32767), -32768)
    assert (np.abs(stored.astype(int) - expected) <= ties).all()  # half a step may go either way
    assert clipped == np.count_nonzero(there & (np.abs(steps) > 32767))


def test_float_images_hold_physical_values():
    values, clipped = radiometry.to_stored(np.array([np.nan, -40.25, 1e9], np.float32), 1.0, "float32")
    assert (values.tolist(), values.dtype, clipped) == ([-32768, -40.25, 1e9], np.float32, 0)
    numbers = np.array([0, 2000], np.uint16)
    values, _ = radiometry.digital_to_stored(numbers, NEW, 1.0, "float32")
    assert values.tolist() == pytest.approx([-32768, 0.1])


def test_units_that_int16_has_a_step_for():
    steps = {unit: radiometry.step_of(unit, "int16", "b") for unit in ("reflectance", "dB", "m", "degree", "1")}
    assert steps == {"reflectance": 1e-4, "dB": 0.01, "m": 0.5, "degree": 0.01, "1": 1e-4}
    assert radiometry.step_of("furlong", "float32", "b") == 1
    with pytest.raises(ProductError, match=r"S1: VV has the unit 'furlong', for which int16 has no step .*float32"):
        radiometry.step_of("furlong", "int16", "S1: VV")
