"""Choices: the best, draws in proportion, and no two alike."""

import time

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.active.pick import pick

NAN, INF = float("nan"), float("inf")


def chosen(values, count, temperature=0.0, seed=0, **more):
    return pick(torch.tensor(values), count, temperature, torch.Generator().manual_seed(seed), **more).tolist()


def test_the_best_are_taken_in_the_pools_order():
    assert chosen([0.1, 5.0, 3.0, 4.0], 2) == [1, 3]


def test_what_is_no_number_comes_last():
    assert chosen([NAN, -5.0, -INF, -7.0], 2) == [1, 3]
    assert chosen([NAN, NAN, 1.0], 2) == [0, 2]
    assert chosen([NAN, NAN], 2) == [0, 1]
    assert chosen([NAN, -5.0, NAN, -7.0], 2, temperature=1.0) == [1, 3]


def test_equals_are_taken_in_order():
    assert chosen([1.0, 1.0, 1.0], 2) == [0, 1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.data())
def test_as_many_as_asked_without_repetition(values, data):
    count = data.draw(st.integers(1, len(values)))
    temperature = data.draw(st.sampled_from([0.0, 0.5, 100.0]))
    found = chosen(values, count, temperature, seed=data.draw(st.integers(0, 99)))
    assert len(set(found)) == count
    assert found == sorted(found)


def test_draws_follow_the_softmax_of_standardised_scores():
    # standardised scores of (0, 1) are −1 and 1: at temperature 2, odds e^(1/2 − −1/2) = e
    hits = [chosen([0.0, 1.0], 1, temperature=2.0, seed=seed) == [1] for seed in range(2000)]
    np.testing.assert_allclose(np.mean(hits), np.e / (1 + np.e), atol=0.03)


def test_high_temperature_is_chance():
    counts = np.bincount(
        [chosen([0.0, 1.0, 9.0], 1, temperature=1e6, seed=seed)[0] for seed in range(1500)], minlength=3
    )
    np.testing.assert_allclose(counts / 1500, 1 / 3, atol=0.04)


def test_diversity_passes_over_a_twin():
    # The two best are twins; the third lies apart.
    features = torch.tensor([[0.0], [0.0], [10.0], [0.0]])
    values = [3.0, 2.9, 2.0, 0.0]
    assert chosen(values, 2) == [0, 1]
    assert chosen(values, 2, features=features, diversity=1.0) == [0, 2]


def test_a_large_pool_is_chosen_in_no_time():
    """512 of 2048 chips, apart: what is chosen at every step must not wait for the choice."""
    random = np.random.default_rng(0)
    scores, features = torch.from_numpy(random.random(2048)), torch.from_numpy(random.random((2048, 8)))
    begun = time.process_time()
    found = pick(scores, 512, 0.0, torch.Generator(), features, 1.0)
    assert len(set(found.tolist())) == 512
    assert time.process_time() - begun < 5


def test_what_is_no_number_comes_last_among_the_diverse_too():
    features = torch.tensor([[0.0], [50.0], [1.0], [2.0]])
    assert chosen([1.0, NAN, 0.5, 0.2], 3, features=features, diversity=9.0) == [0, 2, 3]
    assert chosen([NAN, NAN, NAN, NAN], 2, features=features, diversity=9.0) == [0, 1]
