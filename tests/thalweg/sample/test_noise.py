"""Laws of the noise: windows agree, values are spread as promised."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thalweg.sample.noise import fractal, gradient, key_of, ramp, uniform


@given(st.integers(-(10**7), 10**7), st.integers(0, 20))
def test_a_window_shows_the_same_as_a_wider_one(start, shift):
    wide = np.arange(start, start + 60, dtype=float)[None, :] * 20
    ys = np.arange(30, dtype=float)[:, None] * 20 - 2_400_000
    whole = gradient(key_of("a"), wide, ys, 333)
    part = gradient(key_of("a"), wide[:, shift : shift + 9], ys, 333)
    np.testing.assert_allclose(whole[:, shift : shift + 9], part, atol=1e-9)


def test_both_ways_of_mixing_agree():
    xs, ys = np.arange(70, dtype=float)[None, :] * 20 - 777, np.arange(50, dtype=float)[:, None] * 20 - 2_400_000
    full = gradient(key_of("d"), *np.broadcast_arrays(xs, ys), 210)
    np.testing.assert_allclose(gradient(key_of("d"), xs, ys, 210), full, atol=1e-9)


def test_noise_has_about_unit_deviation_and_no_bias():
    axis = np.arange(400) * 61.0
    values = fractal(key_of("b"), axis[None, :], axis[:, None], 500, 4)
    assert abs(values.mean()) < 0.1
    assert 0.75 < values.std() < 1.25


def test_keys_tell_patterns_apart():
    axis = np.arange(50) * 61.0
    first, second = (gradient(key_of(seed, "x"), axis[None, :], axis[:, None], 500) for seed in (1, 2))
    assert np.abs(first - second).max() > 0.5


def test_uniform_numbers_fill_the_unit_interval():
    values = uniform(key_of("c"), np.arange(-5000, 5000))
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.02
    assert len(np.unique(values)) == 10_000


def test_ramp_by_hand():
    np.testing.assert_allclose(ramp(np.array([-1.0, 0.0, 1.0, 2.0, 3.0]), 0.0, 2.0), [0, 0, 0.5, 1, 1])
