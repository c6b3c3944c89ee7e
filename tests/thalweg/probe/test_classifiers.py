"""The two classifiers on vectors whose answers are plain, and the arithmetic that surrounds them."""

import numpy as np
import pytest

from thalweg.probe.classifiers import fit_linear, knn
from thalweg.probe.results import Row, to_json, to_lines


def test_a_vote_weighs_by_the_cosine():
    known = np.array([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0], [-1.0, 0.2]])
    labels = np.array([0, 1, 1, 2], np.uint8)
    asked = np.array([[5.0, 0.5], [0.1, 0.1], [-3.0, 0.0]])
    # all four vote: (5, ½) has cosine 0.995, 0.0995, 0.198 and -0.957; exp(./0.07) leaves only the first any weight;
    # (1, 1) has 0.707, 0.707, 0.774, -0.555: two of class 1 against one of class 0
    assert knn(known, labels, asked, neighbours=4).tolist() == [0, 1, 2]


def test_more_neighbours_than_are_known_are_all_of_them():
    known, labels = np.eye(2), np.array([3, 5], np.uint8)
    assert knn(known, labels, np.array([[0.9, 0.1], [0.2, 0.8]])).tolist() == [3, 5]


@pytest.mark.parametrize("classes", [2, 3])
def test_a_linear_layer_on_features_as_they_are(classes):
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, 300).astype(np.uint8)
    features = np.stack([1e3 * labels + random.normal(0, 50, 300), random.normal(7, 1e-3, 300)], 1)
    layer = fit_linear(features, labels, classes + 1, lambda each: (each.labels(features) == labels).mean())
    assert (layer.labels(features) == labels).all()
    assert layer.weight.shape == (classes + 1, 2)
    assert layer.bias[classes] == -np.inf, "a class that nobody named is never said"


def test_the_judge_chooses_the_ridge():
    features, labels = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1], np.uint8)
    assert fit_linear(features, labels, 2, lambda each: each.strength).strength == 10.0
    assert fit_linear(features, labels, 2, lambda each: -each.strength).strength == 1e-3
    assert fit_linear(features, labels, 2, lambda _: 0.5).strength == 1e-3, "of equals the strongest ridge"


def test_a_rare_class_is_found_where_classes_count_alike():
    random = np.random.default_rng(1)
    labels = (np.arange(400) >= 380).astype(np.uint8)  # one in twenty
    features = (random.normal(0, 1, 400) + 1.0 * labels)[:, None]

    def found(layer):
        return (layer.labels(features) == 1)[labels == 1].mean()

    plain = fit_linear(features, labels, 2, found)
    either = fit_linear(features, labels, 2, found, balances=(False, True))
    assert (plain.balanced, either.balanced) == (False, True)
    assert found(either) > 0.5 > found(plain)


def test_a_constant_feature_moves_nothing():
    features = np.array([[0.0, 4.0], [1.0, 4.0], [2.0, 4.0], [3.0, 4.0]])
    layer = fit_linear(features, np.array([0, 0, 1, 1], np.uint8), 2, lambda _: 0.0)
    assert layer.weight[:, 1] == pytest.approx([0, 0])


def test_a_table_has_mean_and_deviation():
    rows = [
        Row("encoder", "knn", 0.1, ({"accuracy": 0.5}, {"accuracy": 0.7})),
        Row("random", "knn", 1.0, ({"accuracy": 0.25},)),
    ]
    said = list(to_lines(rows, ["accuracy"]))
    assert said[1].split() == ["encoder", "knn", "10", "%", "0.6000", "±", "0.1414"]  # √((0.1² + 0.1²)/1)
    assert said[2].split() == ["random", "knn", "100", "%", "0.2500"]
    assert to_json({"data": "d"}, rows)["rows"][0]["scores"] == ({"accuracy": 0.5}, {"accuracy": 0.7})
